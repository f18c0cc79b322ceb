"""`monitor.*` and `sample.*`: what sampling itself shows of a domain; the sampler's own keys."""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="monitor", text="Whether QEMU's monitor answers, and what is missing from the sample."
    ),
)

METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_monitor_responsive",
        text="1 when the domain's QEMU monitor answers, 0 when the domain is stuck; absent where "
        "neither shows: while another client or the domain's own start occupies it, and without "
        "the groups balloon, block, iothread or dirtyrate.",
        group="monitor",
        source="monitor.responsive",
    ),
    Stat(
        name="libvirt_domain_monitor_stuck_seconds",
        text="For how long the domain's QEMU monitor has not answered; absent while it does.",
        group="monitor",
        source="monitor.stuck.time",
        scale=Scale.NANOSECONDS,
    ),
    Stat(
        name="libvirt_domain_sample_missing",
        text="1 for each field group of which the domain did not answer some or all values.",
        group="monitor",
        source="sample.missing.<group>",
        labels={"group": "<group>"},
    ),
)
