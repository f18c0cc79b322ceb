"""`pool.*`: storage pools; the exporter's own keys for what libvirt says of them."""

from libvirt_exporter.catalogue.metric import Group, Metric, Stat, StatEnum, StatInfo

GROUPS: tuple[Group, ...] = (
    Group(
        name="storage",
        text="Storage pools of the host, as libvirt knows them without looking anew.",
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
    _number("available_bytes", "Space left in a running storage pool, when libvirt last looked."),
    _number("persistent", "1 when the storage pool stays defined when it is stopped, else 0."),
    _number("autostart", "1 when libvirt starts the storage pool when the host boots, else 0."),
)
