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
        "Maximum polling time of the I/O thread. 0: polling is off.",
        Scale.NANOSECONDS,
    ),
    _setting("grow", "poll-grow", "Growth factor of the polling time. 0: QEMU's default."),
    _setting(
        "shrink",
        "poll-shrink",
        "Divisor that shrinks the polling time. 0: polling time is reset to 0.",
    ),
    _setting(
        "weight",
        "poll-weight",
        "Weight of the latest event in adaptive polling, as a bit shift: higher values adapt "
        "more slowly. 0: QEMU's default.",
        since="12.7.0",
    ),
)

WITHHELD: tuple[Withheld, ...] = (Withheld("iothread.count", A_COUNT),)
