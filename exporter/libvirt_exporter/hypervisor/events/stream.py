"""The stream of events of one libvirt, from its callbacks to what is known of each domain.

libvirt runs callbacks on its event thread, where nothing may block. So a callback notes the time,
puts one record into a bounded queue and returns; the host's loop takes the records out, counts
them (`history`) and has the XML of those domains read again whose XML has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session, backoff, start_event_loop
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.events.domain_history import Record
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.keeper import HistoryKeeper
from libvirt_exporter.hypervisor.events.kinds import KINDS, changes_xml
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.model import Stats, VanishedDomain

log = logging.getLogger(__name__)

PURPOSE: Final = "events"
QUEUE_LIMIT: Final = 10_000
"""Records that wait for the host's loop; more are dropped and counted."""
HEARTBEAT: Final = 15.0
"""Seconds between two proofs of life."""


class EventQueue:
    """Records on their way from libvirt's event thread, the only one to put, to another one."""

    def __init__(self, wake: Callable[[], None], limit: int = QUEUE_LIMIT) -> None:
        """`wake` is called when there is something to take; once until it is taken."""
        self._wake = wake
        self._limit = limit
        self._records: deque[Record] = deque()
        self._woken = False
        self._dropped = 0

    def put(self, record: Record) -> None:
        """Queue a record, or count it as dropped when the queue is full. Never blocks."""
        if len(self._records) >= self._limit:
            self._dropped += 1
            return
        self._records.append(record)
        if not self._woken:
            self._woken = True
            self._wake()

    @property
    def dropped(self) -> int:
        """Records dropped so far."""
        return self._dropped

    def take(self) -> list[Record]:
        """All that is queued, the oldest first."""
        # Before the records are taken: what is put from here on wakes again.
        self._woken = False
        return [self._records.popleft() for _ in range(len(self._records))]

    def callback(self, event: str) -> Callable[..., None]:
        """A libvirt callback that puts a record of this event."""

        def on_event(_conn: libvirt.virConnect, domain: libvirt.virDomain, *details: Any) -> None:
            self.put(
                Record(event, domain.UUIDString(), domain.name(), time.time_ns(), details[:-1])
            )

        return on_event


class EventStream:
    """Keeps a connection for events and knows what they told; lives on the host's asyncio loop."""

    def __init__(
        self,
        connections: Connections,
        inventory: Inventory,
        history: EventHistory,
        keeper: HistoryKeeper,
        observer: Observer,
        *,
        on_event: Callable[[], None] | None = None,
    ) -> None:
        """`on_event` is called after events have been taken in; it may only hand over."""
        self._connections = connections
        self._inventory = inventory
        self._history = history
        self._keeper = keeper
        self._observer = observer
        self._on_event = on_event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue = EventQueue(lambda: self._hand_over(self.take))
        self._dropped = 0
        self._misunderstood: set[str] = set()
        """Kinds of events that were warned of."""
        self._retry = asyncio.Event()
        self.connected = False
        """Whether events are subscribed to."""
        self._alive_at = time.monotonic()

    @property
    def alive_age(self) -> float:
        """Seconds since libvirt's event loop and the connection last proved to be alive."""
        return time.monotonic() - self._alive_at

    # Registration.

    async def run(
        self, connected: Callable[[], Awaitable[None]], lost: Callable[[str], None]
    ) -> None:
        """Follow the events for ever; what may have been missed is read again.

        `connected` is awaited after each registration, `lost` is told when the stream ends.
        """
        self._loop = asyncio.get_running_loop()
        await self._keeper.load()
        delays = backoff()
        while True:
            ended = asyncio.Event()
            try:
                await self._connections.of(PURPOSE).call(
                    "domainEventRegisterAny",
                    functools.partial(
                        self._subscribe, lost=functools.partial(self._hand_over, ended.set)
                    ),
                )
            except CallError as error:
                self._retry.clear()
                log.debug("cannot subscribe to events of %s: %s", self._connections.name, error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(next(delays)):
                        await self._retry.wait()
                continue
            delays = backoff()
            self.connected = True
            self._alive_at = time.monotonic()
            self._history.begin()
            self._inventory.mark_all()
            await connected()
            await ended.wait()
            self.connected = False
            lost("the connection was lost")

    def retry(self) -> None:
        """Connect at once if that is being put off: the host answers again."""
        self._retry.set()

    def _subscribe(self, session: Session, lost: Callable[[], None]) -> None:
        """Register all events; raises libvirt.libvirtError when there are none to be had."""
        conn = session.conn
        missing = []
        for event in KINDS:
            name = event.upper()
            event_id = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}", None)
            if event_id is None:
                missing.append(name)
                continue
            callback = self._queue.callback(event)
            try:
                callback_id = conn.domainEventRegisterAny(None, event_id, callback, None)
            except libvirt.libvirtError:
                if not session.event_callbacks:
                    raise
                missing.append(name)
            else:
                session.event_callbacks.append(callback_id)
        if missing:
            log.debug(
                "%s does not support the events %s", self._connections.name, ", ".join(missing)
            )
        # Drivers inside this process have no connection that could be lost: NO_SUPPORT in some.
        with contextlib.suppress(libvirt.libvirtError):
            conn.registerCloseCallback(lambda _conn, _reason, _: lost(), None)
            session.has_close_callback = True
        session.on_close = lost
        if not session.alive:
            lost()

        def beat(_timer: int, _opaque: None) -> None:
            if session.alive:
                self._alive_at = time.monotonic()

        start_event_loop()
        session.event_timers.append(libvirt.virEventAddTimeout(int(HEARTBEAT * 1e3), beat, None))

    def _hand_over(self, what: Callable[[], object]) -> None:
        # The loop is closed when the host was closed before its connections were.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)

    # What the events tell.

    def take(self) -> None:
        """Take in all events that have been delivered so far."""
        if (dropped := self._queue.dropped) > self._dropped:
            if not self._dropped:
                log.warning(
                    "events of %s arrived too fast and were dropped", self._connections.name
                )
            self._observer.events_dropped(dropped - self._dropped)
            self._dropped = dropped
            self._inventory.mark_all()
        records = self._queue.take()
        if not records:
            return
        for record in records:
            error = self._history.record(record, self._inventory.get(record.uuid))
            if error is not None:
                self._tell_misunderstood(record, error)
            if error is not None or changes_xml(record):
                self._inventory.mark(record.uuid)
        for event, count in Counter(record.event for record in records).items():
            self._observer.events_received(event, count)
        if self._on_event is not None:
            self._on_event()

    def _tell_misunderstood(self, record: Record, error: Exception) -> None:
        self._observer.source_failed()
        if record.event not in self._misunderstood:
            self._misunderstood.add(record.event)
            log.warning(
                "event %s of domain %s (%s) was not understood and is not counted, nor are others "
                "like it: %.500r",
                record.event,
                record.name,
                record.uuid,
                record.details,
                exc_info=error,
            )

    def listed(self, domains: Iterable[DomainDraft], timestamp: float, *, complete: bool) -> None:
        """Compare with a listing of domains that was begun at `timestamp` (Unix time)."""
        self.take()
        if self._keeper.loaded:
            self._history.listed(domains, int(timestamp * 1e9), complete=complete)

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """What is known of a domain by its events."""
        if not self._keeper.loaded:
            return NOTHING
        return self._history.stats(domain, self._inventory.get(domain.uuid))

    @property
    def vanished(self) -> tuple[VanishedDomain, ...]:
        """Domains that are no longer listed, for a while."""
        return self._history.vanished
