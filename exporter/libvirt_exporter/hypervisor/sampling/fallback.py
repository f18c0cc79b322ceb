"""The groups that a driver does not answer in bulk: asked of one domain after the other."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.drivers import DriverFallback
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import walk
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.phase import Phase
from libvirt_exporter.hypervisor.sampling.request import STATE
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)

CALL: Final = "per-domain statistics"


class FallbackMemory:
    """What one sample's walk leaves for the next one."""

    def __init__(self, connections: Connections) -> None:
        self.answered_at: dict[str, float] = {}
        """When each domain answered last (time.monotonic): who waits longest comes first."""
        self.blocked = Blocked(connections)
        """Domains at which a walk is stuck."""

    def forget(self, uuids: Collection[str]) -> None:
        """These domains no longer exist."""
        for uuid in uuids:
            self.answered_at.pop(uuid, None)


@dataclass(eq=False)
class FallbackPhase(Phase):
    """Asks the active domains as long as there is time, and leaves out those that block."""

    fallback: DriverFallback
    inventory: Inventory
    """Names the domains' devices."""
    memory: FallbackMemory

    async def run(self) -> None:
        """Ask each domain, those first that were not reached the last time."""
        draft, memory = self.draft, self.memory
        groups = self.fallback.groups & draft.groups
        started, timestamp = monotonic(), time()
        memory.blocked.renew()
        order = sorted(
            (
                domain.uuid
                for domain in draft.active()
                if domain.uuid not in self.locked
                and domain.uuid not in memory.blocked
                and (groups & domain.groups) - STATE
            ),
            key=lambda uuid: memory.answered_at.get(uuid, 0.0),
        )

        def visit(session: Session, uuid: str) -> Stats:
            wanted = draft.domains[uuid]
            return self.fallback.stats(
                session.domain(uuid),
                groups & wanted.groups,
                self.inventory.get(uuid),
                wanted.state,
            )

        try:
            result = await walk(
                self.connections,
                "fallback",
                CALL,
                order,
                visit,
                deadline=draft.deadline,
                patience=draft.budget / 4,
            )
        except CallError as error:
            log.debug("per-domain statistics failed: %s", error)
            return
        draft.spent(groups, monotonic() - started)
        self.report(CALL, result)
        for uuid, stats in result.answers.items():
            domain = draft.domains[uuid]
            domain.fallback = stats
            # Without the XML nobody knows which devices to ask for.
            known = self.inventory.get(uuid) is not None
            domain.missing -= groups if known else groups - {"block", "interface"}
            if not domain.monitor:
                domain.timestamp = timestamp
            if "net.count" in stats or not domain.no_monitor:
                domain.without_monitor_at = timestamp
            memory.answered_at[uuid] = started
        memory.blocked.add(result.blocked)
        for uuid in memory.blocked:
            if uuid in draft.domains:
                draft.domains[uuid].excused = True
