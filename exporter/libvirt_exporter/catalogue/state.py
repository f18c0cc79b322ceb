"""`state.*`: the domain's lifecycle state and why it is in it (virDomainState)."""

from libvirt_exporter.catalogue.metric import Group, Metric, StatEnum
from libvirt_exporter.model import REASONS, STATES

GROUP = Group(name="state", text="Lifecycle state and its reason.", asks=("state",))

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
