"""`state.*`: the domain's lifecycle state and why it is in it (virDomainState)."""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, StatEnum, Withheld
from libvirt_exporter.model import REASONS, STATES

GROUPS: tuple[Group, ...] = (
    Group(
        name="state",
        text="Lifecycle state, its reason, and the cause of a pause.",
        asks=("state",),
        lanes=("errors",),
    ),
)

PAUSE_CODES = ("NOERR", "ENOSPC", "EIO", "EPERM", "EOTHER", "POSTCOPY")
"""Values of `pause.code` by number."""

STATE = StatEnum(
    name="libvirt_domain_state",
    text="1 for the domain's current state, 0 for every other state.",
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
        text="1 for libvirt's reason for the current state. Other reasons have no series.",
        group="state",
        source="state.reason",
        label="reason",
        within=STATE,
        values_within=REASONS,
    ),
    StatEnum(
        name="libvirt_domain_pause_code",
        text="1 for the cause of an active domain's pause, as an oVirt code: NOERR (running, or "
        "paused on request), ENOSPC, EIO, EPERM, EOTHER (any other cause), POSTCOPY. Absent "
        "while the cause of an I/O error is unknown.",
        group="state",
        source="pause.code",
        label="code",
        values=dict(enumerate(PAUSE_CODES)),
    ),
    StatEnum(
        name="libvirt_domain_disk_error",
        text="1 for each disk whose I/O error paused the domain. Absent after the domain resumes.",
        group="state",
        source="diskerror.<num>.error",
        labels={"device": "diskerror.<num>.name"},
        label="error",
        values={1: "unspecified", 2: "no_space"},
    ),
    Stat(
        name="libvirt_domain_exit_code",
        text="Result of the domain's last run: 0 for a normal end, 1 for an error. Absent while "
        "the domain runs, and if neither an event nor the state's reason shows the result. A "
        "crashed transient domain keeps the series for 15 minutes.",
        group="state",
        source="exit.code",
    ),
    Stat(
        name="libvirt_domain_state_change_timestamp_seconds",
        text="Unix time of the last state change. Absent if no event reported it.",
        group="state",
        source="state.change.time",
        scale=Scale.NANOSECONDS,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("exit.reason", "A number of oVirt's; libvirt_domain_state_reason has libvirt's word."),
    Withheld("exit.message", "Free text: libvirt_domain_state_reason has libvirt's word."),
    Withheld("exit.time", "libvirt_domain_last_event_timestamp_seconds has it, event `stopped`."),
)
