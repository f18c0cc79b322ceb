"""Connections to one libvirt: opened when needed, kept open, replaced when lost or stuck.

libvirt's client can lose a wake-up when several threads use one connection and one of them is
stuck, and the server stops reading a connection with five calls in flight. So a connection
belongs to one thread and runs one call at a time, and what must not wait for each other uses
different connections: each is for one purpose.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import libvirt

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.closing_peers import closes_at_once
from libvirt_exporter.hypervisor.connection.dead_peers import tcp_port, watch_peers
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import (
    ErrorClass,
    NoAnswerError,
    OpenError,
    call_error,
    classify,
    explain_open_failure,
    missing_file,
)
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.session import Connect, Session, open_read_only
from libvirt_exporter.hypervisor.connection.threads import CallThread
from libvirt_exporter.uri import redacted

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_PAUSE: Final = 20
"""After a failed attempt nobody tries again for this many times as long as it took …"""
LONGEST_RETRY_PAUSE: Final = 1.0
"""… but for at most these seconds. A socket without a daemon costs next to nothing to try."""
FORGOTTEN_LIMIT: Final = 1000
"""Domains that are gone since the last call of a connection; from that many on all of its handles
are dropped. That of the events makes no call for weeks."""
IDLE_FOR: Final = 300.0
"""Seconds without a call after which a connection is not worth what keeps it alive: a message each
way every five seconds. Scrapes come more often."""


class Connection:
    """One connection and its thread; opens itself for the next call whenever it is not open."""

    def __init__(self, purpose: str, pool: Connections) -> None:
        self.purpose = purpose
        self.waiting_for_open = False
        """The daemon has not answered an attempt to connect yet."""
        self.used_at = time.monotonic()
        """When it was last chosen for a call, or its last one came back."""
        self._pool = pool
        self._thread = CallThread(f"libvirt-{purpose}", self._finish)
        self._session: Session | None = None
        self._latest: asyncio.Future[Any] | None = None
        self._forgotten: deque[str] = deque(maxlen=FORGOTTEN_LIMIT)

    @property
    def busy(self) -> bool:
        """Whether a call has not come back yet."""
        return self._latest is not None and not self._latest.done()

    async def free(self, deadline: Deadline) -> bool:
        """Wait until no call is running; whether that came true in time."""
        while (latest := self._latest) is not None and not latest.done():
            if not await deadline.wait(latest):
                return False
        return True

    def call(self, name: str, function: Callable[[Session], T]) -> asyncio.Future[T]:
        """Run `function` on this connection's thread.

        The future raises CallError for anything that libvirt or its binding answers badly, and
        OpenError when there is no connection to run it on.
        """
        future = self._thread.run(functools.partial(self._execute, name, function))
        self._latest = future
        future.add_done_callback(self._done)
        return future

    def forget(self, uuids: Iterable[str]) -> None:
        """Drop the handles of domains that no longer exist, before the next call."""
        self._forgotten.extend(uuids)

    def stop(self) -> None:
        """Close after the calls that are queued. Never blocks."""
        self._thread.stop()

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.used_at = time.monotonic()
        if self._latest is future:
            self._latest = None  # nobody needs its answer or its exception from here

    def _execute(self, name: str, function: Callable[[Session], T]) -> T:
        session = self._open_session()
        while self._forgotten:
            if len(self._forgotten) == FORGOTTEN_LIMIT:
                session.handles.clear()
            session.handles.pop(self._forgotten.popleft(), None)
        error_class: ErrorClass | None = None
        started = time.monotonic()
        try:
            return function(session)
        except Exception as error:
            failure = call_error(error, uri=session.uri, alive=session.alive)
            if failure is None:
                raise
            error_class = failure.error_class
            raise failure from None
        finally:
            self._pool.observer.call_finished(name, time.monotonic() - started, error_class)
            if error_class is ErrorClass.DISCONNECTED:
                self._close_session()

    def _open_session(self) -> Session:
        if self._session is not None and not self._session.alive:
            self._close_session()
        if self._session is None:
            self.waiting_for_open = True
            try:
                self._session = Session(self._pool.open(), self._pool.uri)
            finally:
                self.waiting_for_open = False
        return self._session

    def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _finish(self) -> None:
        self._close_session()
        self._pool.budget.returned(self)


@dataclass(frozen=True)
class _Failure:
    """An attempt to connect that failed; no exception, which would keep all that it came by."""

    until: float
    """When to try again (time.monotonic)."""
    words: str
    error_class: ErrorClass
    code: int


class Connections:
    """All connections to one host: one for each purpose; a stuck one is replaced by a fresh one.

    Used from one asyncio loop; `open` is called by the connections' threads.
    """

    def __init__(
        self,
        uri: str,
        observer: Observer,
        connect: Connect = open_read_only,
        *,
        budget: StuckBudget | None = None,
        read_only: bool = True,
    ) -> None:
        """`budget`: shared with the other pools of the URI; without one there are no others.

        `read_only`: whether `connect` opens such connections, for what a failure is explained by.
        """
        self.uri = uri
        self.name = redacted(uri)
        """The URI for everybody to read."""
        self.observer = observer
        self.budget = budget if budget is not None else StuckBudget()
        self._connect = connect
        self._read_only = read_only
        # The test driver lives in this process and never blocks; one connection spares the
        # memory and the state that each connection would have of its own.
        self._shared = uri.startswith("test:")
        self._port = tcp_port(uri)
        self._connections: dict[str, Connection] = {}
        self._failure: _Failure | None = None

    def of(self, purpose: str) -> Connection:
        """The connection for a purpose."""
        key = "all" if self._shared else purpose
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = Connection(key, self)
            self.budget.use(connection)
        connection.used_at = time.monotonic()
        return connection

    def idle(self, purpose: str, width: int) -> Connection | None:
        """One of at most `width` connections for a purpose that runs no call now."""
        if self._shared:
            connection = self.of(purpose)
            return None if connection.busy else connection
        all_of_them = (self.of(f"{purpose}-{number}") for number in range(width))
        return next((connection for connection in all_of_them if not connection.busy), None)

    def abandon(self, connection: Connection, call: str) -> None:
        """Stop using a connection whose call does not come back; its purpose gets a fresh one."""
        if self._connections.get(connection.purpose) is connection:
            del self._connections[connection.purpose]
            self.budget.abandon(connection)
            connection.stop()
            self.observer.call_abandoned(call)

    async def ask(
        self, purpose: str, call: str, function: Callable[[Session], T], deadline: Deadline
    ) -> T:
        """Run `function` on the connection for a purpose and wait for it.

        Raises NoAnswerError when the time is not enough, and what `Connection.call` raises.
        """
        connection = self.of(purpose)
        if await connection.free(deadline):
            answer = connection.call(call, function)
            if await deadline.wait(answer):
                return answer.result()
        self.give_up(connection, call)
        raise NoAnswerError(call)

    def replaceable(self, connection: Connection) -> bool:
        """Whether a fresh connection could fare better than this one.

        Not while the daemon has not even accepted this one, nor where libvirt runs in this
        process: a call that takes long there is at work.
        """
        return not (connection.waiting_for_open or self._shared)

    def give_up(self, connection: Connection, call: str) -> None:
        """Abandon a connection whose call did not come back in time, if that can help."""
        if self.replaceable(connection):
            self.abandon(connection, call)
        elif connection.waiting_for_open and self._port is not None:
            watch_peers(self._port)

    def forget(self, uuids: Iterable[str]) -> None:
        """Let every connection drop its handles of domains that no longer exist."""
        gone = tuple(uuids)
        for connection in self._connections.values():
            connection.forget(gone)

    def close_idle(self, *kept: str) -> None:
        """Close the connections without a call for so long, but for these purposes.

        The next call opens another one. Never blocks.
        """
        now = time.monotonic()
        for purpose, connection in [*self._connections.items()]:
            idle = not connection.busy and now - connection.used_at > IDLE_FOR
            if idle and not self._shared and purpose not in kept:
                del self._connections[purpose]
                self.budget.let_go(connection)
                connection.stop()

    def close(self) -> None:
        """Let every connection close itself when it can. Never blocks."""
        for connection in self._connections.values():
            self.budget.let_go(connection)
            connection.stop()
        self._connections.clear()

    def open(self) -> libvirt.virConnect:
        """A new connection, on the calling thread. Raises OpenError.

        An attempt that follows too soon after a failed one fails with the same words.
        """
        failure = self._failure
        if failure is not None and time.monotonic() < failure.until:
            raise OpenError(failure.words, failure.error_class, failure.code)
        if reason := missing_file(self.uri):
            raise OpenError(reason, ErrorClass.DISCONNECTED)
        if failure is not None and closes_at_once(self.uri):
            raise OpenError(failure.words, failure.error_class, failure.code)
        started = time.monotonic()
        error_class: ErrorClass | None = None
        try:
            conn = self._connect(self.uri)
        except libvirt.libvirtError as error:
            error_class = classify(error)
            if error_class is not ErrorClass.DENIED:
                error_class = ErrorClass.DISCONNECTED
            now = time.monotonic()
            pause = min(RETRY_PAUSE * (now - started), LONGEST_RETRY_PAUSE)
            words = explain_open_failure(self.uri, error, read_only=self._read_only)
            code = error.get_error_code() or 0
            self._failure = _Failure(now + pause, words, error_class, code)
            raise OpenError(words, error_class, code) from None
        finally:
            self.observer.call_finished("open", time.monotonic() - started, error_class)
        self._failure = None
        return conn
