"""PromQL against the catalogue: which series an expression selects, which labels its result has."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from libvirt_exporter.catalogue import DOMAIN_METRICS, METRICS
from libvirt_exporter.catalogue.metric import Metric, StatEnum

SCRAPED: Final = frozenset({"job", "instance"})
"""Labels that Prometheus adds."""
IDENTITY: Final = frozenset({"domain", "uuid"})
"""Labels of every series of a domain, by default."""


RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules"
FROM_PROMETHEUS: Final[Mapping[str, frozenset[str]]] = {
    "up": SCRAPED,
    "scrape_duration_seconds": SCRAPED,
    **dict.fromkeys(
        (
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
        ),
        SCRAPED,
    ),
    "ALERTS": SCRAPED | IDENTITY | {"alertname", "alertstate", "severity"},
}
"""Labels of what Prometheus says of targets and alerts, and its client libraries of processes."""


def series_names() -> dict[str, Metric]:
    """The catalogue by the names that series have in Prometheus."""
    return {
        name: metric
        for metric in METRICS
        for name in (
            [f"{metric.name}_bucket", f"{metric.name}_count"]
            if metric.type == "histogram"
            else [metric.name]
        )
    }


SERIES: Final = series_names()

_OF_DOMAINS: Final = frozenset(metric.name for metric in DOMAIN_METRICS)


def labels_of(metric: Metric) -> set[str]:
    """The labels that a metric's series have in Prometheus, by default."""
    labels = {*metric.labels, *SCRAPED}
    if isinstance(metric, StatEnum):
        labels.add(metric.label)
        if metric.within:
            labels.add(metric.within.label)
    if metric.type == "histogram":
        labels.add("le")
    return labels | IDENTITY if metric.name in _OF_DOMAINS else labels


@functools.cache
def recorded_rules() -> dict[str, str]:
    """The expressions of the recording rules, by the names of what they record, in their order."""
    return {
        rule["record"]: rule["expr"]
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


@functools.cache
def selected_labels(name: str) -> set[str]:
    """The labels of a metric's series: of the catalogue, recorded, or Prometheus' own.

    AssertionError where there is no such metric.
    """
    if name in FROM_PROMETHEUS:
        return {*FROM_PROMETHEUS[name]}
    if name in recorded_rules():
        return {*(result_labels(promql_parser.parse(recorded_rules()[name])) or ())}
    assert name in SERIES, f"{name} is no metric: docs/metrics.md lists them"
    return labels_of(SERIES[name])


def nodes(expression: promql_parser.Expr) -> list[Any]:
    """Every node of an expression, from the outside in."""
    found: list[promql_parser.Expr] = []
    promql_parser.walk(expression, found.append)
    return found


def selectors(expression: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    """Every selector, those under a range too."""
    return [node for node in nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def result_labels(node: Any) -> set[str] | None:
    """The labels of an expression's result; None for a number.

    AssertionError where an aggregation or a matching names a label that is not there, or where the
    sides of an operator can never match.
    """
    match node:
        case promql_parser.NumberLiteral():
            return None
        case promql_parser.VectorSelector():
            return selected_labels(node.name or "")
        case promql_parser.MatrixSelector():
            return result_labels(node.vector_selector)
        case promql_parser.ParenExpr():
            return result_labels(node.expr)
        case promql_parser.Call() if node.func.name == "scalar":
            return None
        case promql_parser.Call() if node.func.name == "absent":
            equal = (
                matcher
                for matcher in node.args[0].matchers.matchers
                if matcher.op == promql_parser.MatchOp.Equal
            )
            return {matcher.name for matcher in equal}
        case promql_parser.Call() if node.func.name == "label_replace":
            source, target, _replacement, label, _pattern = node.args
            inner = result_labels(source)
            assert inner is not None
            assert label.val in inner, f"{label.val} is no label of {source}"
            return {*inner, target.val}
        case promql_parser.Call():
            return result_labels(node.args[0]) if node.args else None
        case promql_parser.AggregateExpr():
            inner, modifier = result_labels(node.expr), node.modifier
            assert inner is not None
            if str(node.op) in ("topk", "bottomk"):
                return inner
            if modifier is None:
                return set()
            named = set(modifier.labels)
            assert named <= inner, f"{named - inner} are no labels of {node.expr}"
            return named if modifier.type == promql_parser.AggModifierType.By else inner - named
        case promql_parser.BinaryExpr():
            return _operated(node)
    raise AssertionError(f"not foreseen here: {node!r}")


def _operated(node: Any) -> set[str] | None:
    left, right = result_labels(node.lhs), result_labels(node.rhs)
    if left is None or right is None:
        return right if left is None else left
    matching = re.fullmatch(r"on \((.*)\)", str(node.modifier.matching if node.modifier else ""))
    if matching:
        on = set(matching[1].split(", "))
        assert on <= left & right, f"{on - (left & right)} are not on both sides of {node}"
        if str(node.op).strip() == "or":
            assert left == right, f"sides have other labels: {node}"
        elif str(node.op).strip() not in ("and", "unless"):
            card, added = node.modifier.card, {*(node.modifier.group_labels or ())}
            if card == promql_parser.VectorMatchCardinality.ManyToOne:
                assert added <= right, f"{added - right} are no labels of {node.rhs}"
                return left | added
            one_to_one = card == promql_parser.VectorMatchCardinality.OneToOne
            assert one_to_one, f"not foreseen here: {node}"
            return on
    else:
        assert left == right, f"sides never match: {node}"
    return left
