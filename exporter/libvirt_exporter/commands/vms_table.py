"""The host's VMs as a table for a person at a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from msgspec.structs import replace

from libvirt_exporter.commands.output import printable
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.query.overview import Row, overview

_TITLES: Final = (
    *("NAME", "STATE", "REASON", "VCPUS", "CPU"),
    *("RSS", "MEM", "MAX", "DISK/s", "NET/s"),
)
_TEXTS: Final = {"NAME", "STATE", "REASON"}
_COLOURS: Final[Mapping[str, str]] = {
    "running": "32",
    "paused": "33",
    "pmsuspended": "33",
    "crashed": "31",
    "shutoff": "2",
}
"""State → parameters of the terminal's SGR sequence: green, yellow, red, faint."""
_NAME_WIDTH: Final = 12
"""Columns that names keep when there is not enough room."""
_LONGEST_NAME: Final = 40
"""Columns that the longest name gets where the width is unlimited."""
_LEFT_OUT: Final = ("MAX", "REASON", "VCPUS", "RSS", "NET/s", "DISK/s")
"""Columns that a narrow terminal does without, the first one first."""


SORTED_BY: Final[Mapping[str, str]] = {
    **{name: name for name in ("name", "state", "vcpus", "cpu", "rss")},
    "mem": "memory",
    "max": "memory_maximum",
    "disk": "disk",
    "net": "net",
}
"""Columns that the table can be sorted by → their attributes of `Row`."""


class Look(NamedTuple):
    """How a person wants to see the table."""

    width: int | None = None
    """Columns of the terminal; None for any number of them."""
    sort: str = "name"
    """One of `SORTED_BY`: names and states in their order, figures from the highest."""
    names: Sequence[str] = ()
    """A shell's patterns of the names and UUIDs to show; none: all."""
    colour: bool = False


def text(before: HostSample, now: HostSample, look: Look) -> str:
    """Return the VMs of `now` as a table, and below it which of them are stuck.

    `before` is that of `rows`.
    """
    now = replace(now, domains=tuple(filter(look_for(look.names), now.domains)))
    if not now.domains:
        return "There are no VMs to show.\n"
    attribute = SORTED_BY[look.sort]
    table = render(_sorted(rows(before, now), attribute), look.width, colour=look.colour)
    stuck = _stuck(now)
    return f"{table}\n{stuck}" if stuck else table


def look_for(names: Sequence[str]) -> Callable[[DomainSample], bool]:
    """Return what tells whether a domain's name or UUID matches one of a shell's patterns."""
    return lambda domain: (
        not names
        or any(fnmatchcase(text, name) for name in names for text in (domain.name, domain.uuid))
    )


def rows(before: HostSample, now: HostSample) -> list[Row]:
    """Return the VMs of `now` by name; `before` is an earlier sample for what is per second."""
    return sorted(overview(now, before).rows, key=lambda row: row.name)


def _sorted(table: Iterable[Row], attribute: str) -> list[Row]:
    """Rows that are sorted by name, by another attribute; unknown figures come last."""

    def order(row: Row) -> tuple[bool, object]:
        value = getattr(row, attribute)
        return value is None, value if isinstance(value, str) else -(value or 0)

    return sorted(table, key=order)


def render(table: Iterable[Row], width: int | None, *, colour: bool = False) -> str:
    """Return the table for a terminal of `width` columns; None for any number of them.

    Names are cut to fit, and what could command the terminal is replaced in them.
    """
    table = [*table]
    lines = [_cells(row) for row in table]
    columns = {title: [cells[index] for cells in lines] for index, title in enumerate(_TITLES)}
    room = _room(columns, width)
    for title in _LEFT_OUT:
        if room < _NAME_WIDTH:
            del columns[title]
            room = _room(columns, width)
    columns["NAME"] = [_cut(name, max(room, _NAME_WIDTH)) for name in columns["NAME"]]
    aligned = zip(*(_aligned(title, cells) for title, cells in columns.items()), strict=True)
    text = ["  ".join(line).rstrip() for line in aligned]
    if colour:
        codes = ["1", *(_COLOURS.get(row.state, "") for row in table)]
        text = [
            f"\x1b[{code}m{line}\x1b[m" if code else line
            for code, line in zip(codes, text, strict=True)
        ]
    return "".join(f"{line}\n" for line in text)


def _stuck(sample: HostSample) -> str:
    """A line for each VM whose QEMU does not answer libvirt any more."""
    lines = []
    for domain in sorted(sample.domains, key=lambda domain: domain.name):
        if domain.stats.get("monitor.responsive") is False:
            seconds = float(domain.stats.get("monitor.stuck.time", 0)) / 1e9
            name = _cut(printable(domain.name), _LONGEST_NAME)
            lines.append(f"{name}: stuck for {seconds:.0f} s, QEMU's monitor does not answer\n")
    return "".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        printable(row.name),
        row.state,
        row.reason,
        "" if row.vcpus is None else str(row.vcpus),
        "" if row.cpu is None else f"{row.cpu:.1%}",
        *map(_size, (row.rss, row.memory, row.memory_maximum, row.disk, row.net)),
    )


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
