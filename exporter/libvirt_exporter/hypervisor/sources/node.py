"""The host itself: CPUs, their topology and times, memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import Stats, StatValue

_ALL_CPUS: Final = libvirt.VIR_NODE_CPU_STATS_ALL_CPUS
_ALL_CELLS: Final = libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS


class NodeLane(WalkingLane):
    """Knows `node.*`."""

    name = "node"

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._stats: Stats = {}

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        self._stats = await self.ask("node statistics", node_stats, deadline)

    def host_stats(self) -> Stats:
        return self._stats


def node_stats(session: Session) -> Stats:
    """CPU times in ns, memory in KiB, the frequency in Hz; without what the driver does not have.

    Source: virNodeGetInfo, virNodeGetCPUStats, virNodeGetMemoryStats. Raises
    libvirt.libvirtError.
    """
    conn: Any = session.conn  # libvirt-python (12.8) annotates structures as str
    _, mebibytes, cpus, megahertz, nodes, sockets, cores, threads = conn.getInfo()
    stats: dict[str, StatValue] = {
        "node.cpus": cpus,
        "node.numa.nodes": nodes,
        "node.topology.sockets": sockets,
        "node.topology.cores": cores,
        "node.topology.threads": threads,
    }
    if megahertz:
        stats["node.cpu.frequency"] = megahertz * 10**6
    cpu_times = session.if_supported("CPUStats", lambda: conn.getCPUStats(_ALL_CPUS))
    for mode, nanoseconds in (cpu_times or {}).items():
        if mode != libvirt.VIR_NODE_CPU_STATS_UTILIZATION:  # a percentage
            stats[f"node.cpu.{mode}.time"] = nanoseconds
    memory = {"total": mebibytes * 1024}
    memory |= session.if_supported("MemoryStats", lambda: conn.getMemoryStats(_ALL_CELLS)) or {}
    return stats | {f"node.memory.{kind}": kibibytes for kind, kibibytes in memory.items()}
