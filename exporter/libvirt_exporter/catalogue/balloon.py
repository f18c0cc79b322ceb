"""`balloon.*` and `container.*`: memory as balloon, guest and host report it."""

from libvirt_exporter.catalogue.metric import GUEST_BOOT, Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="balloon",
        text="Memory assigned to the domain, and the guest's own memory figures if it reports "
        "them.",
        asks=("balloon",),
        left_out=13,
    ),
)


_WHILE_REPORTED = " Absent if the guest's last report is older than 3 periods (at least 60 s)."


def _memory(what: str, key: str, text: str, since: str = "2.1.0") -> Stat:
    return Stat(
        name=f"libvirt_domain_balloon_{what}_bytes",
        text=text,
        group="balloon",
        source=f"balloon.{key}",
        scale=Scale.KIBIBYTES,
        since=since,
    )


def _events(what: str, key: str, text: str, since: str = "2.1.0") -> Stat:
    return Stat(
        name=f"libvirt_domain_balloon_{what}_total",
        text=text + _WHILE_REPORTED,
        group="balloon",
        source=f"balloon.{key}",
        scale=Scale.KIBIBYTES if what.endswith("_bytes") else Scale.ONE,
        since=since,
        resets=GUEST_BOOT,
    )


METRICS: tuple[Metric, ...] = (
    _memory(
        "current",
        "current",
        "Memory currently assigned to the guest: maximum memory minus the balloon. Not the "
        "memory that the guest uses.",
        "1.2.9",
    ),
    _memory("maximum", "maximum", "Maximum memory of the domain.", "1.2.9"),
    _memory(
        "unused",
        "unused",
        "Unused guest memory (MemFree), page cache excluded. Low values are normal."
        + _WHILE_REPORTED,
    ),
    _memory(
        "available",
        "available",
        "Total memory that the guest's operating system sees (MemTotal, despite the name). "
        "Absent on Xen and bhyve." + _WHILE_REPORTED,
    ),
    _memory(
        "usable",
        "usable",
        "Guest memory available to new programs without swapping (MemAvailable)." + _WHILE_REPORTED,
    ),
    _memory(
        "disk_caches",
        "disk_caches",
        "Guest page cache that can be reclaimed without I/O." + _WHILE_REPORTED,
        "4.6.0",
    ),
    _memory(
        "rss",
        "rss",
        "Resident memory of the QEMU process on the host, hugetlbfs pages excluded. For a "
        "container: memory usage of its control group, page cache included.",
    ),
    _events("swap_in_bytes", "swap_in", "Bytes that the guest read from its swap."),
    _events("swap_out_bytes", "swap_out", "Bytes that the guest wrote to its swap."),
    _events("major_faults", "major_fault", "Page faults of the guest that required disk I/O."),
    _events("minor_faults", "minor_fault", "Page faults of the guest served without disk I/O."),
    _events(
        "hugetlb_allocations",
        "hugetlb_pgalloc",
        "Successful huge page allocations of the guest.",
        "5.4.0",
    ),
    _events(
        "hugetlb_allocation_failures",
        "hugetlb_pgfail",
        "Failed huge page allocations of the guest.",
        "5.4.0",
    ),
    Stat(
        name="libvirt_domain_balloon_last_update_timestamp_seconds",
        text="Unix time (host clock) of the guest's last memory report, however old. Absent "
        "before the first report.",
        group="balloon",
        source="balloon.last-update",
        zero_is_absent=True,
        since="2.1.0",
    ),
    Stat(
        name="libvirt_domain_container_memory_and_swap_bytes",
        text="Memory and swap used by a container (swap_in of libvirt's LXC driver).",
        group="balloon",
        source="container.memory_and_swap",
        scale=Scale.KIBIBYTES,
    ),
)
