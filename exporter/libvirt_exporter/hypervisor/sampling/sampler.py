"""One sample of a host: what is asked, on which connection, and what happens when it hangs.

In short (docs/architecture.md has the whole): the state of all domains first, then, at the same
time, the groups that need no monitor and the shards of those that do; then what the driver does
not answer in bulk. Requests that come while a sample is in flight share it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.facts import Facts
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, walk
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.bulk import excuse_absent, list_stats
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft, merged
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.groups import (
    WITH_MONITOR,
    WITHOUT_MONITOR,
    bits,
    idle_groups,
    narrower,
)
from libvirt_exporter.hypervisor.sampling.lane import Lane
from libvirt_exporter.hypervisor.sampling.monitor import Limits, MonitorPhase, MonitorState
from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcesses
from libvirt_exporter.hypervisor.sampling.sources import DomainRecords, DomainSource, SourceFailures
from libvirt_exporter.hypervisor.sampling.state import Row, _visit_state, facts_of, read_states
from libvirt_exporter.model import HostInfo, HostSample, Stats, StatValue

log = logging.getLogger(__name__)

USABLE_SHARE: Final = 0.9
"""Share of a request's time after which it gets what there is; the rest is for the answer."""


@dataclass(frozen=True)
class SampleRequest:
    """What somebody wants to know."""

    groups: frozenset[str]
    """libvirt's statistics groups by name; `state` is always sampled."""
    backing: bool = False
    """Whether block statistics cover the lower layers of backing chains."""
    lanes: frozenset[str] = frozenset()
    """Slow lanes by name."""


@dataclass(eq=False)
class _Waiter:
    request: SampleRequest
    until: float
    future: Future[HostSample]
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Sampler:
    """Takes one sample at a time for everybody who asks; lives on the host's asyncio loop."""

    def __init__(
        self,
        connections: Connections,
        inventory: Inventory,
        *,
        name: str,
        limits: Limits,
        processes: QemuProcesses | None,
        observer: Observer,
        reached: Callable[[str], None],
        lanes: Sequence[Lane] = (),
        sources: Sequence[DomainSource] = (),
        records: DomainRecords | None = None,
    ) -> None:
        """`processes`: the host's QEMU processes, None where they cannot be seen from here.

        `sources`: who knows something of domains in every sample; lanes do when they are asked.
        `records`: who knows what has happened to them.
        `reached` is told after every sample why the host did not answer, '' when it did.
        """
        self._connections = connections
        self._inventory = inventory
        self._name = name
        self._limits = limits
        self._processes = processes
        self._observer = observer
        self._reached = reached
        self._lanes = lanes
        self._sources = (*sources, *(() if records is None else (records,)))
        self._records = records
        self._failures = SourceFailures(observer)
        self._monitor_state = MonitorState()
        self.hypervisor_version = ""
        """Told by the host once it is known."""
        self._facts: Facts | None = None
        self._unsupported: frozenset[str] = frozenset()
        self._known: dict[str, str] = {}
        self._locked: dict[str, Connection] = {}
        self._last_fallback: dict[str, float] = {}
        self._fallback_stuck: dict[str, Connection] = {}
        self._stuck_state: Connection | None = None
        self._stuck_list: Connection | None = None
        self._state_seconds = 0.0
        self._draft: HostDraft | None = None
        self._sharing: list[_Waiter] = []
        self._pending: list[_Waiter] = []

    def apply(self, *, name: str, limits: Limits) -> None:
        """Take over changed settings, from the next sample on."""
        self._name = name
        self._limits = limits

    @property
    def stuck_domains(self) -> dict[str, float]:
        """Domains whose monitor does not answer: UUID to seconds for which it has not."""
        return self._monitor_state.quarantine.seconds(monotonic())

    def request(self, request: SampleRequest, timeout: float, future: Future[HostSample]) -> None:
        """Have `future` completed with a sample within `timeout` seconds, whatever happens."""
        loop = asyncio.get_running_loop()
        request = replace(request, groups=request.groups | {"state"})
        waiter = _Waiter(request, loop.time() + USABLE_SHARE * timeout, future)
        if self._draft is not None and _covers(self._draft, request):
            self._draft.deadline.put_off(waiter.until)
            self._sharing.append(waiter)
            self._observer.sample_shared()
        else:
            self._pending.append(waiter)
            self._start()
        waiter.timer = loop.call_at(waiter.until, self._expire, waiter)

    def close(self) -> None:
        """Answer everybody who still waits."""
        for waiter in [*self._sharing, *self._pending]:
            self._answer(waiter, self._no_sample("the exporter is being stopped", waiter))
        if self._processes is not None:
            self._processes.close()
        for lane in self._lanes:
            lane.close()

    def _start(self) -> None:
        """Take the next sample, for all pending requests that it can answer."""
        if self._draft is not None or not self._pending:
            return
        backing = self._pending[0].request.backing
        sharing = [waiter for waiter in self._pending if waiter.request.backing == backing]
        self._pending = [waiter for waiter in self._pending if waiter.request.backing != backing]
        for _ in sharing[1:]:
            self._observer.sample_shared()
        self._sharing = sharing
        self._draft = HostDraft(
            frozenset().union(*(waiter.request.groups for waiter in sharing)),
            backing=backing,
            deadline=Deadline(max(waiter.until for waiter in sharing)),
            lanes=frozenset().union(*(waiter.request.lanes for waiter in sharing)),
        )
        task = asyncio.get_running_loop().create_task(self._take(self._draft))
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        draft, self._draft = self._draft, None
        sharing, self._sharing = self._sharing, []
        if task.cancelled() or draft is None:
            return
        if (error := task.exception()) is not None:
            log.error("sampling failed unexpectedly", exc_info=error)
            draft.up, draft.error = False, f"internal error: {error!r}"
        frozen = {
            request: self._freeze(draft, request)
            for request in {waiter.request for waiter in sharing}
        }
        for waiter in sharing:
            self._answer(waiter, frozen[waiter.request])
        for domain in draft.domains.values():
            domain.let_go()
        self._observer.sample_taken(draft.duration)
        self._reached(draft.error)
        self._start()

    def _expire(self, waiter: _Waiter) -> None:
        """A waiter's time is up: it gets what the sample in flight knows so far."""
        if waiter in self._sharing:
            self._sharing.remove(waiter)
        else:
            self._pending.remove(waiter)
        if self._draft is None:
            self._answer(waiter, self._no_sample("no sample was taken in time", waiter))
        else:
            self._answer(waiter, self._freeze(self._draft, waiter.request))

    def _answer(self, waiter: _Waiter, sample: HostSample) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        if not waiter.future.done():
            waiter.future.set_result(sample)

    def _freeze(self, draft: HostDraft, request: SampleRequest) -> HostSample:
        lanes = [lane for lane in self._lanes if lane.name in draft.lanes & request.lanes]
        host_stats: dict[str, StatValue] = {}
        for lane in lanes:
            if draft.up:
                host_stats.update(lane.host_stats())
        if self._records is not None:
            self._records.take()
        return draft.freeze(
            self._inventory,
            request.groups,
            self._host(),
            self.stuck_domains,
            (*self._sources, *(lane for lane in lanes if lane.knows_domains)),
            self._failures,
            host_stats,
            {lane.name: age for lane in lanes if (age := lane.age) is not None},
            self._records.vanished if self._records is not None else (),
        )

    def _no_sample(self, error: str, waiter: _Waiter) -> HostSample:
        draft = HostDraft(waiter.request.groups, backing=False, deadline=Deadline(waiter.until))
        draft.error = error
        return self._freeze(draft, waiter.request)

    def _host(self) -> HostInfo | None:
        if self._facts is None:
            return None
        return HostInfo(
            name=self._name,
            driver=self._facts.driver,
            hypervisor_version=self.hypervisor_version,
            libvirt_version=self._facts.libvirt_version,
        )

    async def _take(self, draft: HostDraft) -> None:
        with draft.phase("state"):
            await self._ask_state(draft)
        if not draft.up or draft.facts is None:
            self._monitor_state.surveyed = False
            return
        self._note_domains(draft)
        self._inventory.reconcile(self._known)
        fallback = draft.facts.fallback
        wanted = draft.groups - fallback.groups - {"state"} - self._unsupported
        if "state" in fallback.groups:  # the driver has no bulk call at all
            wanted = frozenset()
        expected = wanted | (draft.groups & fallback.groups) - {"state"}
        for domain in draft.active():
            domain.missing = expected - idle_groups(self._inventory.get(domain.uuid))
        draft.asks_monitors = draft.facts.has_monitors and bool(wanted & WITH_MONITOR)
        async with asyncio.TaskGroup() as tasks:
            if draft.facts.has_monitors:
                tasks.create_task(self._ask_without_monitor(draft, wanted & WITHOUT_MONITOR))
                tasks.create_task(self._ask_monitors(draft, wanted & WITH_MONITOR))
            elif wanted:
                tasks.create_task(self._ask_bulk(draft, wanted))
            if self._processes is not None and not draft.asks_monitors:
                # Otherwise they are looked at before the monitors are asked.
                names = {domain.uuid: domain.name for domain in draft.active()}
                tasks.create_task(self._processes.look(names, self._limits.look(draft)))
            if unread := self._inventory.unread:
                tasks.create_task(self._read_info(draft, unread))
            self._refresh_lanes(draft, tasks, asking_monitors=False)
        # Only now is known which domains would cost one more call each.
        async with asyncio.TaskGroup() as tasks:
            self._refresh_lanes(draft, tasks, asking_monitors=True)
        if fallback.groups & draft.groups:
            with draft.phase("fallback"):
                await self._ask_fallback(draft, draft.facts)

    def _refresh_lanes(
        self, draft: HostDraft, tasks: asyncio.TaskGroup, *, asking_monitors: bool
    ) -> None:
        for lane in self._lanes:
            if lane.name in draft.lanes and lane.asks_monitors == asking_monitors:
                tasks.create_task(lane.refresh(draft))

    async def _read_info(self, draft: HostDraft, uuids: set[str]) -> None:
        """Wait for the XML of new domains, for no more than half of the time that is left."""
        with draft.phase("info"):
            until = asyncio.get_running_loop().time() + draft.deadline.rest / 2
            await self._inventory.settled(uuids, until)

    # State: the part that makes a host count as up.

    async def _ask_state(self, draft: HostDraft) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._locked = {
            uuid: connection
            for uuid, connection in self._locked.items()
            if self._connections.is_stuck(connection)
        }
        for attempt in itertools.count(1):
            try:
                if self._locked or self._is_stuck(self._stuck_state):
                    await self._state_of_each(draft)
                else:
                    await self._state_of_all(draft)
            except NoAnswerError:
                draft.error = f"libvirt did not answer within {loop.time() - started:.1f} s"
            except CallError as error:
                # A daemon that was restarted since the last sample: the next call reconnects.
                if error.error_class is ErrorClass.DISCONNECTED and attempt == 1:
                    continue
                draft.error = str(error)
            else:
                draft.up, draft.error = True, ""
                self._state_seconds = loop.time() - started
                draft.spent(("state",), self._state_seconds)
            return

    async def _state_of_all(self, draft: HostDraft) -> None:
        loop = asyncio.get_running_loop()
        connection = self._connections.lane("state")
        if not await connection.free(draft.deadline):
            self._connections.give_up(connection, "getAllDomainStats")
            raise NoAnswerError
        timestamp = time()
        call = connection.call("getAllDomainStats", read_states)
        patience = max(2 * self._limits.look(draft), 3 * self._state_seconds)
        await asyncio.wait({call}, timeout=min(patience, draft.deadline.rest))
        if not call.done() and self._known and self._connections.replaceable(connection):
            # Perhaps one domain's lock is held for long: then all others answer one by one.
            self._connections.give_up(connection, "getAllDomainStats")
            self._stuck_state = connection
            each = loop.create_task(self._state_of_each(draft))
            either: set[asyncio.Future[Any]] = {call, each}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                return await each
            each.cancel()
        elif not await draft.deadline.wait(call):
            self._connections.give_up(connection, "getAllDomainStats")
            raise NoAnswerError
        facts, rows = call.result()
        self._take_rows(draft, facts, rows, timestamp)
        return None

    async def _state_of_each(self, draft: HostDraft) -> None:
        """Ask the domains known from the last sample one by one, around those that block."""
        timestamp = time()
        facts = await self._connections.ask("state", "getType", facts_of, draft.deadline)
        result = await walk(
            self._connections,
            "state",
            "state",
            [uuid for uuid in self._known if uuid not in self._locked],
            _visit_state,
            deadline=draft.deadline,
            patience=self._limits.look(draft),
            may_block=min(self._connections.stuck_limit - len(self._locked), BLOCKED_LIMIT),
            always=True,
        )
        self._locked.update(result.blocked)
        rows = [
            (uuid, self._known[uuid], active, state)
            for uuid, (active, state) in result.answers.items()
        ]
        # Whoever could not be asked is still there, for all that is known.
        rows += [
            (uuid, name, True, {})
            for uuid, name in self._known.items()
            if uuid not in result.answers and uuid not in result.failures
        ]
        if not result.answers:
            # A call that needs no domain tells a host of locked ones from a frozen daemon.
            await self._connections.ask(
                "state",
                "getLibVersion",
                lambda session: session.conn.getLibVersion(),
                draft.deadline,
            )
        self._take_rows(draft, facts, rows, timestamp)
        draft.listed = False
        for uuid in self._locked.keys() & draft.domains.keys():
            draft.domains[uuid].excused = True

    def _take_rows(
        self, draft: HostDraft, facts: Facts, rows: Iterable[Row], timestamp: float
    ) -> None:
        draft.facts = facts
        if facts is not self._facts:
            self._facts = facts
            self._unsupported = frozenset()
        draft.domains = {
            row[0]: DomainDraft(row[0], row[1], active=row[2], state=row[3], timestamp=timestamp)
            for row in rows
        }

    def _is_stuck(self, connection: Connection | None) -> bool:
        return connection is not None and self._connections.is_stuck(connection)

    def _note_domains(self, draft: HostDraft) -> None:
        before = self._known
        self._known = {uuid: domain.name for uuid, domain in draft.domains.items()}
        if self._records is not None:
            self._records.listed(draft.domains.values(), draft.timestamp, complete=draft.listed)
        if gone := before.keys() - self._known.keys():
            self._connections.forget(gone)
            for uuid in gone:
                self._last_fallback.pop(uuid, None)

    # Groups that need no monitor, and drivers that have none.

    async def _ask_without_monitor(self, draft: HostDraft, groups: frozenset[str]) -> None:
        with draft.phase("no_monitor"):
            # Each on its own: a failing perf counter must not cost the interfaces.
            for group in sorted(groups):
                uuids = [
                    domain.uuid
                    for domain in draft.active()
                    if group in domain.missing and domain.state and domain.uuid not in self._locked
                ]
                if uuids and not self._is_stuck(self._stuck_list):
                    await self._ask_listed(draft, "state", uuids, frozenset({group}))

    async def _ask_bulk(self, draft: HostDraft, groups: frozenset[str]) -> None:
        with draft.phase("bulk"):
            uuids = [domain.uuid for domain in draft.active() if domain.uuid not in self._locked]
            if not self._is_stuck(self._stuck_list):
                await self._ask_listed(draft, "bulk", uuids, groups)

    async def _ask_listed(
        self, draft: HostDraft, lane: str, uuids: list[str], groups: frozenset[str]
    ) -> None:
        loop = asyncio.get_running_loop()
        questions = [(uuids, groups)]
        while questions:
            uuids, groups = questions.pop()
            timestamp, started = time(), loop.time()
            connection = self._connections.lane(lane)
            try:
                rows = await self._connections.ask(
                    lane,
                    "domainListGetStats",
                    functools.partial(
                        list_stats,
                        uuids=uuids,
                        stats=bits(groups),
                        flags=libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE,
                    ),
                    draft.deadline,
                )
            except NoAnswerError:
                self._stuck_list = connection
                return
            except CallError as error:
                if error.error_class is ErrorClass.DISCONNECTED:
                    return
                unsupported = error.error_class is ErrorClass.UNSUPPORTED
                if unsupported and len(groups) == 1:
                    log.info("this libvirt does not answer group %s: %s", *groups, error)
                    self._unsupported |= groups
                    for uuid in uuids:
                        draft.domains[uuid].missing -= groups
                    continue
                smaller = narrower(uuids, groups, groups_first=unsupported)
                questions += smaller
                if not smaller:
                    log.debug("%s of domain %s not answered: %s", set(groups), uuids, error)
                continue
            draft.spent(groups, loop.time() - started)
            excuse_absent(draft.domains, uuids, rows)
            for uuid, stats in rows:
                domain = draft.domains.get(uuid)
                if domain is not None:
                    domain.no_monitor = merged(domain.no_monitor, stats)
                    domain.missing -= groups
                    domain.timestamp = timestamp

    async def _ask_monitors(self, draft: HostDraft, groups: frozenset[str]) -> None:
        with draft.phase("monitor"):
            await MonitorPhase(
                self._connections,
                self._monitor_state,
                self._limits,
                draft,
                groups,
                self._locked,
                self._processes,
            ).run()

    async def _ask_fallback(self, draft: HostDraft, facts: Facts) -> None:
        loop = asyncio.get_running_loop()
        groups = facts.fallback.groups & draft.groups
        started, timestamp = loop.time(), time()
        self._fallback_stuck = {
            uuid: connection
            for uuid, connection in self._fallback_stuck.items()
            if self._connections.is_stuck(connection)
        }
        untouchable = self._locked.keys() | self._fallback_stuck.keys()
        order = sorted(
            (domain.uuid for domain in draft.active() if domain.uuid not in untouchable),
            key=lambda uuid: self._last_fallback.get(uuid, 0.0),
        )

        def visit(session: Session, uuid: str) -> Stats:
            return facts.fallback.stats(
                session.domain(uuid),
                groups,
                self._inventory.get(uuid),
                draft.domains[uuid].state,
            )

        try:
            result = await walk(
                self._connections,
                "fallback",
                "per-domain statistics",
                order,
                visit,
                deadline=draft.deadline,
                patience=draft.budget / 4,
            )
        except CallError as error:
            log.debug("per-domain statistics failed: %s", error)
            return
        draft.spent(groups, loop.time() - started)
        for uuid, stats in result.answers.items():
            domain = draft.domains[uuid]
            domain.fallback = stats
            # Without the XML nobody knows which devices to ask for.
            known = self._inventory.get(uuid) is not None
            domain.missing -= groups if known else groups - {"block", "interface"}
            domain.timestamp = timestamp
            self._last_fallback[uuid] = started
        self._fallback_stuck.update(result.blocked)
        for uuid in self._fallback_stuck.keys() & draft.domains.keys():
            draft.domains[uuid].excused = True


def _covers(draft: HostDraft, request: SampleRequest) -> bool:
    if draft.deadline.rest <= 0:
        return False
    if not (draft.groups >= request.groups and draft.lanes >= request.lanes):
        return False
    return draft.backing == request.backing or "block" not in request.groups


# What runs on a connection's thread.
