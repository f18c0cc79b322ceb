"""Figures and the tables they are shown in."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """A quantity measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        measured = list(values)
        return cls(statistics.median(measured), min(measured), max(measured))

    def __str__(self) -> str:
        if self.least == self.most:
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)}–{number(self.most)})"


Figure = Spread | float | str | None
"""None: not measured."""


class Column(NamedTuple):
    """One quantity of a table."""

    name: str
    """For JSON, with the unit: `wall_seconds`."""
    title: str
    factor: float = 1
    """From the unit of `name` to that of `title`."""


class Table(NamedTuple):
    """Rows of figures, in base units; `notes` say what is beside the point of a column."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Figure]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """The table for a person."""
        cells = [[column.title for column in self.columns]]
        cells += [
            [shown(figure, column.factor) for figure, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
        return "\n".join([self.title, "", *lines, *(f"* {note}" for note in self.notes)]) + "\n"

    def document(self) -> dict[str, Any]:
        """The table for a program."""
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, map(_plain, row), strict=True)) for row in self.rows]
        return {"name": self.name, "title": self.title, "rows": rows, "notes": list(self.notes)}


def number(value: float) -> str:
    """Three significant digits, or all of an integer's."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def shown(figure: Figure, factor: float = 1) -> str:
    """A figure as it stands in a table, multiplied by `factor`."""
    match figure:
        case None:
            return "–"
        case str():
            return figure
        case Spread():
            return str(_mapped(figure, lambda value: value * factor))
    return number(figure * factor)


def _mapped(spread: Spread, change: Callable[[float], float]) -> Spread:
    return Spread(*map(change, spread))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]


def _plain(figure: Figure) -> object:
    return figure._asdict() if isinstance(figure, Spread) else figure
