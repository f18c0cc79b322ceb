"""TLS handshakes that tell the client, the log and the metrics why they failed.

asyncio drops what OpenSSL wants to send when a handshake fails, so a client without a certificate
would see its connection end without the alert that says why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

_PLAIN_HTTP: Final = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 46\r\nConnection: close\r\n\r\n"
    b"This is HTTPS; its address begins with https:\n"
)
_LINGER: Final = 0.5
"""Seconds in which a client may take the alert."""
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "bad_certificate",
    "UNSUPPORTED_PROTOCOL": "version",
    "NO_SHARED_CIPHER": "version",
    "HTTP_REQUEST": "plain_http",
}


class _Watched:
    """An SSLObject whose failure is sent before it is raised."""

    def __init__(
        self, made: ssl.SSLObject, outgoing: ssl.MemoryBIO, failed: Callable[[ssl.SSLError], None]
    ) -> None:
        self._made = made
        self._outgoing = outgoing
        self._failed = failed
        self._failure: ssl.SSLError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self._made.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            self._failure = error
            self._failed(error)
            if error.reason == "HTTP_REQUEST":
                self._outgoing.write(_PLAIN_HTTP)
            # asyncio sends what is there when a handshake wants to read, and only then.
            raise ssl.SSLWantReadError from error


class _Context(ssl.SSLContext):
    """Makes watched objects of another context's."""

    inner: ssl.SSLContext
    failed: Callable[[ssl.SSLError], None]

    def wrap_bio(  # type: ignore[override]
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **more: Any
    ) -> _Watched:
        """See `ssl.SSLContext.wrap_bio`, by which asyncio starts TLS on a connection."""
        made = self.inner.wrap_bio(incoming, outgoing, **more)
        return _Watched(made, outgoing, self.failed)


class HandshakeError(Exception):
    """A handshake that failed; `reason` is one of a few words."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


async def shake_hands(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    seconds: float,
    shutdown_seconds: float,
) -> asyncio.Transport:
    """The transport by which `protocol` talks over TLS; HandshakeError within `seconds`."""
    loop = asyncio.get_running_loop()
    watched = _Context(ssl.PROTOCOL_TLS_SERVER)
    watched.inner = context
    failure: ssl.SSLError | None = None

    def failed(error: ssl.SSLError) -> None:
        nonlocal failure
        failure = error
        loop.call_later(_LINGER, transport.abort)

    watched.failed = failed
    try:
        secured = await loop.start_tls(
            transport,
            protocol,
            watched,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=shutdown_seconds,
        )
    except OSError as error:
        transport.abort()
        raise _explained(failure or error) from None
    if secured is None:
        raise HandshakeError("disconnected", "the client disconnected")
    return secured


def _explained(error: OSError) -> HandshakeError:
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        alert = "refused_by_client" if "_ALERT_" in name else "other"
        text = name.replace("_", " ").lower() or str(error)
        return HandshakeError(_REASONS.get(name, alert), text)
    if isinstance(error, ConnectionAbortedError):
        return HandshakeError("timeout", "it was not complete in time")
    return HandshakeError("disconnected", "the client disconnected")
