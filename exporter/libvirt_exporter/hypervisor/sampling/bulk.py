"""The groups that no monitor is asked for: each question in one call for all domains.

For QEMU these are the groups that need no monitor, each asked by itself, because a failing perf
counter must not cost the interfaces; drivers without monitors are asked all groups at once. Where
the XML has no perf event there is none to fail: perf comes along with the interfaces, at no cost,
so that a first event shows.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

import libvirt

from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.facts import DriverFacts
from libvirt_exporter.hypervisor.connection.pool import Connection
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft, merged
from libvirt_exporter.hypervisor.sampling.phase import Phase
from libvirt_exporter.hypervisor.sampling.state import visit_state
from libvirt_exporter.hypervisor.sampling.stats_groups import bits, narrower
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)

CALL: Final = "domainListGetStats"
SHARD_SIZE: Final = 25
"""Domains in one call at most where not all are asked at once: smaller shards cost CPU, larger
ones lose more to a hang."""

_PERF: Final = frozenset({"perf"})
_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass
class BulkMemory:
    """What one sample's calls leave for the next one."""

    pace: dict[frozenset[str], float] = field(default_factory=dict)
    """Seconds that one domain took in the last call for these groups."""
    late: Connection | None = None
    """The connection of the last call that was late although no domain held it."""


@dataclass(eq=False)
class BulkPhase(Phase):
    """Asks the active domains, and goes around those that hold a call."""

    purpose: str
    """Of the connection."""
    questions: Iterable[frozenset[str]]
    """Groups that are asked together."""
    facts: DriverFacts
    memory: BulkMemory

    async def run(self) -> None:
        """Ask every question."""
        for groups in self.questions:
            asked: dict[frozenset[str], list[str]] = {}
            for domain in self.draft.active():
                if domain.state and not domain.missing.isdisjoint(groups):
                    asked.setdefault(groups | self._along(domain, groups), []).append(domain.uuid)
            for together, uuids in asked.items():
                await self._ask(uuids, together)

    def _along(self, domain: DomainDraft, groups: frozenset[str]) -> frozenset[str]:
        """What a domain is asked in the same call."""
        if "interface" not in groups:
            return _NOTHING
        return (domain.groups & _PERF) - domain.missing - self.facts.unsupported

    async def _ask(self, uuids: list[str], groups: frozenset[str]) -> None:
        # Asked all at once they took too long: in shards at least some of them answer.
        late = self.memory.late
        in_shards = late is not None and self.connections.budget.is_stuck(late)
        size = SHARD_SIZE if in_shards else max(len(uuids), 1)
        questions = [(uuids[at : at + size], groups) for at in range(0, len(uuids), size)]
        while questions:
            uuids, groups = questions.pop()
            timestamp, started = time(), monotonic()
            try:
                if in_shards and not await self.connections.budget.has_room(self.draft.deadline):
                    return
                rows = await self._rows(uuids, groups)
            except NoAnswerError:
                return
            except CallError as error:
                if error.error_class is ErrorClass.DISCONNECTED:
                    return
                questions += self._narrowed(uuids, groups, error)
                continue
            self.draft.spent(groups, monotonic() - started)
            excuse_absent(self.draft.domains, uuids, rows)
            for uuid, stats in rows:
                domain = self.draft.domains.get(uuid)
                if domain is not None:
                    if "interface" in groups or not domain.no_monitor:
                        domain.without_monitor_at = timestamp
                    if not domain.monitor:
                        domain.timestamp = timestamp
                    domain.no_monitor = merged(domain.no_monitor, stats)
                    domain.missing -= groups
                    domain.answered |= groups

    async def _rows(
        self, uuids: list[str], groups: frozenset[str], *, at_the_limit: bool = True
    ) -> list[tuple[str, Stats]]:
        """The answers of those that are not locked. Raises CallError and NoAnswerError.

        `at_the_limit`: whether they are asked around a domain also when no more calls may be stuck.
        """
        uuids = [uuid for uuid in uuids if uuid not in self.locked]
        if not uuids:
            return []

        async def others(late: Connection) -> list[tuple[str, Stats]] | None:
            # Whose lock is held, perhaps by the call itself, which is reading of this domain.
            await self.walk_around(self.purpose, "state", uuids, visit_state, self.draft.deadline)
            if not any(uuid in self.locked for uuid in uuids):
                self.memory.late = late
                return None
            full = self.connections.budget.full
            if full and not at_the_limit:
                raise NoAnswerError(CALL)
            return await self._rows(uuids, groups, at_the_limit=not full)

        usual = min(3 * self.memory.pace.get(groups, 0.0) * len(uuids), self.draft.budget / 4)
        started = monotonic()
        rows = await self.ask_around(
            self.purpose,
            CALL,
            functools.partial(
                list_stats,
                uuids=uuids,
                stats=bits(groups),
                flags=libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE,
            ),
            patience=max(2 * self.draft.look, usual),
            others=others,
        )
        if not any(uuid in self.locked for uuid in uuids):
            self.memory.pace[groups] = (monotonic() - started) / len(uuids)
        return rows

    def _narrowed(
        self, uuids: list[str], groups: frozenset[str], error: CallError
    ) -> list[tuple[list[str], frozenset[str]]]:
        """What to ask instead of a question that failed as a whole."""
        unsupported = error.error_class is ErrorClass.UNSUPPORTED
        if unsupported and len(groups) == 1:
            log.info("libvirt does not support group %s: %s", *groups, error)
            self.facts.unsupported.update(groups)
            for uuid in uuids:
                self.draft.domains[uuid].missing -= groups
            return []
        smaller = narrower(uuids, groups, groups_first=unsupported)
        if not smaller:
            log.debug("libvirt returned no %s for domains %s: %s", set(groups), uuids, error)
        return smaller


def list_stats(
    session: Session, uuids: list[str], stats: int, flags: int
) -> list[tuple[str, Stats]]:
    """Bulk statistics of those of the domains that exist; runs on a connection's thread."""
    handles = session.domains(uuids)
    if not handles:
        return []
    records = session.conn.domainListGetStats(list(handles.values()), stats, flags)
    if len(records) == len(handles):
        # All of them, in the order asked. Every call on a handle lets go of the interpreter's
        # lock, which costs when four connections have answers.
        return [(uuid, values) for uuid, (_, values) in zip(handles, records, strict=True)]
    return [(domain.UUIDString(), values) for domain, values in records]


def excuse_absent(
    domains: Mapping[str, DomainDraft], asked: Collection[str], rows: Collection[tuple[str, Stats]]
) -> None:
    """libvirt silently leaves out who ended since the listing: nobody failed to answer for it."""
    if len(rows) == len(asked):
        return
    for uuid in set(asked).difference(uuid for uuid, _ in rows):
        domains[uuid].excused = True
