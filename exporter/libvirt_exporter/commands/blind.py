"""Which of the shipped alerts and panels a configuration leaves without their metrics."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from libvirt_exporter.catalogue import SAMPLE_METRICS
from libvirt_exporter.config import Config
from libvirt_exporter.service.display import Display

_FILE: Final = Path(__file__).with_name("needs.json")

Query = Sequence[Sequence[str]]
"""Alternatives, each with the metrics that it needs."""

_OPTIONS: Final = ("groups.include", "groups.exclude", "fields.exclude")


@functools.cache
def _needs() -> Mapping[str, Mapping[str, Sequence[Query]]]:
    needs: Mapping[str, Mapping[str, Sequence[Query]]] = json.loads(_FILE.read_text("utf-8"))
    return needs


@functools.cache
def _groups() -> Mapping[str, str]:
    return {metric.name: metric.group for metric in SAMPLE_METRICS}


def blinded(config: Config) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield `alerts` and each dashboard's title with what it is that has no figures there.

    The second list has names of which a part is left. What the default configuration does not show
    either is not named.
    """
    usual, shown = _shown(Config()), _shown(config)
    for where, by_name in _needs().items():
        whole, part = [], []
        for name, queries in by_name.items():
            had = [query for query in queries if _answered(query, usual)]
            left = [query for query in had if _answered(query, shown)]
            if had and not left:
                whole.append(name)
            elif len(left) < len(had):
                part.append(name)
        if whole or part:
            yield where, whole, part


def notes(config: Config) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the option to blame, in words how much it blinds, and the names.

    A line of names is of the alerts that lack metrics of the same groups, or of a dashboard.
    """
    usual = Config()
    changed = [
        option
        for option in _OPTIONS
        for section, name in [option.split(".")]
        if getattr(getattr(config, section), name) != getattr(getattr(usual, section), name)
    ]
    causes = f"{' and '.join(changed)} {'causes' if len(changed) == 1 else 'cause'}"
    alerts: dict[str, list[str]] = {}
    panels: dict[str, list[str]] = {}
    shown = _shown(config)
    for where, whole, part in blinded(config):
        for name in whole + part:
            by_line, line = panels, where
            if where == "alerts":
                by_line, line = alerts, ", ".join(_lost_groups(_needs()[where][name], shown))
            by_line.setdefault(line, []).append(f"{name} (in part)" if name in part else name)
    for by_line, what in (
        (alerts, "alert{s} without data, by required group"),
        (panels, "empty panel{s}"),
    ):
        if count := sum(map(len, by_line.values())):
            lines = [f"{line}: {', '.join(names)}" for line, names in sorted(by_line.items())]
            text = f"{causes} {count} {what.format(s='' if count == 1 else 's')}"
            yield changed[0], text, lines


def wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of names as a terminal shows them below a note."""
    for line in lines:
        yield from textwrap.wrap(line, 100, initial_indent="    ", subsequent_indent="      ")


def _lost_groups(queries: Iterable[Query], shown: Collection[str]) -> list[str]:
    """Return the groups of what is missing of the first alternative of each query."""
    return sorted(
        {
            _groups()[name]
            for query in queries
            if not _answered(query, shown)
            for name in query[0]
            if name not in shown
        }
    )


def _shown(config: Config) -> Collection[str]:
    return Display(config, CollectorRegistry()).everything.selection.index.keys()


def _answered(query: Query, shown: Collection[str]) -> bool:
    return any(all(name in shown for name in alternative) for alternative in query)
