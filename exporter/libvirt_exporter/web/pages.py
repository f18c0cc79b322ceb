"""The page for people: the host's domains as a table, and what is wrong with it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections import Counter
from html import escape
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from libvirt_exporter import __version__
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.shared import Shared
from libvirt_exporter.web.bodies import Bodies, PiecewiseResponse
from libvirt_exporter.web.connected import while_connected
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.target_parameter import PROBE, TARGET, only_target

STYLE: Final = """
:root { color-scheme: light dark; --dim: #6b7280; --line: #8883; --bad: #c2410c; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; }
p { margin: .5rem 0; }
nav a { margin-right: 1rem; }
.dim { color: var(--dim); }
.problem { border-left: 4px solid var(--bad); padding: .4rem .8rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line); }
th { position: sticky; top: 0; background: Canvas; }
td:first-child { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.state::before { content: "\\25CF"; margin-right: .4rem; color: var(--dim); }
.running::before { color: #16a34a; }
.paused::before, .blocked::before { color: #d97706; }
.crashed::before { color: #dc2626; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but this page's own style sheet."""


class Landing:
    """Answers with the landing page, which is made once for each sample."""

    def __init__(self, service: Service, telemetry_path: str, bodies: Bodies) -> None:
        self._service = service
        self._telemetry_path = telemetry_path
        self._bodies = bodies
        self._pages = Shared[bytes]()
        self._last: tuple[HostSample, str, bytes] | None = None
        """The last page, after what it was made of."""

    async def page(self, request: Request) -> Response:
        """That of the default host, or of the `target`, a few seconds old at most."""
        alias = only_target(request.query_params)
        target = self._service.target(alias)
        sample = await while_connected(request, target.overview())
        key = id(sample), target.name
        html = await self._pages.get(key, lambda: self._made(sample, target.name, alias))
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        }
        return PiecewiseResponse(html, self._bodies, headers=headers, held=contextlib.ExitStack())

    async def _made(self, sample: HostSample, host: str, alias: str) -> bytes:
        if self._last is None or self._last[0] is not sample or self._last[1] != host:
            html = await asyncio.to_thread(landing, sample, self._telemetry_path, host, alias)
            self._last = sample, host, html
        return self._last[2]


def landing(sample: HostSample, telemetry_path: str, host: str, alias: str = "") -> bytes:
    """The landing page for one sample of `host` (its name or URI), as UTF-8 HTML.

    `alias`: that of a target, whose metrics are at another path than those of the default host.
    """
    metrics = f"{PROBE}?{TARGET}={quote(alias)}" if alias else quote(telemetry_path)
    target = f"?{TARGET}={quote(alias)}" if alias else ""
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
<p class="dim">{escape(_summary(sample, host))}</p>
<nav><a href="{escape(metrics)}">Metrics</a>
<a href="/api/v1/vms{target}">Fields as JSON</a> <a href="/api/v1/openapi.json">API</a>
<a href="/-/healthy">Health</a> <a href="/-/ready">Readiness</a></nav>
{_problems(sample)}
{_table(sample, metrics)}
</body>
</html>
"""
    # A name may hold lone surrogates: libvirt-python decodes stray bytes to them.
    return html.encode(errors="replace")


def _summary(sample: HostSample, host: str) -> str:
    parts = [host]
    if info := sample.host:
        parts.append(
            f"{info.driver} {info.hypervisor_version or ''}, libvirt {info.libvirt_version}"
        )
    if sample.up:
        states = Counter(domain.state for domain in sample.domains)
        counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
        noun = "VM" if len(sample.domains) == 1 else "VMs"
        parts.append(f"{len(sample.domains)} {noun}" + (f" ({counts})" if counts else ""))
        parts.append(f"sampled in {sample.duration * 1000:.0f} ms")
    return " · ".join([*parts, f"exporter {__version__}"])


def _problems(sample: HostSample) -> str:
    problems = []
    if not sample.up:
        problems.append(f"{sample.outage}. The exporter's log has the reason.")
    failed = [outcome.group for outcome in sample.groups if not outcome.success]
    if sample.up and failed:
        problems.append(f"Groups that failed: {', '.join(failed)}")
    total = len(sample.domains)
    if stuck := sum(_stuck(domain) is not None for domain in sample.domains):
        problems.append(f"{stuck} of {total} VMs stuck: their QEMU's monitor does not answer.")
    busy = sum(bool(domain.missing_groups) and _stuck(domain) is None for domain in sample.domains)
    if busy:
        problems.append(
            f"{busy} of {total} VMs did not answer in full: another program may keep them busy."
        )
    if sample.unparsable:
        problems.append(f"Domain XML that cannot be read: {', '.join(sample.unparsable)}")
    return "\n".join(f'<p class="problem">{escape(problem)}</p>' for problem in problems)


def _table(sample: HostSample, metrics: str) -> str:
    domains = sorted(sample.domains, key=_order)
    if not domains:
        return "<p>There are no VMs to show.</p>" if sample.up else ""
    rows = "\n".join(_row(domain, metrics) for domain in domains)
    return f"""<table>
<thead><tr><th>VM</th><th>State</th><th>Reason</th><th class="number">vCPUs</th>
<th class="number">Memory</th><th>Problem</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(domain: DomainSample, metrics: str) -> str:
    state = escape(domain.state)
    vcpus = domain.stats.get("vcpu.current")
    if vcpus is None and domain.info:
        vcpus = domain.info.vcpus_current
    memory = domain.info.memory_current if domain.info else None
    balloon = domain.stats.get("balloon.current")
    if isinstance(balloon, int):
        memory = balloon * 1024
    joint = "&" if "?" in metrics else "?"
    link = f"{metrics}{joint}domain[]={quote(domain.uuid, safe='', errors='replace')}"
    return (
        f'<tr><td><a href="{escape(link)}">{escape(domain.name)}</a></td>'
        f'<td class="state {state}">{state}</td><td>{escape(domain.reason)}</td>'
        f'<td class="number">{"" if vcpus is None else escape(str(vcpus))}</td>'
        f'<td class="number">{_size(memory)}</td>'
        f"<td>{escape(_problem(domain))}</td></tr>"
    )


def _order(domain: DomainSample) -> tuple[bool, bool, str]:
    """What has a problem comes first, the stuck ones at the top."""
    return _stuck(domain) is None, not domain.missing_groups, domain.name


def _problem(domain: DomainSample) -> str:
    seconds, missing = _stuck(domain), ", ".join(domain.missing_groups)
    parts = [f"stuck for {seconds:.0f} s"] if seconds is not None else []
    return ", ".join([*parts, f"missing: {missing}"] if missing else parts)


def _stuck(domain: DomainSample) -> float | None:
    """For how many seconds QEMU's monitor has not answered; None when it does."""
    nanoseconds = domain.stats.get("monitor.stuck.time")
    return None if nanoseconds is None else float(nanoseconds) / 1e9


def _size(size: int | None) -> str:
    """Bytes in the binary unit that keeps the number short."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} GiB"
