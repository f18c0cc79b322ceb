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
        text="Always 1; a virtual network's bridge, and how it is connected to the outside: nat, "
        "route, bridge …, empty when it is isolated.",
        group="network",
        source="network.<num>.bridge",
        labels={**NETWORK, "bridge": "network.<num>.bridge", "forward": "network.<num>.forward"},
    ),
    _number(
        "responsive",
        "1 when libvirt answers for the virtual network, 0 while a call for it has not come back; "
        "then its other series are absent, and networks that are new are not seen.",
    ),
    _number("active", "1 when the virtual network is active, else 0."),
    _number("persistent", "1 when the virtual network stays defined when it is stopped, else 0."),
    _number("autostart", "1 when libvirt starts the virtual network when the host boots, else 0."),
)
