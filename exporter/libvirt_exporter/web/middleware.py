"""What every request passes before its route: counting, and limits of size."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web import api
from libvirt_exporter.web.connections import OncePerMinute
from libvirt_exporter.web.problems import problem
from libvirt_exporter.web.well_formed import longest_body

log = logging.getLogger(__name__)

_MAX_TARGET: Final = 16 * 1024
"""Bytes of path and query; 300 times `domain[]=UUID` fit."""
_MAX_HEADERS: Final = 32 * 1024
_MAX_HEADER_COUNT: Final = 100


class Counting:
    """Counts all requests, refused ones too, by the route that they are for."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route], telemetry: Telemetry) -> None:
        self._app = app
        self._routes = routes
        self._telemetry = telemetry
        self._refusals = OncePerMinute(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        handler = self._handler(scope)
        # What Starlette makes of an exception that comes through here.
        code = 500

        async def noticing(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        self._telemetry.request_began(handler)
        try:
            await self._app(scope, receive, noticing)
        finally:
            self._telemetry.request_ended(handler, code)
            if code == 401 and "authorization" in Headers(scope=scope):
                self._telemetry.login_refused()
                address, _ = scope.get("client") or ("", 0)
                if self._refusals.may(address):
                    log.warning("login of %s rejected: wrong user or password", address)

    def _handler(self, scope: Scope) -> str:
        """The route's own path; clients may ask for any number of others."""
        found = (route.path for route in self._routes if route.matches(scope)[0] is not Match.NONE)
        return next(found, "other")


class SizeLimits:
    """Refuses requests whose target (414), headers (431) or body (413) are larger than any need.

    h11 limits only what arrives piecemeal: a head that is read in one go may have any size.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http":
            headers = scope["headers"]
            size = sum(len(name) + len(value) for name, value in headers)
            path = scope["path"]
            longest = longest_body(path)
            if len(path) + len(scope["query_string"]) > _MAX_TARGET:
                hint = "POST takes the same as JSON" if path == api.VMS else ""
                text = f"The address is longer than {_MAX_TARGET} bytes."
                answer = problem(path, 414, text, hint)
            elif size > _MAX_HEADERS or len(headers) > _MAX_HEADER_COUNT:
                text = f"More than {_MAX_HEADERS} bytes or {_MAX_HEADER_COUNT} headers."
                answer = problem(path, 431, text)
            elif int(Headers(scope=scope).get("Content-Length", "0")) > longest:
                answer = problem(path, 413, f"The body is longer than {longest} bytes.")
        await answer(scope, receive, send)
