"""The HTTP routes: what a request says, handed to the service, and its answer put on the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libvirt_exporter.config import ConfigError
from libvirt_exporter.contract import RequestError, ScrapeRequest
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web import api, pages
from libvirt_exporter.web.negotiation import accepts_gzip, accepts_openmetrics
from libvirt_exporter.web.problems import API, problem
from libvirt_exporter.web.security import Security, SecurityMiddleware
from libvirt_exporter.web.service import Service

_PARAMETERS: Final = ("collect[]", "exclude[]", "domain[]")
_RESEMBLANCE: Final = 0.8
"""difflib's ratio from which a parameter counts as misspelt; `colect[]` does, `include[]` not."""
_MAX_UNKNOWN: Final = 100
"""Unknown parameters that are compared with the known ones, which takes its time."""
_MAX_TARGET: Final = 16 * 1024
"""Bytes of path and query; 300 times `domain[]=UUID` fit."""
_MAX_HEADERS: Final = 32 * 1024
_MAX_HEADER_COUNT: Final = 100
_MAX_BODY: Final = 64 * 1024
"""Bytes; only the API reads one, but small ones do no harm."""


def create_app(
    service: Service,
    *,
    telemetry_path: str = "/metrics",
    web_config: Security | None = None,
    max_requests: int = 40,
    telemetry: Telemetry | None = None,
) -> Starlette:
    """The ASGI application in front of `service`.

    `max_requests` scrapes may run at once, 0 for any number, and as many queries and waiting
    clients of the API; what is over it gets 503.
    `web_config` decides who may ask (None: everybody), `telemetry` counts who did.
    """
    security = web_config or Security()
    answers = _Routes(service, security, telemetry_path, max_requests)
    routes = [
        Route(telemetry_path, answers.metrics),
        Route("/", answers.landing),
        Route("/-/healthy", answers.healthy),
        Route("/-/ready", answers.ready),
        Route("/-/reload", answers.reload, methods=["POST"]),
        *api.Api(service, max_requests or math.inf).routes(),
    ]
    telemetry = telemetry or Telemetry(process=False)
    for route in routes:
        telemetry.route_served(route.path)

    def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        text = {
            404: f"Not found. The metrics are at {telemetry_path}, a page for people is at /.",
            405: f"{request.method} is not answered here; Allow says what is.",
            500: "Internal error; the exporter's log has the details.",
        }.get(status, str(error))
        hint = ""
        if request.url.path.startswith(API) and status == 404:
            text, hint = "not found", f"{api.DOCUMENT} describes the API"
        return problem(request.url.path, status, text, hint, headers)

    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(_Counting, routes=routes, telemetry=telemetry),
            Middleware(_SizeLimits),
            Middleware(SecurityMiddleware, security=security),
        ],
        exception_handlers={HTTPException: failed, Exception: failed},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    def __init__(
        self,
        service: Service,
        security: Security,
        telemetry_path: str,
        max_requests: int,
    ) -> None:
        self._service = service
        self._security = security
        self._telemetry_path = telemetry_path
        self._max_requests = max_requests or math.inf
        self._scrapes = 0

    async def metrics(self, request: Request) -> Response:
        # A misspelt one would narrow nothing in silence; others may be anything's and do no harm.
        unknown = (name for name in request.query_params if name not in _PARAMETERS)
        for name in islice(unknown, _MAX_UNKNOWN):
            if meant := get_close_matches(name, _PARAMETERS, n=1, cutoff=_RESEMBLANCE):
                return _bad_request(f"unknown parameter {name}", f"did you mean {meant[0]}?")
        if self._scrapes >= self._max_requests:
            return PlainTextResponse(
                f"{self._scrapes} scrapes are running already; try again later.\n",
                status_code=503,
                headers={"Retry-After": "1"},
            )
        self._scrapes += 1
        try:
            exposition = await self._service.scrape(
                ScrapeRequest(
                    collect=tuple(request.query_params.getlist("collect[]")),
                    exclude=tuple(request.query_params.getlist("exclude[]")),
                    domains=tuple(request.query_params.getlist("domain[]")),
                    timeout=_timeout(request.headers),
                    openmetrics=accepts_openmetrics(_joined(request.headers, "Accept")),
                    gzip=accepts_gzip(_joined(request.headers, "Accept-Encoding")),
                )
            )
        except RequestError as error:
            return _bad_request(error.message, error.hint)
        finally:
            self._scrapes -= 1
        headers = {"Content-Type": exposition.content_type, "Vary": "Accept, Accept-Encoding"}
        if exposition.content_encoding:
            headers["Content-Encoding"] = exposition.content_encoding
        return Response(exposition.body, headers=headers)

    async def landing(self, _request: Request) -> Response:
        sample = await self._service.overview()
        libvirt = self._service.config.libvirt
        return HTMLResponse(
            pages.landing(sample, self._telemetry_path, libvirt.name or libvirt.uri),
            headers={"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY},
        )

    async def healthy(self, _request: Request) -> Response:
        return PlainTextResponse("Healthy.\n")

    async def ready(self, _request: Request) -> Response:
        if self._service.ready():
            return PlainTextResponse("Ready.\n")
        return PlainTextResponse("Not ready: the first sample is still to come.\n", status_code=503)

    async def reload(self, _request: Request) -> Response:
        problems = []
        try:
            self._security.reload()
        except ConfigError as error:
            problems.append(str(error))
        try:
            await self._service.reload()
        except ConfigError as error:
            problems.append(str(error))
        if not problems:
            return PlainTextResponse("Configuration reloaded.\n")
        text = "\n".join(["Configuration refused, the old one stays in force:", *problems, ""])
        return PlainTextResponse(text, status_code=500)


class _Counting:
    """Counts all requests, refused ones too, by the route that they are for."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route], telemetry: Telemetry) -> None:
        self._app = app
        self._routes = routes
        self._telemetry = telemetry

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

    def _handler(self, scope: Scope) -> str:
        """The route's own path; clients may ask for any number of others."""
        found = (route.path for route in self._routes if route.matches(scope)[0] is not Match.NONE)
        return next(found, "other")


class _SizeLimits:
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
            longest = api.MAX_BODY if path == api.VMS else _MAX_BODY
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


def _bad_request(message: str, hint: str) -> Response:
    text = "\n".join(line for line in (message, hint) if line)
    return PlainTextResponse(f"{text}\n", status_code=400)


def _joined(headers: Headers, name: str) -> str:
    """A list header that may have been sent in several lines."""
    return ",".join(headers.getlist(name))


def _timeout(headers: Headers) -> float | None:
    """Prometheus' scrape timeout in seconds; None without a usable one."""
    try:
        seconds = float(headers.get("X-Prometheus-Scrape-Timeout-Seconds", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
