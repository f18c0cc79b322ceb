"""`vm.*` and `vcpu.<num>.<name>.*`: statistics of the kernel's KVM, passed through unnamed.

Names depend on the kernel, so they are label values: a new one is never unmapped. Those that end
in `_ns` are times and have metrics of their own, in seconds.
"""

from libvirt_exporter.catalogue.metric import NEW_QEMU, Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="vm",
        text="KVM's statistics of the whole domain.",
        default=False,
        asks=("vm",),
        left_out=1,
    ),
    Group(
        name="kvm",
        text="KVM's statistics of each vCPU (about 42 per vCPU); includes the group vm.",
        default=False,
        asks=("vcpu",),
        implies=("vm",),
        left_out=2,
    ),
)


def _rows(group: str, prefix: str, key: str, labels: dict[str, str], what: str) -> list[Metric]:
    labels = {**labels, "stat": "<name>"}
    return [
        Stat(
            name=f"{prefix}_seconds_total",
            text=f"Time that KVM counts {what}, by KVM's name of the statistic.",
            group=group,
            source=f"{key}.<name>_ns.sum",
            labels=labels,
            scale=Scale.NANOSECONDS,
            since="8.9.0",
            stability="experimental",
            resets=NEW_QEMU,
        ),
        Stat(
            name=f"{prefix}_events_total",
            text=f"Events that KVM counts {what}, by KVM's name of the statistic.",
            group=group,
            source=f"{key}.<name>.sum",
            labels=labels,
            since="8.9.0",
            stability="experimental",
            resets=NEW_QEMU,
        ),
        Stat(
            name=f"{prefix}_current",
            text=f"Current value that KVM reports {what}, by KVM's name of the statistic.",
            group=group,
            source=f"{key}.<name>.cur",
            labels=labels,
            since="8.9.0",
            stability="experimental",
        ),
        Stat(
            name=f"{prefix}_peak",
            text=f"Highest value that KVM recorded {what}, by KVM's name of the statistic.",
            group=group,
            source=f"{key}.<name>.max",
            labels=labels,
            since="8.9.0",
            stability="experimental",
        ),
    ]


METRICS: tuple[Metric, ...] = (
    *_rows("kvm", "libvirt_domain_vcpu_kvm", "vcpu.<num>", {"vcpu": "<num>"}, "for a vCPU"),
    *_rows("vm", "libvirt_domain_kvm", "vm", {}, "for the domain"),
)
