"""Fields by device: disks and network interfaces."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from libvirt_exporter.model import Disk, Stats
from libvirt_exporter.query.fields.field import ABSENT, VmField, VmView, known
from libvirt_exporter.query.fields.rates import (
    devices,
    increases,
    interval,
    numbers,
    percent,
    rate,
    significant,
)
from libvirt_exporter.query.fields.schema import COUNT, PERCENT, STRING, enum_of, map_of, object_of

FAST_MODELS: Final = frozenset({"virtio", "e1000", "e1000e"})
FAST: Final = 1000
"""Mbit/s that VDSM takes the models above to have …"""
SLOW: Final = 100
"""… and any other."""
MEGABIT: Final = 125_000
"""Bytes."""


@lru_cache(1024)
def _disk_keys(prefix: str) -> tuple[str, ...]:
    return tuple(
        prefix + what
        for what in (
            *("rd.reqs", "wr.reqs", "rd.bytes", "wr.bytes", "physical"),
            *("rd.times", "wr.times", "fl.times", "fl.reqs"),
        )
    )


def _disks(view: VmView) -> Any:
    stats = view.domain.stats
    if "block.count" not in stats:
        return ABSENT
    seconds, before = interval(view), view.before
    earlier = devices(before, "block") if seconds is not None else {}
    info = view.info
    definitions = {disk.device: disk for disk in info.disks} if info is not None else {}
    names, found = devices(stats, "block"), {}
    answered = not names
    for name, prefix in names.items():
        figures = numbers(stats, _disk_keys(prefix))
        answered = answered or any(figure is not None for figure in figures)
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
            if _usage_unknown(definition, stats, prefix):
                disk["truesize"] = None
            disk["imageID"] = definition.image_id or None
        if seconds is not None and name in earlier:
            old = numbers(before, _disk_keys(earlier[name]))
            disk |= _disk_rates(increases(figures, old), seconds)
        if parts := known(disk):
            found[name] = parts
    # A domain that does not answer has names of disks and nothing else.
    return found if answered else ABSENT


def _usage_unknown(disk: Disk, stats: Stats, prefix: str) -> bool:
    """Whether `physical` may be the size of the disk, of which the image uses less.

    It is the length of a sparse file as long as nothing is allocated (libvirt 9.0 to 12.8); a
    write allocates something. Of storage over the network, as Ceph's, QEMU does not say what is
    used, and libvirt has the capacity instead.
    """
    keys = (prefix + what for what in ("physical", "capacity", "allocation"))
    physical, capacity, written = numbers(stats, keys)
    if physical != capacity:
        return False
    sparse = (disk.source_type, disk.format) == ("file", "raw") and not written
    return sparse or disk.source_type == "network"


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


def _network(view: VmView) -> Any:
    stats = view.domain.stats
    if "net.count" not in stats:
        return ABSENT
    seconds, before = interval(view, monitor=False), view.before
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
            nic["state"] = "up" if definition.link_up else "down"
            nic["speed"] = speed
            nic["macAddr"] = definition.mac or None
        if seconds is not None and name in earlier:
            old = numbers(before, _nic_keys(earlier[name])[:2])
            growth = increases((received, sent), old)
            for way, grown in zip(("rx", "tx"), growth, strict=True):
                nic[f"{way}BytesPerSecond"] = rate(grown, seconds)
                if grown is not None and speed is not None:
                    nic[f"{way}Rate"] = percent(grown / (speed * MEGABIT) / seconds)
        found[name] = known(nic)
    return found


_DISK: Final = object_of(
    truesize=(
        COUNT,
        "bytes that the top image uses; for a block device its size; absent if unknown",
    ),
    apparentsize=(COUNT, "bytes; only for block devices, same as truesize"),
    readRate=(COUNT, "bytes/s, 3 significant digits"),
    writeRate=(COUNT, "bytes/s, 3 significant digits"),
    readLatency=(COUNT, "ns per operation between the two samples; 0 without operations"),
    writeLatency=(COUNT, "ns per operation, likewise"),
    flushLatency=(COUNT, "ns per operation, likewise"),
    readOps=(COUNT, "read requests since QEMU started"),
    writeOps=(COUNT, "write requests since QEMU started"),
    readBytes=(COUNT, "bytes since QEMU started"),
    writtenBytes=(COUNT, "bytes since QEMU started"),
    imageID=(STRING, "oVirt's id of the image, from the metadata"),
)
_NIC: Final = object_of(
    name=(STRING, "the host's network device"),
    macAddr=(STRING, "hardware address, from the XML"),
    speed=(
        {"enum": [SLOW, FAST]},
        "Mbit/s; not measured: VDSM's constant, 1000 for virtio, e1000 and e1000e, else 100",
    ),
    state=(enum_of(("up", "down")), "link state in the XML"),
    rxErrors=(COUNT, "since the device was created"),
    rxDropped=(COUNT, "packets since the device was created"),
    txErrors=(COUNT, "since the device was created"),
    txDropped=(COUNT, "packets since the device was created"),
    rxRate=(PERCENT, "% of `speed`"),
    txRate=(PERCENT, "% of `speed`"),
    rx=(COUNT, "bytes received by the guest since the device was created"),
    tx=(COUNT, "bytes sent by the guest since the device was created"),
    rxBytesPerSecond=(COUNT, "bytes/s, 3 significant digits"),
    txBytesPerSecond=(COUNT, "bytes/s, 3 significant digits"),
)

FIELDS: Final = (
    VmField(
        name="disks",
        schema=map_of(_DISK),
        text=(
            "Sizes and statistics by disk. Rates and latencies require two samples. GUIDs of "
            "LUNs are a sensitive field of their own."
        ),
        source="block.<num>.*",
        change="sampled",
        asks=("block",),
        lanes=("processes",),
        metric="libvirt_domain_block_read_bytes_total",
        more_metrics=(
            "libvirt_domain_block_written_bytes_total",
            "libvirt_domain_block_reads_completed_total",
            "libvirt_domain_block_writes_completed_total",
            "libvirt_domain_block_read_time_seconds_total",
            "libvirt_domain_block_write_time_seconds_total",
            "libvirt_domain_block_flush_time_seconds_total",
            "libvirt_domain_block_physical_bytes",
            "libvirt_domain_block_capacity_bytes",
        ),
        value=_disks,
        why_absent="Requires the group `block`, and an active domain that responds.",
    ),
    VmField(
        name="network",
        schema=map_of(_NIC),
        text="Statistics by interface, from the guest's point of view. Rates require two samples.",
        source="net.<num>.*; domain XML, devices/interface",
        change="sampled",
        asks=("interface",),
        lanes=("processes",),
        metric="libvirt_domain_interface_receive_bytes_total",
        more_metrics=(
            "libvirt_domain_interface_transmit_bytes_total",
            "libvirt_domain_interface_receive_errors_total",
            "libvirt_domain_interface_receive_drop_total",
            "libvirt_domain_interface_transmit_errors_total",
            "libvirt_domain_interface_transmit_drop_total",
            "libvirt_domain_interface_info",
        ),
        value=_network,
        why_absent="Requires the group `interface`, and an active domain.",
    ),
)
