"""The route that Prometheus scrapes: what a request says, and the exposition that answers it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from itertools import islice
from typing import Final

from msgspec import structs
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from libvirt_exporter.contract import Exposition, RequestError, ScrapeRequest
from libvirt_exporter.nearest import nearest
from libvirt_exporter.web.bodies import Bodies, PiecewiseResponse
from libvirt_exporter.web.connected import while_connected
from libvirt_exporter.web.negotiation import accepts_gzip, accepts_openmetrics
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.slots import Slots
from libvirt_exporter.web.target_parameter import PROBE, TARGET, only_target

_PARAMETERS: Final = ("collect[]", "exclude[]", "domain[]")
_RESEMBLANCE: Final = 0.8
"""difflib's ratio from which a parameter counts as misspelt; `colect[]` does, `include[]` not."""
_LONGEST_TIMEOUT: Final = 60.0
"""Seconds; a client's number reserves no more of what all clients share."""
_MAX_UNKNOWN: Final = 100
"""Unknown parameters that are compared with the known ones, which takes its time."""


class Scrapes:
    """Answers scrapes: of all that is configured always, of parts so many at once."""

    def __init__(self, service: Service, most: float, bodies: Bodies) -> None:
        """`most` different choices may be scraped at once; what is over it gets 503."""
        self._service = service
        self._bodies = bodies
        self._running = Slots(
            most,
            f"The limit of {most} concurrent scrapes is reached (web.max_requests); try again "
            "later.",
            hosts=lambda: len(service.aliases),
        )

    async def metrics(self, request: Request) -> Response:
        """The exposition of the default host, or of the exporter alone where there is none."""
        aliases = self._service.aliases
        if TARGET in request.query_params and (aliases - {""}):
            # The series of another host would come under the name of the one that was meant.
            raise RequestError(f"targets are scraped at {PROBE}?{TARGET}=ALIAS")
        asked = _asked(request, _PARAMETERS)
        if "" in aliases:
            return await self._scraped(request, "", asked)
        if asked.collect or asked.exclude or asked.domains:
            raise RequestError(f"this exporter has targets only: scrape {PROBE}?{TARGET}=ALIAS")
        return self._response(await self._service.own(asked), contextlib.ExitStack())

    async def probe(self, request: Request) -> Response:
        """The exposition of the target that a request names."""
        asked = _asked(request, (TARGET, *_PARAMETERS))
        alias = only_target(request.query_params)
        if not alias:
            raise RequestError(f"{TARGET} is required: {PROBE}?{TARGET}=ALIAS")
        return await self._scraped(request, alias, asked)

    async def _scraped(self, request: Request, alias: str, asked: ScrapeRequest) -> Response:
        target = self._service.target(alias)
        with contextlib.ExitStack() as held:
            if asked.collect or asked.exclude or asked.domains:
                # Others are of four kinds at most, and of each all share the work and its result.
                key = structs.replace(asked, timeout=None)
                held.enter_context(self._running.one(key, host=alias))
            exposition = await while_connected(request, target.scrape(asked))
            return self._response(exposition, held.pop_all())

    def _response(self, exposition: Exposition, held: contextlib.ExitStack) -> Response:
        headers = {"Content-Type": exposition.content_type, "Vary": "Accept, Accept-Encoding"}
        if exposition.content_encoding:
            headers["Content-Encoding"] = exposition.content_encoding
        return PiecewiseResponse(exposition.parts, self._bodies, headers=headers, held=held)


def _asked(request: Request, known: Sequence[str]) -> ScrapeRequest:
    """What a request says; RequestError for what is nearly the name of a known parameter."""
    # A misspelt one would narrow nothing in silence; others may be anything's and do no harm.
    unknown = (name for name in request.query_params if name not in known)
    for name in islice(unknown, _MAX_UNKNOWN):
        if hint := nearest(name, known, resemblance=_RESEMBLANCE):
            raise RequestError(f"unknown parameter {name}", hint)
    return ScrapeRequest(
        collect=tuple(request.query_params.getlist("collect[]")),
        exclude=tuple(request.query_params.getlist("exclude[]")),
        domains=tuple(request.query_params.getlist("domain[]")),
        timeout=_timeout(request.headers),
        openmetrics=accepts_openmetrics(_joined(request.headers, "Accept")),
        gzip=accepts_gzip(_joined(request.headers, "Accept-Encoding")),
    )


def _joined(headers: Headers, name: str) -> str:
    """A list header that may have been sent in several lines."""
    return ",".join(headers.getlist(name))


def _timeout(headers: Headers) -> float | None:
    """Prometheus' scrape timeout in seconds, a minute at most; None without a usable one."""
    try:
        seconds = float(headers.get("X-Prometheus-Scrape-Timeout-Seconds", ""))
    except ValueError:
        return None
    return min(seconds, _LONGEST_TIMEOUT) if math.isfinite(seconds) and seconds > 0 else None
