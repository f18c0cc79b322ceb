"""The catalogue as a list: for people at a terminal, for programs, and as docs/metrics.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from typing import Any, Final

from libvirt_exporter.catalogue import (
    DOMAIN_METRICS,
    GROUPS,
    METRICS,
    SAMPLE_METRICS,
    WITHHELD,
    WITHHELD_VALUES,
)
from libvirt_exporter.catalogue.exporter import OWN_METRICS, SCRAPE_METRICS, TARGET_METRICS
from libvirt_exporter.catalogue.metric import Fact, Group, Metric, StatEnum, Withheld
from libvirt_exporter.query.fields.table import FIELDS

IDENTITY: Final = ("domain", "uuid")
"""Labels of every domain series, unless `labels.identity` says otherwise."""

_NAME_WIDTH: Final = 48
"""Columns of the names in the table; nine in ten of those on by default fit."""
_MEANING_WIDTH: Final = 16
"""Columns below which a cut text would say nothing."""

_INTRODUCTION: Final = """\
# Metrics

Every metric of the exporter, by field group. `groups.include`, `collect[]` and `exclude[]` select
groups. `docs/build.py` generates this file from the catalogue.

- Every series of a domain has the labels `domain` and `uuid` (option `labels.identity`); the tables
  list the others.
- Times are in seconds, sizes in bytes. A value that libvirt did not return is absent, never 0.
- Counters are libvirt's own. Each group lists when its counters reset to 0; `rate()` and
  `increase()` handle resets.
- Event counters that start at 0 catch their first event with `increase()`. Those that start with
  the first event do not: use `libvirt_domain_last_event_timestamp_seconds`, or set
  `events.all_counters`.
- `<num>` and similar placeholders stand for the variable parts of a key. Keys are those of
  libvirt's virConnectGetAllDomainStats.
- "off" beside a name: not shown unless `fields.include` names the metric or its key.
- "experimental" beside a name: the series may still change in a minor release.
- "since" is the first libvirt version with the source. An empty cell: every supported version
  has it, that is 4.5 and newer. 9.0 is the oldest that the exporter is tested with.
"""

OLDEST_LIBVIRT: Final = (4, 5)
"""The first with the flag NOWAIT, which the exporter requires."""

_FIELDS_OF_THE_API: Final = """\
The fields of `/api/v1/vms`, and the metrics that show the same. `fields.include` and
`fields.exclude` accept names of fields instead of their metrics; `check-config` lists the metrics.
"""

_ALWAYS: Final = {
    "scrape": ("About the host and the scrape; always present.", SCRAPE_METRICS),
    "exporter": (
        "About the exporter since its start; always present, with prometheus_client's `process_*`.",
        OWN_METRICS,
    ),
    "targets": (
        "Of each of the configured `targets`, at /metrics; /probe shows all others of a target.",
        TARGET_METRICS,
    ),
}


def rows(metrics: Iterable[Metric] = METRICS) -> list[dict[str, Any]]:
    """Return a row of plain data for each metric; `default` says whether it is on by default."""
    off = {group.name for group in GROUPS if not group.default}
    of_domains = frozenset(DOMAIN_METRICS)
    return [
        {
            "name": metric.name,
            "type": metric.type,
            "unit": metric.unit,
            "help": metric.help,
            "labels": [*(IDENTITY if metric in of_domains else ()), *_labels(metric)],
            "group": metric.group,
            "source": metric.source,
            "since": _since(metric),
            "default": metric.default and metric.group not in off,
            "stability": metric.stability,
        }
        for metric in metrics
    ]


def _since(metric: Metric) -> str:
    """Return the first version with the source; '' where every supported version has it."""
    version = tuple(int(part) for part in metric.since.split(".") if part)
    return metric.since if version > OLDEST_LIBVIRT else ""


def _labels(metric: Metric) -> tuple[str, ...]:
    """The labels of a metric besides the identity, in the order of exposition."""
    own = tuple(metric.labels)
    if isinstance(metric, StatEnum):
        return (*own, *((metric.within.label,) if metric.within else ()), metric.label)
    return own


def as_json() -> str:
    """Return the rows as a JSON array."""
    return json.dumps(rows(), indent=2, ensure_ascii=False) + "\n"


def table(width: int | None) -> str:
    """Return name, type, group and meaning, cut to fit `width` columns; `-`: off by default.

    Where little room is left the meaning is left out; with None for a width nothing is.
    """
    off = {row["name"] for row in rows() if not row["default"]}
    lines = [("NAME", "TYPE", "GROUP", "MEANING")]
    lines += [(metric.name, metric.type, metric.group, metric.text) for metric in METRICS]
    text = []
    for name, kind, group, meaning in lines:
        mark = "-" if name in off else ""
        line = f"{mark:2}{name:{_NAME_WIDTH}} {kind:9} {group:13} "
        if width is None:
            line += meaning
        elif (room := width - len(line)) >= _MEANING_WIDTH:
            line += textwrap.shorten(meaning, room, placeholder="…")
        text.append(line.rstrip())
    text.append("\n-: off by default. --format markdown has labels and sources, too.")
    return "\n".join(text) + "\n"


def markdown() -> str:
    """Return `docs/metrics.md`."""
    parts = [_INTRODUCTION]
    for name, (text, metrics) in _ALWAYS.items():
        parts += [f"## {name}\n", f"{text}\n", _metrics_table(metrics), _resets(metrics)]
    for group in GROUPS:
        metrics = tuple(metric for metric in SAMPLE_METRICS if metric.group == group.name)
        parts += [f"## {group.name}\n", f"{group.text}\n", _about(group)]
        parts += [_metrics_table(metrics), _resets(metrics)]
    parts += ["## Fields of the API\n", _FIELDS_OF_THE_API, _vm_fields()]
    parts += [
        "## Withheld\n",
        "Keys that are structure, not values:\n",
        _withheld(WITHHELD, code=True),
        "Known keys and XML elements that are not shown:\n",
        _withheld(WITHHELD_VALUES, code=False),
    ]
    return "\n".join(part for part in parts if part)


def _vm_fields() -> str:
    lines = ["| field | metrics, or why there is none |", "|---|---|"]
    for field in FIELDS:
        metrics = ", ".join(map(_code, field.metrics))
        lines.append(f"| {_code(field.name)} | {metrics or _escape(field.no_metric)} |")
    return "\n".join(lines) + "\n"


def _about(group: Group) -> str:
    facts = ["On by default." if group.default else "Off by default."]
    if group.asks:
        facts.append(f"Queries libvirt for: {', '.join(group.asks)}.")
    if group.backing:
        facts.append("Queries the whole backing chain of every disk.")
    if group.implies:
        facts.append(f"Includes: {', '.join(group.implies)}.")
    return " ".join(facts) + "\n"


def _metrics_table(metrics: Iterable[Metric]) -> str:
    lines = [
        "| metric | type | labels | meaning | source | since |",
        "|---|---|---|---|---|---|",
    ]
    for metric in metrics:
        marks = ["" if metric.default else "off"]
        marks.append("" if metric.stability == "stable" else metric.stability)
        note = ", ".join(filter(None, marks))
        labels = ", ".join(f"`{label}`" for label in _labels(metric))
        if isinstance(metric, Fact) and metric.operator_labels:
            labels = "those of `labels.custom`"
        cells = (
            f"`{metric.name}`" + (f" ({note})" if note else ""),
            metric.type,
            labels,
            _escape(metric.text),
            _code(metric.source),
            _since(metric),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _resets(metrics: Iterable[Metric]) -> str:
    """When counters start again, said once for all of a group that do so at the same time."""
    counters = [metric for metric in metrics if metric.resets]
    reasons: dict[str, list[str]] = {}
    for metric in counters:
        reasons.setdefault(metric.resets, []).append(f"`{metric.name}`")
    lines = [
        f"- {'All counters' if len(names) == len(counters) else ', '.join(names)}: {reason}."
        for reason, names in reasons.items()
    ]
    return "Counters start again at 0:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _withheld(entries: Iterable[Withheld], *, code: bool) -> str:
    lines = ["| what | why |", "|---|---|"]
    lines += [
        f"| {_code(entry.source) if code else _escape(entry.source)} | {_escape(entry.reason)} |"
        for entry in entries
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""
