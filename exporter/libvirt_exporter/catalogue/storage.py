"""`pool.*`: storage pools; the exporter's own keys for what libvirt says of them."""

from libvirt_exporter.catalogue.metric import Group, Metric, Stat, StatEnum, StatInfo, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="storage",
        text="Storage pools of the host, as libvirt knows them without looking anew, and how full "
        "the file systems of those on this machine are.",
        lanes=("storage",),
    ),
)

POOL = {"pool": "pool.<num>.name"}


def _number(what: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_storage_pool_{what}",
        text=text,
        group="storage",
        source=f"pool.<num>.{what.removesuffix('_bytes')}",
        labels=POOL,
    )


METRICS: tuple[Metric, ...] = (
    StatInfo(
        name="libvirt_storage_pool_info",
        text="Always 1; the type of a storage pool.",
        group="storage",
        source="pool.<num>.type",
        labels={**POOL, "pool_type": "pool.<num>.type"},
    ),
    _number(
        "responsive",
        "1 when libvirt answers for the storage pool, 0 while a call for it has not come back; "
        "then its other series are absent, and pools that are new are not seen.",
    ),
    StatEnum(
        name="libvirt_storage_pool_state",
        text="1 for the storage pool's current state, 0 for every other.",
        group="storage",
        source="pool.<num>.state",
        labels=POOL,
        label="state",
        values={0: "inactive", 1: "building", 2: "running", 3: "degraded", 4: "inaccessible"},
        every=True,
    ),
    _number(
        "capacity_bytes",
        "Size of a running storage pool, when libvirt last looked: as it was started or refreshed, "
        "or a volume of it was changed through libvirt.",
    ),
    _number(
        "allocation_bytes",
        "Space taken in a running storage pool, by whatever lies there, when libvirt last looked.",
    ),
    _number(
        "available_bytes",
        "Space left in a running storage pool, when libvirt last looked, which may be long ago: "
        "libvirt_storage_pool_filesystem_available_bytes is of now.",
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_size_bytes",
        text="Size of the file system that a running storage pool's directory is on, now, by the "
        "kernel. Of pools of the types dir, fs and netfs on the exporter's own machine.",
        group="storage",
        source="pool.<num>.filesystem.size",
        labels=POOL,
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_available_bytes",
        text="Space left on the file system that a running storage pool's directory is on, now, by "
        "the kernel: what programs that are not root's may still take. Of the same pools.",
        group="storage",
        source="pool.<num>.filesystem.available",
        labels=POOL,
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_visible",
        text="1 when the exporter sees the file system of a running storage pool's directory, 0 "
        "when not: it may not, runs in a container without it, or a server does not answer. Then "
        "only libvirt's figures are there, of when it last looked.",
        group="storage",
        source="pool.<num>.filesystem.visible",
        labels=POOL,
    ),
    _number("persistent", "1 when the storage pool stays defined when it is stopped, else 0."),
    _number("autostart", "1 when libvirt starts the storage pool when the host boots, else 0."),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("pool.<num>.filesystem.reason", "Words for people, with a path: `doctor` says them."),
)
