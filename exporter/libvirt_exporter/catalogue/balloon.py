"""`balloon.*` and `container.*`: memory as balloon, guest and host report it."""

from libvirt_exporter.catalogue.metric import GUEST_BOOT, Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="balloon",
        text="Memory given to the domain, and the guest's own memory figures where it reports "
        "them.",
        asks=("balloon",),
        left_out=13,
    ),
)


_WHILE_REPORTED = " Absent once the guest's last report is older than 3 periods, at least 60 s."


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
        "Memory that the balloon leaves to the guest: what is allocated, not what is used.",
        "1.2.9",
    ),
    _memory("maximum", "maximum", "Memory that the domain may have at most.", "1.2.9"),
    _memory(
        "unused",
        "unused",
        "Guest memory that nothing uses, not even caches (MemFree); low is normal."
        + _WHILE_REPORTED,
    ),
    _memory(
        "available",
        "available",
        "Memory that the guest's system sees in total (MemTotal, despite libvirt's name). Not of "
        "Xen and bhyve, where the word means the domain's maximum." + _WHILE_REPORTED,
    ),
    _memory(
        "usable",
        "usable",
        "Guest memory that could be reclaimed without swapping (MemAvailable)." + _WHILE_REPORTED,
    ),
    _memory(
        "disk_caches",
        "disk_caches",
        "Guest memory in caches that can be reclaimed without further I/O." + _WHILE_REPORTED,
        "4.6.0",
    ),
    _memory(
        "rss",
        "rss",
        "Resident memory of the QEMU process on the host, without hugetlbfs pages; of a container, "
        "what its control group uses, page cache included.",
    ),
    _events("swap_in_bytes", "swap_in", "Data that the guest read from its swap."),
    _events("swap_out_bytes", "swap_out", "Data that the guest wrote to its swap."),
    _events("major_faults", "major_fault", "Page faults of the guest that needed disk I/O."),
    _events("minor_faults", "minor_fault", "Page faults of the guest served without disk I/O."),
    _events(
        "hugetlb_allocations",
        "hugetlb_pgalloc",
        "Huge pages that the guest allocated with success.",
        "5.4.0",
    ),
    _events(
        "hugetlb_allocation_failures",
        "hugetlb_pgfail",
        "Huge pages that the guest failed to allocate.",
        "5.4.0",
    ),
    Stat(
        name="libvirt_domain_balloon_last_update_timestamp_seconds",
        text="Host's Unix time of the guest's last memory report, however old; absent before the "
        "first.",
        group="balloon",
        source="balloon.last-update",
        zero_is_absent=True,
        since="2.1.0",
    ),
    Stat(
        name="libvirt_domain_container_memory_and_swap_bytes",
        text="Memory and swap that a container uses; libvirt's LXC driver calls it swap_in.",
        group="balloon",
        source="container.memory_and_swap",
        scale=Scale.KIBIBYTES,
    ),
)
