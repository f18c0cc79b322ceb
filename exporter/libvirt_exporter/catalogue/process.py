"""`process.*` and `start.time`: the domain's QEMU process, as /proc of the same machine shows it.

The exporter's own keys; a host that is reached over the network has none of `process.*`.
"""

from libvirt_exporter.catalogue.metric import NEW_QEMU, Group, Metric, Scale, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="process",
        text="The domain's QEMU process, and since when the domain runs.",
        lanes=("processes",),
        left_out=10,
    ),
)

METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_start_time_seconds",
        text="Unix time at which the domain was started: as oVirt's metadata says, else when its "
        "QEMU process began, else by libvirt's event; absent after an arrival by migration, unless "
        "the metadata says it.",
        group="process",
        source="start.time",
        scale=Scale.NANOSECONDS,
    ),
    Stat(
        name="libvirt_domain_process_guest_seconds_total",
        text="CPU time that the domain's vCPUs spent in the guest itself, as the host's kernel "
        "counts it; a part of libvirt_domain_cpu_seconds_total, for domains of type kvm.",
        group="process",
        source="process.guest.time",
        scale=Scale.NANOSECONDS,
        resets=NEW_QEMU,
    ),
    Stat(
        name="libvirt_domain_process_id",
        text="Process id of the domain's QEMU.",
        group="process",
        source="process.pid",
        default=False,
    ),
    Stat(
        name="libvirt_domain_transparent_hugepages_enabled",
        text="1 when the kernel may put the guest's memory into transparent huge pages, 0 when it "
        "may not or the memory is of hugetlbfs; absent for memory that is shared or in files.",
        group="process",
        source="process.transparent_hugepages",
        default=False,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("process.unseen", "Counted for the host: libvirt_scrape_unseen_processes."),
)
