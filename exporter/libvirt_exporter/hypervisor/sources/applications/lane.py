"""The lane `applications`: what is installed in the guests, read anew only when it changed.

Of each guest a cheap mark is looked at now and then; the list is read when that has changed and
then stayed the same for a while. Lists lie on the disk, so a guest whose mark is still that of its
list is not asked for it after a restart of the exporter either.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, time
from typing import Any, Final, TypeVar

from msgspec import Struct

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.settings import ApplicationsSettings
from libvirt_exporter.hypervisor.connection.threads import CallThread
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.lane import Lane
from libvirt_exporter.hypervisor.sources.agents import (
    CALL_MARGIN,
    REFUSED_PAUSE,
    Agents,
    NoTurnError,
    pause_after,
)
from libvirt_exporter.hypervisor.sources.applications import conversation
from libvirt_exporter.hypervisor.sources.applications.answers import Facts, GuestError, Listing
from libvirt_exporter.hypervisor.sources.applications.command import carry_out
from libvirt_exporter.hypervisor.sources.applications.conversation import Reader, Seen
from libvirt_exporter.hypervisor.sources.applications.store import Head, Store
from libvirt_exporter.hypervisor.sources.applications.watch import Watch
from libvirt_exporter.model import Applications, Stats, StatValue

log = logging.getLogger(__name__)

R = TypeVar("R")

LOADING_TIME: Final = 5.0
"""Seconds that a reading waits for what lies on the disk."""

VISIT_TIME: Final = 180.0
"""Seconds in which the last command of a visit must be begun."""


class _Guest(Struct, gc=False):
    """What is known of one guest, but for its list; times are of time.monotonic."""

    watch: Watch
    head: Head | None
    run: int | None = None
    """libvirt's number of the run of the domain whose agent is connected; None: none is."""
    facts: Facts | None = None
    """None until its agent has introduced itself."""
    checked: float = 0.0
    """Unix time at which the list was last known to be right."""
    errors: int = 0
    failures: int = 0
    """In a row."""
    due: float = 0.0
    not_before: float = 0.0
    wanted: bool = False
    """Somebody asks for its list to be read again."""

    def next_due(self) -> float:
        """When it is to be asked next."""
        due = self.watch.held_until if self.wanted else min(self.due, self.watch.due)
        return max(due, self.not_before)

    def follow(self, run: int | None) -> None:
        """Who answers next may be another agent, of another system: ask it at once."""
        if run != self.run:
            self.run, self.facts = run, None
            self.due, self.failures, self.not_before = 0.0, 0, 0.0

    def shown(self) -> Stats:
        """What is known of it, under keys in the style of libvirt's.

        Put together for each sample: to keep it for each guest would take as much as all the rest.
        """
        stats: dict[str, StatValue] = {"guest.apps.errors": self.errors}
        if self.head is not None:
            stats["guest.apps.count"] = self.head.count
            stats["guest.apps.hash"] = self.head.hash
            stats["guest.apps.source"] = self.head.source
            stats["guest.apps.changed"] = int(self.head.changed * 1e9)
            stats["guest.apps.checked"] = int(self.checked * 1e9)
        return stats


class ApplicationsLane(Lane):
    """Knows the applications of guests that run, are shown, and have an agent connected.

    Without `applications` in the settings it asks nothing and knows nothing.
    """

    name = "applications"
    knows_domains = True
    asks_monitors = True
    reading_time = 60.0
    longest_wait = 0.0

    def __init__(self, agents: Agents, *, silent: Callable[[str], bool] = lambda _: False) -> None:
        """`silent`: whether an agent is known not to answer."""
        super().__init__(agents.connections)
        self._agents = agents
        self._silent = silent
        self._store: Store | None = None
        """None while nothing is kept."""
        self._files = CallThread("applications-files", lambda: None)
        self._heads: dict[str, Head] | None = None
        """What the disk has of other guests than those below; None until that is known."""
        self._guests: dict[str, _Guest] = {}
        self._whole = False
        """Whether the domains of the sample are all that there are."""

    def forget(self) -> None:
        """Begin anew: agents are to be asked in another way, or not any more."""
        self.close()
        self._guests.clear()
        self._store, self._heads = None, None
        self.read_at = None

    def list_of(self, uuid: str) -> Applications | None:
        """The list of a guest, from the disk; None where there is none. From any thread."""
        store = self._store
        return None if store is None else store.read(uuid)

    def want(self, uuid: str) -> None:
        """Have the list of a guest read again, whatever it is known to be.

        Not sooner after the last reading than a change would have it read.
        """
        guest = self._guests.get(uuid)
        if guest is not None:
            guest.wanted = True

    async def refresh(self, draft: HostDraft) -> None:
        """Have the guests asked that are due; no sample waits for it."""
        if self._agents.settings.applications is None:
            return
        self._whole = draft.listed
        await super().refresh(draft)

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """What is known of the guest's applications, but for their names."""
        guest = self._guests.get(domain.uuid) if domain.active else None
        return NOTHING if guest is None else guest.shown()

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Look at the guests that are due, those first that have waited longest."""
        settings = self._agents.settings.applications
        if settings is None or self._agents.settings.guest_agent is None:
            return
        if self._store is None:
            self._store = Store(settings.state_directory, self._agents.settings.uri)
        store = self._store
        heads = await self._load(store)
        self._agents.renew()
        waiting = self._waiting(list(domains), store, heads, settings)
        await self._agents.go_through(
            sorted(waiting, key=lambda uuid: self._guests[uuid].next_due()),
            lambda uuid: self._visit(store, uuid, deadline),
        )

    async def _load(self, store: Store) -> dict[str, Head]:
        """What the disk has of guests that were not looked at; NoAnswerError while it is silent."""
        if self._heads is None:
            loading = self._files.run(store.load)
            if not await Deadline.within(LOADING_TIME).wait(loading):
                log.warning("%s was not read within %g s", store.path, LOADING_TIME)
                raise NoAnswerError(self.name)
            self._heads = loading.result()
        return self._heads

    def _waiting(
        self,
        domains: Sequence[DomainDraft],
        store: Store,
        heads: dict[str, Head],
        settings: ApplicationsSettings,
    ) -> list[str]:
        """The guests that are due; the lists of those that are gone are removed."""
        known = {domain.uuid for domain in domains}
        if self._whole and (gone := (self._guests.keys() | heads.keys()) - known):
            self._files.run(functools.partial(store.remove, gone))
            self._guests = {uuid: old for uuid, old in self._guests.items() if uuid in known}
            for uuid in heads.keys() - known:
                del heads[uuid]

        def new(uuid: str) -> _Guest:
            head = heads.pop(uuid, None)
            watch = Watch(settings.quiet, settings.longest_wait)
            return _Guest(watch, head, checked=head.read if head is not None else 0.0)

        def hidden(uuid: str, guest: _Guest) -> None:
            if guest.head is not None:
                heads[uuid] = guest.head

        now = monotonic()
        return [
            domain.uuid
            for domain, guest in self._agents.follow(domains, self._guests, new, hidden)
            if domain.wants(self.name) and not self._silent(domain.uuid) and guest.next_due() <= now
        ]

    async def _visit(self, store: Store, uuid: str, deadline: Deadline) -> None:
        """Look at one guest, if there is time. Raises NoTurnError and CallError."""
        if deadline.rest <= 0:
            raise NoTurnError
        guest = self._guests.get(uuid)
        if guest is None:
            return
        try:
            # Once begun, it goes on beyond the reading's time: what a program in the guest has
            # written would stay with its agent.
            await self._look(store, uuid, guest, Deadline.within(VISIT_TIME))
        except (NoTurnError, CallError):
            raise
        except GuestError as error:
            self._failed(uuid, guest, error)
        except NoAnswerError:
            self._failed(uuid, guest, GuestError("the agent did not answer", "silent"))
        except Exception as error:  # noqa: BLE001 - it must cost this guest only
            self.failures.failed(self, uuid, f"the applications of domain {uuid}", error)
            self._failed(uuid, guest, GuestError(repr(error)))
        else:
            self.failures.works(self, (uuid,))
            guest.failures = 0

    async def _look(self, store: Store, uuid: str, guest: _Guest, deadline: Deadline) -> None:
        """Look whether the guest's applications changed, and read the list when it is time to."""
        settings = self._agents.settings.applications
        if settings is None:
            raise NoTurnError
        run = guest.run

        async def ask(command: str, arguments: Mapping[str, Any], read: Reader[R]) -> R:
            if guest.run != run:
                raise GuestError("the agent disconnected", "over")
            return await self._ask(uuid, command, arguments, read, deadline)

        if guest.facts is None:
            guest.facts = _shared(await conversation.introduce(ask))
        seen = await conversation.look(ask, guest.facts)
        now = monotonic()
        # What the guest refuses now it will refuse for long; a new agent is asked at once.
        guest.due = now + (settings.interval if seen.recipe is not None else REFUSED_PAUSE)
        known = guest.head.mark if guest.head is not None else None
        is_due = guest.watch.settled(seen.mark, known, now)
        if is_due or guest.wanted:
            at = time()
            listed = await conversation.fetch(ask, guest.facts, seen)
            guest.wanted = False
            is_new = await self._take(store, uuid, guest, seen, listed, at)
            # What somebody asked for is no sign of a mark that changes for nothing.
            guest.watch.read(anything_new=is_new or not is_due, now=monotonic())
        elif not guest.watch.mark:
            guest.checked = time()
        if seen.recipe is None:
            # An agent that was restarted meanwhile, unseen, may have other commands and facts.
            guest.facts = None

    async def _ask(
        self,
        uuid: str,
        command: str,
        arguments: Mapping[str, Any],
        read: Reader[R],
        deadline: Deadline,
    ) -> R:
        agent = self._agents.settings.guest_agent
        if agent is None:
            raise NoTurnError
        seconds = max(round(agent.response_timeout), 1)

        def call(session: Any) -> R | GuestError:
            # What a guest says wrong is no error of the connection.
            try:
                return carry_out(session, uuid, command, arguments, read, seconds)
            except GuestError as error:
                return error.with_traceback(None)

        # libvirt first has the agent say that it is there, within 5 s, then answer.
        patience = 2 * agent.response_timeout + 2 * CALL_MARGIN
        answer = await self._agents.ask(uuid, call, deadline, patience)
        if isinstance(answer, GuestError):
            raise answer
        return answer

    async def _take(
        self, store: Store, uuid: str, guest: _Guest, seen: Seen, listed: Listing, at: float
    ) -> bool:
        """Keep a list that was read at `at` (Unix time) on the disk; whether it is another one."""
        before, digest = guest.head, listed.hash
        is_new = before is None or (before.hash, before.source) != (digest, seen.source)
        head = Head(
            hash=digest,
            count=len(listed.entries),
            source=seen.source,
            mark=seen.mark,
            changed=at if before is None or is_new else before.changed,
            read=at,
            reason=seen.reason,
        )
        write = functools.partial(store.write, uuid, head, listed.entries)
        if not await self._files.run(write):
            raise GuestError("the list cannot be saved")
        guest.head, guest.checked = head, at
        return is_new

    def _failed(self, uuid: str, guest: _Guest, error: GuestError) -> None:
        """Note that a guest did not say, and leave it alone for a while."""
        if error.trouble == "over":
            return
        log.debug("cannot read the applications of %s: %s", uuid, error)
        guest.errors += 1
        guest.failures += 1
        denied = error.trouble == "denied"
        guest.not_before = monotonic() + (REFUSED_PAUSE if denied else pause_after(guest.failures))


@functools.lru_cache(maxsize=256)
def _shared(facts: Facts) -> Facts:
    """The same facts, once in memory for all guests of a kind."""
    return facts
