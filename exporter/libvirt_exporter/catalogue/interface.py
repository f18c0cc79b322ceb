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
    _traffic("receive_bytes", "rx.bytes", "Bytes that the guest received."),
    _traffic("receive_packets", "rx.pkts", "Packets that the guest received."),
    _traffic("receive_errors", "rx.errs", "Errors on the way to the guest."),
    _traffic("receive_drop", "rx.drop", "Packets dropped on the way to the guest."),
    _traffic("transmit_bytes", "tx.bytes", "Bytes that the guest sent."),
    _traffic("transmit_packets", "tx.pkts", "Packets that the guest sent."),
    _traffic("transmit_errors", "tx.errs", "Errors on the way from the guest."),
    _traffic("transmit_drop", "tx.drop", "Packets dropped on the way from the guest."),
)

WITHHELD: tuple[Withheld, ...] = (Withheld("net.count", A_COUNT),)
