"""The shipped dashboards as Grafana has them: their panels, queries and variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from dashboards import build
from dashboards.grafana import each_panel

Json = dict[str, Any]

DASHBOARDS: Final[Mapping[str, Json]] = {
    name: json.loads(text) for name, text in build.files().items()
}
"""Each by the name of its file."""

TOP: Final = 10
"""What the variable `top` is at first."""


class Query(NamedTuple):
    """An expression of a dashboard, and where it is."""

    dashboard: str
    place: str
    """A panel with its query, a variable or an annotation."""
    expression: str
    panel: Json
    target: Json

    @property
    def instant(self) -> bool:
        """Whether it is asked for the end of the time range only."""
        return bool(self.target.get("instant"))


def panels(dashboard: Json) -> list[Json]:
    """All panels that show something, those in collapsed rows included."""
    return [panel for panel in each_panel(dashboard["panels"]) if panel["type"] != "row"]


def panel_queries() -> Iterator[Query]:
    """The queries of all panels."""
    for name, dashboard in DASHBOARDS.items():
        for panel in panels(dashboard):
            for target in panel.get("targets", ()):
                place = f"{panel['title']} {target['refId']}"
                yield Query(name, place, target["expr"], panel, target)


def other_queries() -> Iterator[Query]:
    """The expressions of variables and annotations."""
    for name, dashboard in DASHBOARDS.items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                expression = variable_expression(variable)[0]
                yield Query(name, f"variable {variable['name']}", expression, {}, variable)
        for annotation in dashboard["annotations"]["list"]:
            yield Query(
                name, f"annotation {annotation['name']}", annotation["expr"], {}, annotation
            )


def variable_expression(variable: Json) -> tuple[str, str]:
    """The PromQL of a query variable, and the label whose values it lists; '' for whole series."""
    query: str = variable["query"]["query"]
    if values := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
        return values[1], values[2]
    result = re.fullmatch(r"query_result\((.+)\)", query)
    assert result, query
    return result[1], ""


def interpolated(
    expression: str,
    *,
    top: int = TOP,
    rate_interval: str = "5m",
    time_range: str = "1h",
    values: Mapping[str, str] | None = None,
) -> str:
    """The expression as Prometheus gets it; variables without a value are at All."""
    texts = {"top": str(top), "__rate_interval": rate_interval, "__range": time_range}
    texts |= values or {}
    return re.sub(r"\$(\w+)", lambda found: texts.get(found[1], ".+"), expression)
