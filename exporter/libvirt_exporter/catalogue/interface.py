"""`net.*`: traffic of network interfaces, from the guest's point of view."""

from libvirt_exporter.catalogue.metric import A_COUNT, NEW_TAP, Group, Metric, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="interface",
        text="Network traffic of the domain's interfaces.",
        asks=("interface",),
        left_out=15,
    ),
)


def _traffic(what: str, key: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_domain_interface_{what}_total",
        text=text,
        group="interface",
        source=f"net.<num>.{key}",
        labels={"device": "net.<num>.name"},
        since="1.2.9",
        resets=NEW_TAP,
    )


METRICS: tuple[Metric, ...] = (
    _traffic("receive_bytes", "rx.bytes", "Bytes received by the guest."),
    _traffic("receive_packets", "rx.pkts", "Packets received by the guest."),
    _traffic("receive_errors", "rx.errs", "Errors in the direction to the guest."),
    _traffic("receive_drop", "rx.drop", "Packets dropped in the direction to the guest."),
    _traffic("transmit_bytes", "tx.bytes", "Bytes sent by the guest."),
    _traffic("transmit_packets", "tx.pkts", "Packets sent by the guest."),
    _traffic("transmit_errors", "tx.errs", "Errors in the direction from the guest."),
    _traffic("transmit_drop", "tx.drop", "Packets dropped in the direction from the guest."),
)

WITHHELD: tuple[Withheld, ...] = (Withheld("net.count", A_COUNT),)
