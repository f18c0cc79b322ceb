"""The lane `numa`: which NUMA nodes of the host run the vCPUs of each NUMA node of a guest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.domains.xml_values import integer
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sources.object_lane import xml_root
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import DomainInfo, NumaCell, Stats

LOOK_AGAIN: Final = 60.0
"""Seconds for which a reading stands: threads move about, but seldom to another node."""
STALE: Final = 2 * LOOK_AGAIN
"""Seconds after which a reading is not shown any more."""


@dataclass(frozen=True)
class _Reading:
    at: float
    """time.monotonic."""
    stats: Stats


class NumaLane(WalkingLane):
    """Gives `numa.<num>.node.<index>`, true: vCPUs of the guest's node <num> run on <index>.

    Where no domain has NUMA cells in its XML, no call is made. `vcpus` (9.0) needs neither the
    domain's job nor its monitor, but reads /proc for each vCPU.
    """

    name = "numa"
    knows_domains = True
    # They wait for the domain's lock only; but whether to ask takes the XML, which the sample has
    # read of new domains by then.
    asks_monitors = True

    def __init__(
        self, connections: Connections, *, info: Callable[[str], DomainInfo | None]
    ) -> None:
        """`info`: what is known of the XML of a UUID."""
        super().__init__(connections)
        self._info = info
        self._readings: dict[str, _Reading] = {}

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask those with NUMA cells that have not been asked lately."""
        now = monotonic()
        present = {domain.uuid: domain for domain in domains if domain.active}
        cells = {
            uuid: info.numa_cells
            for uuid in present
            if (info := self._info(uuid)) is not None and info.numa_cells
        }
        self._readings = {uuid: old for uuid, old in self._readings.items() if uuid in cells}
        due = [
            uuid
            for uuid in cells
            if present[uuid].wants(self.name)
            if (old := self._readings.get(uuid)) is None or now - old.at >= LOOK_AGAIN
        ]
        if not due:
            return
        nodes = await self.ask("getCapabilities", numa_nodes, deadline)

        def visit(session: Session, uuid: str) -> Stats:
            return placement(session.domain(uuid), cells[uuid], nodes)

        result = await self.visit("vcpus", due, visit, deadline)
        for uuid in result.answers.keys() | result.failures:
            self._readings[uuid] = _Reading(now, result.answers.get(uuid, NOTHING))

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """Where the domain ran when it was last looked at; nothing where that was too long ago."""
        reading = self._readings.get(domain.uuid) if domain.active else None
        if reading is None or monotonic() - reading.at > STALE:
            return NOTHING
        return reading.stats


def numa_nodes(session: Session) -> Mapping[int, int]:
    """The host's NUMA node of each of its CPUs, asked once in a connection's life.

    Empty where the driver does not tell. Runs on the connection's thread. Raises
    libvirt.libvirtError, or CallError.
    """
    if session.numa_nodes is None:
        told = session.if_supported("getCapabilities", session.conn.getCapabilities)
        capabilities = told or "<capabilities/>"
        topology = xml_root(capabilities).find("host/topology")
        cells = () if topology is None else topology.iterfind("cells/cell")
        session.numa_nodes = {
            cpu: node
            for cell in cells
            if (node := integer(cell.get("id"))) is not None
            for element in cell.iterfind("cpus/cpu")
            if (cpu := integer(element.get("id"))) is not None
        }
    return session.numa_nodes


def placement(
    domain: libvirt.virDomain, cells: Iterable[NumaCell], nodes: Mapping[int, int]
) -> Stats:
    """The nodes that run a domain's cells as `numa.<num>.node.<index>`, ascending.

    `nodes`: as `numa_nodes` has them; a vCPU that is offline, or on none of these CPUs, counts
    nowhere. Runs on the connection's thread. Raises libvirt.libvirtError.
    """
    vcpus: Any = domain.vcpus()[0]  # annotated as something else
    on = {vcpu: nodes[cpu] for vcpu, _state, _time, cpu in vcpus if cpu in nodes}
    return {
        f"numa.{cell.id}.node.{node}": True
        for cell in cells
        for node in sorted({on[vcpu] for vcpu in cell.cpus if vcpu in on})
    }
