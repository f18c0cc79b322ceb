"""The Grafana dashboards: as generated, and true to the catalogue.

The structural rules are those of Grafana's dashboard linter, where they make sense without Grafana.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from dashboards import build
from tests.promql import SCRAPED, SERIES, labels_of, nodes, result_labels, selectors

Json = dict[str, Any]

DASHBOARDS: dict[str, Json] = {name: json.loads(text) for name, text in build.files().items()}

UNITS = {"none", "short", "percentunit", "bytes", "Bps", "s", "iops", "pps", "cps", "reqps"}
"""Grafana's ids of the units in use; it shows an unknown id as a suffix."""

DIRECTIONS = re.compile(r"(?:\b|_)(receive|transmit|read|writ|flush|swap.in|swap.out)", re.I)


def panels(*kinds: str) -> list[Any]:
    """Every panel, of these types or of any that shows data."""
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        if (panel["type"] in kinds if kinds else panel["type"] != "row")
    ]


def targets() -> list[Any]:
    """Every query with its panel."""
    return [
        pytest.param(panel, target, id=f"{name}: {panel['title']} {target['refId']}")
        for name, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def variables(*kinds: str) -> list[Any]:
    """Every variable of these types."""
    return [
        pytest.param(variable, id=f"{name}: {variable['name']}")
        for name, dashboard in DASHBOARDS.items()
        for variable in dashboard["templating"]["list"]
        if variable["type"] in kinds
    ]


def parse(expression: str) -> promql_parser.Expr:
    """The expression as Prometheus would get it."""
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def column_name(panel: Json, target: Json) -> str:
    """The heading of the table column that shows the query; '' where there is none."""
    for transformation in panel.get("transformations", ()):
        if transformation["id"] == "organize":
            options = transformation["options"]
            field = f"Value #{target['refId']}"
            return "" if field in options["excludeByName"] else options["renameByName"][field]
    return ""


def directions(text: str) -> set[str]:
    """The directions that a text speaks of."""
    return {word.lower().replace(" ", "_") for word in DIRECTIONS.findall(text)}


def test_files_are_as_generated() -> None:
    """The directory holds what the generator writes, and no other dashboard."""
    found = {path.name: path.read_text("utf-8") for path in build.DIRECTORY.glob("*.json")}
    wanted = build.files()
    left_over = sorted(found.keys() - wanted.keys())
    differing = sorted(name for name, text in wanted.items() if found.get(name) != text)
    assert not left_over, f"{build.DIRECTORY.name} holds {left_over}, which nothing generates"
    assert not differing, f"{differing} are not as generated: run `make dashboards`"


def test_check_tells_a_file_that_differs(tmp_path: Path) -> None:
    """`--check` is 1 and writes nothing until the files are written, then 0."""
    assert build.main(["--check"], tmp_path) == 1
    assert not list(tmp_path.iterdir())

    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0

    next(tmp_path.iterdir()).write_text("{}")
    assert build.main(["--check"], tmp_path) == 1


@pytest.mark.parametrize(("name", "dashboard"), DASHBOARDS.items())
def test_dashboard_is_portable(name: str, dashboard: Json) -> None:
    """Grafana 10.4 to 13 read the schema; uid, file name and tag are the same everywhere."""
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert dashboard["uid"] == Path(name).stem
    assert len(dashboard["uid"]) <= 40
    assert re.fullmatch(r"libvirt / [\w ]+", dashboard["title"])
    assert dashboard["tags"] == ["libvirt"]
    assert isinstance(dashboard["refresh"], str)
    assert dashboard["editable"] is False
    assert "id" not in dashboard
    assert "__inputs" not in dashboard


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_have_ids_and_titles_of_their_own(dashboard: Json) -> None:
    """No two panels of a dashboard share an id or a title."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]

    assert len(set(ids)) == len(ids)
    assert all(number > 0 for number in ids)
    assert len(set(titles)) == len(titles)
    assert all(titles)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_tile_the_grid(dashboard: Json) -> None:
    """No panel overlaps another or leaves the 24 columns, and each line is full."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1

    assert taken == set(itertools.product(range(24), range(height)))


@pytest.mark.parametrize("text", build.files().values(), ids=DASHBOARDS)
def test_links_lead_somewhere(text: str) -> None:
    """Each links to a dashboard of ours and hands over variables that it has."""
    by_uid = {dashboard["uid"]: dashboard for dashboard in DASHBOARDS.values()}
    links = re.findall(r'"/d/([\w-]+)\?([^"]*)"', text)
    assert len(links) == text.count('"url":') > 0

    for uid, query in links:
        known = {variable["name"] for variable in by_uid[uid]["templating"]["list"]}
        handed = re.findall(r"var-(\w+)=|\${(\w+):queryparam}", query)
        assert {name or other for name, other in handed} == known


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_dashboard_has_the_usual_variables(dashboard: Json) -> None:
    """Data source, job and instance come first, named and labelled as every Grafana user knows."""
    found = [
        (variable["type"], variable["name"], variable["label"])
        for variable in dashboard["templating"]["list"]
    ]

    assert found[:3] == [
        ("datasource", "datasource", "Data source"),
        ("query", "job", "Job"),
        ("query", "instance", "Instance"),
    ]
    assert dashboard["templating"]["list"][0]["query"] == "prometheus"


@pytest.mark.parametrize("variable", variables("query"))
def test_query_variable_lists_values_of_the_catalogue(variable: Json) -> None:
    """It takes a label that its metric has, follows the time range, and offers all of them."""
    query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert query
    [selector] = selectors(parse(query[1]))

    assert selector.name in SERIES
    labels = labels_of(SERIES[selector.name])
    assert query[2] == variable["name"]
    assert {query[2], *(matcher.name for matcher in selector.matchers.matchers)} <= labels
    assert variable["definition"] == variable["query"]["query"]
    assert variable["datasource"]["uid"] == "${datasource}"
    assert (variable["refresh"], variable["multi"], variable["includeAll"]) == (2, True, True)
    assert variable["allValue"] == ".+"


@pytest.mark.parametrize("panel", panels())
def test_panel_says_what_it_shows(panel: Json) -> None:
    """It has a description, and a unit that Grafana knows."""
    assert panel["description"].endswith((".", ")."))
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@pytest.mark.parametrize("panel", panels("table"))
def test_column_has_a_unit(panel: Json) -> None:
    """Every column of figures has an override with its unit, and every override its column."""
    units = {
        override["matcher"]["options"]: property_["value"]
        for override in panel["fieldConfig"]["overrides"]
        for property_ in override["properties"]
        if property_["id"] == "unit"
    }
    columns = {column_name(panel, target) for target in panel["targets"]} - {""}

    assert units.keys() == columns
    assert set(units.values()) <= UNITS


@pytest.mark.parametrize("panel", panels())
def test_queries_of_a_panel_ask_the_chosen_data_source(panel: Json) -> None:
    """The panel and each of its queries name the variable; queries have names of their own."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    names = [target["refId"] for target in panel["targets"]]

    assert panel["datasource"] == source
    assert panel["targets"]
    assert all(target["datasource"] == source for target in panel["targets"])
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("panel", "target"), targets())
def test_query_names_only_what_the_catalogue_has(panel: Json, target: Json) -> None:
    """It parses, and each metric and label in it and in its legend exists there."""
    expression = parse(target["expr"])

    for selector in selectors(expression):
        assert selector.name in SERIES, (
            f"{selector.name} is no metric: docs/metrics.md lists them; correct the query in "
            "dashboards, then `make dashboards`"
        )
        named = {matcher.name for matcher in selector.matchers.matchers}
        unknown = sorted(named - labels_of(SERIES[selector.name]))
        assert not unknown, (
            f"{selector.name} has no labels {unknown}: correct the query in dashboards, then "
            "`make dashboards`"
        )
    shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    if target.get("format") == "table":
        shown = {
            name
            for transformation in panel["transformations"]
            for name in transformation["options"].get("renameByName", ())
            if not name.startswith("Value #")
        } - ({"state", "reason"} if column_name(panel, target) else set())
    assert shown
    assert shown <= (result_labels(expression) or set())


@pytest.mark.parametrize(("panel", "target"), targets())
def test_query_honours_the_variables(panel: Json, target: Json) -> None:
    """Each selector is narrowed to the chosen jobs and instances, and to VMs where it has one."""
    del panel
    for selector in selectors(parse(target["expr"])):
        chosen = {
            (matcher.name, matcher.value)
            for matcher in selector.matchers.matchers
            if matcher.op == promql_parser.MatchOp.Re
        }
        wanted = SCRAPED | ({"domain"} & labels_of(SERIES[selector.name or ""]))
        assert chosen >= {(name, f"${name}") for name in wanted}


@pytest.mark.parametrize(("panel", "target"), targets())
def test_query_rates_counters_and_nothing_else(panel: Json, target: Json) -> None:
    """Every counter is in a rate(), directly, over Grafana's interval; no gauge is."""
    del panel
    expression = parse(target["expr"])
    rated = [
        node.args[0].vector_selector.name
        for node in nodes(expression)
        if isinstance(node, promql_parser.Call) and node.func.name == "rate"
    ]
    counters = [
        selector.name
        for selector in selectors(expression)
        if SERIES[selector.name or ""].type == "counter"
    ]

    assert sorted(rated) == sorted(name or "" for name in counters)
    assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {"$__rate_interval"}
    assert "irate" not in target["expr"]


@pytest.mark.parametrize(("panel", "target"), targets())
def test_direction_in_the_query_is_the_one_shown(panel: Json, target: Json) -> None:
    """What is titled receive or read queries just that, and the other way round."""
    shown = " ".join((panel["title"], target["legendFormat"], column_name(panel, target)))
    queried = " ".join(selector.name or "" for selector in selectors(parse(target["expr"])))

    assert directions(shown) == directions(queried)
