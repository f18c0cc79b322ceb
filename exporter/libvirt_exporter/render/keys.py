"""Which catalogue rows a stats key belongs to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from libvirt_exporter.catalogue import SAMPLE_METRICS, WITHHELD
from libvirt_exporter.catalogue.metric import Fact, Metric

_PLACEHOLDER = re.compile(r"<(\w+)>")


class Match(NamedTuple):
    """A key's rows (none when it is withheld on purpose) and its placeholders' values."""

    rows: tuple[Metric, ...]
    placeholders: Mapping[str, str]


class _Source(NamedTuple):
    regex: re.Pattern[str]
    rows: list[Metric]


def _compile(source: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(source)
    return re.compile(
        "".join(
            f"(?P<{part}>[^.]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


def _by_first_part() -> Mapping[str, list[_Source]]:
    rows: dict[str, list[Metric]] = defaultdict(list)
    for row in SAMPLE_METRICS:
        if not isinstance(row, Fact):
            rows[row.source].append(row)
    for withheld in WITHHELD:
        rows.setdefault(withheld.source, [])
    sources: dict[str, list[_Source]] = defaultdict(list)
    # What is spelled out more is tried earlier: <name>_ns.sum before <name>.sum.
    for source in sorted(rows, key=lambda source: -len(_PLACEHOLDER.sub("", source))):
        sources[source.split(".")[0]].append(_Source(_compile(source), rows[source]))
    return sources


_SOURCES = _by_first_part()


@lru_cache(maxsize=65536)
def match(key: str) -> Match | None:
    """The rows that a stats key (`block.0.rd.bytes`) belongs to; None when it is not mapped."""
    for regex, rows in _SOURCES.get(key.split(".", 1)[0], ()):
        if found := regex.fullmatch(key):
            return Match(tuple(rows), found.groupdict())
    return None


def fill(where: str, placeholders: Mapping[str, str]) -> str:
    """A key pattern with its placeholders replaced: `block.<num>.name` → `block.0.name`."""
    return _PLACEHOLDER.sub(lambda found: placeholders[found[1]], where)


def generalise(keys: Iterable[str]) -> set[str]:
    """Keys with every number as `<n>`, so that a thousand disks make one name."""
    return {".".join("<n>" if part.isdigit() else part for part in key.split(".")) for key in keys}
