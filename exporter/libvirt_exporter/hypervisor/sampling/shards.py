"""Calls for some domains each, several on their way at a time, each on its own connection."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from time import time
from typing import Final

import libvirt

from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.sampling.bulk import CALL, SHARD_SIZE, list_stats
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.retries import RETRY_DELAY
from libvirt_exporter.hypervisor.sampling.standing import Standing
from libvirt_exporter.hypervisor.sampling.stats_groups import bits, narrower
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)

SMALLEST_SHARD: Final = 5
CALM_SHARD_SIZE: Final = 50
"""Domains in one call at most while nobody is known to hang: half the calls, and the threads to
wake for them. The scrape that meets a hang asks those of the call again in halves."""
GIVEN_UP_AFTER: Final = 10.0
"""Seconds after which a call is given up although nobody is seen to hold it up."""

_FLAGS: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)


@dataclass(eq=False)
class Shard:
    """Domains asked in one call."""

    uuids: list[str]
    groups: frozenset[str]
    attempt: int = 0
    """Replies without the job so far."""
    resent: bool = False
    """Whether a connection was lost with it already."""


@dataclass(eq=False)
class Call:
    """A shard on its way."""

    shard: Shard
    connection: Connection
    answer: asyncio.Future[list[tuple[str, Stats]]]
    started: float
    timestamp: float
    look_at: float
    """Loop time at which it is suspiciously late."""
    abandoned: bool = False
    late: bool = False
    """Made by an earlier sample, which did not wait for it; keeps its connection busy."""


@dataclass
class CallMemory:
    """What is known of calls from sample to sample."""

    blamed: dict[Connection, str] = field(default_factory=dict)
    """Which stuck domain each abandoned connection waits for."""
    pace: float = 0.0
    """Seconds that one domain takes in a call, as a moving average."""
    late: list[Call] = field(default_factory=list)
    """Calls that were too slow for their sample and are still on their way."""

    def learn_pace(self, seconds: float, domains: int) -> None:
        """A call for so many domains came back after `seconds`."""
        sample = seconds / domains
        self.pace = 0.8 * self.pace + 0.2 * sample if self.pace else sample


class Shards:
    """The shards of one sample: those that wait, and those on their way."""

    def __init__(
        self,
        connections: Connections,
        draft: HostDraft,
        settings: HostSettings,
        standing: Standing,
        memory: CallMemory,
    ) -> None:
        self._connections = connections
        self._draft = draft
        self._settings = settings
        self._standing = standing
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.waiting: deque[Shard] = deque()
        self.calls = memory.late
        for call in self.calls:
            call.shard.uuids = [uuid for uuid in call.shard.uuids if uuid in standing.domains]

    def cut(self, uuids: Iterable[str]) -> None:
        """Have domains asked: by what is missing, and the held ones apart from the others."""
        alike: dict[tuple[frozenset[str], bool], list[str]] = {}
        for uuid in uuids:
            missing = self._standing.unanswered(uuid)
            if missing and self._standing.askable(uuid):
                alike.setdefault((missing, uuid in self._standing.held), []).append(uuid)
        calm = not (self._standing.quarantine or self.calls)
        most = CALM_SHARD_SIZE if calm else SHARD_SIZE
        for (missing, _), uuids in alike.items():
            share = -(-len(uuids) // self._settings.parallel_calls)
            size = min(max(share, SMALLEST_SHARD), most)
            self.waiting.extend(
                Shard(uuids[start : start + size], missing) for start in range(0, len(uuids), size)
            )

    def start(self) -> None:
        """Make calls, as many as may be on their way."""
        while self.waiting:
            if sum(not call.abandoned for call in self.calls) >= self._width():
                return
            connection = self._connections.idle("monitor", self._settings.parallel_calls)
            if connection is None:
                return
            shard = self.waiting.popleft()
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
            self.calls.append(Call(shard, connection, answer, now, time(), self._suspicious(shard)))

    def returned(self) -> list[Call]:
        """The calls that have come back since."""
        returned = [call for call in self.calls if call.answer.done()]
        for call in returned:
            self.calls.remove(call)
        return returned

    def overdue(self) -> list[Call]:
        """The calls to be looked at."""
        now = self._loop.time()
        return [call for call in self.calls if not call.abandoned and now >= call.look_at]

    def moments(self) -> Iterator[float]:
        """Loop times at which there is something to do at the latest; none when all is done."""
        now = self._loop.time()
        patience = self._draft.patience
        if self.waiting and self._has_prospects() and now < self._started + patience:
            yield now + RETRY_DELAY
        in_the_way = bool(self.waiting) and self._width() > 0
        for call in self.calls:
            if not call.abandoned:
                if in_the_way or not call.late:
                    yield call.look_at
            elif (end := call.started + patience) > now:
                yield end

    def look_again(self, call: Call) -> None:
        """Go on to wait for a call."""
        call.look_at = self._suspicious(call.shard)

    def abandon(self, call: Call, culprits: list[str]) -> None:
        """Give a call up that these domains hold, and ask for its other domains again."""
        standing, shard = self._standing, call.shard
        call.abandoned = True
        self._connections.abandon(call.connection, CALL)
        fresh = [uuid for uuid in culprits if uuid not in standing.held]
        self._memory.blamed[call.connection] = (fresh or culprits)[0]
        for uuid in culprits:
            standing.hold(uuid)
        if call.late:
            return
        rest = [
            uuid
            for uuid in shard.uuids
            if uuid not in standing.held
            and uuid not in standing.locked
            and not standing.domains[uuid].missing.isdisjoint(shard.groups)
        ]
        middle = -(-len(rest) // 2)
        halves = [half for half in (rest[:middle], rest[middle:]) if half]
        self.waiting.extendleft(Shard(half, shard.groups, shard.attempt) for half in halves)
        # Its job is held, so one more call with NOWAIT gets at once what needs no monitor.
        answerable = [uuid for uuid in fresh if uuid not in standing.locked]
        if answerable:
            self.waiting.append(Shard(answerable, shard.groups))

    def narrow(self, shard: Shard, error: CallError) -> None:
        """A call failed as a whole: find out for whom, by asking smaller."""
        if error.error_class is ErrorClass.DISCONNECTED:
            if not shard.resent:
                self.waiting.append(replace(shard, resent=True))
            return
        unsupported = error.error_class is ErrorClass.UNSUPPORTED
        smaller = narrower(shard.uuids, shard.groups, groups_first=unsupported)
        if not smaller:
            log.debug(
                "libvirt returned no %s for domains %s: %s", set(shard.groups), shard.uuids, error
            )
        self.waiting.extend(Shard(uuids, groups, shard.attempt) for uuids, groups in smaller)

    def conclude(self) -> None:
        """Give up what did not come back, unless that is only slow."""
        late = []
        for call in self.calls:
            if call.answer.done():
                continue
            waited = self._loop.time() - call.started
            if call.abandoned:
                uuid = self._memory.blamed[call.connection]
                if uuid not in self._standing.locked:
                    self._standing.stuck(uuid, waited)
            elif waited < GIVEN_UP_AFTER:
                # One more call instead of it would only make a slow libvirt slower.
                call.late = True
                late.append(call)
            else:
                self._connections.give_up(call.connection, CALL)
        self._memory.late = late
        self._memory.blamed = {
            connection: uuid
            for connection, uuid in self._memory.blamed.items()
            if self._connections.budget.is_stuck(connection)
        }

    def _width(self) -> int:
        """How many calls may be on their way now."""
        blamed = {
            uuid
            for connection, uuid in self._memory.blamed.items()
            if self._connections.budget.is_stuck(connection)
        }
        # A monitor that hangs although none of our calls is in it holds somebody else's, or one
        # of ours from before a restart: libvirtd's workers are as busy with those.
        others = sum(
            uuid not in blamed and uuid not in self._standing.frozen
            for uuid in self._standing.quarantine
        )
        own = sum(call.connection.busy for call in self.calls if not call.abandoned)
        return min(self._settings.parallel_calls, self._connections.budget.room + own - others)

    def _suspicious(self, shard: Shard) -> float:
        """Loop time at which to look: after twice what the shard should take, within bounds."""
        usual = min(2 * self._memory.pace * len(shard.uuids), self._draft.budget / 8)
        return self._loop.time() + max(self._draft.look, usual)

    def _has_prospects(self) -> bool:
        """Whether more calls may soon be made than now, whatever becomes of those made here."""
        others_only = all(call.abandoned for call in self.calls)
        if others_only and self._connections.budget.room <= 0 and not self._connections.budget.full:
            return True
        # Calls of earlier samples are about to come back: their monitors answer again.
        return any(
            uuid not in self._standing.quarantine and self._connections.budget.is_stuck(connection)
            for connection, uuid in self._memory.blamed.items()
        )
