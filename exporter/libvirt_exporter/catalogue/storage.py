"""`pool.*`: storage pools; the exporter's own keys for what libvirt says of them."""

from libvirt_exporter.catalogue.metric import Group, Metric, Stat, StatEnum, StatInfo, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="storage",
        text="Storage pools of the host as libvirt last refreshed them, and the current usage of "
        "their file systems on this machine.",
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
        "1 if libvirt responds to calls for the storage pool, 0 while a call is stuck. While it "
        "is 0, the pool's other series are absent and new pools are not found.",
    ),
    StatEnum(
        name="libvirt_storage_pool_state",
        text="1 for the storage pool's current state, 0 for every other state.",
        group="storage",
        source="pool.<num>.state",
        labels=POOL,
        label="state",
        values={0: "inactive", 1: "building", 2: "running", 3: "degraded", 4: "inaccessible"},
        every=True,
    ),
    _number(
        "capacity_bytes",
        "Size of a running storage pool at libvirt's last refresh: the pool's start, a refresh, "
        "or a volume change through libvirt.",
    ),
    _number(
        "allocation_bytes",
        "Space used in a running storage pool at libvirt's last refresh, by any file.",
    ),
    _number(
        "available_bytes",
        "Free space in a running storage pool at libvirt's last refresh, which may be old. For "
        "the current value use libvirt_storage_pool_filesystem_available_bytes.",
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_size_bytes",
        text="Current size of the file system that holds a running storage pool's directory. "
        "Absent unless the pool has type dir, fs or netfs and is on the exporter's machine.",
        group="storage",
        source="pool.<num>.filesystem.size",
        labels=POOL,
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_available_bytes",
        text="Current free space, for users other than root, on the file system that holds a "
        "running storage pool's directory. Absent unless the pool has type dir, fs or netfs and "
        "is on the exporter's machine.",
        group="storage",
        source="pool.<num>.filesystem.available",
        labels=POOL,
    ),
    Stat(
        name="libvirt_storage_pool_filesystem_visible",
        text="1 if the exporter can read the file system of a running storage pool's directory, "
        "else 0: permission is denied, the directory is not mounted in the exporter's container, "
        "or a file server does not respond. While it is 0, only the figures of libvirt's last "
        "refresh are available.",
        group="storage",
        source="pool.<num>.filesystem.visible",
        labels=POOL,
    ),
    _number("persistent", "1 if the storage pool is persistent, 0 if it is transient."),
    _number("autostart", "1 if libvirt starts the storage pool at host boot, else 0."),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("pool.<num>.filesystem.reason", "Free text with a path: `doctor` reports it."),
)
