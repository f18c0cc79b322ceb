"""Statistics asked per domain, for drivers whose bulk call does not answer all common groups.

Only the QEMU driver answers every group in bulk. Here the same figures are taken from the older
per-domain calls and put under the keys, and in the units, of `virConnectGetAllDomainStats`, so
that nothing behind the sampler needs a second vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.errors import ErrorClass, SupportedCalls, classify
from libvirt_exporter.model import Disk, DomainInfo, Interface, StatValue

log = logging.getLogger(__name__)

GROUP_BITS: Final = {
    "state": libvirt.VIR_DOMAIN_STATS_STATE,
    "cpu-total": libvirt.VIR_DOMAIN_STATS_CPU_TOTAL,
    "balloon": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "vcpu": libvirt.VIR_DOMAIN_STATS_VCPU,
    "interface": libvirt.VIR_DOMAIN_STATS_INTERFACE,
    "block": libvirt.VIR_DOMAIN_STATS_BLOCK,
}
"""The groups that per-domain calls can answer, with their bit in the bulk call."""

# No domain is both active and shut off: the call only says whether it knows the group.
_CAPABILITY_ONLY: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_SHUTOFF
)

_ENDED: Final = frozenset({libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID})
_BEYOND_DEVICE: Final = _ENDED | {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_OPERATION_DENIED,
    libvirt.VIR_ERR_ACCESS_DENIED,
}
_CONNECTION: Final = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})

_MEMORY_KEYS: Final[Mapping[str, str | None]] = {
    "actual": "balloon.current",
    "last_update": "balloon.last-update",
}
# What the same words of memoryStats mean elsewhere; None: nothing that has a key.
_MEMORY_KEYS_OF_DRIVER: Final[Mapping[str, Mapping[str, str | None]]] = {
    # lxcDomainMemoryStats: memory and swap in use, of the control group; both rise and fall.
    "LXC": {"swap_in": "container.memory_and_swap"},
    # libxlDomainMemoryStats: the memory that the XML gives, not the guest's MemTotal.
    "Xen": {"available": None},
    # bhyveDomainMemoryStats: likewise.
    "BHYVE": {"available": None},
    # testDomainMemoryStats: a moment of 1989, so that its figures would seem to be old.
    "TEST": {"last_update": None},
}
_BLOCK_KEYS: Final = {
    libvirt.VIR_DOMAIN_BLOCK_STATS_READ_REQ: "rd.reqs",
    libvirt.VIR_DOMAIN_BLOCK_STATS_READ_BYTES: "rd.bytes",
    libvirt.VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES: "rd.times",
    libvirt.VIR_DOMAIN_BLOCK_STATS_WRITE_REQ: "wr.reqs",
    libvirt.VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES: "wr.bytes",
    libvirt.VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES: "wr.times",
    libvirt.VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ: "fl.reqs",
    libvirt.VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES: "fl.times",
    libvirt.VIR_DOMAIN_BLOCK_STATS_ERRS: "errors",
}
_BLOCK_STRUCT: Final = ("rd.reqs", "rd.bytes", "wr.reqs", "wr.bytes", "errors")
_INTERFACE_STRUCT: Final = tuple(
    f"{direction}.{figure}"
    for direction in ("rx", "tx")
    for figure in ("bytes", "pkts", "errs", "drop")
)
_LOCAL_SOURCES: Final = frozenset({"file", "block", "dir"})


def needs_fallback(conn: libvirt.virConnect) -> frozenset[str]:
    """Groups that this connection's driver does not answer in bulk.

    Asks no domain anything. `state` among them means that there is no bulk call at all.
    Raises libvirt.libvirtError when the connection fails.
    """
    if conn.getType() == "QEMU":
        return frozenset()
    return frozenset(group for group, bit in GROUP_BITS.items() if not _in_bulk(conn, bit))


def _in_bulk(conn: libvirt.virConnect, bit: int) -> bool:
    try:
        conn.getAllDomainStats(bit, _CAPABILITY_ONLY)
    except libvirt.libvirtError as error:
        # INVALID_ARG: the driver knows the call but not these flags, so it cannot tell.
        unknown = error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
        if unknown or classify(error) is ErrorClass.UNSUPPORTED:
            return False
        raise
    return True


def state_stats(domain: libvirt.virDomain) -> dict[str, StatValue]:
    """`state.state` and `state.reason` as the bulk call gives them. Never blocks on a guest."""
    answer: Any = domain.state()  # libvirt-python (12.8) annotates structures as str
    return {"state.state": answer[0], "state.reason": answer[1]}


class DriverFallback:
    """Per-domain statistics of one connection, remembering which calls its driver lacks.

    Holds no connection and may be used from several threads at once.
    """

    def __init__(self, groups: frozenset[str], driver: str) -> None:
        """`groups`: what the bulk call does not answer, from `needs_fallback`.

        `driver`: virConnectGetType; the same word of two drivers need not mean the same.
        """
        self.groups = groups
        self._memory_keys = {**_MEMORY_KEYS, **_MEMORY_KEYS_OF_DRIVER.get(driver, {})}
        # lxcDomainGetInfo answers what the container uses, or 0 where it cannot tell.
        self._info_has_memory = driver != "LXC"
        self._calls = SupportedCalls()

    def stats(
        self,
        domain: libvirt.virDomain,
        groups: Collection[str],
        info: DomainInfo | None,
        already: Container[str] = (),
    ) -> dict[str, StatValue]:
        """Statistics of one domain by bulk key, except the keys in `already`.

        `info` names the devices; without it `block` and `interface` stay empty. An inactive
        domain has its configured memory and vCPU count only. A device that fails is left out;
        a domain that ends during the calls has what it answered before. Any other
        libvirt.libvirtError is raised.
        """
        wanted = self.groups.intersection(groups)
        found: dict[str, StatValue] = {}
        if not wanted:
            return found
        try:
            for key, value in self._gather(domain, wanted, info):
                if key not in already:
                    found[key] = value
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _ENDED:
                raise
        return found

    def _gather(
        self, domain: libvirt.virDomain, groups: frozenset[str], info: DomainInfo | None
    ) -> Iterator[tuple[str, StatValue]]:
        if "state" in groups:
            yield from state_stats(domain).items()
        active = bool(domain.isActive())
        if not groups.isdisjoint(("cpu-total", "balloon", "vcpu")):
            facts: Any = domain.info()
            _, memory_maximum, memory, vcpus, cpu_time = facts
            if "cpu-total" in groups and active:
                yield from self._cpu(domain, cpu_time)
            if "balloon" in groups:
                if self._info_has_memory or not active:
                    yield "balloon.current", memory
                yield "balloon.maximum", memory_maximum
                if active:
                    yield from self._memory(domain)
            if "vcpu" in groups:
                yield "vcpu.current", vcpus
                yield from self._vcpus(domain, active)
        if info is not None and active:
            if "interface" in groups:
                yield from self._interfaces(domain, info.interfaces)
            if "block" in groups:
                yield from self._disks(domain, info.disks)

    def _cpu(self, domain: libvirt.virDomain, cpu_time: int) -> Iterator[tuple[str, StatValue]]:
        if cpu_time > 0:  # drivers without the figure (ESX, VMware) answer 0
            yield "cpu.time", cpu_time
        # Not its cpu_time: that one stands still in the test driver (9.0), info() moves.
        for totals in self._ask(domain, "getCPUStats", True) or ():
            for name in ("user", "system"):
                if f"{name}_time" in totals:
                    yield f"cpu.{name}", totals[f"{name}_time"]

    def _memory(self, domain: libvirt.virDomain) -> Iterator[tuple[str, StatValue]]:
        for name, value in (self._ask(domain, "memoryStats") or {}).items():
            key = self._memory_keys.get(name, f"balloon.{name}")
            if key is not None and value >= 0:
                yield key, value

    def _vcpus(self, domain: libvirt.virDomain, active: bool) -> Iterator[tuple[str, StatValue]]:
        maximum = self._ask(domain, "vcpusFlags", libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
        if maximum is not None:
            yield "vcpu.maximum", maximum
        vcpus, _ = (self._ask(domain, "vcpus") if active else None) or ((), ())
        for number, state, time, _ in vcpus:
            # The test driver (9.0) fills the gaps of sparse vCPU numbers with zeros.
            if state != libvirt.VIR_VCPU_OFFLINE:
                yield f"vcpu.{number}.state", state
                yield f"vcpu.{number}.time", time

    def _interfaces(
        self, domain: libvirt.virDomain, interfaces: Sequence[Interface]
    ) -> Iterator[tuple[str, StatValue]]:
        yield "net.count", len(interfaces)
        for index, interface in enumerate(interfaces):
            if not interface.has_target:
                continue
            prefix = f"net.{index}"
            yield f"{prefix}.name", interface.device
            counters = self._ask_device(domain, "interfaceStats", interface.device)
            yield from _known(prefix, zip(_INTERFACE_STRUCT, counters or (), strict=False))

    def _disks(
        self, domain: libvirt.virDomain, disks: Sequence[Disk]
    ) -> Iterator[tuple[str, StatValue]]:
        yield "block.count", len(disks)
        for index, disk in enumerate(disks):
            prefix = f"block.{index}"
            yield f"{prefix}.name", disk.device
            if disk.source and disk.source_type in _LOCAL_SOURCES:
                yield f"{prefix}.path", disk.source
            yield from _known(prefix, self._disk_counters(domain, disk.device))
            sizes = self._ask_device(domain, "blockInfo", disk.device)
            if sizes is not None:
                capacity, allocation, physical = sizes
                yield f"{prefix}.allocation", allocation
                for name, size in (("capacity", capacity), ("physical", physical)):
                    if size:  # 0 is unknown, and absent in bulk too
                        yield f"{prefix}.{name}", size

    def _disk_counters(self, domain: libvirt.virDomain, device: str) -> Iterator[tuple[str, int]]:
        named = self._ask_device(domain, "blockStatsFlags", device)
        if named is not None:
            yield from ((_BLOCK_KEYS[name], named[name]) for name in _BLOCK_KEYS if name in named)
            return
        yield from zip(
            _BLOCK_STRUCT, self._ask_device(domain, "blockStats", device) or (), strict=False
        )

    def _ask(self, domain: libvirt.virDomain, call: str, *arguments: object) -> Any:
        """One call's answer; None where the driver, or this domain, has none."""
        try:
            return self._calls.ask(call, lambda: getattr(domain, call)(*arguments), differs=True)
        except libvirt.libvirtError as error:
            # LXC answers OPERATION_INVALID also where a cgroup controller is not mounted.
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and domain.isActive():
                return None
            raise

    def _ask_device(self, domain: libvirt.virDomain, call: str, device: str) -> Any:
        """As `_ask`, and None too where only this device fails."""
        try:
            return self._ask(domain, call, device)
        except libvirt.libvirtError as error:
            if error.get_error_domain() in _CONNECTION or error.get_error_code() in _BEYOND_DEVICE:
                raise
            log.debug("%s of %s on domain %s failed: %s", call, device, domain.name(), error)
            return None


def _known(prefix: str, counters: Iterator[tuple[str, int]]) -> Iterator[tuple[str, StatValue]]:
    """The counters under their full keys; libvirt's -1 means that the driver has no such figure."""
    return ((f"{prefix}.{name}", value) for name, value in counters if value >= 0)
