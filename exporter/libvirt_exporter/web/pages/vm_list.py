"""The page of the host's VMs: a table that can be searched and sorted, a part of it at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple, Self

from libvirt_exporter import __version__
from libvirt_exporter.model import HostSample
from libvirt_exporter.query.overview import Overview, Row
from libvirt_exporter.web.pages.frame import (
    UNKNOWN,
    Place,
    link,
    number,
    page,
    percent,
    problems,
    size,
)

PART: Final = 100
"""VMs on one page."""
_LONGEST_SEARCH: Final = 200
_LOOK_AGAIN: Final = 2
"""Seconds until a page without rates is loaded once more: rates take two samples."""


class _Column(NamedTuple):
    title: str
    key: Callable[[Row], Any]
    """What it is sorted by; None comes last."""
    descends: bool = False
    """Whether the largest come first at the first click."""
    hint: str = ""


_COLUMNS: Final[Mapping[str, _Column]] = {
    "name": _Column("VM", lambda row: row.name),
    "state": _Column("State", lambda row: (row.state, row.reason)),
    "vcpus": _Column("vCPUs", lambda row: row.vcpus, descends=True),
    "cpu": _Column("CPU", lambda row: row.cpu, descends=True, hint="100 % is one CPU of the host"),
    "memory": _Column(
        "Memory",
        lambda row: row.memory if row.used is None else row.used,
        descends=True,
        hint="Memory that the guest uses, if it reports it, of the memory that it has",
    ),
    "disk": _Column("Disk", lambda row: row.disk, descends=True, hint="Read and written"),
    "network": _Column("Network", lambda row: row.net, descends=True, hint="Received and sent"),
}


_TROUBLES: Final = {
    ("running", "postcopy_failed"): "post-copy migration failed",
    ("paused", "postcopy_failed"): "post-copy migration failed",
    ("paused", "ioerror"): "paused by an I/O error",
    ("paused", "watchdog"): "paused by its watchdog",
    ("paused", "crashed"): "guest panicked",
    ("crashed", "panicked"): "guest panicked",
    ("crashed", "unknown"): "crashed",
    ("shutoff", "crashed"): "crashed",
    ("shutoff", "failed"): "could not be started",
}
"""States and reasons that are trouble."""


class View(NamedTuple):
    """What a client wants to see of the table."""

    sort: str = ""
    """Name of a column; '' for trouble first."""
    descends: bool = False
    search: str = ""
    """A part of a name or UUID, in any case."""
    part: int = 1

    @classmethod
    def asked(cls, parameters: Mapping[str, str]) -> Self:
        """The view that a query asks for; what makes no sense in it is as if it were not there."""
        sort = parameters.get("sort", "")
        part = parameters.get("page", "")
        return cls(
            sort=sort if sort in _COLUMNS else "",
            descends=sort in _COLUMNS and parameters.get("order") == "desc",
            search=parameters.get("q", "").strip()[:_LONGEST_SEARCH],
            part=max(int(part), 1) if part.isascii() and part.isdigit() and len(part) < 7 else 1,
        )

    @property
    def parameters(self) -> dict[str, str]:
        """The query that asks for it."""
        found = {"q": self.search} if self.search else {}
        if self.sort:
            found |= {"sort": self.sort, "order": "desc" if self.descends else "asc"}
        return found | ({"page": str(self.part)} if self.part > 1 else {})


def vm_list(overview: Overview, view: View, place: Place) -> bytes:
    """The page of an overview of a host."""
    sample = overview.sample
    body = f"""<h1>libvirt exporter</h1>
<p class="dim">{escape(_summary(sample, place.name))}</p>
<nav>{place.metrics()}
{place.api("/api/v1/vms", "Fields as JSON")} {link("/api/v1/openapi.json", "API")}
{link("/-/healthy", "Health")} {link("/-/ready", "Readiness")}</nav>
{problems(_problems(overview))}
{_vms(overview, view, place)}"""
    waits = sample.up and bool(sample.domains) and not overview.earlier
    return page("libvirt exporter", body, again=_LOOK_AGAIN if waits else None)


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


def _problems(overview: Overview) -> list[str]:
    sample, rows, found = overview.sample, overview.rows, []
    if not sample.up:
        found.append(f"{sample.outage}. The exporter's log has the reason.")
    failed = [outcome.group for outcome in sample.groups if not outcome.success]
    if sample.up and failed:
        found.append(f"Groups that failed: {', '.join(failed)}")
    if stuck := sum(row.stuck is not None for row in rows):
        found.append(f"{stuck} of {len(rows)} VMs stuck: their QEMU's monitor does not answer.")
    if busy := sum(bool(row.missing) and row.stuck is None for row in rows):
        found.append(
            f"{busy} of {len(rows)} VMs did not answer in full: another program may keep them busy."
        )
    if sample.unparsable:
        found.append(f"Domain XML that cannot be read: {', '.join(sample.unparsable)}")
    return found


def _vms(overview: Overview, view: View, place: Place) -> str:
    if not overview.rows:
        return "<p>There are no VMs to show.</p>" if overview.sample.up else ""
    rows = _chosen(overview.rows, view)
    last = max(math.ceil(len(rows) / PART), 1)
    part = min(view.part, last)
    shown = rows[(part - 1) * PART : part * PART]
    if not shown:
        return f"{_search(view, place)}\n<p>No VM has this text in its name or UUID.</p>"
    head = "".join(_heading(name, view, place) for name in _COLUMNS)
    lines = "\n".join(_line(row, place) for row in shown)
    return f"""{_search(view, place)}
<table class="vms">
<thead><tr>{head}<th>Problem</th></tr></thead>
<tbody>
{lines}
</tbody>
</table>
{_parts(view._replace(part=part), place, len(rows), last)}"""


def _chosen(rows: Sequence[Row], view: View) -> list[Row]:
    """The rows that are looked for, in the order that is asked for."""
    wanted = view.search.casefold()
    found = [row for row in rows if not wanted or _has(row, wanted)]
    found.sort(key=lambda row: row.name)
    if not view.sort:
        # What has a problem comes first, the stuck ones at the top.
        found.sort(key=lambda row: (row.stuck is None, not row.missing, not _trouble(row)))
        return found
    key = _COLUMNS[view.sort].key
    known = [row for row in found if key(row) is not None]
    known.sort(key=key, reverse=view.descends)
    return known + [row for row in found if key(row) is None]


def _has(row: Row, wanted: str) -> bool:
    return any(wanted in text.casefold() for text in (row.name, row.alias, row.uuid))


def _search(view: View, place: Place) -> str:
    rest = view._replace(search="", part=1).parameters
    kept = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in (place.parameters | rest).items()
    )
    everything = place.vms("all", rest)
    return f"""<form action="/" method="get">
<input type="search" name="q" value="{escape(view.search)}" aria-label="Name or UUID"
placeholder="Name or UUID" maxlength="{_LONGEST_SEARCH}">{kept}
<button>Search</button>{f" {everything}" if view.search else ""}
</form>"""


def _heading(name: str, view: View, place: Place) -> str:
    column = _COLUMNS[name]
    now = view.sort == name
    descends = not view.descends if now else column.descends
    order = f' aria-sort="{"descending" if view.descends else "ascending"}"' if now else ""
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    side = ' class="number"' if column.descends else ""
    arrow = (" ▼" if view.descends else " ▲") if now else ""
    asked = View(name, descends, view.search).parameters
    return f"<th{side}{order}{hint}>{place.vms(column.title + arrow, asked)}</th>"


def _line(row: Row, place: Place) -> str:
    state = escape(row.state)
    alias = f' <span class="dim">{escape(row.alias)}</span>' if row.alias else ""
    reason = f" ({escape(row.reason)})" if row.reason else ""
    figures = {
        "vCPUs": number(row.vcpus),
        "CPU": percent(row.cpu),
        "Memory": _memory(row),
        "Disk": size(row.disk, "/s"),
        "Network": size(row.net, "/s"),
    }
    cells = "".join(
        f'<td class="number" data-label="{title}">{text}</td>' for title, text in figures.items()
    )
    return (
        f'<tr><td class="vm">{place.vm(row.name, row.uuid)}{alias}</td>'
        f'<td class="state {state}">{state}{reason}</td>{cells}'
        f'<td class="problems">{escape(problem(row))}</td></tr>'
    )


def _memory(row: Row) -> str:
    if row.used is None or row.memory is None:
        return size(row.memory)
    return f"{size(row.used)} of {size(row.memory)}"


def problem(row: Row) -> str:
    """What is wrong with a VM, or keeps it from being known in full; '' when nothing does."""
    stuck = "" if row.stuck is None else f"stuck for {row.stuck:.0f} s"
    missing = f"missing: {', '.join(row.missing)}" if row.missing else ""
    return ", ".join(filter(None, (stuck, _trouble(row), missing)))


def _trouble(row: Row) -> str:
    """What a VM's state says that nobody asked for."""
    return _TROUBLES.get((row.state, row.reason), "")


def _parts(view: View, place: Place, count: int, last: int) -> str:
    """Which part this is, and the way to the others."""
    if last == 1:
        return ""
    first = (view.part - 1) * PART + 1
    ways = []
    if view.part > 1:
        ways.append(place.vms("previous", view._replace(part=view.part - 1).parameters))
    if view.part < last:
        ways.append(place.vms("next", view._replace(part=view.part + 1).parameters))
    where = f"{first} {UNKNOWN} {min(first + PART - 1, count)} of {count} VMs"
    return f'<nav><span class="dim">{where}</span> {" ".join(ways)}</nav>'
