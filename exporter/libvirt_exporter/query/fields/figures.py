"""Fields that move with every sample of a busy domain: CPU and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.query.fields.field import ABSENT, GONE, VmField, VmView, known, number
from libvirt_exporter.query.fields.rates import (
    increase,
    increases,
    interval,
    numbers,
    percent,
    rate,
    vcpu_times,
)
from libvirt_exporter.query.fields.schema import (
    BOOLEAN,
    COUNT,
    PERCENT,
    SECONDS,
    list_of,
    map_of,
    object_of,
)

NANOSECOND: Final = 1e-9
KIBIBYTE: Final = 1024


def _cpu_user(view: VmView) -> Any:
    guest = _guest_rate(view)
    return ABSENT if guest is None else percent(guest * NANOSECOND)


def _cpu_sys(view: VmView) -> Any:
    seconds, guest = interval(view), _guest_rate(view)
    total = increase(view.domain.stats, "cpu.time", view.before)
    if seconds is None or guest is None or total is None:
        return ABSENT
    return percent(max(total / seconds - guest, 0.0) * NANOSECOND)


def _guest_rate(view: VmView) -> float | None:
    """Nanoseconds per second in guest code.

    Under TCG guest code is ordinary code to the kernel, and its guest time stays 0.
    """
    info, stats, before = view.info, view.domain.stats, view.before
    if info is not None and info.type == "kvm":
        guest = increase(stats, "process.guest.time", before)
        seconds = interval(view, monitor=False)
        if guest is not None and seconds is not None:
            return guest / seconds
    seconds = interval(view)
    if seconds is None:
        return None
    keys = vcpu_times(number(stats, "vcpu.maximum") or 0)
    grown = increases(numbers(stats, keys), numbers(before, keys))
    growths = [growth for growth in grown if growth is not None]
    return sum(growths) / seconds if growths else None


def _balloon_info(view: VmView) -> Any:
    stats, info = view.domain.stats, view.info
    current = number(stats, "balloon.current")
    if current is None:
        return ABSENT
    found: dict[str, Any] = {
        "balloon_max": number(stats, "balloon.maximum"),
        "balloon_cur": current,
    }
    if info is not None:
        found["ballooning_enabled"] = info.balloon_model not in ("", "none")
        if info.ovirt is not None:
            found["balloon_min"] = _kibibytes(info.ovirt.guaranteed_memory)
            found["balloon_target"] = _kibibytes(info.ovirt.balloon_target)
            if info.ovirt.ballooning_enabled is not None:
                found["ballooning_enabled"] = info.ovirt.ballooning_enabled
    return known(found)


def _kibibytes(size: int | None) -> int | None:
    return None if size is None or size < 0 else size // KIBIBYTE


def _memory_usage(view: VmView) -> Any:
    stats = view.domain.stats
    used = memory_in_use(stats)
    total = number(stats, "balloon.available") or number(stats, "balloon.maximum")
    return ABSENT if used is None or not total else min(round(100 * used / total), 100)


def memory_in_use(stats: Stats) -> int | None:
    """KiB that the guest uses by its own account; None where it does not report them.

    That is what it has (else what it was given) less what new programs could have without
    swapping. A guest that does not tell so (Linux before 3.14) is taken to have what it does not
    use, and what it could read from disk again.
    """
    total = number(stats, "balloon.available") or number(stats, "balloon.maximum")
    free = number(stats, "balloon.usable")
    if free is None:
        free = _unused_or_cached(stats)
    return None if total is None or free is None else max(total - free, 0)


def _unused_or_cached(stats: Stats) -> int | None:
    unused = number(stats, "balloon.unused")
    return None if unused is None else unused + (number(stats, "balloon.disk_caches") or 0)


_PAGING: Final[Mapping[str, str]] = {
    "swap_in": "balloon.swap_in",
    "swap_out": "balloon.swap_out",
    "majflt": "balloon.major_fault",
    "minflt": "balloon.minor_fault",
}


def _memory_stats(view: VmView) -> Any:
    stats = view.domain.stats
    found: dict[str, Any] = {
        "mem_total": number(stats, "balloon.available"),
        "mem_unused": number(stats, "balloon.unused"),
        "mem_free": _unused_or_cached(stats),
    }
    if (seconds := _between_reports(view)) is not None:
        before = view.before
        for name, key in _PAGING.items():
            found[name] = rate(increase(stats, key, before), seconds)
        if found["majflt"] is not None and found["minflt"] is not None:
            found["pageflt"] = found["majflt"] + found["minflt"]
    return known(found) or ABSENT


def _between_reports(view: VmView) -> float | None:
    """Seconds between what the guest had reported by both samples; None within one report.

    Its counters move with its reports alone.
    """
    seconds = interval(view)
    reported, before = (
        number(stats, "balloon.last-update") for stats in (view.domain.stats, view.before)
    )
    if seconds is None or reported is None or before is None:
        return seconds
    return reported - before if reported > before else None


def _numa_placement(view: VmView) -> Any:
    placement: dict[str, list[int]] = {}
    if view.info is not None and view.info.numa_cells:
        for key in view.domain.stats:
            if key.startswith("numa."):
                _, guest_node, _, host_node = key.split(".")
                placement.setdefault(guest_node, []).append(int(host_node))
    return {node: sorted(found) for node, found in placement.items()} or ABSENT


def _stats_age(view: VmView) -> Any:
    if not isinstance(view.domain, DomainSample):
        return ABSENT
    return round(max(view.now - view.domain.timestamp, 0.0), 3)


_RATES: Final = "Requires two samples of one run of an active domain, some seconds apart."
_GUEST_MEMORY: Final = (
    "The domain does not respond, or its guest does not report its memory. Requires a balloon "
    "driver, and <stats period=…/> in the domain XML's <memballoon>. Also absent if the last "
    "report is older than 3 periods (at least 60 s): the guest panicked, is paused, or is no "
    "longer queried."
)

FIELDS: Final = (
    VmField(
        name="balloonInfo",
        schema=object_of(
            balloon_max=(COUNT, "maximum in KiB"),
            balloon_min=(COUNT, "KiB guaranteed, from oVirt's metadata"),
            balloon_cur=(COUNT, "KiB now"),
            balloon_target=(COUNT, "KiB that oVirt last requested, from its metadata"),
            ballooning_enabled=(
                BOOLEAN,
                "from oVirt's metadata, else whether the VM has a balloon device",
            ),
        ),
        unit="KiB",
        text="State of the memory balloon.",
        source="balloon.maximum, balloon.current; oVirt's metadata",
        change="sampled",
        asks=("balloon",),
        metric="libvirt_domain_balloon_current_bytes",
        more_metrics=(
            "libvirt_domain_balloon_maximum_bytes",
            "libvirt_domain_ovirt_guaranteed_memory_bytes",
            "libvirt_domain_ovirt_balloon_target_bytes",
        ),
        value=_balloon_info,
        why_absent="Requires the group `balloon`, and an active domain that responds.",
    ),
    VmField(
        name="cpuSys",
        schema=PERCENT,
        unit="% of one CPU",
        text="CPU time of QEMU outside guest code, to 0.1 %.",
        source="cpu.time minus cpuUser",
        change="sampled",
        asks=("cpu-total", "vcpu"),
        lanes=("processes",),
        metric="libvirt_domain_cpu_seconds_total",
        more_metrics=("libvirt_domain_vcpu_seconds_total",),
        value=_cpu_sys,
        why_absent=_RATES,
    ),
    VmField(
        name="cpuUser",
        schema=PERCENT,
        unit="% of one CPU",
        text="CPU time of guest code, to 0.1 %; more than 100 with several vCPUs.",
        source="guest time of /proc/PID/stat with KVM, else the sum of vcpu.<num>.time",
        change="sampled",
        asks=("vcpu",),
        lanes=("processes",),
        metric="libvirt_domain_vcpu_seconds_total",
        value=_cpu_user,
        why_absent=_RATES,
    ),
    VmField(
        name="memUsage",
        schema={"type": "integer", "minimum": 0, "maximum": 100},
        unit="%",
        text="Memory in use in the guest, relative to the memory that the guest has.",
        source=(
            "balloon.usable, else balloon.unused and disk_caches; of balloon.available, else "
            "balloon.maximum"
        ),
        change="sampled",
        asks=("balloon",),
        metric="libvirt_domain_balloon_usable_bytes",
        more_metrics=(
            "libvirt_domain_balloon_available_bytes",
            "libvirt_domain_balloon_unused_bytes",
            "libvirt_domain_balloon_disk_caches_bytes",
            "libvirt_domain_balloon_maximum_bytes",
        ),
        value=_memory_usage,
        why_absent=_GUEST_MEMORY,
    ),
    VmField(
        name="memoryStats",
        schema=object_of(
            mem_total=(COUNT, "KiB that the guest has"),
            mem_unused=(COUNT, "unused KiB"),
            mem_free=(COUNT, "KiB unused or in the page cache"),
            swap_in=(COUNT, "KiB/s"),
            swap_out=(COUNT, "KiB/s"),
            majflt=(COUNT, "major page faults per second"),
            minflt=(COUNT, "minor page faults per second"),
            pageflt=(COUNT, "page faults per second"),
        ),
        unit="KiB",
        text="Memory from the guest's point of view. Rates are those between two reports of the "
        "guest, absent until it has reported again, and have 3 significant digits.",
        source="balloon.*",
        change="sampled",
        asks=("balloon",),
        lanes=("processes",),
        metric="libvirt_domain_balloon_available_bytes",
        more_metrics=(
            "libvirt_domain_balloon_unused_bytes",
            "libvirt_domain_balloon_disk_caches_bytes",
            "libvirt_domain_balloon_swap_in_bytes_total",
            "libvirt_domain_balloon_swap_out_bytes_total",
            "libvirt_domain_balloon_major_faults_total",
            "libvirt_domain_balloon_minor_faults_total",
        ),
        value=_memory_stats,
        why_absent=_GUEST_MEMORY,
    ),
    VmField(
        name="statsAge",
        schema=SECONDS,
        unit="s",
        text="Age of the VM's statistics, from the start of the call that returned them.",
        source="the exporter",
        change="time",
        no_metric="Every scrape takes a new sample: its series are as old as the scrape.",
        value=_stats_age,
        why_absent=GONE,
    ),
    VmField(
        name="vNodeRuntimeInfo",
        schema=map_of(list_of(COUNT)),
        text=(
            "NUMA nodes of the host, ascending, whose CPUs ran the vCPUs of each NUMA node of "
            "the guest. At most two minutes old."
        ),
        source="virDomainGetVcpus; domain XML, cpu/numa; capabilities, host/topology",
        change="sampled",
        lanes=("numa",),
        metric="libvirt_domain_numa_node_placement",
        value=_numa_placement,
        why_absent="Requires NUMA cells in the domain XML, and the group `vcpu`.",
    ),
)
