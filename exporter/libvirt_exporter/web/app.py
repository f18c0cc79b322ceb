"""The HTTP routes: what a request says, handed to the service, and its answer put on the wire."""

from __future__ import annotations

import math
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from libvirt_exporter.contract import RequestError
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web import api
from libvirt_exporter.web.bodies import Bodies
from libvirt_exporter.web.discovery import TARGETS, Discovery
from libvirt_exporter.web.management import HEALTH, Management
from libvirt_exporter.web.middleware import Counting, SizeLimits
from libvirt_exporter.web.pages.routes import Pages
from libvirt_exporter.web.problems import API, problem, refused
from libvirt_exporter.web.scrape import Scrapes
from libvirt_exporter.web.security.middleware import SecurityMiddleware
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.target_parameter import PROBE
from libvirt_exporter.web.well_formed import OriginForm, WellFormed


def create_app(
    service: Service,
    *,
    telemetry_path: str = "/metrics",
    web_config: Security | None = None,
    max_requests: int = 40,
    health_without_login: bool = False,
    reload: bool = True,
    allowed_hosts: Collection[str] = (),
    telemetry: Telemetry | None = None,
) -> Starlette:
    """The ASGI application in front of `service`.

    `max_requests` different scrapes of parts may run at once, 0 for any number, and as many
    queries and waiting clients of the API; what is over it gets 503.
    `web_config` decides who may ask (None: everybody); `health_without_login` lets everybody read
    whether the exporter lives and is ready. `reload`: whether clients may have the configuration
    read again. `allowed_hosts`: names by which clients may call the exporter, none: any.
    `telemetry` counts who asked.
    """
    security = web_config or Security()
    most = max_requests or math.inf
    bodies = Bodies(service.make_way)
    scrapes = Scrapes(service, most, bodies)
    routes = [
        Route(telemetry_path, scrapes.metrics),
        Route(PROBE, scrapes.probe),
        *Pages(service, telemetry_path, bodies).routes(),
        *Management(service, security, reload=reload).routes(),
        *api.Api(service, most, bodies).routes(),
        Route(TARGETS, Discovery(service, PROBE).targets),
    ]
    telemetry = telemetry or Telemetry(process=False)
    if security.file:
        telemetry.watch_web_config(
            lambda: security.last_reload_successful,
            lambda: security.last_loaded,
            lambda: security.certificate_not_after,
        )
    for route in routes:
        if route.path not in {PROBE, TARGETS} or service.aliases - {""}:
            telemetry.route_served(route.path)

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestError):
            return refused(request.url.path, error)
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        text = {
            404: f"Not found. The metrics are at {telemetry_path}, the web page is at /.",
            405: f"{request.method} is not allowed here; the Allow header lists the methods.",
            500: "Internal error; the exporter's log has the details.",
        }.get(status, str(error))
        hint = ""
        if request.url.path.startswith(API) and status == 404:
            text, hint = "not found", f"{api.DOCUMENT} describes the API"
        return problem(request.url.path, status, text, hint, headers)

    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(OriginForm),
            Middleware(Counting, routes=routes, telemetry=telemetry),
            Middleware(SizeLimits),
            Middleware(WellFormed, allowed_hosts=allowed_hosts),
            Middleware(
                SecurityMiddleware,
                security=security,
                without_login=HEALTH if health_without_login else (),
            ),
        ],
        exception_handlers={
            RequestError: failed,
            ClientDisconnect: _nobody_left,
            HTTPException: failed,
            Exception: failed,
        },
    )
    app.router.redirect_slashes = False
    return app


async def _nobody_left(_request: Request, _error: Exception) -> Response:
    """An answer that nobody reads, but that is counted: by nginx' code, as HTTP has none."""
    return Response(status_code=499)
