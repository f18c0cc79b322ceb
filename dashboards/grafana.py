"""Constructors of Grafana's classic JSON (schemaVersion 39, which Grafana 10.4 and newer read).

What a dashboard shows is in a file of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

# Queries

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def rate(selector: str) -> str:
    """The rate per second of a counter, over the interval that Grafana finds right."""
    return f"rate({selector}[$__rate_interval])"


def series(expression: str, *, legend: str) -> Json:
    """A query over the dashboard's time range."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend,
        "range": True,
    }


def instant(expression: str, *, legend: str = "", ref: str = "") -> Json:
    """A query at the end of the time range; one for a table has a `ref`, which names its field."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "format": "table" if ref else "time_series",
        "instant": True,
        "legendFormat": legend,
        "range": False,
    } | ({"refId": ref} if ref else {})


# Panels


def panel(
    kind: str,
    title: str,
    targets: Iterable[Json],
    *,
    width: int,
    height: int,
    defaults: Json,
    options: Json,
    overrides: Iterable[Json] = (),
    description: str,
) -> Json:
    """A panel of any kind, not placed yet; ids follow from titles, so that links to it last."""
    return {
        "id": panel_id(title),
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"h": height, "w": width},
        "targets": [
            {"refId": chr(ord("A") + position)} | target for position, target in enumerate(targets)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
    }


def panel_id(title: str) -> int:
    """A number that depends on the title only; a test sees to it that no two are equal."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


def row(title: str) -> Json:
    """The heading of the panels up to the next row."""
    return {
        "id": panel_id(f"row {title}"),
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"h": 1, "w": 24},
        "panels": [],
    }


def graph(
    title: str, *targets: Json, unit: str, description: str, stacked: bool = False, width: int = 12
) -> Json:
    """Lines over time, the highest first in legend and tooltip."""
    return panel(
        "timeseries",
        title,
        targets,
        width=width,
        height=8,
        description=description,
        defaults={
            "unit": unit,
            "min": 0,
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line",
                "fillOpacity": 30 if stacked else 5,
                "lineWidth": 1,
                "showPoints": "never",
                "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
            },
        },
        options={
            "legend": {
                "calcs": ["mean", "max"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "sortBy": "Max",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def stat(
    title: str,
    *targets: Json,
    unit: str,
    description: str,
    overrides: Iterable[Json],
    width: int,
    height: int,
) -> Json:
    """Big figures of the present."""
    return panel(
        "stat",
        title,
        targets,
        width=width,
        height=height,
        description=description,
        overrides=overrides,
        defaults={"unit": unit, "color": fixed("text")},
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name",
        },
    )


def state_timeline(
    title: str,
    *targets: Json,
    mappings: Mapping[str, tuple[str, str]],
    description: str,
    width: int = 12,
    height: int = 8,
) -> Json:
    """Bars over time; `mappings` has the text and colour of each value."""
    return panel(
        "state-timeline",
        title,
        targets,
        width=width,
        height=height,
        description=description,
        defaults={
            "unit": "none",
            "mappings": [value_mapping(mappings)],
            "custom": {"fillOpacity": 80, "lineWidth": 0},
        },
        options={
            "alignValue": "left",
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": False,
            },
            "mergeValues": True,
            "perPage": 20,
            "rowHeight": 0.85,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


def table(
    title: str,
    first: Json,
    columns: Iterable[Column],
    *,
    labels: Mapping[str, str],
    hidden: Iterable[str],
    overrides: Iterable[Json],
    sort_by: str,
    description: str,
) -> Json:
    """Lines joined over the labels that all queries have.

    The fields are the labels, named and in the order as given, then the columns; `first` is a
    query for labels only.
    """
    columns = list(columns)
    names = {**labels} | {f"Value #{ref['refId']}": name for name, ref, _ in columns}
    return panel(
        "table",
        title,
        [first, *(target for _, target, _ in columns)],
        width=24,
        height=10,
        description=description,
        defaults={"unit": "none", "custom": {"align": "auto", "filterable": True}},
        overrides=[*overrides, *(look for _, _, look in columns)],
        options={
            "cellHeight": "sm",
            "showHeader": True,
            "sortBy": [{"desc": True, "displayName": sort_by}],
        },
    ) | {
        "transformations": [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": dict.fromkeys(hidden, True),
                    "indexByName": {name: position for position, name in enumerate(names)},
                    "renameByName": names,
                },
            },
        ]
    }


class Column(NamedTuple):
    """A column of a table: its query and how it looks."""

    name: str
    target: Json
    look: Json


def column(
    name: str, unit: str, expression: str, *, gauge: bool = False, description: str = ""
) -> Column:
    """A column of numbers; a gauge is for shares of 1."""
    look: Json = {"unit": unit}
    if description:
        look["description"] = description
    if gauge:
        look |= {"min": 0, "max": 1, "color": {"mode": "continuous-GrYlRd"}, **cell("gauge")}
    ref = name.lower().replace(" ", "_")
    return Column(name, instant(expression, ref=ref), by_name(name, **look))


# Parts of panels


def by_name(name: str, **properties: object) -> Json:
    """An override for the field of that name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def cell(kind: str) -> Json:
    """How a table draws a field's cells."""
    options = {"type": kind, "mode": "basic"} if kind == "gauge" else {"type": kind}
    return {"custom.cellOptions": options}


def fixed(colour: str) -> Json:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}


def value_mapping(mappings: Mapping[str, tuple[str, str]]) -> Json:
    """Text and colour for each value."""
    return {
        "type": "value",
        "options": {
            value: {"color": colour, "index": index, "text": text}
            for index, (value, (text, colour)) in enumerate(mappings.items())
        },
    }


# Dashboard


def datasource_variable() -> Json:
    """The Prometheus to ask."""
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def label_variable(name: str, label: str, selector: str) -> Json:
    """Some or all values that the label `name` has on a metric within the time range."""
    query = f"label_values({selector}, {name})"
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {
            "qryType": 1,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "allValue": ".+",
        "hide": 0,
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    }


def place(panels: Iterable[Json]) -> list[Json]:
    """Give each panel its place: from left to right, as many as fit, then the next line."""
    placed = []
    x = y = line_height = 0
    for item in panels:
        size = item["gridPos"]
        if x + size["w"] > 24:
            x, y, line_height = 0, y + line_height, 0
        placed.append({**item, "gridPos": {**size, "x": x, "y": y}})
        x += size["w"]
        line_height = max(line_height, size["h"])
    return placed


def dashboard(
    uid: str, title: str, description: str, variables: Iterable[Json], panels: Iterable[Json]
) -> Json:
    """A whole dashboard."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["libvirt"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": list(variables)},
        "panels": place(panels),
    }
