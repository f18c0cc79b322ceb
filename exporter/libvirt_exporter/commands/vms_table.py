"""The host's VMs as a table for a person at a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from libvirt_exporter.model import DomainSample, HostSample, Stats

ASKS: Final = frozenset({"balloon", "block", "cpu-total", "interface", "vcpu"})
"""libvirt's statistics groups that the table shows."""
_TITLES: Final = (
    *("NAME", "STATE", "REASON", "VCPUS", "CPU"),
    *("RSS", "MEM", "MAX", "DISK/s", "NET/s"),
)
_TEXTS: Final = {"NAME", "STATE", "REASON"}
_NAME_WIDTH: Final = 12
"""Columns that names keep when there is not enough room."""
_LONGEST_NAME: Final = 40
"""Columns that the longest name gets where the width is unlimited."""
_LEFT_OUT: Final = ("MAX", "REASON", "VCPUS", "RSS", "NET/s", "DISK/s")
"""Columns that a narrow terminal does without, the first one first."""


class Row(NamedTuple):
    """One VM; None where libvirt or the time between two samples does not say."""

    name: str
    state: str
    reason: str
    vcpus: int | None
    cpu: float | None
    """CPUs of the host in use: 1.0 is one of them."""
    rss: int | None
    """Bytes of the host's memory that QEMU holds."""
    memory: int | None
    """Bytes that the guest has."""
    memory_maximum: int | None
    disk: float | None
    """Bytes per second, read and written, of all disks."""
    net: float | None
    """Bytes per second, received and sent, of all interfaces."""


def text(before: HostSample, now: HostSample, width: int | None) -> str:
    """Return the VMs of `now` as a table, and below it which of them are stuck.

    The arguments are those of `rows` and `render`.
    """
    if not now.domains:
        return "There are no VMs to show.\n"
    table, stuck = render(rows(before, now), width), _stuck(now)
    return f"{table}\n{stuck}" if stuck else table


def rows(before: HostSample, now: HostSample) -> list[Row]:
    """Return the VMs of `now` by name; `before` is an earlier sample for what is per second."""
    earlier = {domain.uuid: domain for domain in before.domains}
    return sorted(_row(domain, earlier.get(domain.uuid)) for domain in now.domains)


def render(table: Iterable[Row], width: int | None) -> str:
    """Return the table for a terminal of `width` columns; None for any number of them.

    Names are cut to fit, and what could command the terminal is replaced in them.
    """
    lines = [_cells(row) for row in table]
    columns = {title: [cells[index] for cells in lines] for index, title in enumerate(_TITLES)}
    room = _room(columns, width)
    for title in _LEFT_OUT:
        if room < _NAME_WIDTH:
            del columns[title]
            room = _room(columns, width)
    columns["NAME"] = [_cut(name, max(room, _NAME_WIDTH)) for name in columns["NAME"]]
    aligned = zip(*(_aligned(title, cells) for title, cells in columns.items()), strict=True)
    return "".join("  ".join(line).rstrip() + "\n" for line in aligned)


def printable(text: str) -> str:
    """Return the text with everything replaced that is not a visible character or a space."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _stuck(sample: HostSample) -> str:
    """A line for each VM whose QEMU does not answer libvirt any more."""
    lines = []
    for domain in sorted(sample.domains, key=lambda domain: domain.name):
        if domain.stats.get("monitor.responsive") is False:
            seconds = float(domain.stats.get("monitor.stuck.time", 0)) / 1e9
            name = _cut(printable(domain.name), _LONGEST_NAME)
            lines.append(f"{name}: stuck for {seconds:.0f} s, QEMU's monitor does not answer\n")
    return "".join(lines)


def _row(domain: DomainSample, earlier: DomainSample | None) -> Row:
    stats, info = domain.stats, domain.info
    cpu = _rate(domain, earlier, ["cpu.time"])
    vcpus = _integer(stats, "vcpu.current")
    memory = _integer(stats, "balloon.current", 1024)
    maximum = _integer(stats, "balloon.maximum", 1024)
    if info is not None:
        vcpus = info.vcpus_current if vcpus is None else vcpus
        memory = info.memory_current if memory is None else memory
        maximum = info.memory_maximum if maximum is None else maximum
    return Row(
        name=domain.name,
        state=domain.state,
        reason=domain.reason,
        vcpus=vcpus,
        cpu=None if cpu is None else cpu / 1e9,
        rss=_integer(stats, "balloon.rss", 1024),
        memory=memory,
        memory_maximum=maximum,
        disk=_rate(domain, earlier, _devices(stats, "block", ("rd.bytes", "wr.bytes"))),
        net=_rate(domain, earlier, _devices(stats, "net", ("rx.bytes", "tx.bytes"))),
    )


def _devices(stats: Stats, kind: str, figures: Sequence[str]) -> list[str]:
    """The keys of the figures of every device, the lower images of its chain left out."""
    first: dict[str, str] = {}
    for key, value in stats.items():
        if key.startswith(f"{kind}.") and key.endswith(".name"):
            # A chain's images have the name of its disk, the top one first.
            first.setdefault(str(value), key.removesuffix("name"))
    keys = [device + figure for device in first.values() for figure in figures]
    return [key for key in keys if key in stats]


def _rate(domain: DomainSample, earlier: DomainSample | None, keys: Sequence[str]) -> float | None:
    """How fast the sum of the counters grows per second; None when that cannot be told."""
    if earlier is None or earlier.timestamp >= domain.timestamp:
        return None
    differences = []
    for key in keys:
        before, now = _integer(earlier.stats, key), _integer(domain.stats, key)
        if before is None or now is None or now < before:
            return None
        differences.append(now - before)
    return sum(differences) / (domain.timestamp - earlier.timestamp) if differences else None


def _cells(row: Row) -> tuple[str, ...]:
    return (
        printable(row.name),
        row.state,
        row.reason,
        "" if row.vcpus is None else str(row.vcpus),
        "" if row.cpu is None else f"{row.cpu:.1%}",
        *map(_size, (row.rss, row.memory, row.memory_maximum, row.disk, row.net)),
    )


def _integer(stats: Stats, key: str, factor: int = 1) -> int | None:
    value = stats.get(key)
    return value * factor if isinstance(value, int) else None


def _size(size: float | None) -> str:
    """A number of bytes in at most 6 columns."""
    if size is None:
        return ""
    for unit in ("", "K", "M", "G", "T"):
        if size < 999.5:
            return f"{size:.3g}{unit}"
        size /= 1024
    return f"{size:.3g}P"


def _room(columns: dict[str, list[str]], width: int | None) -> int:
    """What the other columns leave to the names."""
    if width is None:
        return _LONGEST_NAME
    others = [[title, *cells] for title, cells in columns.items() if title != "NAME"]
    return width - sum(2 + max(map(_width, column)) for column in others)


def _aligned(title: str, cells: Sequence[str]) -> list[str]:
    texts = [title, *cells]
    width = max(map(_width, texts))
    if title in _TEXTS:
        return [text + " " * (width - _width(text)) for text in texts]
    return [text.rjust(width) for text in texts]


def _width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    text = text[:width]
    while _width(text) >= width:
        text = text[:-1]
    return f"{text}…"
