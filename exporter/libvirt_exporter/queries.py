"""Answers to queries: from a sample that is fresh enough, at once or when something changes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from difflib import get_close_matches
from math import inf
from typing import Final, NamedTuple
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from libvirt_exporter.config import Api
from libvirt_exporter.contract import (
    NotFoundError,
    QueryAnswer,
    QueryRequest,
    RequestError,
    UnavailableError,
)
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.query.changes import Changes, Filter, Row
from libvirt_exporter.query.diagnostics import diagnostics
from libvirt_exporter.query.fields.field import VmField, encoded
from libvirt_exporter.query.fields.table import FIELDS, explain
from libvirt_exporter.query.history import History

_SHORTEST_PAUSE: Final = 0.2
"""Seconds between samples that are taken because something happened."""
_GZIP_LEVEL: Final = 1
_SMALL: Final = 500
"""Bytes of a body that fits into one packet as it is, and hardly gets smaller."""
_LONGEST_NAME: Final = 64
"""Characters of a name that is compared with others."""

_SENSITIVE: Final = frozenset(field.name for field in FIELDS if field.sensitive)


class Terms:
    """What the configuration lets clients see."""

    def __init__(self, api: Api, shown: Callable[[HostSample], Sequence[DomainSample]]) -> None:
        """`shown`: the domains of a sample that exist for clients."""
        self.api = api
        self.shown = shown
        self.fields = {
            field.name: field
            for field in FIELDS
            if not field.sensitive or field.name in api.sensitive_fields
        }

    def unknown(self, names: Collection[str]) -> list[str]:
        """Those of the names that are no field, or none that may be seen, once each."""
        return [name for name in dict.fromkeys(names) if name not in self.fields]

    def chosen(self, request: QueryRequest) -> list[VmField]:
        """The fields that a request asks for."""
        named, excluded = {*request.fields}, {*request.exclude}
        return [
            field
            for name, field in self.fields.items()
            if (name in named if named else not field.on_request) and name not in excluded
        ]

    def refuse_unknown(self, request: QueryRequest) -> None:
        """Raise RequestError for the first name that is unknown."""
        for name in self.unknown((*request.fields, *request.exclude)):
            close = get_close_matches(name, self.fields, n=1) if len(name) < _LONGEST_NAME else []
            if name in _SENSITIVE:
                hint = "it is sensitive, and exists where api.sensitive_fields names it"
            elif close:
                hint = f"did you mean {close[0]}?"
            else:
                hint = "docs/api.md lists the fields"
            raise RequestError(f"unknown field {name[:_LONGEST_NAME]}", hint)


class _Taken(NamedTuple):
    """A sample, when it was taken, and what its rates are taken against."""

    sample: HostSample
    earlier: HostSample | None
    began: float
    """Time of the event loop."""
    number: int


class _Reply(NamedTuple):
    nothing: bool
    """Whether the client learns nothing by it."""
    answer: QueryAnswer


class _Body(Struct, rename="camel"):
    data_list: list[Row]
    query_stamp: str
    full: bool
    removed: list[str]
    unknown_fields: list[str]
    unknown_vm_ids: list[str]
    explanations: dict[str, dict[str, str]] | UnsetType = UNSET


class _Clerk:
    """Computes answers, on one thread."""

    def __init__(self, terms: Terms) -> None:
        self._changes = Changes(terms.api.tombstones)
        self._committed = 0
        self._terms: Terms | None = None

    def _commit(self, terms: Terms, taken: _Taken) -> None:
        if taken.number > self._committed or terms is not self._terms:
            self._changes.tombstones = terms.api.tombstones
            sample, shown = taken.sample, terms.shown(taken.sample)
            self._changes.commit(sample, shown, taken.earlier, time.time())
            self._committed, self._terms = taken.number, terms

    def reply(self, terms: Terms, taken: _Taken, request: QueryRequest) -> _Reply:
        """What a request learns from this sample, or from a newer one that is known already."""
        if request.strict:
            terms.refuse_unknown(request)
        self._commit(terms, taken)
        ids = {text: _uuid(text) for text in request.vm_ids}
        chosen = Filter(terms.chosen(request), ids.values(), request.exclude)
        changed = self._changes.since(request.changed_since.strip(), chosen)
        there = {*self._changes.uuids, *changed.removed}
        body = _Body(
            data_list=changed.rows,
            query_stamp=changed.stamp,
            full=changed.full,
            removed=changed.removed,
            unknown_fields=terms.unknown(request.fields),
            unknown_vm_ids=[text for text, uuid in ids.items() if uuid not in there],
        )
        if request.explain:
            names = [field.name for field in chosen.fields]
            views = self._changes.views(chosen)
            body.explanations = {uuid: explain(view, names) for uuid, view in views.items()}
        return _Reply(changed.nothing, _answer(body, compress=request.gzip))

    def diagnostics(self, terms: Terms, taken: _Taken, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of a VM."""
        self._commit(terms, taken)
        uuid = _uuid(vm_id)
        view = self._changes.views(Filter((), [uuid])).get(uuid)
        if view is None:
            raise NotFoundError("there is no such VM", "vmId is its UUID; /api/v1/vms lists them")
        return _answer(diagnostics(view))


class Queries:
    """The queries of one host; lives on one event loop."""

    def __init__(
        self, terms: Terms, *, sample: Callable[[], Awaitable[object]], thread: Executor
    ) -> None:
        """`sample` takes a sample of all groups, of which `saw` is told before it returns.

        `thread` has one worker.
        """
        self._terms = terms
        self._take = sample
        self._thread = thread
        self._clerk = _Clerk(terms)
        self._history: History | None = None
        """None until somebody asks: two samples are much to keep for nobody."""
        self._latest: _Taken | None = None
        self._news = asyncio.Event()
        """Set, and replaced, when there is another latest sample."""
        self._happened = asyncio.Event()
        self._happened_at = -inf
        """Loop time of the last event."""
        self._taking: set[asyncio.Future[object]] = set()
        """Samples that are being taken for those who asked."""
        self._left: asyncio.Future[object] | None = None
        """The latest of them that somebody went on without."""
        self._waiting = 0
        self._watcher: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""
        return tuple(self._terms.fields.values())

    def apply(self, terms: Terms) -> None:
        """Take over another configuration."""
        self._terms = terms

    def forget(self) -> None:
        """Forget what is known: the host is another one."""
        self._clerk = _Clerk(self._terms)
        self._history, self._latest = None, None

    def saw(self, sample: HostSample) -> None:
        """Take note of a sample of all groups, whoever had it taken."""
        before, number = None, self._latest.number + 1 if self._latest is not None else 1
        if self._history is not None and sample.up:
            before = self._history.before(sample)
            self._history.add(sample)
        began = asyncio.get_running_loop().time() - sample.duration
        self._latest = _Taken(sample, before, began, number)
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

    async def answer(self, request: QueryRequest) -> QueryAnswer:
        """Fields of VMs; RequestError, UnavailableError."""
        taken = await self._recent(request.timeout)
        reply = await self._reply(taken, request)
        if not (reply.nothing and request.wait > 0):
            return reply.answer
        longest = min(request.wait, self._terms.api.longest_wait)
        until = asyncio.get_running_loop().time() + longest
        with self._watching():
            while (newer := await self._newer(taken, until)) is not None:
                taken = newer
                reply = await self._reply(taken, request)
                if not reply.nothing:
                    break
        return reply.answer

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of a VM; NotFoundError, UnavailableError."""
        taken = await self._recent()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, self._clerk.diagnostics, self._terms, taken, vm_id
        )

    async def _reply(self, taken: _Taken, request: QueryRequest) -> _Reply:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, self._clerk.reply, self._terms, taken, request
        )

    async def _recent(self, within: float = 0.0) -> _Taken:
        """A sample that is no older than it may be; UnavailableError, as `_sampled`."""
        latest = self._latest
        if self._history is None:
            self._history = History()
            if latest is not None and latest.sample.up:
                self._history.add(latest.sample)
        if latest is None or not latest.sample.up or self._rest(latest) < 0:
            await self._sampled(within)
            latest = self._latest
        if latest is None:
            # What was asked has been exchanged for another host meanwhile.
            await self._sampled(within)
            latest = self._latest
        if latest is None or not latest.sample.up:
            error = latest.sample.error if latest is not None else "it was not asked"
            raise UnavailableError(f"libvirt does not answer: {error}", "try again later")
        return latest

    async def _sampled(self, within: float) -> None:
        """Have a sample taken; UnavailableError when that takes longer, in seconds, unless 0."""
        taking = self._left
        # However many go on without one, those who ask after them share one.
        if taking is None or taking.done():
            taking = asyncio.ensure_future(self._take())
            self._taking.add(taking)
            taking.add_done_callback(self._taking.discard)
        await asyncio.wait({taking}, timeout=within or None)
        if not taking.done():
            self._left = taking
            raise UnavailableError(f"libvirt has not answered in {within:g} s", "try again later")
        taking.result()

    def _rest(self, taken: _Taken) -> float:
        """Seconds for which a sample may still be used, negative when it is too old.

        One that was begun before the last event is, as soon as libvirt has had a pause.
        """
        usable = self._terms.api.max_age
        if self._happened_at > taken.began:
            usable = min(usable, _SHORTEST_PAUSE)
        return taken.began + usable - asyncio.get_running_loop().time()

    async def _newer(self, than: _Taken, until: float) -> _Taken | None:
        """The next sample of a host that answers; None when there is none until then."""
        while not self._ended:
            if self._latest is not None and self._latest is not than and self._latest.sample.up:
                return self._latest
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
    def _watching(self) -> Iterator[None]:
        """Have samples taken for all who wait."""
        self._waiting += 1
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._waiting -= 1

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
            await self._take()
            # However much happens, libvirt has as much time without a sample as with one.
            await asyncio.sleep(max(_SHORTEST_PAUSE, loop.time() - started))


def _uuid(text: str) -> str:
    """A UUID as libvirt writes it; what is none stays what it is, and names no VM."""
    try:
        return str(UUID(text))
    except ValueError:
        return text


def _answer(content: object, *, compress: bool = False) -> QueryAnswer:
    body = encoded(content)
    if compress and len(body) > _SMALL:
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return QueryAnswer(body=body, content_encoding="gzip")
    return QueryAnswer(body=body)
