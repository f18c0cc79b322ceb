"""Constructors of Grafana's classic JSON (schemaVersion 39, which Grafana 10.4 and newer read).

What a dashboard shows is in a file of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

# Queries

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


Lines = Mapping[str, str]
"""What a panel draws: expressions by their legends."""


def series(lines: Lines) -> list[Json]:
    """Queries over the dashboard's time range."""
    return [
        {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": expression,
            "legendFormat": legend,
            "range": True,
        }
        for legend, expression in lines.items()
    ]


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
    links: Sequence[Json] = (),
    bands: Bands | None = None,
) -> Json:
    """A panel of any kind, not placed yet; ids follow from titles, so that links to it last.

    `links` lead on from what it shows; `bands` colour it, and its description explains them.
    """
    if bands is not None:
        defaults = defaults | {"thresholds": bands.steps()}
        description = f"{description} {bands.explained()}"
    if links:
        defaults = defaults | {"links": [*links]}
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


def row(title: str, *panels: Json, collapsed: bool = False) -> list[Json]:
    """A heading and its panels; a collapsed one shows them when it is clicked."""
    heading = {
        "id": panel_id(f"row {title}"),
        "type": "row",
        "title": title,
        "collapsed": collapsed,
        "gridPos": {"h": 1, "w": 24},
        "panels": [*panels] if collapsed else [],
    }
    return [heading] if collapsed else [heading, *panels]


def graph(
    title: str,
    lines: Lines,
    *,
    unit: str,
    description: str,
    stacked: bool = False,
    width: int = 8,
    links: Sequence[Json] = (),
    bands: Bands | None = None,
) -> Json:
    """Lines over time, the highest first in legend and tooltip."""
    custom: Json = {
        "drawStyle": "line",
        "fillOpacity": 30 if stacked else 5,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
    }
    if bands is not None:
        custom["thresholdsStyle"] = {"mode": "dashed+area"}
    return panel(
        "timeseries",
        title,
        series(lines),
        width=width,
        height=8,
        description=description,
        links=links,
        bands=bands,
        defaults={
            "unit": unit,
            "min": 0,
            "color": {"mode": "palette-classic"},
            "custom": custom,
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
    figures: Lines,
    *,
    unit: str = "none",
    description: str,
    overrides: Iterable[Json] = (),
    mappings: Mapping[str, tuple[str, str]] | None = None,
    nothing: str = "",
    text: str = "auto",
    width: int = 4,
    height: int = 4,
    bands: Bands | None = None,
) -> Json:
    """Big figures of the present; `nothing` is said where there is none."""
    defaults: Json = {"unit": unit, "color": fixed("text")}
    if bands is not None:
        defaults["color"] = {"mode": "thresholds"}
    if mappings:
        defaults["mappings"] = [value_mapping(mappings)]
    if nothing:
        defaults["noValue"] = nothing
    return panel(
        "stat",
        title,
        [instant(expression, legend=legend) for legend, expression in figures.items()],
        width=width,
        height=height,
        description=description,
        overrides=overrides,
        bands=bands,
        defaults=defaults,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": text,
        },
    )


def state_timeline(
    title: str,
    bars: Lines,
    *,
    mappings: Mapping[str, tuple[str, str]],
    description: str,
    width: int = 12,
    height: int = 8,
    links: Sequence[Json] = (),
) -> Json:
    """Bars over time; `mappings` has the text and colour of each value."""
    return panel(
        "state-timeline",
        title,
        series(bars),
        width=width,
        height=height,
        description=description,
        links=links,
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
    overrides: Iterable[Json] = (),
    sort_by: str,
    description: str,
    width: int = 24,
    height: int = 10,
    shown: bool = False,
) -> Json:
    """Lines joined over the labels that all queries have.

    The fields are the labels, named and in the order as given, then the columns; `first` is a
    query for labels only, unless its values are `shown` as one of them.
    """
    unseen = ["Time", *([] if shown else [f"Value #{first['refId']}"]), *hidden]
    columns = list(columns)
    names = {**labels} | {f"Value #{ref['refId']}": name for name, ref, _ in columns}
    return panel(
        "table",
        title,
        [first, *(target for _, target, _ in columns)],
        width=width,
        height=height,
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
                    "excludeByName": dict.fromkeys(unseen, True),
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
    name: str,
    unit: str,
    expression: str,
    *,
    gauge: bool = False,
    description: str = "",
    bands: Bands | None = None,
) -> Column:
    """A column of numbers; a gauge is for shares of 1."""
    look: Json = {"unit": unit}
    if bands is not None:
        description = f"{description} {bands.explained()}".lstrip()
        look |= {
            "thresholds": bands.steps(),
            "color": {"mode": "thresholds"},
            **cell("color-text"),
        }
    if description:
        look["description"] = description
    if gauge:
        look |= {"min": 0, "max": 1, "color": {"mode": "continuous-GrYlRd"}, **cell("gauge")}
    ref = name.lower().replace(" ", "_")
    return Column(name, instant(expression, ref=ref), by_name(name, **look))


def alert_list(title: str, *, description: str, width: int, height: int) -> Json:
    """Grafana's own list of the alerts that it knows, of all its data sources."""
    return {
        "id": panel_id(title),
        "type": "alertlist",
        "title": title,
        "description": description,
        "gridPos": {"h": height, "w": width},
        "options": {
            "alertInstanceLabelFilter": "",
            "alertName": "Libvirt",
            "dashboardAlerts": False,
            "groupBy": [],
            "groupMode": "default",
            "maxItems": 20,
            "sortOrder": 3,
            "stateFilter": {
                "error": True,
                "firing": True,
                "noData": False,
                "normal": False,
                "pending": True,
            },
            "viewMode": "list",
        },
    }


# Parts of panels


class Bands(NamedTuple):
    """From which value on a figure is coloured, as shares of 1 or in the panel's unit, and why."""

    from_values: Sequence[tuple[float, str]]
    """Lower bounds and colours, rising; what is below the first is green."""
    why: str
    """Who draws these bounds: follows the colours in the description."""
    below: str = "green"
    shown: str = "{:g}"
    """How a bound is written: `{:.0%}` for shares."""

    def steps(self) -> Json:
        """As Grafana has them."""
        steps: list[Json] = [{"color": self.below, "value": None}]
        steps += [{"color": colour, "value": value} for value, colour in self.from_values]
        return {"mode": "absolute", "steps": steps}

    def explained(self) -> str:
        """In words, for the description."""
        if self.below != "green":
            colours = [self.below, *(colour for _, colour in self.from_values)]
            parts = [
                f"{colour} below {self._shown(value)}"
                for colour, (value, _) in zip(colours, self.from_values, strict=False)
            ]
        else:
            parts = [f"{colour} from {self._shown(value)} on" for value, colour in self.from_values]
        text = ", ".join(parts)
        return f"{text[0].upper()}{text[1:]}: {self.why}"

    def _shown(self, value: float) -> str:
        return self.shown.format(value).replace("%", " %")


def data_link(title: str, uid: str, *, variables: Iterable[str], **chosen: str) -> Json:
    """A link to another dashboard, with the time range.

    `variables` are handed over as they are, `chosen` are set to an expression of Grafana such as
    `__field.labels.uuid`.
    """
    handed = [f"${{{name}:queryparam}}" for name in variables]
    handed += [f"var-{name}=${{{value}:percentencode}}" for name, value in chosen.items()]
    return {
        "title": title,
        "url": f"/d/{uid}?" + "&".join([*handed, "${__url_time_range}"]),
        "targetBlank": False,
    }


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

INPUT: Final = "DS_PROMETHEUS"


def datasource_variable() -> Json:
    """The Prometheus to ask; an import asks for it, and a provisioned file takes the first."""
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {"selected": False, "text": f"${{{INPUT}}}", "value": f"${{{INPUT}}}"},
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
    return _query_variable(name, label, f"label_values({selector}, {name})") | {
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "allValue": ".+",
        "includeAll": True,
        "multi": True,
    }


def named_variable(name: str, label: str, expression: str, regex: str) -> Json:
    """One of the series of an expression; `regex` has the groups `text` and `value`."""
    return _query_variable(name, label, f"query_result({expression})", regex) | {
        "current": {},
        "includeAll": False,
        "multi": False,
    }


def _query_variable(name: str, label: str, query: str, regex: str = "") -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {
            "qryType": 1 if query.startswith("label_values") else 3,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "hide": 0,
        "options": [],
        "refresh": 2,
        "regex": regex,
        "skipUrlSync": False,
        "sort": 5,
    }


def choice_variable(name: str, label: str, values: Sequence[str], chosen: str) -> Json:
    """One of a few values."""
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ",".join(values),
        "current": {"selected": True, "text": chosen, "value": chosen},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [
            {"selected": value == chosen, "text": value, "value": value} for value in values
        ],
        "skipUrlSync": False,
    }


def annotation(name: str, expression: str, *, text: str, colour: str) -> Json:
    """A mark at the time that the values are: Unix times in milliseconds."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expression,
        "target": {"expr": expression, "interval": "", "refId": "Anno"},
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "instance",
        "step": "",
        "useValueForTime": True,
    }


def place(panels: Iterable[Json]) -> list[Json]:
    """Give each panel its place: from left to right, as many as fit, then the next line."""
    return _placed(panels, 0)


def _placed(panels: Iterable[Json], top: int) -> list[Json]:
    placed = []
    x, y, line_height = 0, top, 0
    for item in panels:
        size = item["gridPos"]
        if x + size["w"] > 24:
            x, y, line_height = 0, y + line_height, 0
        here = {**item, "gridPos": {**size, "x": x, "y": y}}
        if item.get("panels"):
            here["panels"] = _placed(item["panels"], y + 1)
        placed.append(here)
        x += size["w"]
        line_height = max(line_height, size["h"])
    return placed


def each_panel(panels: Iterable[Json]) -> Iterable[Json]:
    """All panels, rows and those inside of collapsed rows included."""
    for item in panels:
        yield item
        yield from each_panel(item.get("panels", ()))


_PANEL_NAMES: Final = {
    "alertlist": "Alert list",
    "stat": "Stat",
    "state-timeline": "State timeline",
    "table": "Table",
    "timeseries": "Time series",
}


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Iterable[Json],
    panels: Iterable[Json],
    annotations: Iterable[Json] = (),
) -> Json:
    """A whole dashboard, as Grafana exports it for others: what it needs, and what to ask for."""
    placed = place(panels)
    kinds = {item["type"] for item in each_panel(placed)} - {"row"}
    return {
        "__inputs": [
            {
                "name": INPUT,
                "label": "Prometheus",
                "description": "Scrapes libvirt-exporter, and has loaded its recording rules.",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__elements": {},
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.4.0"},
            {
                "type": "datasource",
                "id": "prometheus",
                "name": "Prometheus",
                "version": "1.0.0",
            },
            *(
                {"type": "panel", "id": kind, "name": _PANEL_NAMES[kind], "version": ""}
                for kind in sorted(kinds)
            ),
        ],
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["libvirt"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": [*annotations]},
        "links": [
            {
                "type": "dashboards",
                "title": "libvirt",
                "tags": ["libvirt"],
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": [*variables]},
        "panels": placed,
    }
