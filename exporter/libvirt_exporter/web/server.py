"""uvicorn serving the application on listening sockets until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web.connections import Connections, OncePerMinute
from libvirt_exporter.web.handshake import HandshakeError, shake_hands
from libvirt_exporter.web.listening import BACKLOG
from libvirt_exporter.web.problems import problem
from libvirt_exporter.web.security.security import Security

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT: Final = 10.0
"""Seconds in which a TLS handshake, and then a request, must be complete."""
_IDLE_TIMEOUT: Final = 75
"""Seconds between two requests on a connection: longer than the usual scrape intervals."""
_WRITE_TIMEOUT: Final = 30.0
"""Seconds in which a client must make room for what is being sent to it."""
_STOP_TIMEOUT: Final = 1
"""Seconds that running requests have left when the server stops."""
_LINGER: Final = 1.0
"""Seconds in which a client may end sending what is refused already."""
_MAX_INCOMPLETE: Final = 64 * 1024
"""Bytes of an unfinished request head; more is answered with 431."""
_WRITE_BUFFER: Final = 64 * 1024
"""Bytes of an answer that a transport may keep before it asks for no more."""


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    *,
    stop: asyncio.Event,
    security: Security | None = None,
    telemetry: Telemetry | None = None,
) -> None:
    """Serve `app` on `sockets` until `stop` is set, then return within 1.5 s and close the sockets.

    Requests that are still running then are answered with 503. Signals are the caller's. `security`
    is the one that `app` has; it gives the certificates. `telemetry` counts failed handshakes.
    """
    config = uvicorn.Config(
        _answering_cancelled(app),
        interface="asgi3",
        http=H11Protocol,
        ws="none",
        lifespan="off",
        workers=1,
        proxy_headers=False,
        forwarded_allow_ips=[],
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=_IDLE_TIMEOUT,
        timeout_graceful_shutdown=_STOP_TIMEOUT,
        h11_max_incomplete_event_size=_MAX_INCOMPLETE,
    )
    server = _Server(config, security or Security(), telemetry, stop)
    await server.serve(list(sockets))


class _Server(uvicorn.Server):
    """uvicorn, stopped by an event, with a timeout for everything that a client may delay."""

    def __init__(
        self,
        config: uvicorn.Config,
        security: Security,
        telemetry: Telemetry | None,
        stop: asyncio.Event,
    ) -> None:
        super().__init__(config)
        self.security = security
        self.connections = Connections()
        self.doors: set[asyncio.Task[None]] = set()
        """Handshakes under way."""
        self._telemetry = telemetry
        self._failures = OncePerMinute(time.monotonic)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        context = self.security.server_context()
        loop = asyncio.get_running_loop()

        def accepted() -> asyncio.Protocol:
            return self.connection() if context is None else _Door(self, context)

        self.servers = [
            await loop.create_server(accepted, sock=sock, backlog=BACKLOG) for sock in sockets or []
        ]
        self.started = True

    def connection(self) -> _Connection:
        """A connection that is to speak HTTP."""
        return _Connection(self)

    def handshake_failed(self, address: str, error: HandshakeError) -> None:
        """Count it, and log it now and then."""
        if self._telemetry is not None:
            self._telemetry.handshake_failed(error.reason)
        if self._failures.may(address):
            log.warning("TLS handshake of %s failed: %s (%s)", address, error, error.reason)

    async def main_loop(self) -> None:
        # uvicorn (0.54) looks ten times a second whether it is to end, and renews the Date header
        # by the way: half of what a process costs that nobody asks.
        await self._stop.wait()

    def renew_date(self) -> None:
        """Have the answers to come say when they were made."""
        date = b"date", formatdate(usegmt=True).encode()
        self.server_state.default_headers = [date, *self.config.encoded_headers]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for door in self.doors:
            door.cancel()
        await super().shutdown(sockets)
        # uvicorn cancels what still runs, but does not wait for it.
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=0.1)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Connection(H11Protocol):
    """One connection; a client that delays its request or does not read the answer loses it."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server.config, server.server_state, {"abort": self.end})
        self._security = server.security
        self._renew_date = server.renew_date
        self._connections = server.connections
        self.address = ""
        self._since = self.loop.time()
        """When it began, and then when it last made progress."""
        self._early = b""
        """What came with the end of the handshake."""
        # As they are before the handshake, which may take a while.
        self._security.follow()
        self._rights = self._security.client_rights
        self._lingers = False
        """Whether what the client sends is of no interest any more."""
        self._request = _Deadline(self, _REQUEST_TIMEOUT)
        self._answer = _Deadline(self, _WRITE_TIMEOUT)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = _address(transport)
        self._connections.add(self)
        # As over TCP; over TLS half a megabyte would be kept for each client.
        transport.set_write_buffer_limits(_WRITE_BUFFER)
        if self._security.allows_certificate(transport.get_extra_info("peercert")):
            self._request.start()
        else:
            self.end()
        if self._early:
            self.data_received(self._early)

    def busy(self) -> tuple[int, float]:
        """What asks nothing goes before what does not read, and that before what is computed."""
        if self.conn.our_state not in (h11.SEND_RESPONSE, h11.SEND_BODY):
            return 0, self._since
        return 1 if self.flow.write_paused else 2, self._since

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is None:
            return  # it ended with its handshake
        self._connections.discard(self)
        self._request.stop()
        self._answer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            self._early += data
            return
        self._since = self.loop.time()
        if not self._lingers:
            super().data_received(data)
        if self._lingers:
            return
        # uvicorn (0.54) reads no more when the next request comes before the answer to the last
        # one, and would not notice that the client goes away meanwhile.
        early, _ = self.conn.trailing_data
        if len(early) > _MAX_INCOMPLETE:
            self.end()
        elif early:
            self.flow.resume_reading()
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._request.start()
        else:
            self._request.stop()

    def handle_events(self) -> None:
        if self._outdated():
            self.transport.close()
        else:
            self._renew_date()
            super().handle_events()

    def _outdated(self) -> bool:
        """Whether a request begins that the client may no longer make on this connection."""
        if self.conn.their_state is not h11.IDLE:
            return False
        self._security.follow()
        return self._rights != self._security.client_rights

    def pause_writing(self) -> None:
        super().pause_writing()
        self._since = self.loop.time()
        self._answer.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer.stop()

    def end(self) -> None:
        """Drop the connection at once; close() would wait for a client that does not read."""
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.end()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        # uvicorn (0.54) calls this while it handles h11's error, which knows the better status.
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=f"{msg}\n".encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self._linger()

    def _linger(self) -> None:
        """Close once the client has the answer.

        Closing while it still sends would reset the connection, and it might never see it.
        """
        self._lingers = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)


class _Door(asyncio.Protocol):
    """A connection until its TLS handshake is over."""

    def __init__(self, server: _Server, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._began = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.pause_reading()
        self.address = _address(transport)
        self._transport = transport
        self._server.connections.add(self)
        door = asyncio.create_task(self._open())
        self._server.doors.add(door)
        door.add_done_callback(self._server.doors.discard)

    def busy(self) -> tuple[int, float]:
        """It asks nothing."""
        return 0, self._began

    def end(self) -> None:
        """Drop it at once."""
        self._transport.abort()

    async def _open(self) -> None:
        connection = self._server.connection()
        try:
            secured = await shake_hands(
                self._transport,
                connection,
                self._context,
                seconds=_REQUEST_TIMEOUT,
                shutdown_seconds=_STOP_TIMEOUT / 2,
            )
        except HandshakeError as error:
            self._server.handshake_failed(self.address, error)
            return
        finally:
            self._server.connections.discard(self)
        connection.connection_made(secured)


def _address(transport: asyncio.Transport) -> str:
    """That of the client."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else ""


class _Deadline:
    """Ends a connection `seconds` after `start`, unless stopped before."""

    def __init__(self, connection: _Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            connection = self._connection
            self._timer = connection.loop.call_later(self._seconds, connection.end)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _answering_cancelled(app: ASGIApp) -> ASGIApp:
    """`app`, answering 503 to the requests that are cancelled because the server stops."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noticing(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, noticing)
        except asyncio.CancelledError:
            if not started:
                answer = problem(scope["path"], 503, "The exporter is stopping.")
                await answer(scope, receive, send)

    return answering
