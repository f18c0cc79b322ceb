"""`state.*`: the domain's lifecycle state and why it is in it (virDomainState)."""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, StatEnum, Withheld
from libvirt_exporter.model import REASONS, STATES

GROUPS: tuple[Group, ...] = (
    Group(
        name="state",
        text="Lifecycle state and its reason, and why a paused domain is paused.",
        asks=("state",),
        lanes=("errors",),
    ),
)

PAUSE_CODES = ("NOERR", "ENOSPC", "EIO", "EPERM", "EOTHER", "POSTCOPY")
"""Values of `pause.code` by number."""

STATE = StatEnum(
    name="libvirt_domain_state",
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
        text="1 for the reason of the current state; other reasons have no series.",
        group="state",
        source="state.reason",
        label="reason",
        within=STATE,
        values_within=REASONS,
    ),
    StatEnum(
        name="libvirt_domain_pause_code",
        text="1 for why an active domain is paused, in the words of oVirt: NOERR if it is paused "
        "on request, or not paused; absent while an I/O error is not known any closer.",
        group="state",
        source="pause.code",
        label="code",
        values=dict(enumerate(PAUSE_CODES)),
    ),
    StatEnum(
        name="libvirt_domain_disk_error",
        text="1 for each disk whose I/O error has paused the domain, until it runs again.",
        group="state",
        source="diskerror.<num>.error",
        labels={"device": "diskerror.<num>.name"},
        label="error",
        values={1: "unspecified", 2: "no_space"},
    ),
    Stat(
        name="libvirt_domain_exit_code",
        text="How a domain that is not running ended: 0 in order, 1 by an error; absent where "
        "neither an event nor the state's reason tells. A domain that crashed and is gone has it "
        "for 15 minutes.",
        group="state",
        source="exit.code",
    ),
    Stat(
        name="libvirt_domain_state_change_timestamp_seconds",
        text="Unix time at which the state last changed; absent where no event reported it.",
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
