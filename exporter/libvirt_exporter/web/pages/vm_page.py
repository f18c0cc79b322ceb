"""The page of one VM: what it is, its figures, its devices, and what has happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Final

from libvirt_exporter.model import DomainInfo, DomainSample, Stats
from libvirt_exporter.query.fields.field import number as figure
from libvirt_exporter.query.overview import NAMES_INSTANCES, Overview, Row, devices, rate, row
from libvirt_exporter.web.pages.frame import UNKNOWN, Place, number, page, percent, problems, size
from libvirt_exporter.web.pages.vm_list import problem

_EVENTS: Final = "libvirt_domain_last_event_timestamp_seconds"
_BLOCK: Final = "libvirt_domain_block_info"
_INTERFACE: Final = "libvirt_domain_interface_info"
_DOMAIN: Final = "libvirt_domain_info"
_LAST: Final = "event.last."


def vm_page(overview: Overview, domain: DomainSample, place: Place) -> bytes:
    """The page of one of an overview's domains.

    Nothing is on it that names a person, an address, a path or a serial number, nor any free text;
    and nothing that the configuration does not let the metrics say.
    """
    earlier = overview.earlier.get(domain.uuid)
    figures, info = row(domain, earlier, overview.metrics), domain.info
    title = figures.alias or domain.name
    state = escape(domain.state)
    reason = f" ({escape(domain.reason)})" if domain.reason else ""
    trouble = problem(figures)
    body = f"""<nav>{place.vms("All VMs")}</nav>
<h1>{escape(title)}</h1>
<p class="dim">{escape(" · ".join((place.name, domain.name, domain.uuid)))}</p>
<p><span class="state {state}">{state}{reason}</span></p>
<nav>{place.metrics({"domain[]": domain.uuid})}
{place.api("/api/v1/vms", "Fields as JSON", {"vmIds": domain.uuid})}
{place.api(f"/api/v1/vms/{domain.uuid}/diagnostics", "Diagnostics")}</nav>
{problems([trouble] if trouble else [])}
<h2>Figures</h2>
{_list(_figures(figures))}
<h2>Disks</h2>
{_table(_DISK_TITLES, _disks(domain, earlier, info if _BLOCK in overview.metrics else None))}
<h2>Network interfaces</h2>
{_table(_NIC_TITLES, _nics(domain, earlier, info if _INTERFACE in overview.metrics else None))}
<h2>Last events</h2>
{_list(_events(domain.stats) if _EVENTS in overview.metrics else {})}
<h2>Facts</h2>
{_list(_facts(info, overview.metrics))}"""
    return page(f"{title} – libvirt exporter", body)


def _list(facts: Mapping[str, str]) -> str:
    if not facts:
        return '<p class="dim">None known.</p>'
    rows = "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()
    )
    return f"<dl>\n{rows}\n</dl>"


def _table(titles: Iterable[str], lines: Iterable[tuple[str, ...]]) -> str:
    # The first column names the device, the second describes it; the others are numbers.
    sides = ("", "", *[' class="number"'] * 8)
    rows = [
        "".join(f"<td{side}>{escape(text)}</td>" for side, text in zip(sides, line, strict=False))
        for line in lines
    ]
    if not rows:
        return '<p class="dim">None known.</p>'
    head = "".join(
        f"<th{side}>{escape(title)}</th>" for side, title in zip(sides, titles, strict=False)
    )
    lines_of_rows = "\n".join(f"<tr>{cells}</tr>" for cells in rows)
    return f"""<div class="wide"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{lines_of_rows}
</tbody>
</table></div>"""


def _figures(figures: Row) -> dict[str, str]:
    return {
        "CPU": f"{percent(figures.cpu)} of one CPU, {number(figures.vcpus)} vCPUs",
        "Memory used by the guest": size(figures.used),
        "Memory of the guest": f"{size(figures.memory)} of {size(figures.memory_maximum)}",
        "Memory of QEMU on the host": size(figures.rss),
        "Disks, read and written": size(figures.disk, "/s"),
        "Network, received and sent": size(figures.net, "/s"),
    }


_DISK_TITLES: Final = (
    *("Disk", "Kind", "Capacity", "Occupied", "Read", "Written", "Requests", "Latency"),
)
_NIC_TITLES: Final = ("Interface", "Kind", "Received", "Sent", "Errors", "Dropped")


def _disks(
    domain: DomainSample, earlier: DomainSample | None, info: DomainInfo | None
) -> Iterator[tuple[str, ...]]:
    kinds = {
        disk.device: " ".join(filter(None, (disk.kind, disk.bus, disk.format)))
        for disk in (info.disks if info else ())
    }
    found = devices(domain.stats, "block")
    for device in dict.fromkeys((*found, *kinds)):
        prefix = found.get(device, "block..")

        def per_second(*keys: str, prefix: str = prefix) -> float | None:
            return rate(domain, earlier, [prefix + key for key in keys])

        requests = per_second("rd.reqs", "wr.reqs")
        times = per_second("rd.times", "wr.times")
        latency = times / requests / 1e6 if times is not None and requests else None
        yield (
            device,
            kinds.get(device, ""),
            size(figure(domain.stats, f"{prefix}capacity")),
            size(figure(domain.stats, f"{prefix}allocation")),
            size(per_second("rd.bytes"), "/s"),
            size(per_second("wr.bytes"), "/s"),
            number(requests, "/s"),
            number(latency, " ms"),
        )


def _nics(
    domain: DomainSample, earlier: DomainSample | None, info: DomainInfo | None
) -> Iterator[tuple[str, ...]]:
    kinds = {
        nic.device: " ".join(filter(None, (nic.type, nic.model, "" if nic.link_up else "(down)")))
        for nic in (info.interfaces if info else ())
    }
    found = devices(domain.stats, "net")
    for device in dict.fromkeys((*found, *kinds)):
        prefix = found.get(device, "net..")
        yield (
            device,
            kinds.get(device, ""),
            size(rate(domain, earlier, [f"{prefix}rx.bytes"], monitor=False), "/s"),
            size(rate(domain, earlier, [f"{prefix}tx.bytes"], monitor=False), "/s"),
            *(number(_both_ways(domain.stats, prefix, what)) for what in ("errs", "drop")),
        )


def _events(stats: Stats) -> dict[str, str]:
    times = {
        key.removeprefix(_LAST).replace("_", " "): float(value) / 1e9
        for key, value in stats.items()
        if key.startswith(_LAST) and not isinstance(value, str)
    }
    newest_first = sorted(times.items(), key=lambda found: -found[1])
    return {event: _when(at) for event, at in newest_first}


def _when(timestamp: float) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def _facts(info: DomainInfo | None, metrics: frozenset[str]) -> dict[str, str]:
    """What the XML says, without what is sensitive and what is not known."""
    if info is None or _DOMAIN not in metrics:
        return {}
    nova = info.openstack if NAMES_INSTANCES in metrics else None
    facts = {
        "Kind": " ".join(filter(None, (info.type, info.os_type, info.arch))),
        "Machine": info.machine,
        "CPU": info.cpu_mode + (f", {info.cpu_model}" if info.cpu_model else ""),
        "vCPUs at most": number(info.vcpus_maximum),
        "Persistent": _flag(info.persistent),
        "Autostart": _flag(info.autostart),
        "Guest agent": info.agent_channel,
        "Watchdogs": ", ".join(f"{dog.model} ({dog.action})" for dog in info.watchdogs),
        "Snapshots": number(info.snapshots),
        "Oldest snapshot": _when(info.oldest_snapshot) if info.oldest_snapshot else "",
        "Flavor": nova.flavor if nova else "",
        "Project": nova.project_name if nova else "",
    }
    return {name: text for name, text in facts.items() if text not in ("", UNKNOWN)}


def _flag(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _both_ways(stats: Stats, prefix: str, what: str) -> int | None:
    ways = [figure(stats, f"{prefix}{way}.{what}") for way in ("rx", "tx")]
    known = [value for value in ways if value is not None]
    return sum(known) if known else None
