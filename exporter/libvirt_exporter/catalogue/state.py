"""`state.*`: the domain's lifecycle state and why it is in it (virDomainState)."""

from libvirt_exporter.catalogue.metric import Group, Metric, StatEnum
from libvirt_exporter.model import STATES

GROUP = Group(name="state", text="Lifecycle state and its reason.", asks=("state",))

REASONS = {
    0: {0: "unknown"},
    1: {
        0: "unknown",
        1: "booted",
        2: "migrated",
        3: "restored",
        4: "from_snapshot",
        5: "unpaused",
        6: "migration_canceled",
        7: "save_canceled",
        8: "wakeup",
        9: "crashed",
        10: "postcopy",
        11: "postcopy_failed",
    },
    2: {0: "unknown"},
    3: {
        0: "unknown",
        1: "user",
        2: "migration",
        3: "save",
        4: "dump",
        5: "ioerror",
        6: "watchdog",
        7: "from_snapshot",
        8: "shutting_down",
        9: "snapshot",
        10: "crashed",
        11: "starting_up",
        12: "postcopy",
        13: "postcopy_failed",
        14: "api_error",
    },
    4: {0: "unknown", 1: "user"},
    5: {
        0: "unknown",
        1: "shutdown",
        2: "destroyed",
        3: "crashed",
        4: "migrated",
        5: "saved",
        6: "failed",
        7: "from_snapshot",
        8: "daemon",
    },
    6: {0: "unknown", 1: "panicked"},
    7: {0: "unknown"},
}

STATE = StatEnum(
    name="libvirt_domain_state",
    type="gauge",
    text="1 for the domain's current state, 0 for every other.",
    group="state",
    source="state.state",
    label="state",
    values=dict(enumerate(STATES)),
    every=True,
)

METRICS: tuple[Metric, ...] = (
    STATE,
    StatEnum(
        name="libvirt_domain_state_reason",
        type="gauge",
        text="1 for the reason of the current state; other reasons have no series.",
        group="state",
        source="state.reason",
        label="reason",
        within=STATE,
        values_within=REASONS,
    ),
)
