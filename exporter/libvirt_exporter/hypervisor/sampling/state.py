"""The state of all domains: the part of a sample that answers first, and makes a host count as up.

It never waits for a QEMU, only for a domain's lock. Where nothing speaks against it the statistics
of interfaces come in the same call, which spares libvirt and us a pass over all domains.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final, NamedTuple

import libvirt

from libvirt_exporter.hypervisor.connection.drivers import state_stats
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.facts import DriverFacts, read_facts
from libvirt_exporter.hypervisor.connection.pool import Connection
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, walk
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sampling.phase import Phase
from libvirt_exporter.model import Stats

_STATE: Final = libvirt.VIR_DOMAIN_STATS_STATE
_STATE_AND_INTERFACE: Final = _STATE | libvirt.VIR_DOMAIN_STATS_INTERFACE
_ACTIVE_STATES: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)

APART_FOR: Final = 600.0
"""Seconds for which interfaces are asked for apart after a call for both failed or was slow."""
INTERFACE: Final = "interface"

Row = tuple[str, str, bool, Stats, Stats]
"""UUID, name, whether active, `state.*`, `net.*`."""


class Listing(NamedTuple):
    """The domains of a host."""

    facts: DriverFacts
    rows: list[Row]
    complete: bool = True
    """Whether these are all that libvirt has, not those known before."""
    interfaces: bool = False
    """Whether the rows have the statistics of interfaces."""


@dataclass
class StateMemory:
    """What one sample's listing leaves for the next one."""

    names: dict[str, str] = field(default_factory=dict)
    """All domains, UUID to name."""
    seconds: float = 0.0
    """How long it took."""
    late: Connection | None = None
    """The connection of the last call for all that was late."""
    apart_until: float = 0.0
    """Time (monotonic) until which interfaces are not asked for with the states."""


@dataclass(eq=False)
class StatePhase(Phase):
    """Lists the domains with their states; sets `up`, or `error`, of the draft."""

    memory: StateMemory
    interfaces: bool = False
    """Whether those of all domains are wanted, and none is known whose interfaces block."""

    async def run(self) -> None:
        """Ask all at once, or one by one while a domain's lock is held."""
        draft, memory = self.draft, self.memory
        self.locked.renew()
        if monotonic() < memory.apart_until:
            self.interfaces = False
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
                if self.interfaces and error.error_class is not ErrorClass.DISCONNECTED:
                    self._ask_apart()
                    continue
                draft.error, draft.error_code = str(error), error.code
            else:
                self._take(listing, timestamp)
                draft.up, draft.error, draft.error_code = True, "", 0
                memory.seconds = draft.duration
                draft.spent(
                    ("state", INTERFACE) if draft.has_interfaces else ("state",), memory.seconds
                )
                if draft.has_interfaces and memory.seconds > draft.look:
                    self._ask_apart()
            return

    def _ask_apart(self) -> None:
        self.interfaces, self.memory.apart_until = False, monotonic() + APART_FOR

    async def _all(self) -> Listing:
        patience = max(2 * self.draft.look, 3 * self.memory.seconds)
        return await self.ask_around(
            "state",
            "getAllDomainStats",
            functools.partial(read_states, interfaces=self.interfaces),
            patience=patience,
            others=self._others if self.memory.names else None,
        )

    async def _others(self, late: Connection) -> Listing:
        self.memory.late = late
        self._ask_apart()
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
        rows: list[Row] = [
            (uuid, names[uuid], *row, NOTHING) for uuid, row in result.answers.items()
        ]
        # Whoever could not be asked is still there, for all that is known.
        rows += [
            (uuid, name, True, NOTHING, NOTHING)
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
        draft.has_interfaces = listing.interfaces
        for uuid, name, active, state, interfaces in listing.rows:
            domain = DomainDraft(uuid, name, active=active, state=state, timestamp=timestamp)
            domain.no_monitor = interfaces
            draft.domains[uuid] = domain
        for uuid in self.locked:
            if uuid in draft.domains:
                draft.domains[uuid].excused = True


def facts_of(session: Session) -> DriverFacts:
    """The connection's facts, read once for each connection."""
    if session.facts is None:
        session.facts = read_facts(session.conn)
    return session.facts


def read_states(session: Session, *, interfaces: bool = False) -> Listing:
    """Facts of the connection, and every domain with its state, and its interfaces on request."""
    facts = facts_of(session)
    if "state" in facts.fallback.groups:
        records = [(domain, state_stats(domain)) for domain in session.conn.listAllDomains()]
    else:
        records = session.conn.getAllDomainStats(_STATE_AND_INTERFACE if interfaces else _STATE)
    return Listing(
        facts,
        [
            (domain.UUIDString(), domain.name(), _is_active(domain, stats), *_apart(stats))
            for domain, stats in records
        ],
        interfaces=interfaces,
    )


def _apart(stats: Stats) -> tuple[Stats, Stats]:
    """`state.*`, and the rest."""
    rest = {key: value for key, value in stats.items() if not key.startswith("state.")}
    if not rest:
        return stats, NOTHING
    return {key: value for key, value in stats.items() if key not in rest}, rest


def _is_active(domain: libvirt.virDomain, stats: Stats) -> bool:
    state = stats.get("state.state")
    if state in _ACTIVE_STATES:
        return True
    return state != libvirt.VIR_DOMAIN_SHUTOFF and domain.ID() >= 0


def visit_state(session: Session, uuid: str) -> tuple[bool, Stats]:
    """Whether a domain is active, and its `state.*`. Waits for its lock only."""
    domain = session.domain(uuid)
    return bool(domain.isActive()), state_stats(domain)
