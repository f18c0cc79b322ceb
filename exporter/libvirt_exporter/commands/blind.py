"""Which of the shipped alerts and panels a configuration leaves without their metrics."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

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


def notes(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the option that is to blame, and in words what is blinded, a line for each place."""
    usual = Config()
    changed = [
        option
        for option in _OPTIONS
        for section, name in [option.split(".")]
        if getattr(getattr(config, section), name) != getattr(getattr(usual, section), name)
    ]
    for where, whole, part in blinded(config):
        what = "alerts without data" if where == "alerts" else f"empty panels on dashboard {where}"
        names = ", ".join([*whole, *(f"{name} (in part)" for name in part)])
        cause = "causes" if len(changed) == 1 else "cause"
        yield changed[0], f"{' and '.join(changed)} {cause} {what}: {names}"


def _shown(config: Config) -> Collection[str]:
    return Display(config, CollectorRegistry()).everything.selection.index.keys()


def _answered(query: Query, shown: Collection[str]) -> bool:
    return any(all(name in shown for name in alternative) for alternative in query)
