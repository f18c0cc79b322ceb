"""What RFC 9112 and RFC 9110 ask of a request beyond what h11 looks at, before any route."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libvirt_exporter.web import api
from libvirt_exporter.web.problems import problem

_METHODS: Final = "GET, HEAD, POST, OPTIONS"
_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, and that a page may make a browser send."""
_HOST: Final = re.compile(
    r"(?P<name>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::\d*)?"
)
_MAX_BODY: Final = 64 * 1024
"""Bytes; only the API reads one, but small ones do no harm."""


def longest_body(path: str) -> int:
    """Bytes of a body of a request for `path`."""
    return api.MAX_BODY if path == api.VMS else _MAX_BODY


class OriginForm:
    """Turns a target with scheme and host, as proxies are sent it, into one without (§3.2.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(("/", "*")):
            target = _target(scope.get("raw_path", b"").decode("ascii", "replace"))
            # `WellFormed` refuses any other.
            if target is not None and target.scheme in ("http", "https") and target.netloc:
                path = target.path or "/"
                others = [(name, value) for name, value in scope["headers"] if name != b"host"]
                scope = {
                    **scope,
                    "path": unquote(path),
                    "raw_path": path.encode(),
                    "headers": [(b"host", target.netloc.encode()), *others],
                }
        await self._app(scope, receive, send)


def _target(text: str) -> SplitResult | None:
    """The parts of a request's target; None when its host is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


class WellFormed:
    """Refuses what is no proper request, or is sent on behalf of a foreign page or name."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        """`allowed_hosts`: names by which clients may call this server; none: any."""
        self._app = app
        self._allowed = {_bare(host) for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers)
        if answer is None and "transfer-encoding" in headers:
            longest = longest_body(scope["path"])
            messages = await _read(receive, longest)
            if messages is None:
                text = f"The body is longer than {longest} bytes."
                answer = problem(scope["path"], 413, text)
            else:
                receive = _replaying(messages, receive)
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path, method = scope["path"], scope["method"]
        if scope["http_version"].split(".")[0] != "1":
            closing = {"Connection": "close"}
            return problem(path, 505, "This server speaks HTTP/1.1.", headers=closing)
        if not path.startswith(("/", "*")):
            return problem(path, 400, "The request target is not valid: it must start with /.")
        if "content-length" in headers and "transfer-encoding" in headers:
            text = "Content-Length and Transfer-Encoding must not be sent together."
            return problem(path, 400, text, headers={"Connection": "close"})
        host = headers.get("host", "").strip()
        if not _HOST.fullmatch(host):
            return problem(path, 400, "The Host header is missing or invalid.")
        if self._allowed and _bare(host) not in self._allowed:
            text = "The Host header is not in web.allowed_hosts."
            return problem(path, 421, text)
        if headers.get("expect", "100-continue").strip().lower() != "100-continue":
            return problem(path, 417, "Only Expect: 100-continue is supported.")
        if path == "*" and method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": _METHODS})
        if method not in _HARMLESS and _is_foreign(headers, host):
            return problem(path, 403, "Requests from pages of other sites are rejected.")
        return None


def _bare(host: str) -> str:
    """A host as it is compared: without port, in small letters."""
    match = _HOST.fullmatch(host)
    return (match["name"] if match else host).lower()


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that another site's page makes it send this."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()


async def _read(receive: Receive, longest: int) -> list[Message] | None:
    """The whole body as it came; None when it is longer than `longest` bytes."""
    messages, size = [], 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > longest:
            return None
        if not message.get("more_body", False):
            return messages


def _replaying(messages: list[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        return messages.pop(0) if messages else await receive()

    return replayed
