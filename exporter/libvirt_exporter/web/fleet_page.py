"""The page for people of an exporter of several hosts: which of them answer, and how they are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from html import escape
from typing import Final, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from libvirt_exporter import __version__
from libvirt_exporter.model import HostSample
from libvirt_exporter.web.bodies import Bodies, PiecewiseResponse
from libvirt_exporter.web.pages import CONTENT_SECURITY_POLICY, STYLE, Landing
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.target_parameter import TARGET

_STUCK: Final = "monitor.stuck.time"


class Standing(NamedTuple):
    """How one served host was when it was last sampled."""

    alias: str
    """'' for the default host."""
    name: str
    latest: HostSample | None
    """None until the first sample."""


class FrontPage:
    """Answers with the page of one host, or with the list of all where there are several."""

    def __init__(
        self, service: Service, landing: Landing, telemetry_path: str, bodies: Bodies
    ) -> None:
        self._service = service
        self._landing = landing
        self._telemetry_path = telemetry_path
        self._bodies = bodies

    async def page(self, request: Request) -> Response:
        """The list; the host that `target` names, or the only one. It samples no host."""
        aliases = self._service.aliases
        if TARGET in request.query_params or not aliases - {""}:
            return await self._landing.page(request)
        standings = [self._standing(alias) for alias in sorted(aliases)]
        html = fleet(standings, self._telemetry_path, time.time())
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        }
        return PiecewiseResponse(html, self._bodies, headers=headers, held=contextlib.ExitStack())

    def _standing(self, alias: str) -> Standing:
        target = self._service.target(alias)
        return Standing(alias, target.name, target.latest)


def fleet(standings: Iterable[Standing], telemetry_path: str, now: float) -> bytes:
    """The list of hosts, those with a problem first, as UTF-8 HTML; `now`: Unix time."""
    ordered = sorted(standings, key=lambda one: (_answers(one), one.name))
    rows = "\n".join(_row(standing, now) for standing in ordered)
    silent = sum(_answers(standing) is False for standing in ordered)
    summary = f"{len(ordered)} hosts · {silent} without an answer · exporter {__version__}"
    html = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>libvirt exporter</title>
<style>{STYLE}</style>
</head>
<body>
<h1>libvirt exporter</h1>
<p class="dim">{summary}</p>
<nav><a href="{escape(quote(telemetry_path))}">Metrics</a>
<a href="/api/v1/targets">Service discovery</a> <a href="/api/v1/openapi.json">API</a>
<a href="/-/healthy">Health</a> <a href="/-/ready">Readiness</a></nav>
<table>
<thead><tr><th>Host</th><th>State</th><th class="number">VMs</th><th class="number">Stuck</th>
<th class="number">Sampled</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""
    return html.encode(errors="replace")


def _answers(standing: Standing) -> bool:
    """Whether the host answered, or has not been asked yet."""
    return standing.latest is None or standing.latest.up


def _row(standing: Standing, now: float) -> str:
    sample = standing.latest
    link = f'<a href="/?target={quote(standing.alias)}">{escape(standing.name)}</a>'
    if sample is None:
        cells = ["not sampled yet", "", "", ""]
    else:
        age = f"{max(0.0, now - sample.timestamp):.0f} s ago"
        stuck = sum(_STUCK in domain.stats for domain in sample.domains)
        counts = [str(len(sample.domains)), str(stuck)] if sample.up else ["", ""]
        cells = ["answers" if sample.up else sample.outage, *counts, age]
    colour = "" if sample is None else "running" if sample.up else "crashed"
    state, *numbers = map(escape, cells)
    return "".join(
        (
            f'<tr><td>{link}</td><td class="state {colour}">{state}</td>',
            *(f'<td class="number">{number}</td>' for number in numbers),
            "</tr>",
        )
    )
