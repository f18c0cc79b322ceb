"""`process.*` and `start.time`: the domain's QEMU process, as /proc of the same machine shows it.

The exporter's own keys; a host that is reached over the network has none of `process.*`.
"""

from libvirt_exporter.catalogue.metric import NEW_QEMU, Group, Metric, Scale, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="process",
        text="QEMU process and start time of the domain.",
        lanes=("processes",),
        left_out=10,
    ),
)

METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_start_time_seconds",
        text="Unix time of the domain's start, from oVirt's metadata, else the start of its QEMU "
        "process, else libvirt's event. Absent after an incoming migration without oVirt's "
        "metadata.",
        group="process",
        source="start.time",
        scale=Scale.NANOSECONDS,
    ),
    Stat(
        name="libvirt_domain_process_guest_seconds_total",
        text="CPU time spent in guest mode, summed over vCPUs, from the host's kernel; included "
        "in libvirt_domain_cpu_seconds_total. Absent unless the domain has type kvm.",
        group="process",
        source="process.guest.time",
        scale=Scale.NANOSECONDS,
        resets=NEW_QEMU,
    ),
    Stat(
        name="libvirt_domain_process_id",
        text="Process ID of the domain's QEMU.",
        group="process",
        source="process.pid",
        default=False,
    ),
    Stat(
        name="libvirt_domain_transparent_hugepages_enabled",
        text="1 if the kernel may back the guest's memory with transparent huge pages, 0 if they "
        "are disabled or hugetlbfs backs the memory. Absent for shared or file-backed memory.",
        group="process",
        source="process.transparent_hugepages",
        default=False,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("process.unseen", "Counted for the host: libvirt_scrape_unseen_processes."),
)
