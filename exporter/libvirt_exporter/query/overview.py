"""The VMs of a host at a glance: state and figures of each, from two samples."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from libvirt_exporter.model import DomainSample, HostSample, Stats

ASKS: Final = frozenset({"balloon", "block", "cpu-total", "interface", "vcpu"})
"""libvirt's statistics groups that this takes."""
NAMES_INSTANCES: Final = "libvirt_domain_openstack_info"
"""The metric that says how Nova calls a VM."""


class Row(NamedTuple):
    """One VM; None where libvirt or the time between two samples does not say."""

    name: str
    state: str
    reason: str
    vcpus: int | None
    cpu: float | None
    """CPUs of the host in use: 1.0 is one of them."""
    rss: int | None
    """Bytes of the host's memory that QEMU holds."""
    memory: int | None
    """Bytes that the guest has."""
    memory_maximum: int | None
    disk: float | None
    """Bytes per second, read and written, of all disks."""
    net: float | None
    """Bytes per second, received and sent, of all interfaces."""
    used: int | None = None
    """Bytes that the guest cannot give back without swapping, by its own report."""
    stuck: float | None = None
    """Seconds for which QEMU's monitor has not answered; None when it does."""
    missing: tuple[str, ...] = ()
    """Groups that were not answered in full."""
    uuid: str = ""
    alias: str = ""
    """Nova's name of the instance, where it is not the domain's."""


class Overview(Struct, frozen=True):
    """A host's VMs, and what their figures were made of."""

    sample: HostSample
    """Of the domains that are shown."""
    rows: tuple[Row, ...]
    """One for each domain of the sample, in its order."""
    earlier: Mapping[str, DomainSample]
    """The domains of an earlier sample by UUID; empty where there is none."""
    metrics: frozenset[str] = frozenset()
    """Names of the metrics that the configuration shows: what these say may be shown too."""


def overview(
    sample: HostSample,
    before: HostSample | None,
    metrics: frozenset[str] = frozenset(),
    *,
    pause: Callable[[], None] = lambda: None,
) -> Overview:
    """The overview of a sample; `pause` is called after each VM, and may let others go first."""
    earlier = {} if before is None else {domain.uuid: domain for domain in before.domains}
    rows = []
    for domain in sample.domains:
        rows.append(row(domain, earlier.get(domain.uuid), metrics))
        pause()
    return Overview(sample, tuple(rows), earlier, metrics)


def row(domain: DomainSample, earlier: DomainSample | None, metrics: Container[str] = ()) -> Row:
    """The figures of one domain; `earlier` is an earlier sample of it, for what is per second.

    `metrics`: as in `Overview`.
    """
    stats, info = domain.stats, domain.info
    cpu = rate(domain, earlier, ["cpu.time"])
    vcpus = _integer(stats, "vcpu.current")
    memory = _integer(stats, "balloon.current", 1024)
    maximum = _integer(stats, "balloon.maximum", 1024)
    if info is not None:
        vcpus = info.vcpus_current if vcpus is None else vcpus
        memory = info.memory_current if memory is None else memory
        maximum = info.memory_maximum if maximum is None else maximum
    stuck = _integer(stats, "monitor.stuck.time")
    return Row(
        name=domain.name,
        state=domain.state,
        reason=domain.reason,
        vcpus=vcpus,
        cpu=None if cpu is None else cpu / 1e9,
        rss=_integer(stats, "balloon.rss", 1024),
        memory=memory,
        memory_maximum=maximum,
        disk=rate(domain, earlier, _keys(devices(stats, "block"), ("rd.bytes", "wr.bytes"), stats)),
        net=rate(domain, earlier, _keys(devices(stats, "net"), ("rx.bytes", "tx.bytes"), stats)),
        used=_used(stats),
        stuck=None if stuck is None else stuck / 1e9,
        missing=domain.missing_groups,
        uuid=domain.uuid,
        alias=_alias(domain) if NAMES_INSTANCES in metrics else "",
    )


def _alias(domain: DomainSample) -> str:
    nova = domain.info.openstack if domain.info is not None else None
    return nova.instance_name if nova is not None and nova.instance_name != domain.name else ""


def devices(stats: Stats, kind: str) -> dict[str, str]:
    """Every device under `<kind>.<num>.`: its name to the prefix of its keys.

    Without the lower images of a chain, which have the name of their disk, the top one first.
    """
    first: dict[str, str] = {}
    for key, value in stats.items():
        if key.startswith(f"{kind}.") and key.endswith(".name"):
            first.setdefault(str(value), key.removesuffix("name"))
    return first


def rate(domain: DomainSample, earlier: DomainSample | None, keys: Sequence[str]) -> float | None:
    """How fast the sum of the counters grows per second; None when that cannot be told."""
    if earlier is None or earlier.timestamp >= domain.timestamp:
        return None
    differences = []
    for key in keys:
        before, now = _integer(earlier.stats, key), _integer(domain.stats, key)
        if before is None or now is None or now < before:
            return None
        differences.append(now - before)
    return sum(differences) / (domain.timestamp - earlier.timestamp) if differences else None


def _keys(found: Mapping[str, str], figures: Sequence[str], stats: Stats) -> list[str]:
    keys = [prefix + figure for prefix in found.values() for figure in figures]
    return [key for key in keys if key in stats]


def _used(stats: Stats) -> int | None:
    """As the recording rule domain:libvirt_memory_used:bytes has it."""
    available = _integer(stats, "balloon.available", 1024)
    free = _integer(stats, "balloon.usable", 1024)
    if free is None and (unused := _integer(stats, "balloon.unused", 1024)) is not None:
        free = unused + (_integer(stats, "balloon.disk_caches", 1024) or 0)
    return None if available is None or free is None else max(available - free, 0)


def _integer(stats: Stats, key: str, factor: int = 1) -> int | None:
    value = stats.get(key)
    return value * factor if isinstance(value, int) else None
