"""The part of a sample that needs the domains' QEMU monitors, any of which may hang.

libvirt visits the domains of a call one after the other, 5 to 7 ms each, and the first call that
reaches a hung QEMU blocks for ever, with NOWAIT too; later NOWAIT calls pass it by. So domains
are asked in shards, several at a time and each on its own connection; a shard that takes long
is looked at with `controlInfo`, which never waits for a monitor and names the culprit.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from time import time
from typing import Any, Final, TypeVar

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, Walk, walk
from libvirt_exporter.hypervisor.sampling.bulk import excuse_absent, list_stats
from libvirt_exporter.hypervisor.sampling.domain_draft import merged
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.groups import (
    bits,
    job_marks,
    narrower,
)
from libvirt_exporter.hypervisor.sampling.qemu_process import APART, QemuProcesses
from libvirt_exporter.hypervisor.sampling.quarantine import CONTROL_OCCUPIED, CONTROL_OK, Quarantine
from libvirt_exporter.hypervisor.sampling.without_job import GROUPS as WITHOUT_JOB
from libvirt_exporter.hypervisor.sampling.without_job import stats_without_job
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)

T = TypeVar("T")

SHARD_SIZE: Final = 25
"""Domains in one call at most: smaller shards cost CPU, larger ones lose more to a hang."""
SMALLEST_SHARD: Final = 5
RETRIES: Final = 5
"""Times that a domain is asked again whose job another client held."""
RETRY_DELAY: Final = 0.02
"""Seconds before the first of them; each further one waits twice as long."""
CALL: Final = "domainListGetStats"
STUCK_AFTER: Final = 1.0
"""Seconds without an answer after which a monitor counts as stuck, budget allowing."""
OUTLIER: Final = 10
"""Times what a domain usually takes that one answer must take to be suspicious."""
GIVEN_UP_AFTER: Final = 10.0
"""Seconds after which a call is given up although nobody is seen to hold it up."""

_FLAGS: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)

Control = tuple[int, int, int]
"""State, details and milliseconds in that state, from virDomainGetControlInfo."""


@dataclass(frozen=True)
class Limits:
    """How much a sample may ask of the host at once, and how long it waits for it."""

    parallel_calls: int = 4
    """Monitor calls in flight at once."""

    def look(self, draft: HostDraft) -> float:
        """Seconds after which a call that has not come back is looked at."""
        return min(max(0.05 * draft.budget, 0.1), 0.25)

    def patience(self, draft: HostDraft) -> float:
        """Seconds after which an abandoned call is no longer waited for."""
        return min(max(0.25 * draft.budget, 0.1), STUCK_AFTER)


class MonitorState:
    """What one sample learns about monitors for the next one."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.blamed: dict[Connection, str] = {}
        """Which stuck domain each abandoned connection waits for."""
        self.markless: set[str] = set()
        """Domains whose replies lack the marks of a whole one although nobody held their job."""
        self.reluctant: set[str] = set()
        """Domains that were asked again in vain: their job is held for long."""
        self.surveyed = False
        """Whether the domains are known that were stuck before this process could see it."""
        self.frozen: set[str] = set()
        """Stuck domains in which no call is: their QEMU was seen not to run."""
        self.pace = 0.0
        """Seconds that one domain takes in a call, as a moving average."""
        self.late: list[_Call] = []
        """Calls that were too slow for their sample and are still on their way."""

    def learn_pace(self, seconds: float, domains: int) -> None:
        """A call for so many domains came back after `seconds`."""
        sample = seconds / domains
        self.pace = 0.8 * self.pace + 0.2 * sample if self.pace else sample

    def keep_only(self, active: Collection[str], now: float) -> None:
        """Forget the domains that are not among the active ones."""
        self.quarantine.keep_only(active, now)
        for uuids in (self.markless, self.reluctant, self.frozen):
            uuids.intersection_update(active)


@dataclass(eq=False)
class _Shard:
    """Domains asked in one call."""

    uuids: list[str]
    groups: frozenset[str]
    attempt: int = 0
    """Replies without the job so far."""
    resent: bool = False
    """Whether a connection was lost with it already."""


@dataclass(eq=False)
class _Call:
    """A shard on its way."""

    shard: _Shard
    connection: Connection
    answer: asyncio.Future[list[tuple[str, Stats]]]
    started: float
    timestamp: float
    look_at: float
    """Loop time at which it is suspiciously late."""
    abandoned: bool = False
    late: bool = False
    """Made by an earlier sample, which did not wait for it; keeps its connection busy."""


class MonitorPhase:
    """Asks all active domains of one sample for the groups that need a monitor."""

    def __init__(
        self,
        connections: Connections,
        state: MonitorState,
        limits: Limits,
        draft: HostDraft,
        groups: frozenset[str],
        locked: dict[str, Connection],
        processes: QemuProcesses | None,
    ) -> None:
        """`locked`: domains not to be touched at all, with the connection stuck at each; grows.

        `processes`: tells whose QEMU does not run; None where that cannot be seen from here.
        """
        self._connections = connections
        self._state = state
        self._limits = limits
        self._draft = draft
        self._groups = groups
        self._locked = locked
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._active = {domain.uuid: domain for domain in draft.active()}
        self._queue: deque[_Shard] = deque()
        self._calls: list[_Call] = []
        self._again: dict[tuple[str, frozenset[str]], int] = {}
        self._again_at = 0.0
        self._held: set[str] = set()
        self._busy: set[str] = set()
        self._unsure: set[str] = set()
        self._sure_at = 0.0

    async def run(self) -> None:
        """Ask until everything is answered, or nothing more can be expected in time."""
        self._state.keep_only(self._active.keys(), self._loop.time())
        if not self._groups:
            return
        self._calls = self._state.late
        for call in self._calls:
            call.shard.uuids = [uuid for uuid in call.shard.uuids if uuid in self._active]
        await self._find_halted(self._active)
        await self._find_stuck()
        self._cut(self._active)
        await self._ask()
        if healed := await self._find_healed():
            self._cut(healed)
            await self._ask()
        await self._ask_without_job()
        self._conclude()

    async def _ask(self) -> None:
        """Ask what is queued, and what comes of it."""
        while True:
            self._start_calls()
            moment = self._next_moment()
            rest = self._draft.deadline.rest
            if moment is None or rest <= 0:
                break
            timeout = min(max(moment - self._loop.time(), 0.0), rest)
            answers = [call.answer for call in self._calls]
            if answers:
                await asyncio.wait(answers, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(timeout)
            for call in [call for call in self._calls if call.answer.done()]:
                self._calls.remove(call)
                self._take(call)
            await self._look_into()

    @property
    def _look(self) -> float:
        return self._limits.look(self._draft)

    @property
    def _patience(self) -> float:
        return self._limits.patience(self._draft)

    @property
    def _too_long(self) -> float:
        """Seconds for which nobody waits for a monitor of this host, if it answers at all."""
        return min(max(self._look / 2, OUTLIER * self._state.pace), self._patience)

    # What is asked, and where.

    def _cut(self, uuids: Iterable[str]) -> None:
        """Queue the shards: by what is to be asked, stuck domains apart from the others."""
        alike: dict[tuple[frozenset[str], bool], list[str]] = {}
        untouchable = self._locked.keys() | self._state.frozen | self._unsure
        for uuid in uuids:
            domain = self._active[uuid]
            asked = domain.missing & self._groups
            if asked and domain.state and uuid not in untouchable:
                alike.setdefault((asked, uuid in self._held), []).append(uuid)
        for (asked, _), uuids in alike.items():
            share = -(-len(uuids) // self._limits.parallel_calls)
            size = min(max(share, SMALLEST_SHARD), SHARD_SIZE)
            self._queue.extend(
                _Shard(uuids[start : start + size], asked) for start in range(0, len(uuids), size)
            )

    def _width(self) -> int:
        """How many calls may be in flight now."""
        blamed = {
            uuid
            for connection, uuid in self._state.blamed.items()
            if self._connections.is_stuck(connection)
        }
        # A monitor that hangs although none of our calls is in it holds somebody else's, or one
        # of ours from before a restart: libvirtd's workers are as busy with those.
        others = sum(
            uuid not in blamed and uuid not in self._state.frozen for uuid in self._state.quarantine
        )
        own = sum(call.connection.busy for call in self._calls if not call.abandoned)
        return min(self._limits.parallel_calls, self._connections.room + own - others)

    def _start_calls(self) -> None:
        while self._queue:
            if sum(not call.abandoned for call in self._calls) >= self._width():
                return
            connection = self._connections.idle("monitor", self._limits.parallel_calls)
            if connection is None:
                return
            shard = self._queue.popleft()
            now = self._loop.time()
            flags = _FLAGS
            if self._draft.backing and "block" in shard.groups:
                flags |= libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
            answer = connection.call(
                CALL,
                functools.partial(
                    list_stats, uuids=shard.uuids, stats=bits(shard.groups), flags=flags
                ),
            )
            look_at = now + self._suspicious(shard)
            self._calls.append(_Call(shard, connection, answer, now, time(), look_at))

    def _suspicious(self, shard: _Shard) -> float:
        """Seconds after which a shard is looked at: twice what it should take, within bounds."""
        usual = 2 * self._state.pace * len(shard.uuids)
        return max(self._look, min(usual, self._draft.budget / 8))

    def _next_moment(self) -> float | None:
        """The loop time at which there is something to do at the latest; None when all is done."""
        now = self._loop.time()
        moments = [self._again_at] if self._again else []
        if self._unsure:
            moments.append(self._sure_at)
        if self._queue and self._has_prospects() and now < self._started + self._patience:
            moments.append(now + RETRY_DELAY)
        in_the_way = bool(self._queue) and self._width() > 0
        for call in self._calls:
            if not call.abandoned:
                if in_the_way or not call.late:
                    moments.append(call.look_at)
            elif (end := call.started + self._patience) > now:
                moments.append(end)
        return min(moments, default=None)

    def _has_prospects(self) -> bool:
        """Whether more calls may soon be made than now, whatever becomes of those made here."""
        others_only = all(call.abandoned for call in self._calls)
        if others_only and self._connections.room <= 0 and not self._connections.full:
            return True
        # Calls of earlier samples are about to come back: their monitors answer again.
        return any(
            uuid not in self._state.quarantine and self._connections.is_stuck(connection)
            for connection, uuid in self._state.blamed.items()
        )

    # What comes back.

    def _take(self, call: _Call) -> None:
        try:
            rows = call.answer.result()
        except CallError as error:
            if not (call.abandoned or call.late):
                self._narrow(call.shard, error)
            return
        shard = call.shard
        seconds = self._loop.time() - call.started
        if call.late:
            if shard.uuids and not call.abandoned:
                self._state.learn_pace(seconds, len(shard.uuids))
            return
        self._draft.spent(shard.groups, seconds)
        marks = job_marks(shard.groups)
        if not call.abandoned:
            if self._held.isdisjoint(shard.uuids):
                self._state.learn_pace(seconds, len(shard.uuids))
            excuse_absent(self._active, shard.uuids, rows)
        for uuid, stats in rows:
            domain = self._active.get(uuid)
            if domain is None or domain.missing.isdisjoint(shard.groups):
                continue
            marked = not marks.isdisjoint(stats)
            if marked:
                self._state.quarantine.release(uuid, self._loop.time())
                self._state.reluctant.discard(uuid)
                self._state.markless.discard(uuid)
            unmarked_is_whole = uuid not in self._held and (
                not marks or uuid in self._state.markless
            )
            if marked or unmarked_is_whole:
                domain.monitor = merged(domain.monitor, stats)
                domain.missing -= shard.groups
                domain.excused = False
            elif call.abandoned:
                continue
            else:
                domain.monitor = merged(stats, domain.monitor)
                if uuid not in self._held:
                    self._ask_again(uuid, shard)
            domain.timestamp = call.timestamp

    def _ask_again(self, uuid: str, shard: _Shard) -> None:
        """Somebody held this domain's job; try a little later."""
        reluctant = uuid in self._state.reluctant
        if shard.attempt < (1 if reluctant else RETRIES):
            if not self._again:
                self._again_at = self._loop.time() + RETRY_DELAY * 2**shard.attempt
            self._again[uuid, shard.groups] = shard.attempt + 1
        elif reluctant or uuid in self._busy:
            self._state.reluctant.add(uuid)
            self._active[uuid].excused = True
        else:
            self._state.markless.add(uuid)
            self._active[uuid].missing -= shard.groups

    def _narrow(self, shard: _Shard, error: CallError) -> None:
        """A call failed as a whole: find out for whom, by asking smaller."""
        if error.error_class is ErrorClass.DISCONNECTED:
            if not shard.resent:
                self._queue.append(_Shard(shard.uuids, shard.groups, shard.attempt, resent=True))
            return
        unsupported = error.error_class is ErrorClass.UNSUPPORTED
        smaller = narrower(shard.uuids, shard.groups, groups_first=unsupported)
        if not smaller:
            log.debug("%s of domain %s not answered: %s", set(shard.groups), shard.uuids, error)
        self._queue.extend(_Shard(uuids, groups, shard.attempt) for uuids, groups in smaller)

    async def _ask_without_job(self) -> None:
        """What can be told of those whose monitor was not asked, or not with success."""
        groups = self._groups & WITHOUT_JOB
        uuids = [
            uuid
            for uuid, domain in self._active.items()
            if domain.missing & groups
            and domain.state
            and not domain.monitor
            and uuid not in self._locked
        ]
        if not uuids:
            return
        timestamp = time()
        result = await self._walk(
            "per-domain statistics",
            uuids,
            lambda session, uuid: stats_without_job(session.domain(uuid), groups),
        )
        for uuid, stats in result.answers.items():
            self._active[uuid].monitor = stats
            self._active[uuid].timestamp = timestamp

    # What does not come back.

    async def _walk(
        self, call: str, uuids: Iterable[str], visit: Callable[[Session, str], T]
    ) -> Walk[T]:
        """Visit domains one by one; those that block are not to be touched any more."""
        try:
            result = await walk(
                self._connections,
                "control",
                call,
                uuids,
                visit,
                deadline=Deadline.within(min(self._draft.deadline.rest, STUCK_AFTER)),
                patience=2 * self._look,
                # Also at the limit: this is how a domain is seen to answer again.
                may_block=min(max(self._connections.room, 1), BLOCKED_LIMIT),
                always=True,
            )
        except CallError as error:
            log.debug("%s failed: %s", call, error)
            return Walk()
        for uuid, connection in result.blocked.items():
            self._locked[uuid] = connection
            self._active[uuid].excused = True
        return result

    async def _control(self, uuids: Iterable[str]) -> Walk[Control]:
        return await self._walk("controlInfo", uuids, _visit_control)

    async def _find_halted(self, uuids: Collection[str]) -> None:
        """Whose QEMU does not run, of these: it is not to be asked at all."""
        if self._processes is None:
            return
        names = {uuid: domain.name for uuid, domain in self._active.items()}
        halted = await self._processes.look(names, self._look, uuids)
        if halted is None:
            return
        self._state.frozen -= set(uuids)
        self._state.frozen |= halted.frozen
        self._unsure = halted.unsure
        self._sure_at = self._loop.time() + APART
        now = self._loop.time()
        for uuid in halted.frozen:
            self._active[uuid].excused = True
            self._quarantine(uuid, now)

    async def _find_stuck(self) -> None:
        """Who of the stuck domains still is; the first time, who of all is stuck already."""
        state = self._state
        uuids = list(state.quarantine) if state.surveyed else list(self._active)
        uuids = [uuid for uuid in uuids if uuid not in self._locked]
        result = await self._control(uuids)
        state.surveyed = True
        now = self._loop.time()
        for uuid in uuids:
            control = result.answers.get(uuid)
            if uuid in state.frozen:
                # With a call in it already, one more is answered at once, without its monitor.
                if control is not None and control[0] == CONTROL_OCCUPIED:
                    state.frozen.discard(uuid)
                continue
            enough = self._look / 2 if uuid in state.quarantine else STUCK_AFTER
            if control is not None and _occupied(control) >= enough:
                self._quarantine(uuid, now - _occupied(control))
            elif control is not None or uuid in result.failures:
                state.quarantine.release(uuid, now)
        for uuid in state.quarantine:
            self._hold(uuid)

    async def _find_healed(self) -> list[str]:
        """Who did not answer and does by now: after a hang of many some take a little longer."""
        silent = [
            uuid
            for uuid in self._held
            if uuid not in self._locked
            and uuid not in self._state.frozen
            and self._active[uuid].missing & self._groups
        ]
        if not silent or self._draft.deadline.rest <= 0:
            return []
        result = await self._control(silent)
        healed = [uuid for uuid, control in result.answers.items() if control[0] == CONTROL_OK]
        for uuid in healed:
            self._held.discard(uuid)
            self._state.quarantine.release(uuid, self._loop.time())
        return healed

    async def _look_into(self) -> None:
        """Look at the calls that take long and at the domains to be asked again."""
        now = self._loop.time()
        if self._unsure and now >= self._sure_at:
            waited = self._unsure
            await self._find_halted(waited)
            self._unsure = set()
            self._cut(waited)
        overdue = [call for call in self._calls if not call.abandoned and now >= call.look_at]
        again = self._again if self._again and now >= self._again_at else {}
        if not overdue and not again:
            return
        suspects = dict.fromkeys(uuid for call in overdue for uuid in call.shard.uuids)
        suspects.update(dict.fromkeys(uuid for uuid, _ in again))
        result = await self._control(suspects)
        occupied = {uuid: _occupied(control) for uuid, control in result.answers.items()}
        held = {uuid: seconds for uuid, seconds in occupied.items() if seconds >= self._too_long}
        self._busy.update(
            uuid for uuid, control in result.answers.items() if control[0] != CONTROL_OK
        )
        if again:
            self._again = {}
            self._retry(again, occupied)
        for call in overdue:
            call.look_at = self._loop.time() + self._suspicious(call.shard)
            if not call.answer.done():
                self._judge(call, held)

    def _retry(
        self, again: Mapping[tuple[str, frozenset[str]], int], occupied: Mapping[str, float]
    ) -> None:
        """Ask those again whose job is not held for long."""
        alike: dict[tuple[frozenset[str], int], list[str]] = {}
        now = self._loop.time()
        for (uuid, groups), attempt in again.items():
            if occupied.get(uuid, 0.0) >= self._patience:
                self._hold(uuid)
                self._quarantine(uuid, now - occupied[uuid])
            elif uuid not in self._locked:
                alike.setdefault((groups, attempt), []).append(uuid)
        self._queue.extend(
            _Shard(uuids, groups, attempt) for (groups, attempt), uuids in alike.items()
        )

    def _judge(self, call: _Call, held: Mapping[str, float]) -> None:
        """Abandon a call that waits for a stuck domain, and ask for its other domains again.

        `held`: for how many seconds whose monitor has not answered.
        """
        shard = call.shard
        # A job that was held before the call began is somebody else's: NOWAIT passes it by.
        own = self._loop.time() - call.started
        culprits = [
            uuid for uuid in shard.uuids if held.get(uuid, inf) <= own or uuid in self._locked
        ]
        if not culprits:
            return
        call.abandoned = True
        self._connections.abandon(call.connection, CALL)
        fresh = [uuid for uuid in culprits if uuid not in self._held]
        self._state.blamed[call.connection] = (fresh or culprits)[0]
        for uuid in culprits:
            self._hold(uuid)
        if call.late:
            return
        rest = [
            uuid
            for uuid in shard.uuids
            if uuid not in self._held
            and uuid not in self._locked
            and not self._active[uuid].missing.isdisjoint(shard.groups)
        ]
        middle = -(-len(rest) // 2)
        halves = [half for half in (rest[:middle], rest[middle:]) if half]
        self._queue.extendleft(_Shard(half, shard.groups, shard.attempt) for half in halves)
        # Its job is held, so one more call with NOWAIT gets at once what needs no monitor.
        answerable = [uuid for uuid in fresh if uuid not in self._locked]
        if answerable:
            self._queue.append(_Shard(answerable, shard.groups))

    def _hold(self, uuid: str) -> None:
        self._held.add(uuid)
        domain = self._active[uuid]
        domain.excused = not domain.missing.isdisjoint(self._groups)

    def _quarantine(self, uuid: str, since: float) -> None:
        self._state.quarantine.hold(uuid, self._active[uuid].name, since)

    def _conclude(self) -> None:
        """Give up what did not come back, unless that is only slow."""
        self._state.late = []
        for call in self._calls:
            if call.answer.done():
                continue
            if call.abandoned:
                uuid = self._state.blamed[call.connection]
                if uuid not in self._locked:
                    self._quarantine(uuid, call.started)
            elif self._loop.time() - call.started < GIVEN_UP_AFTER:
                # One more call instead of it would only make a slow libvirt slower.
                call.late = True
                self._state.late.append(call)
            else:
                self._connections.give_up(call.connection, CALL)
        self._state.blamed = {
            connection: uuid
            for connection, uuid in self._state.blamed.items()
            if self._connections.is_stuck(connection)
        }


def _visit_control(session: Session, uuid: str) -> Control:
    control: Any = session.domain(uuid).controlInfo()  # annotated as a list of str, wrongly
    state, details, milliseconds = control
    return state, details, milliseconds


def _occupied(control: Control) -> float:
    """Seconds that somebody has been waiting for this monitor; 0 when nobody is."""
    state, _, milliseconds = control
    return milliseconds / 1000 if state == CONTROL_OCCUPIED else 0.0
