"""The lane `guest_agent`: what the agents in the guests say of them.

An agent may answer late, never, or with anything. Each guest has its own times: a question is
asked again after its interval, and of a guest that fails, later and later. A reading goes through
the guests that are due, a few at once, in the background: no sample waits for it but the first.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic, time
from typing import Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.lane import Lane
from libvirt_exporter.hypervisor.sources.agents import (
    CALL_MARGIN,
    REFUSED_PAUSE,
    Agents,
    NoTurnError,
    error_name,
    is_over,
    pause_after,
)
from libvirt_exporter.hypervisor.sources.guest_answers import QUESTIONS, Question
from libvirt_exporter.model import Stats, StatValue

log = logging.getLogger(__name__)

ERRORS: Final = ("timeout", "refused", "denied", "other")
"""Classes of errors that are counted: no answer in time, the guest does not allow or know the
question, libvirt does not allow it, anything else."""
STALE: Final = 3
"""An answer is shown for as many of its intervals."""


@dataclass(frozen=True)
class _Answer:
    at: float
    """Unix time just before the question."""
    until: float
    """time.monotonic at which it is too old to be shown."""
    stats: Stats


@dataclass
class _Visit:
    """What asking one guest brought, by kind of question."""

    answers: dict[str, _Answer] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Class of the error; '' where it is libvirt that does not know the question."""
    answered: float | None = None
    """Unix time just before the last question that the agent answered, or refused to."""
    over: bool = False
    """The guest is gone, or no longer runs."""


class _Guest:
    """What is known of one guest's agent."""

    def __init__(self) -> None:
        self.run: int | None = None
        """libvirt's number of the run of the domain whose agent is connected; None: none is."""
        self.up: bool | None = None
        """Whether it answered the last time; None: it has not been asked since it connected."""
        self.answered: float | None = None
        """Unix time of its last answer."""
        self.errors: Counter[str] = Counter()
        self.failures = 0
        """In a row."""
        self.not_before = 0.0
        """time.monotonic."""
        self.due: dict[str, float] = {}
        """Likewise, by kind of question."""
        self.answers: dict[str, _Answer] = {}
        self.knows_timeout = False
        """Whether libvirt was told how long it may take."""
        self._stats: Stats | None = None
        self._until = inf

    def questions(self, now: float) -> list[Question]:
        """Those that are due."""
        if now < self.not_before:
            return []
        due = {question: self.due.get(question.kind, 0.0) for question in self._known()}
        # The oldest first: one that makes an agent hang must not keep the others from it.
        return [question for question in sorted(due, key=due.__getitem__) if due[question] <= now]

    def next_due(self) -> float:
        """When it is to be asked next."""
        return max(self.not_before, min(self.due.get(row.kind, 0.0) for row in self._known()))

    def _known(self) -> Iterable[Question]:
        """The questions that agents of its system know."""
        told = self.answers.get("os")
        system = None if told is None else told.stats.get("guest.os.id")
        return (row for row in QUESTIONS if row.system in ("", system))

    def follow(self, run: int | None) -> None:
        """Forget what an agent said that has gone: who answers next may know other things."""
        if run == self.run:
            return
        self.run, self.knows_timeout = run, False
        self.up = None
        self.failures, self.not_before = 0, 0.0
        self.due.clear()
        self.answers.clear()
        self._stats = None

    def take(self, visit: _Visit, settings: GuestAgentSettings, now: float) -> None:
        """Take over what a visit brought."""
        for question in QUESTIONS:
            kind = question.kind
            if kind in visit.answers:
                self.answers[kind] = visit.answers[kind]
                self.due[kind] = now + _interval(question, settings)
            elif kind in visit.errors:
                self._failed(question, visit.errors[kind], settings, now)
        if visit.answered is not None:
            self.up, self.failures, self.answered = True, 0, visit.answered
        if "denied" in visit.errors.values():
            self.not_before = now + REFUSED_PAUSE
            if visit.answered is None:
                self.up = None  # Nobody knows whether it would answer.
        elif "timeout" in visit.errors.values() or (
            visit.answered is None and any(visit.errors.values())
        ):
            self.failed(now)
        self._stats = None

    def _failed(
        self, question: Question, error: str, settings: GuestAgentSettings, now: float
    ) -> None:
        if error:
            self.errors[error] += 1
        for_long = error in ("", "refused")
        pause = REFUSED_PAUSE if for_long else _interval(question, settings)
        self.due[question.kind] = now + pause

    def failed(self, now: float) -> None:
        """It did not answer, so it is left alone for a while."""
        self.up, self.knows_timeout = False, False
        self.failures += 1
        self.not_before = now + pause_after(self.failures)
        self._stats = None

    def stats(self, now: float) -> Stats:
        """What is shown of it; put together anew when that is something else."""
        if self._stats is None or now >= self._until:
            fresh = {kind: told for kind, told in self.answers.items() if now < told.until}
            self._stats = self._put_together(fresh)
            self._until = min((told.until for told in fresh.values()), default=inf)
        return self._stats

    def _put_together(self, fresh: Mapping[str, _Answer]) -> Stats:
        stats: dict[str, StatValue] = {}
        if self.up is not None:
            stats["guest.agent.up"] = self.up
        if self.answered is not None:
            stats["guest.agent.answered"] = int(self.answered * 1e9)
        stats.update((f"guest.agent.errors.{error}", self.errors[error]) for error in ERRORS)
        for question in QUESTIONS:
            if (told := fresh.get(question.kind)) is not None:
                stats[f"guest.answer.{question.kind}.time"] = int(told.at * 1e9)
                stats.update(told.stats)
        return stats


def _interval(question: Question, settings: GuestAgentSettings) -> float:
    return settings.slow_interval if question.slow else settings.interval


class GuestAgentLane(Lane):
    """Asks the agents that are connected, of guests that run and are shown.

    Without `guest_agent` in the settings it asks nothing and knows nothing.
    """

    name = "guest_agent"
    knows_domains = True
    # Once the sample knows whose monitor hangs: libvirt looks at the disks of such a guest too.
    asks_monitors = True
    reading_time = 60.0

    def __init__(self, agents: Agents) -> None:
        super().__init__(agents.connections)
        self._agents = agents
        self._guests: dict[str, _Guest] = {}

    def forget(self) -> None:
        """Begin anew: agents are to be asked in another way, or not any more."""
        self.close()
        self._guests.clear()
        self.read_at = None

    def is_silent(self, uuid: str) -> bool:
        """Whether this guest's agent did not answer the last time."""
        guest = self._guests.get(uuid)
        return guest is not None and guest.up is False

    async def refresh(self, draft: HostDraft) -> None:
        """Have the agents asked that are due; only the first sample waits for it."""
        if self._agents.settings.guest_agent is None:
            return
        await super().refresh(draft)
        self.longest_wait = 0.0

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """What the guest said, as far as it is not too old."""
        guest = self._guests.get(domain.uuid) if domain.active else None
        if guest is None:
            return NOTHING
        # A reading may take long, and the agent have gone since it began.
        guest.follow(self._agents.run_of(domain))
        return guest.stats(monotonic())

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask the guests that are due, those first that have waited longest."""
        settings = self._agents.settings.guest_agent
        if settings is None:
            return
        self._agents.renew()
        waiting = self._waiting(list(domains))
        await self._agents.go_through(
            sorted(waiting, key=lambda uuid: self._guests[uuid].next_due()),
            lambda uuid: self._visit(uuid, settings, deadline),
        )

    def _waiting(self, domains: Sequence[DomainDraft]) -> list[str]:
        """The guests of which an answer is due; those that are gone are forgotten."""
        known = {domain.uuid for domain in domains}
        if gone := self._guests.keys() - known:
            self.connections.forget(gone)
        self._guests = {uuid: old for uuid, old in self._guests.items() if uuid in known}
        now = monotonic()
        return [
            domain.uuid
            for domain, guest in self._agents.follow(domains, self._guests, lambda _: _Guest())
            if domain.wants(self.name) and guest.questions(now)
        ]

    async def _visit(self, uuid: str, settings: GuestAgentSettings, deadline: Deadline) -> None:
        """Ask one guest. Raises NoTurnError and CallError."""
        guest = self._guests.get(uuid)
        if guest is None:
            return
        try:
            await self._ask(uuid, guest, settings, deadline)
        except (NoTurnError, CallError):
            raise
        except Exception as error:  # noqa: BLE001 - it must cost this guest only
            self.failures.failed(self, uuid, f"the guest agent of domain {uuid}", error)
            guest.failed(monotonic())
        else:
            self.failures.works(self, (uuid,))

    async def _ask(
        self, uuid: str, guest: _Guest, settings: GuestAgentSettings, deadline: Deadline
    ) -> None:
        run = guest.run
        if run is None:
            return  # Its agent has disconnected while others were asked.
        questions = guest.questions(monotonic())
        visit = functools.partial(
            _visit, uuid, questions, settings, tell_timeout=not guest.knows_timeout
        )
        # libvirt gives an agent its time twice, to say that it is there and to answer.
        patience = 3 * settings.response_timeout + CALL_MARGIN
        try:
            found = await self._agents.ask(uuid, visit, deadline, patience)
        except NoAnswerError:
            if guest.run == run:
                guest.errors["timeout"] += 1
                guest.failed(monotonic())
            return
        # What was said by an agent that is gone is not what the next one says.
        if not found.over and guest.run == run:
            guest.knows_timeout = True
            guest.take(found, settings, monotonic())


def _visit(
    uuid: str,
    questions: Sequence[Question],
    settings: GuestAgentSettings,
    session: Session,
    *,
    tell_timeout: bool,
) -> _Visit:
    """Ask one guest; ends with the first question that it does not answer in time.

    Runs on the connection's thread. Raises libvirt.libvirtError where the connection is lost.
    """
    visit = _Visit()
    until = monotonic() + 2 * settings.response_timeout
    for question in questions:
        asked, began = time(), monotonic()
        try:
            domain = session.domain(uuid)
            if tell_timeout:
                _tell_timeout(session, domain, settings.response_timeout)
                tell_timeout = False
            answer = question.ask(domain)
        except libvirt.libvirtError as error:
            if not session.alive:
                raise
            if is_over(error):
                visit.over = True
                break
            name = visit.errors[question.kind] = error_name(error)
            log.debug("the query %s to the agent of %s failed: %s", question.kind, uuid, error)
        except (UnicodeDecodeError, LookupError) as error:
            # libvirt-python fails for one string that is not UTF-8, or one type that is new.
            name = visit.errors[question.kind] = "other"
            log.debug("the query %s to the agent of %s failed: %r", question.kind, uuid, error)
        else:
            late = monotonic() - began >= settings.response_timeout / 2
            if late and question.is_empty(answer):
                name = visit.errors[question.kind] = "timeout"
            else:
                name = ""
                shown_until = monotonic() + STALE * _interval(question, settings)
                stats = question.keep(answer, settings)
                visit.answers[question.kind] = _Answer(asked, shown_until, stats)
        if name == "refused" or question.kind in visit.answers:
            visit.answered = asked
        if name in ("timeout", "denied") or monotonic() > until:
            break
    return visit


def _tell_timeout(session: Session, domain: libvirt.virDomain, seconds: float) -> None:
    """Have libvirt (5.10 and newer) not wait for ever; it does so for the rest of the run."""
    whole = max(round(seconds), 1)
    session.if_supported("agentSetResponseTimeout", lambda: domain.agentSetResponseTimeout(whole))
