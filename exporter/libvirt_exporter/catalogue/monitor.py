"""`monitor.*` and `sample.*`: what sampling itself shows of a domain; the sampler's own keys."""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(name="monitor", text="Response of QEMU's monitor, and groups missing from the sample."),
)

METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_monitor_responsive",
        text="1 if the domain's QEMU monitor responds, 0 if the domain is stuck. Absent if "
        "unknown: another client or the domain's own start occupies the monitor, or none of the "
        "groups balloon, block, iothread and dirtyrate is selected.",
        group="monitor",
        source="monitor.responsive",
    ),
    Stat(
        name="libvirt_domain_monitor_stuck_seconds",
        text="Time since the domain's QEMU monitor stopped responding. Absent while it responds.",
        group="monitor",
        source="monitor.stuck.time",
        scale=Scale.NANOSECONDS,
    ),
    Stat(
        name="libvirt_domain_sample_missing",
        text="1 for each field group that is incomplete for the domain in this sample.",
        group="monitor",
        source="sample.missing.<group>",
        labels={"group": "<group>"},
    ),
)
