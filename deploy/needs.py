"""Writes which metrics each panel and alert needs, for `check-config` and `doctor`.

    python -m deploy.needs [--check]

What is recorded counts by what it is recorded from. Each query has alternatives, the sides of its
`or`, and each of those the metrics that must all be there. What every exposition has is left out.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from dashboards import build
from dashboards.grafana import each_panel
from libvirt_exporter.catalogue import SAMPLE_METRICS

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "exporter" / "libvirt_exporter" / "commands" / "needs.json"
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"

Alternatives = frozenset[frozenset[str]]

_NOTHING: Final[Alternatives] = frozenset({frozenset()})
_OPTIONAL: Final = frozenset(metric.name for metric in SAMPLE_METRICS)


@functools.cache
def _rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]


@functools.cache
def _recorded(name: str) -> Alternatives:
    [expression] = [rule["expr"] for rule in _rules() if rule.get("record") == name]
    return needs(expression)


def needs(expression: str) -> Alternatives:
    """Return the alternatives of an expression, in which Grafana's variables may stand."""
    filled = re.sub(r"\[\$\w+\]", "[5m]", expression).replace("$top", "10")
    return _needs(promql_parser.parse(filled))


def _needs(node: Any) -> Alternatives:
    match node:
        case promql_parser.VectorSelector():
            name = re.sub(r"_(bucket|count)$", "", node.name) if node.name else ""
            if ":" in name:
                return _recorded(name)
            return frozenset({frozenset({name} & _OPTIONAL)})
        case promql_parser.MatrixSelector():
            return _needs(node.vector_selector)
        case promql_parser.ParenExpr() | promql_parser.AggregateExpr():
            return _needs(node.expr)
        case promql_parser.Call() if node.func.name in ("absent", "absent_over_time"):
            return _NOTHING
        case promql_parser.Call():
            return _all(map(_needs, node.args))
        case promql_parser.BinaryExpr():
            operator = str(node.op).strip()
            left, right = _needs(node.lhs), _needs(node.rhs)
            if operator == "or":
                return _least(left | right)
            return left if operator == "unless" else _all((left, right))
    return _NOTHING


def _all(parts: Iterable[Alternatives]) -> Alternatives:
    return _least(frozenset(frozenset().union(*chosen) for chosen in itertools.product(*parts)))


def _least(found: Alternatives) -> Alternatives:
    """Without alternatives that need more than another one."""
    return frozenset(each for each in found if not any(other < each for other in found))


def table() -> dict[str, dict[str, list[list[list[str]]]]]:
    """Return the queries of panels by dashboard and title, and of alerts by name."""
    found: dict[str, dict[str, list[Alternatives]]] = {"alerts": {}}
    for rule in _rules():
        if "alert" in rule:
            found["alerts"].setdefault(rule["alert"], []).append(needs(rule["expr"]))
    for make in build.DASHBOARDS:
        dashboard = make()
        shown = found.setdefault(dashboard["title"], {})
        for panel in each_panel(dashboard["panels"]):
            if targets := panel.get("targets"):
                shown[panel["title"]] = [needs(target["expr"]) for target in targets]
        for mark in dashboard["annotations"]["list"]:
            shown[f"{mark['name']} (mark)"] = [needs(mark["expr"])]
    return {
        where: {
            name: [sorted(sorted(each) for each in query) for query in queries]
            for name, queries in by_name.items()
            if any(query != _NOTHING for query in queries)
        }
        for where, by_name in found.items()
    }


def text() -> str:
    """Return the table as JSON, with a line for each alert and panel."""
    parts = (
        f" {json.dumps(where)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in by_name.items())
        + "\n }"
        for where, by_name in table().items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write, or check; 1 when a checked file differs."""
    parser = argparse.ArgumentParser(description="Write which metrics panels and alerts need.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on differences")
    check = parser.parse_args(argv).check
    needed = text()
    differs = not FILE.is_file() or FILE.read_text("utf-8") != needed
    if differs:
        what = "differs from its source; run `make dashboards`" if check else "written"
        print(f"{FILE.relative_to(ROOT)}: {what}")
        if not check:
            FILE.write_text(needed, encoding="utf-8")
    return int(check and differs)


if __name__ == "__main__":
    sys.exit(main())
