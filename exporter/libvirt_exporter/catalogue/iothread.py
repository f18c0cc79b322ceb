"""`iothread.*`: settings of QEMU's I/O threads."""

from libvirt_exporter.catalogue.metric import A_COUNT, Group, Metric, Scale, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(name="iothread", text="Polling settings of I/O threads.", asks=("iothread",), left_out=9),
)


def _setting(
    what: str, key: str, text: str, scale: Scale = Scale.ONE, since: str = "4.10.0"
) -> Stat:
    return Stat(
        name=f"libvirt_domain_iothread_poll_{what}",
        text=text,
        group="iothread",
        source=f"iothread.<id>.{key}",
        labels={"iothread": "<id>"},
        scale=scale,
        since=since,
    )


METRICS: tuple[Metric, ...] = (
    _setting(
        "max_seconds",
        "poll-max-ns",
        "Longest time that the I/O thread polls; 0 when polling is off.",
        Scale.NANOSECONDS,
    ),
    _setting("grow", "poll-grow", "Factor by which polling grows; 0 for QEMU's default."),
    _setting(
        "shrink", "poll-shrink", "Divisor by which polling shrinks; 0 to fall back to no polling."
    ),
    _setting(
        "weight",
        "poll-weight",
        "Shift by which the latest event counts less when polling adapts: the larger, the more "
        "gradually; 0 for QEMU's default.",
        since="12.7.0",
    ),
)

WITHHELD: tuple[Withheld, ...] = (Withheld("iothread.count", A_COUNT),)
