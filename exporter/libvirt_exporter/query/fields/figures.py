"""Fields that move with every sample of a busy domain: CPU, memory, disks, network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.query.fields.field import ABSENT, VmView, number
from libvirt_exporter.query.fields.rates import (
    devices,
    increase,
    increases,
    interval,
    numbers,
    percent,
    rate,
    significant,
    vcpu_times,
)

NANOSECOND: Final = 1e-9
KIBIBYTE: Final = 1024
FAST_MODELS: Final = frozenset({"virtio", "e1000", "e1000e"})
FAST: Final = 1000
"""Mbit/s that VDSM takes the models above to have …"""
SLOW: Final = 100
"""… and any other."""
MEGABIT: Final = 125_000
"""Bytes."""

_NO_STATS: Final[Stats] = {}


def cpu_user(view: VmView) -> Any:
    """Percent of one CPU spent in guest code."""
    seconds = interval(view)
    guest = None if seconds is None else _guest_growth(view)
    if seconds is None or guest is None:
        return ABSENT
    return percent(guest * NANOSECOND, seconds)


def cpu_sys(view: VmView) -> Any:
    """Percent of one CPU that QEMU spent beside guest code."""
    seconds = interval(view)
    if seconds is None:
        return ABSENT
    guest = _guest_growth(view)
    total = increase(view.domain.stats, "cpu.time", _before(view))
    if guest is None or total is None:
        return ABSENT
    return percent(max(total - guest, 0) * NANOSECOND, seconds)


def _before(view: VmView) -> Stats:
    return view.earlier.stats if view.earlier is not None else _NO_STATS


def _guest_growth(view: VmView) -> int | None:
    """Nanoseconds in guest code between the samples.

    Under TCG guest code is ordinary code to the kernel, and its guest time stays 0.
    """
    info, stats, before = view.info, view.domain.stats, _before(view)
    if info is not None and info.type == "kvm":
        guest = increase(stats, "process.guest.time", before)
        if guest is not None:
            return guest
    keys = vcpu_times(number(stats, "vcpu.maximum") or 0)
    grown = increases(numbers(stats, keys), numbers(before, keys))
    known = [growth for growth in grown if growth is not None]
    return sum(known) if known else None


def balloon_info(view: VmView) -> Any:
    """Sizes of the balloon in KiB."""
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
    return _known(found)


def _kibibytes(size: int | None) -> int | None:
    return None if size is None or size < 0 else size // KIBIBYTE


def _known(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


def memory_usage(view: VmView) -> Any:
    """Percent of the guest's memory in use, by what the guest reports."""
    stats = view.domain.stats
    total, free = number(stats, "balloon.available"), number(stats, "balloon.usable")
    if not total or free is None:
        total = total or number(stats, "balloon.maximum")
        free = _free(stats)
    if not total or free is None:
        return ABSENT
    return min(max(round(100 - 100 * free / total), 0), 100)


def _free(stats: Stats) -> int | None:
    """KiB that are unused or hold what could be read from disk again."""
    unused = number(stats, "balloon.unused")
    return None if unused is None else unused + (number(stats, "balloon.disk_caches") or 0)


_PAGING: Final[Mapping[str, str]] = {
    "swap_in": "balloon.swap_in",
    "swap_out": "balloon.swap_out",
    "majflt": "balloon.major_fault",
    "minflt": "balloon.minor_fault",
}


def memory_stats(view: VmView) -> Any:
    """The guest's memory as it reports it: KiB, KiB/s and faults/s."""
    stats = view.domain.stats
    found: dict[str, Any] = {
        "mem_total": number(stats, "balloon.available"),
        "mem_unused": number(stats, "balloon.unused"),
        "mem_free": _free(stats),
    }
    if (seconds := interval(view)) is not None:
        before = _before(view)
        for name, key in _PAGING.items():
            found[name] = rate(increase(stats, key, before), seconds)
        if found["majflt"] is not None and found["minflt"] is not None:
            found["pageflt"] = found["majflt"] + found["minflt"]
    return _known(found) or ABSENT


@lru_cache(1024)
def _disk_keys(prefix: str) -> tuple[str, ...]:
    return tuple(
        prefix + what
        for what in (
            *("rd.reqs", "wr.reqs", "rd.bytes", "wr.bytes", "physical"),
            *("rd.times", "wr.times", "fl.times", "fl.reqs"),
        )
    )


def disks(view: VmView) -> Any:
    """Sizes, totals, rates and latencies by disk."""
    stats = view.domain.stats
    if "block.count" not in stats:
        return ABSENT
    seconds, before = interval(view), _before(view)
    earlier = devices(before, "block") if seconds is not None else {}
    info = view.info
    definitions = {disk.device: disk for disk in info.disks} if info is not None else {}
    names, found = devices(stats, "block"), {}
    for name, prefix in names.items():
        figures = numbers(stats, _disk_keys(prefix))
        reads, writes, read, written, physical, *_ = figures
        disk: dict[str, Any] = {
            "truesize": physical,
            "readOps": reads,
            "writeOps": writes,
            "readBytes": read,
            "writtenBytes": written,
        }
        definition = definitions.get(name)
        if definition is not None:
            if definition.source_type == "block":
                disk["apparentsize"] = physical
            disk["imageID"] = definition.image_id or None
        if seconds is not None and name in earlier:
            old = numbers(before, _disk_keys(earlier[name]))
            disk |= _disk_rates(increases(figures, old), seconds)
        if known := _known(disk):
            found[name] = known
    # A domain that does not answer has names of disks and nothing else.
    return found if found or not names else ABSENT


def _disk_rates(growth: list[int | None], seconds: float) -> dict[str, Any]:
    reads, writes, read, written, _, read_time, write_time, flush_time, flushes = growth
    return {
        "readRate": rate(read, seconds),
        "writeRate": rate(written, seconds),
        "readLatency": _latency(read_time, reads),
        "writeLatency": _latency(write_time, writes),
        "flushLatency": _latency(flush_time, flushes),
    }


def _latency(nanoseconds: int | None, operations: int | None) -> int | None:
    if nanoseconds is None or operations is None:
        return None
    return significant(nanoseconds / operations) if operations and nanoseconds else 0


@lru_cache(1024)
def _nic_keys(prefix: str) -> tuple[str, ...]:
    return tuple(
        prefix + what
        for what in ("rx.bytes", "tx.bytes", "rx.errs", "rx.drop", "tx.errs", "tx.drop")
    )


def numa_placement(view: VmView) -> Any:
    """Nodes of the host by node of the guest."""
    placement: dict[str, list[int]] = {}
    if view.info is not None and view.info.numa_cells:
        for key in view.domain.stats:
            if key.startswith("numa."):
                _, guest_node, _, host_node = key.split(".")
                placement.setdefault(guest_node, []).append(int(host_node))
    return {node: sorted(found) for node, found in placement.items()} or ABSENT


def network(view: VmView) -> Any:
    """Totals and rates by interface."""
    stats = view.domain.stats
    if "net.count" not in stats:
        return ABSENT
    seconds, before = interval(view), _before(view)
    earlier = devices(before, "net") if seconds is not None else {}
    info = view.info
    definitions = {nic.device: nic for nic in info.interfaces} if info is not None else {}
    found = {}
    for name, prefix in devices(stats, "net").items():
        received, sent, *errors = numbers(stats, _nic_keys(prefix))
        nic: dict[str, Any] = {"name": name}
        nic["rxErrors"], nic["rxDropped"], nic["txErrors"], nic["txDropped"] = errors
        nic["rx"], nic["tx"] = received, sent
        speed = None
        definition = definitions.get(name)
        if definition is not None:
            speed = FAST if definition.model in FAST_MODELS else SLOW
            nic["state"] = "down" if definition.link_state == "down" else "up"
            nic["speed"] = speed
            nic["macAddr"] = definition.mac or None
        if seconds is not None and name in earlier:
            old = numbers(before, _nic_keys(earlier[name])[:2])
            growth = increases((received, sent), old)
            for way, grown in zip(("rx", "tx"), growth, strict=True):
                nic[f"{way}BytesPerSecond"] = rate(grown, seconds)
                if grown is not None and speed is not None:
                    nic[f"{way}Rate"] = percent(grown / (speed * MEGABIT), seconds)
        found[name] = _known(nic)
    return found


def stats_age(view: VmView) -> Any:
    """Seconds since just before the call that answered for the domain."""
    if not isinstance(view.domain, DomainSample):
        return ABSENT
    return round(max(view.now - view.domain.timestamp, 0.0), 3)
