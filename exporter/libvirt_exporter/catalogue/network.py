"""`network.*`: virtual networks; the exporter's own keys for what libvirt says of them."""

from libvirt_exporter.catalogue.metric import Group, Metric, Stat, StatInfo

GROUPS: tuple[Group, ...] = (
    Group(name="network", text="Virtual networks of the host.", default=False, lanes=("networks",)),
)

NETWORK = {"network": "network.<num>.name"}


def _number(what: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_network_{what}",
        text=text,
        group="network",
        source=f"network.<num>.{what}",
        labels=NETWORK,
    )


METRICS: tuple[Metric, ...] = (
    StatInfo(
        name="libvirt_network_info",
        text="Always 1; bridge and forward mode (nat, route, bridge and others) of a virtual "
        "network. An isolated network has an empty mode.",
        group="network",
        source="network.<num>.bridge",
        labels={**NETWORK, "bridge": "network.<num>.bridge", "forward": "network.<num>.forward"},
    ),
    _number(
        "responsive",
        "1 if libvirt responds to calls for the virtual network, 0 while a call is stuck. While "
        "it is 0, the network's other series are absent and new networks are not found.",
    ),
    _number("active", "1 if the virtual network is active, else 0."),
    _number("persistent", "1 if the virtual network is persistent, 0 if it is transient."),
    _number("autostart", "1 if libvirt starts the virtual network at host boot, else 0."),
)
