"""The page for people of an exporter of several hosts: which of them answer, and how they are."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, NamedTuple

from libvirt_exporter import __version__
from libvirt_exporter.model import HostSample
from libvirt_exporter.web.pages.frame import link, page
from libvirt_exporter.web.target_parameter import TARGET

_STUCK: Final = "monitor.stuck.time"


class Standing(NamedTuple):
    """How one served host was when it was last sampled."""

    alias: str
    """'' for the default host."""
    name: str
    latest: HostSample | None
    """None until the first sample."""


def fleet(standings: Iterable[Standing], telemetry_path: str, now: float) -> bytes:
    """The list of hosts, those with a problem first, as UTF-8 HTML; `now`: Unix time."""
    ordered = sorted(standings, key=lambda one: (_answers(one), one.name))
    rows = "\n".join(_row(standing, now) for standing in ordered)
    silent = sum(_answers(standing) is False for standing in ordered)
    summary = f"{len(ordered)} hosts · {silent} without an answer · exporter {__version__}"
    body = f"""<h1>libvirt exporter</h1>
<p class="dim">{summary}</p>
<nav>{link(telemetry_path, "Metrics")}
{link("/api/v1/targets", "Service discovery")} {link("/api/v1/openapi.json", "API")}
{link("/-/healthy", "Health")} {link("/-/ready", "Readiness")}</nav>
<div class="wide"><table>
<thead><tr><th>Host</th><th>State</th><th class="number">VMs</th><th class="number">Stuck</th>
<th class="number">Sampled</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>"""
    return page("libvirt exporter", body)


def _answers(standing: Standing) -> bool:
    """Whether the host answered, or has not been asked yet."""
    return standing.latest is None or standing.latest.up


def _row(standing: Standing, now: float) -> str:
    sample = standing.latest
    name = link("/", standing.name, {TARGET: standing.alias})
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
            f'<tr><td>{name}</td><td class="state {colour}">{state}</td>',
            *(f'<td class="number">{number}</td>' for number in numbers),
            "</tr>",
        )
    )
