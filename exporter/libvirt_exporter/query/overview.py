"""The VMs of a host at a glance: state and figures of each, from two samples."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from libvirt_exporter.model import DomainSample, HostSample, Stats
from libvirt_exporter.query.fields.field import number
from libvirt_exporter.query.fields.figures import memory_in_use
from libvirt_exporter.query.fields.rates import elapsed, increases, numbers, same_run

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
    if before is None or sample.clock_was_set_since(before):
        earlier = {}
    else:
        earlier = {domain.uuid: domain for domain in before.domains}
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
    vcpus = number(stats, "vcpu.current")
    memory = _bytes(stats, "balloon.current")
    maximum = _bytes(stats, "balloon.maximum")
    if info is not None:
        vcpus = info.vcpus_current if vcpus is None else vcpus
        memory = info.memory_current if memory is None else memory
        maximum = info.memory_maximum if maximum is None else maximum
    stuck = number(stats, "monitor.stuck.time")
    return Row(
        name=domain.name,
        state=domain.state,
        reason=domain.reason,
        vcpus=vcpus,
        cpu=None if cpu is None else cpu / 1e9,
        rss=_bytes(stats, "balloon.rss"),
        memory=memory,
        memory_maximum=maximum,
        disk=rate(domain, earlier, _keys(devices(stats, "block"), ("rd.bytes", "wr.bytes"), stats)),
        net=rate(
            domain,
            earlier,
            _keys(devices(stats, "net"), ("rx.bytes", "tx.bytes"), stats),
            monitor=False,
        ),
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


def rate(
    domain: DomainSample,
    earlier: DomainSample | None,
    keys: Sequence[str],
    *,
    monitor: bool = True,
) -> float | None:
    """How fast the sum of the counters grows per second; None when that cannot be told.

    `monitor`: whether telling them takes QEMU's monitor, as in `interval`.
    """
    if earlier is None or not same_run(earlier, domain):
        return None
    seconds = elapsed(earlier, domain, monitor=monitor)
    if seconds <= 0:
        return None
    grown = increases(numbers(domain.stats, keys), numbers(earlier.stats, keys))
    known = [growth for growth in grown if growth is not None]
    if not known or len(known) < len(grown):
        return None
    return sum(known) / seconds


def _keys(found: Mapping[str, str], figures: Sequence[str], stats: Stats) -> list[str]:
    keys = [prefix + figure for prefix in found.values() for figure in figures]
    return [key for key in keys if key in stats]


def _used(stats: Stats) -> int | None:
    """As the recording rule domain:libvirt_memory_used:bytes has it."""
    used = memory_in_use(stats) if number(stats, "balloon.available") else None
    return None if used is None else used * 1024


def _bytes(stats: Stats, key: str) -> int | None:
    kibibytes = number(stats, key)
    return None if kibibytes is None else kibibytes * 1024
