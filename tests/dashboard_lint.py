"""The rules of Grafana's dashboard-linter, by the names and meanings of its documentation.

Those for Loki are one here: there is no query of it. Each rule yields what is wrong, with the
panel's title, '' for the dashboard, in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import promql_parser

from tests.grafana import Json, interpolated, panels, variable_expression
from tests.promql import nodes, selectors

Complaint = tuple[str, str]

CHECKED_PANELS: Final = ("stat", "state-timeline", "table", "timeseries")
"""Those with data."""

UNITS: Final = frozenset(
    {
        *("none", "short", "percentunit", "bytes", "Bps", "s", "iops", "pps", "cps", "reqps"),
        *("dateTimeAsIso", "bool_yes_no"),
    }
)
"""Grafana's ids of the units in use; it shows an unknown id as a suffix."""


def _targets(dashboard: Json) -> Iterator[tuple[str, Json]]:
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield panel["title"], target


def _parsed(dashboard: Json) -> Iterator[tuple[str, promql_parser.Expr]]:
    for title, target in _targets(dashboard):
        try:
            yield title, promql_parser.parse(interpolated(target["expr"]))
        except ValueError:
            continue


def _variable(dashboard: Json, name: str) -> Json | None:
    found = [each for each in dashboard["templating"]["list"] if each["name"] == name]
    return found[0] if len(found) == 1 else None


def template_datasource(dashboard: Json) -> Iterator[Complaint]:
    """There is exactly one variable for the data source, with the usual name and label."""
    sources = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    if [(each["name"], each["label"], each["query"]) for each in sources] != [
        ("datasource", "Data source", "prometheus")
    ]:
        yield "", "not exactly one variable `datasource`, labelled `Data source`"


def _template_of(name: str) -> Callable[[Json], Iterator[Complaint]]:
    def rule(dashboard: Json) -> Iterator[Complaint]:
        variable = _variable(dashboard, name)
        wanted = {
            "type": "query",
            "label": name.capitalize(),
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
        }
        if variable is None:
            yield "", f"no variable `{name}`"
        elif {key: variable.get(key) for key in wanted} != wanted:
            yield "", f"variable `{name}` is not {wanted}"
        elif variable["datasource"]["uid"] != "${datasource}":
            yield "", f"variable `{name}` asks another data source"

    return rule


def template_label_promql(dashboard: Json) -> Iterator[Complaint]:
    """The queries of variables are PromQL."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            try:
                promql_parser.parse(interpolated(variable_expression(variable)[0]))
            except (ValueError, AssertionError) as error:
                yield "", f"variable `{variable['name']}`: {error}"


def template_on_time_change_reload(dashboard: Json) -> Iterator[Complaint]:
    """Variables follow the time range."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and variable["refresh"] != 2:
            yield "", f"variable `{variable['name']}` does not follow the time range"


def panel_datasource(dashboard: Json) -> Iterator[Complaint]:
    """Panels and their queries ask the chosen data source."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(dashboard):
        asked = [panel, *panel.get("targets", ())] if panel["type"] in CHECKED_PANELS else []
        if any(each.get("datasource") != source for each in asked):
            yield panel["title"], "asks another data source"


def panel_title_description(dashboard: Json) -> Iterator[Complaint]:
    """Panels say what they show."""
    for panel in panels(dashboard):
        if not panel["title"] or not panel.get("description"):
            yield panel["title"], "has no title or no description"


def panel_units(dashboard: Json) -> Iterator[Complaint]:
    """Figures have a unit that Grafana knows."""
    for panel in panels(dashboard):
        if panel["type"] in CHECKED_PANELS:
            units = {panel["fieldConfig"]["defaults"].get("unit")} | {
                each["value"]
                for override in panel["fieldConfig"]["overrides"]
                for each in override["properties"]
                if each["id"] == "unit"
            }
            if not units <= UNITS:
                yield panel["title"], f"has units {units}"


def panel_no_targets(dashboard: Json) -> Iterator[Complaint]:
    """Panels ask for something."""
    for panel in panels(dashboard):
        if panel["type"] in CHECKED_PANELS and not panel["targets"]:
            yield panel["title"], "has no query"


def target_logql(dashboard: Json) -> Iterator[Complaint]:
    """Nothing is asked of Loki, whose queries no rule here checks."""
    for title, target in _targets(dashboard):
        if target["datasource"]["type"] != "prometheus":
            yield title, "asks no Prometheus"


def target_promql(dashboard: Json) -> Iterator[Complaint]:
    """Queries are PromQL."""
    for title, target in _targets(dashboard):
        try:
            promql_parser.parse(interpolated(target["expr"]))
        except ValueError as error:
            yield title, str(error)


def target_rate_interval(dashboard: Json) -> Iterator[Complaint]:
    """Rates are over `$__rate_interval`; what grew is over the time range, and then at its end."""
    for title, target in _targets(dashboard):
        for function, interval in re.findall(
            r"\b(i?rate|increase|i?delta|deriv)\([^[]*\[(.*?)\]", target["expr"]
        ):
            if (function, interval) not in (
                ("rate", "$__rate_interval"),
                ("increase", "$__range"),
            ):
                yield title, f"{function} over {interval}"


def _target_label(name: str) -> Callable[[Json], Iterator[Complaint]]:
    def rule(dashboard: Json) -> Iterator[Complaint]:
        for title, target in _targets(dashboard):
            for selector in selectors(promql_parser.parse(target["expr"].replace("$", "_"))):
                matchers = [
                    (matcher.op, matcher.value)
                    for matcher in selector.matchers.matchers
                    if matcher.name == name
                ]
                if matchers != [(promql_parser.MatchOp.Re, f"_{name}")]:
                    yield title, f"{selector.name} is not narrowed by {name}"

    def only_what_parses(dashboard: Json) -> Iterator[Complaint]:
        try:
            yield from rule(_with_durations(dashboard))
        except ValueError:
            return

    return only_what_parses


def _with_durations(dashboard: Json) -> Json:
    """The dashboard with intervals and numbers in place of variables, but not in matchers."""
    names = {name: f"${name}" for name in ("job", "instance", "uuid")}

    def filled(panel: Json) -> Json:
        return panel | {
            "targets": [
                target | {"expr": interpolated(target["expr"], values=names)}
                for target in panel.get("targets", ())
            ]
        }

    return dashboard | {"panels": [filled(panel) for panel in panels(dashboard)]}


def target_counter_agg(dashboard: Json) -> Iterator[Complaint]:
    """Counters are seen through their growth only, and nothing else is."""
    for title, expression in _parsed(dashboard):
        grown: list[Any] = [
            node.args[0].vector_selector.name
            for node in nodes(expression)
            if isinstance(node, promql_parser.Call)
            and node.func.name in ("rate", "irate", "increase")
        ]
        counters = [
            selector.name
            for selector in selectors(expression)
            if (selector.name or "").endswith("_total")
        ]
        if sorted(map(str, grown)) != sorted(map(str, counters)):
            yield title, f"counters {counters}, of which {grown} are rated"


def uneditable_dashboard(dashboard: Json) -> Iterator[Complaint]:
    """Grafana lets nobody change it."""
    if dashboard["editable"]:
        yield "", "can be edited"


RULES: Final[Mapping[str, Callable[[Json], Iterator[Complaint]]]] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": _template_of("job"),
    "template-instance-rule": _template_of("instance"),
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-logql-rule": target_logql,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": _target_label("job"),
    "target-instance-rule": _target_label("instance"),
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard": uneditable_dashboard,
}
