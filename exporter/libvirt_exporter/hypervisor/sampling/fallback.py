"""The groups that a driver does not answer in bulk: asked of one domain after the other."""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic, time

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.drivers import DriverFallback
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import walk
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.sources import SourceFailures
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)


class FallbackMemory:
    """What one sample's walk leaves for the next one."""

    def __init__(self, connections: Connections) -> None:
        self.answered_at: dict[str, float] = {}
        """When each domain answered last (time.monotonic): who waits longest comes first."""
        self.failures = SourceFailures(connections.observer)
        self.blocked = Blocked(connections)
        """Domains at which a walk is stuck."""

    def forget(self, uuids: Collection[str]) -> None:
        """These domains no longer exist."""
        for uuid in uuids:
            self.answered_at.pop(uuid, None)


class FallbackPhase:
    """Asks the active domains as long as there is time, and leaves out those that block."""

    def __init__(
        self,
        connections: Connections,
        draft: HostDraft,
        locked: Blocked,
        fallback: DriverFallback,
        inventory: Inventory,
        memory: FallbackMemory,
    ) -> None:
        """`locked`: domains not to be touched at all. `inventory` names the domains' devices."""
        self._connections = connections
        self._draft = draft
        self._locked = locked
        self._fallback = fallback
        self._inventory = inventory
        self._memory = memory
        self._groups = fallback.groups & draft.groups

    async def run(self) -> None:
        """Ask each domain, those first that were not reached the last time."""
        draft, memory = self._draft, self._memory
        started, timestamp = monotonic(), time()
        memory.blocked.renew()
        order = sorted(
            (
                domain.uuid
                for domain in draft.active()
                if domain.uuid not in self._locked and domain.uuid not in memory.blocked
            ),
            key=lambda uuid: memory.answered_at.get(uuid, 0.0),
        )
        try:
            result = await walk(
                self._connections,
                "fallback",
                "per-domain statistics",
                order,
                self._visit,
                deadline=draft.deadline,
                patience=draft.budget / 4,
            )
        except CallError as error:
            log.debug("per-domain statistics failed: %s", error)
            return
        draft.spent(self._groups, monotonic() - started)
        for uuid, failure in result.failures.items():
            words = f"domain {draft.domains[uuid].name} ({uuid})"
            if isinstance(failure, CallError):
                log.debug("%s: no per-domain statistics: %s", words, failure)
            else:
                memory.failures.failed(self._fallback, uuid, words, failure)
        memory.failures.works(self._fallback, result.answers)
        for uuid, stats in result.answers.items():
            domain = draft.domains[uuid]
            domain.fallback = stats
            # Without the XML nobody knows which devices to ask for.
            known = self._inventory.get(uuid) is not None
            domain.missing -= self._groups if known else self._groups - {"block", "interface"}
            domain.timestamp = timestamp
            memory.answered_at[uuid] = started
        memory.blocked.add(result.blocked)
        for uuid in memory.blocked:
            if uuid in draft.domains:
                draft.domains[uuid].excused = True

    def _visit(self, session: Session, uuid: str) -> Stats:
        return self._fallback.stats(
            session.domain(uuid),
            self._groups,
            self._inventory.get(uuid),
            self._draft.domains[uuid].state,
        )
