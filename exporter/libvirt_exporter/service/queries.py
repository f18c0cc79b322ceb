"""Answers to queries: from a sample that is fresh enough, at once or when something changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from math import inf
from typing import Final, TypeVar

from msgspec.structs import replace

from libvirt_exporter.contract import QueryAnswer, QueryRequest, UnavailableError
from libvirt_exporter.model import Applications, HostSample
from libvirt_exporter.query.answers import Clerk, Reply, Taken, Terms
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.history import History
from libvirt_exporter.query.need import Need, Scope, covers, covers_all, merged
from libvirt_exporter.service.workers import Workers
from libvirt_exporter.shared import Shared

T = TypeVar("T")

_LONGEST_QUEUE: Final = 60.0
"""Seconds until an answer must have been computed, once there is a sample."""
_SHORTEST_PAUSE: Final = 0.2
"""Seconds between samples that are taken because something happened."""


class _Waiting:
    """Somebody who waits for a change, and what that takes by the configuration in force."""

    def __init__(self, request: QueryRequest, need: Need) -> None:
        self.request, self.need = request, need


class Queries:
    """The queries of one host; lives on one event loop."""

    def __init__(
        self,
        terms: Terms,
        *,
        sample: Callable[[Scope], Awaitable[object]],
        workers: Workers,
        applications: Callable[[str], Applications | None] = lambda _uuid: None,
    ) -> None:
        """`sample` takes a sample of that scope, of which `saw` is told before it returns.

        `applications`: what is installed in a VM, as in `VmView`.
        """
        self._terms = terms
        self._applications = applications
        self._take = sample
        self._workers = workers
        self._clerk = Clerk(terms, workers.pause, applications)
        self._replies = Shared[Reply | None]()
        self._history: History | None = None
        """None until somebody asks: two samples are much to keep for nobody."""
        self._latest: Taken | None = None
        self._number = 0
        """Of the latest sample."""
        self._news = asyncio.Event()
        """Set, and replaced, when there is another latest sample."""
        self._happened = asyncio.Event()
        self._happened_at = -inf
        """Loop time of the last event."""
        self._taking: set[asyncio.Future[object]] = set()
        """Samples that are being taken for those who asked."""
        self._left: tuple[Scope, asyncio.Future[object]] | None = None
        """The latest of them that somebody went on without."""
        self._asked: dict[Need, float] = {}
        """What was asked for of late, and when (loop time)."""
        self._waiting: list[_Waiting] = []
        self._watcher: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""
        return tuple(self._terms.fields.values())

    def apply(self, terms: Terms) -> None:
        """Take over another configuration."""
        self._terms = terms
        self._asked.clear()
        for waiting in self._waiting:
            waiting.need = terms.need(waiting.request)
        if self._latest is not None:
            # By this one other domains may be asked for other things.
            self._latest = self._latest._replace(scope=frozenset())

    def forget(self) -> None:
        """Forget what is known: the host is another one."""
        self._clerk = Clerk(self._terms, self._workers.pause, self._applications)
        self._history, self._latest = None, None

    def saw(self, sample: HostSample, scope: Scope) -> None:
        """Take note of a sample that was taken for this scope, whoever had it taken."""
        latest = self._latest
        if (
            latest is not None
            and latest.sample.timestamp == sample.timestamp
            and not latest.sample.partial
            and covers_all(latest.scope, scope)
        ):
            # The same was told already, as of somebody for whom more was asked.
            return
        self._number += 1
        if latest is not None and self._history and sample.clock_was_set_since(latest.sample):
            self._history = History()
        before: Sequence[HostSample] = ()
        if self._history is not None and sample.up:
            before = self._history.before(sample)
            self._history.add(sample, scope)
        began = asyncio.get_running_loop().time() - sample.duration
        self._latest = Taken(sample, before, began, self._number, scope)
        self._tell()

    def happened(self) -> None:
        """Something happened on the host: whoever waits or asks would like to know."""
        self._happened_at = asyncio.get_running_loop().time()
        self._happened.set()

    def end(self) -> None:
        """Answer whoever waits, now and from now on."""
        self._ended = True
        self._tell()
        if self._watcher is not None:
            self._watcher.cancel()

    async def answer(self, request: QueryRequest, *, anew: bool = False) -> QueryAnswer:
        """Fields of VMs; RequestError, UnavailableError. `anew`: from a new sample."""
        reply = None
        while reply is None:
            need = self._terms.need(request)
            taken = await self._recent(need, request.timeout, anew=anew)
            reply = await self._reply(taken, request)
        if not (reply.nothing and request.wait > 0):
            return reply.answer
        longest = min(request.wait, self._terms.api.longest_wait)
        until = asyncio.get_running_loop().time() + longest
        with self._watching(_Waiting(request, self._terms.need(request))) as waiting:
            while (newer := await self._newer(taken, waiting, until)) is not None:
                taken = newer
                reply = await self._reply(taken, request) or reply
                if not reply.nothing:
                    break
        return reply.answer

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of a VM; NotFoundError, UnavailableError."""
        answer = None
        while answer is None:
            taken = await self._recent(self._terms.diagnostics_need(vm_id))
            answer = await self._in_turn(
                self._workers.other(self._clerk.diagnostics, self._terms, taken, vm_id)
            )
        return answer

    async def applications(self, vm_id: str) -> QueryAnswer | None:
        """What is installed in a VM, None where that is not known.

        Raises NotFoundError, where there is no such VM or none of this is shown, and
        UnavailableError.
        """
        self._terms.refuse_applications()
        taken = await self._recent(self._terms.applications_need())
        work = self._workers.other(self._clerk.applications, self._terms, taken, vm_id)
        return await self._in_turn(work)

    async def _reply(self, taken: Taken, request: QueryRequest) -> Reply | None:
        clerk, terms = self._clerk, self._terms
        # The work keeps all three, whose ids are in the key.
        key = (id(clerk), id(terms), id(taken), replace(request, wait=0.0, timeout=0.0))
        return await self._in_turn(
            self._replies.get(key, lambda: self._workers.other(clerk.reply, terms, taken, request))
        )

    async def _in_turn(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(_LONGEST_QUEUE):
                return await work
        except TimeoutError:
            raise UnavailableError("too many concurrent queries", "try again later") from None

    async def _recent(self, need: Need, within: float = 0.0, *, anew: bool = False) -> Taken:
        """A sample that is no older than it may be; UnavailableError, as `_sampled`.

        `anew`: one that is taken now. It may be short of the need when the configuration, or what
        others need, is another one by then.
        """
        self._note(need)
        latest = self._latest
        if self._history is None:
            self._history = History()
            if latest is not None and latest.sample.up:
                self._history.add(latest.sample, latest.scope)
        usable = latest is not None and latest.sample.up and covers(latest.scope, need)
        if anew or latest is None or not usable or self._rest(latest) < 0:
            await self._sampled(need, within)
            latest = self._latest
        if latest is None:
            # What was asked has been exchanged for another host meanwhile.
            await self._sampled(need, within)
            latest = self._latest
        if latest is None or not latest.sample.up:
            if latest is None:
                raise UnavailableError("libvirt was not queried", "try again later")
            sample = latest.sample
            raise UnavailableError(sample.outage, "try again later", reason=sample.error)
        return latest

    async def _sampled(self, need: Need, within: float) -> None:
        """Have a sample taken; UnavailableError when that takes longer, in seconds, unless 0."""
        scope, taking = self._left or (frozenset(), None)
        # However many go on without one, those who ask after them share one.
        if taking is None or taking.done() or not covers(scope, need):
            scope = self._scope()
            taking = asyncio.ensure_future(self._take(scope))
            self._taking.add(taking)
            taking.add_done_callback(self._taking.discard)
        await asyncio.wait({taking}, timeout=within or None)
        if not taking.done():
            self._left = scope, taking
            raise UnavailableError(f"libvirt did not answer within {within:g} s", "try again later")
        taking.result()

    def _scope(self) -> Scope:
        """What a sample is to be taken for: who waits, and whoever asked of late.

        So those who ask for different things again and again share one sample in a while too.
        """
        self._forget_asked()
        return merged([*self._asked, *(waiting.need for waiting in self._waiting)])

    def _note(self, need: Need) -> None:
        self._forget_asked()
        self._asked.pop(need, None)
        self._asked[need] = asyncio.get_running_loop().time()

    def _forget_asked(self) -> None:
        """Forget what was asked for too long ago; the oldest stands first."""
        since = asyncio.get_running_loop().time() - self._terms.api.max_age
        while self._asked and next(iter(self._asked.values())) < since:
            del self._asked[next(iter(self._asked))]

    def _rest(self, taken: Taken) -> float:
        """Seconds for which a sample may still be used, negative when it is too old.

        One that was begun before the last event is, as soon as libvirt has had a pause.
        """
        usable = self._terms.api.max_age
        if self._happened_at > taken.began:
            usable = min(usable, _SHORTEST_PAUSE)
        return taken.began + usable - asyncio.get_running_loop().time()

    async def _newer(self, than: Taken, waiting: _Waiting, until: float) -> Taken | None:
        """The next sample for somebody, of a host that answers; None without one until then."""
        while not self._ended:
            latest = self._latest
            if (
                latest is not None
                and latest.number != than.number
                and latest.sample.up
                and covers(latest.scope, waiting.need)
            ):
                return latest
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                return None
        return None

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    @contextlib.contextmanager
    def _watching(self, waiting: _Waiting) -> Iterator[_Waiting]:
        """Have samples taken for all who wait."""
        self._waiting.append(waiting)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            yield waiting
        finally:
            self._waiting.remove(waiting)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and not self._ended:
            rest = self._rest(self._latest) if self._latest is not None else 0.0
            if rest > 0 and not self._happened.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._happened.wait(), rest)
                continue
            self._happened.clear()
            started = loop.time()
            await self._take(self._scope())
            # However much happens, libvirt has as much time without a sample as with one.
            await asyncio.sleep(max(_SHORTEST_PAUSE, loop.time() - started))
