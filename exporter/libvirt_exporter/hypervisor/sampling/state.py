"""The state of all domains: the part of a sample that answers first, and makes a host count as up.

It never waits for a QEMU, only for a domain's lock.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from time import time
from typing import Final, NamedTuple

import libvirt

from libvirt_exporter.hypervisor.connection.drivers import state_stats
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.facts import DriverFacts, read_facts
from libvirt_exporter.hypervisor.connection.pool import Connection
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, walk
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.phase import Phase
from libvirt_exporter.model import Stats

_ACTIVE_STATES: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)

Row = tuple[str, str, bool, Stats]
"""UUID, name, whether active, `state.*`."""


class Listing(NamedTuple):
    """The domains of a host."""

    facts: DriverFacts
    rows: list[Row]
    complete: bool = True
    """Whether these are all that libvirt has, not those known before."""


@dataclass
class StateMemory:
    """What one sample's listing leaves for the next one."""

    names: dict[str, str] = field(default_factory=dict)
    """All domains, UUID to name."""
    seconds: float = 0.0
    """How long it took."""
    late: Connection | None = None
    """The connection of the last call for all that was late."""


@dataclass(eq=False)
class StatePhase(Phase):
    """Lists the domains with their states; sets `up`, or `error`, of the draft."""

    memory: StateMemory

    async def run(self) -> None:
        """Ask all at once, or one by one while a domain's lock is held."""
        draft, memory = self.draft, self.memory
        self.locked.renew()
        for attempt in itertools.count(1):
            timestamp = time()
            try:
                late = memory.late is not None and self.connections.budget.is_stuck(memory.late)
                listing = await (self._each() if self.locked or late else self._all())
            except NoAnswerError:
                draft.error = f"libvirt did not answer within {draft.duration:.1f} s"
            except CallError as error:
                # A daemon that was restarted since the last sample: the next call reconnects.
                if error.error_class is ErrorClass.DISCONNECTED and attempt == 1:
                    continue
                draft.error, draft.error_code = str(error), error.code
            else:
                self._take(listing, timestamp)
                draft.up, draft.error, draft.error_code = True, "", 0
                memory.seconds = draft.duration
                draft.spent(("state",), memory.seconds)
            return

    async def _all(self) -> Listing:
        patience = max(2 * self.draft.look, 3 * self.memory.seconds)
        return await self.ask_around(
            "state",
            "getAllDomainStats",
            read_states,
            patience=patience,
            others=self._others if self.memory.names else None,
        )

    async def _others(self, late: Connection) -> Listing:
        self.memory.late = late
        return await self._each()

    async def _each(self) -> Listing:
        """Ask the domains known from the last sample one by one, around those that block."""
        names, deadline = self.memory.names, self.draft.deadline
        facts = await self.connections.ask("state", "getType", facts_of, deadline)
        result = await walk(
            self.connections,
            "state",
            "state",
            [uuid for uuid in names if uuid not in self.locked],
            visit_state,
            deadline=deadline,
            patience=self.draft.look,
            may_block=min(self.connections.budget.limit - len(self.locked), BLOCKED_LIMIT),
            always=True,
        )
        self.locked.add(result.blocked)
        self.report("state", result)
        gone = {
            uuid
            for uuid, failure in result.failures.items()
            if isinstance(failure, CallError) and failure.error_class is ErrorClass.GONE
        }
        rows: list[Row] = [(uuid, names[uuid], *row) for uuid, row in result.answers.items()]
        # Whoever could not be asked is still there, for all that is known.
        rows += [
            (uuid, name, True, {})
            for uuid, name in names.items()
            if uuid not in result.answers and uuid not in gone
        ]
        if not result.answers:
            # A call that needs no domain tells a host of locked ones from a frozen daemon.
            await self.connections.ask(
                "state", "getLibVersion", lambda session: session.conn.getLibVersion(), deadline
            )
        return Listing(facts, rows, complete=False)

    def _take(self, listing: Listing, timestamp: float) -> None:
        draft = self.draft
        draft.facts, draft.listed = listing.facts, listing.complete
        draft.domains = {
            uuid: DomainDraft(uuid, name, active=active, state=state, timestamp=timestamp)
            for uuid, name, active, state in listing.rows
        }
        for uuid in self.locked:
            if uuid in draft.domains:
                draft.domains[uuid].excused = True


def facts_of(session: Session) -> DriverFacts:
    """The connection's facts, read once for each connection."""
    if session.facts is None:
        session.facts = read_facts(session.conn)
    return session.facts


def read_states(session: Session) -> Listing:
    """Facts of the connection, and every domain with its state."""
    facts = facts_of(session)
    if "state" in facts.fallback.groups:
        records = [(domain, state_stats(domain)) for domain in session.conn.listAllDomains()]
    else:
        records = session.conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    return Listing(
        facts,
        [
            (domain.UUIDString(), domain.name(), _is_active(domain, stats), stats)
            for domain, stats in records
        ],
    )


def _is_active(domain: libvirt.virDomain, stats: Stats) -> bool:
    state = stats.get("state.state")
    if state in _ACTIVE_STATES:
        return True
    return state != libvirt.VIR_DOMAIN_SHUTOFF and domain.ID() >= 0


def visit_state(session: Session, uuid: str) -> tuple[bool, Stats]:
    """Whether a domain is active, and its `state.*`. Waits for its lock only."""
    domain = session.domain(uuid)
    return bool(domain.isActive()), state_stats(domain)
