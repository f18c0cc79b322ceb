"""The Grafana dashboards: as generated, portable, and true to the catalogue.

The rules of Grafana's own linter are tests/project/test_dashboard_lint.py's.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any, Final, cast

import promql_parser
import pytest

from dashboards import build
from dashboards.grafana import INPUT
from dashboards.parts import NAME_AND_UUID
from libvirt_exporter.catalogue.metric import StatEnum
from tests.grafana import (
    DASHBOARDS,
    TOP,
    Json,
    Query,
    interpolated,
    other_queries,
    panel_queries,
    panels,
    variable_expression,
)
from tests.promql import (
    FROM_PROMETHEUS,
    IDENTITY,
    RULES,
    SCRAPED,
    SERIES,
    result_labels,
    selected_labels,
    selectors,
)

DIRECTIONS = re.compile(r"(?:\b|_)(receive|transmit|read|writ|flush|swap.in|swap.out)", re.I)

EACH = pytest.mark.parametrize(("name", "dashboard"), DASHBOARDS.items(), ids=DASHBOARDS)
EACH_QUERY = pytest.mark.parametrize(
    "query",
    [
        pytest.param(query, id=f"{query.dashboard}: {query.place}")
        for query in (*panel_queries(), *other_queries())
    ],
)
EACH_PANEL_QUERY = pytest.mark.parametrize(
    "query",
    [pytest.param(query, id=f"{query.dashboard}: {query.place}") for query in panel_queries()],
)


ALERTS: Final = set(
    re.findall(r"alert: (\w+)", "".join(path.read_text() for path in RULES.glob("*.yml")))
)


def each_panel(*kinds: str) -> list[Any]:
    """Every panel, of these types or of any."""
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, dashboard in DASHBOARDS.items()
        for panel in panels(dashboard)
        if not kinds or panel["type"] in kinds
    ]


def parse(expression: str) -> promql_parser.Expr:
    """The expression as Prometheus would get it."""
    return promql_parser.parse(interpolated(expression))


def column_name(panel: Json, target: Json) -> str:
    """The heading of the table column that shows the query; '' where there is none."""
    for transformation in panel.get("transformations", ()):
        if transformation["id"] == "organize":
            options = transformation["options"]
            field = f"Value #{target['refId']}"
            return "" if field in options["excludeByName"] else str(options["renameByName"][field])
    return ""


def directions(text: str) -> set[str]:
    """The directions that a text speaks of."""
    return {word.lower().replace(" ", "_") for word in DIRECTIONS.findall(text)}


# Files


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


@EACH
def test_dashboard_is_portable(name: str, dashboard: Json) -> None:
    """Grafana 10.4 to 13 read the schema; uid, file name and tag are the same everywhere."""
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert dashboard["uid"] == Path(name).stem
    assert len(dashboard["uid"]) <= 40
    assert re.fullmatch(r"libvirt / [\w ]+", dashboard["title"])
    assert dashboard["tags"] == ["libvirt"]
    assert isinstance(dashboard["refresh"], str)
    assert dashboard["editable"] is True
    assert dashboard["id"] is None


@EACH
def test_import_asks_for_the_data_source_and_for_what_is_used(name: str, dashboard: Json) -> None:
    """What an import asks for becomes the variable's choice, and every kind of panel is named."""
    del name
    [asked] = dashboard["__inputs"]
    assert (asked["name"], asked["type"], asked["pluginId"]) == (INPUT, "datasource", "prometheus")
    source = dashboard["templating"]["list"][0]
    assert source["current"]["value"] == f"${{{INPUT}}}"

    required = {(each["type"], each["id"]) for each in dashboard["__requires"]}
    assert required == {
        ("grafana", "grafana"),
        ("datasource", "prometheus"),
        *(("panel", panel["type"]) for panel in panels(dashboard)),
    }


# Structure


@EACH
def test_panels_have_ids_and_titles_of_their_own(name: str, dashboard: Json) -> None:
    """No two panels of a dashboard share an id or a title."""
    del name
    rows = [panel for panel in dashboard["panels"] if panel["type"] == "row"]
    ids = [panel["id"] for panel in (*rows, *panels(dashboard))]
    titles = [panel["title"] for panel in panels(dashboard)]

    assert len(set(ids)) == len(ids)
    assert all(number > 0 for number in ids)
    assert len(set(titles)) == len(titles)
    assert all(titles)


@EACH
def test_panels_tile_the_grid(name: str, dashboard: Json) -> None:
    """No panel overlaps another or leaves the 24 columns, and each line is full."""
    del name
    groups = [dashboard["panels"], *(panel.get("panels", ()) for panel in dashboard["panels"])]
    for group in filter(None, groups):
        taken: set[tuple[int, int]] = set()
        for panel in group:
            at = panel["gridPos"]
            cells = set(
                itertools.product(
                    range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
                )
            )
            assert not cells & taken, panel["title"]
            taken |= cells
        lines = [y for _, y in taken]
        whole = itertools.product(range(24), range(min(lines), max(lines) + 1))
        assert sorted(taken) == sorted(whole), sorted({*whole} - taken)


@EACH
def test_links_carry_variables_and_time(name: str, dashboard: Json) -> None:
    """Each leads to a dashboard of ours, sets nothing it does not have, and keeps the time."""
    uids = {each["uid"]: each for each in DASHBOARDS.values()}
    links = re.findall(r"'url': '/d/([\w-]+)\?([^']*)'", repr(dashboard["panels"]))
    for uid, query in links:
        known = {variable["name"] for variable in uids[uid]["templating"]["list"]}
        handed = {a or b for a, b in re.findall(r"var-(\w+)=|\${(\w+):queryparam}", query)}
        assert handed == known
        assert query.endswith("${__url_time_range}")

    lead_on = {uid for uid, _ in links}
    if name in ("libvirt-fleet.json", "libvirt-host.json", "libvirt-storage.json"):
        assert lead_on == {"libvirt-host", "libvirt-vm"}
    [together] = dashboard["links"]
    assert together["tags"] == ["libvirt"]
    assert together["includeVars"] is True
    assert together["keepTime"] is True


@pytest.mark.parametrize("panel", each_panel("table"))
def test_row_of_a_table_leads_to_its_vm_and_host(panel: Json) -> None:
    """A column of VMs or hosts is a link, and the column that it takes its value from is there."""
    options = panel["transformations"][1]["options"]
    shown = {
        heading
        for field, heading in options["renameByName"].items()
        if field not in options["excludeByName"]
    }
    links = {
        override["matcher"]["options"]: property_["value"][0]["url"]
        for override in panel["fieldConfig"]["overrides"]
        for property_ in override["properties"]
        if property_["id"] == "links"
    }
    if "VM" in shown:
        assert "UUID" in shown
        assert "var-uuid=${__data.fields.UUID:percentencode}" in links["VM"]
        assert "var-instance=${__value.raw:percentencode}" in links["Instance"]


@EACH
def test_choices_are_the_same_everywhere(name: str, dashboard: Json) -> None:
    """Data source, job, instance and top; the page of a VM has the VM besides."""
    found = [variable["name"] for variable in dashboard["templating"]["list"]]
    expected = ["datasource", "job", "instance", "top"]

    assert found == expected + (["uuid"] if name == "libvirt-vm.json" else [])
    top = dashboard["templating"]["list"][3]
    assert (top["type"], top["current"]["value"]) == ("custom", str(TOP))
    assert [option["value"] for option in top["options"]] == top["query"].split(",")


@pytest.mark.parametrize(
    ("series", "text", "uuid"),
    [
        (
            '{display_name="web 1",domain="vm-2a",instance="a:1",job="j",uuid="u-1"} 1 17644560',
            "web 1",
            "u-1",
        ),
        ('{display_name="a\\"b",instance="a:1",job="j",uuid="u-1"} 1 1', 'a\\"b', "u-1"),
    ],
)
def test_vm_is_chosen_by_uuid_and_shown_by_name(series: str, text: str, uuid: str) -> None:
    """Grafana's form of a series gives both, also of hosts whose series have no label `domain`."""
    pattern = NAME_AND_UUID.strip("/").replace("(?<", "(?P<")
    found = re.search(pattern, series)
    assert found
    assert found.groupdict() == {"text": text, "value": uuid}


@pytest.mark.parametrize("panel", each_panel())
def test_panel_says_what_it_shows(panel: Json) -> None:
    """In sentences, and with the meaning of every bound that colours it."""
    assert panel["description"].endswith((".", ")."))
    assert set(re.findall(r"\bLibvirt\w+", panel["description"])) <= ALERTS
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is not None:
            shown = {f"{step['value']:g}", f"{step['value']:.0%}".replace("%", " %")}
            assert any(text in panel["description"] for text in shown), step
        if step["value"] is not None or step["color"] != "green":
            colour = step["color"]
            assert colour in panel["description"].lower() or colour == "green"


@pytest.mark.parametrize("panel", each_panel("table"))
def test_column_has_a_unit(panel: Json) -> None:
    """Every column of figures has an override with its unit, and every override its column."""
    units = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        for property_ in override["properties"]
        if property_["id"] == "unit"
    }
    columns = {column_name(panel, target) for target in panel["targets"]} - {""}

    assert units == columns


@EACH
def test_annotations_stand_at_the_time_of_the_event(name: str, dashboard: Json) -> None:
    """The value is the time, in milliseconds, and nothing else moves it."""
    found = {each["name"]: each for each in dashboard["annotations"]["list"]}
    marks = {"Watchdog", "I/O error", "Crash or panic", "Migration ended"}

    assert found.keys() == (set() if name == "libvirt-exporter.json" else marks)
    for each in found.values():
        assert each["useValueForTime"] is True
        assert "_timestamp_seconds{" in each["expr"]
        assert ") * 1000) * on (" in each["expr"]
        assert each["target"]["expr"] == each["expr"]
        assert each["datasource"]["uid"] == "${datasource}"


# Queries


@EACH_QUERY
def test_query_names_only_what_exists(query: Query) -> None:
    """It parses, and each metric and label in it and in its legend exists."""
    expression = parse(query.expression)
    for selector in selectors(expression):
        named = {matcher.name for matcher in selector.matchers.matchers}
        unknown = sorted(named - selected_labels(selector.name or ""))
        assert not unknown, f"{selector.name} has no labels {unknown}"

    labels = result_labels(expression) or set()
    target, panel = query.target, query.panel
    shown = set()
    for text in ("legendFormat", "textFormat", "titleFormat"):
        shown |= set(re.findall(r"{{(\w+)}}", target.get(text, "")))
    if target.get("format") == "table":
        options = panel["transformations"][1]["options"]
        shown |= {
            field
            for field in (*options["renameByName"], *options["excludeByName"])
            if not field.startswith("Value #") and field != "Time"
        }
        if target is not panel["targets"][0]:
            shown &= labels
            assert labels <= result_labels(parse(panel["targets"][0]["expr"]))  # type: ignore[operator]
    if target.get("type") == "query":
        label = variable_expression(target)[1]
        shown |= {label} if label else {"display_name", "uuid"}
    assert shown <= labels, shown - labels


def keeps_name(node: Any) -> bool:
    """Whether series of the result have the name of a metric."""
    match node:
        case promql_parser.VectorSelector():
            return True
        case promql_parser.ParenExpr():
            return keeps_name(node.expr)
        case promql_parser.AggregateExpr():
            return str(node.op) in ("topk", "bottomk") and keeps_name(node.expr)
        case promql_parser.Call() if node.func.name == "label_replace":
            return keeps_name(node.args[0])
        case promql_parser.BinaryExpr():
            operator = str(node.op).strip()
            if operator == "or":
                return keeps_name(node.lhs) or keeps_name(node.rhs)
            return operator in ("and", "unless") and keeps_name(node.lhs)
    return False


@EACH_PANEL_QUERY
def test_column_has_no_name_that_keeps_lines_apart(query: Query) -> None:
    """Grafana makes a column of a metric's name, and lines that differ in it stay two."""
    if query.panel["type"] == "table":
        assert not keeps_name(parse(query.expression))


ASK_THE_WHOLE_JOB: Final = {"Hosts up", "Hosts down", "Scrape duration"}
"""Titles of panels that know a host by its job, to which hosts belong that are not chosen."""


@EACH_QUERY
def test_query_honours_the_variables(query: Query) -> None:
    """Each selector is narrowed to the chosen jobs and instances, and on its page to the VM."""
    names = {name: f"${name}" for name in ("job", "instance", "uuid")}
    for selector in selectors(promql_parser.parse(interpolated(query.expression, values=names))):
        chosen = {
            matcher.name
            for matcher in selector.matchers.matchers
            if matcher.op == promql_parser.MatchOp.Re
            and matcher.value.rstrip("|") == f"${matcher.name}"
        }
        labels = selected_labels(selector.name or "")
        wanted: set[str] = {*SCRAPED} & labels
        naming = re.match("domain:libvirt_(display_name|project):", selector.name or "")
        if query.dashboard == "libvirt-vm.json" and not naming:
            wanted |= {"uuid"} & labels
        if query.place == "variable job":
            wanted = set()
        if query.place == "variable instance":
            wanted = {"job"}
        if query.panel.get("title") in ASK_THE_WHOLE_JOB and selector.name in ("libvirt_up", "up"):
            wanted = {"job"}
        assert chosen >= wanted, selector.name


@EACH_QUERY
def test_metric_of_any_target_is_narrowed_to_exporters(query: Query) -> None:
    """With All chosen, it would show the other targets of Prometheus too."""
    names = {selector.name for selector in selectors(parse(query.expression))}
    if names & (FROM_PROMETHEUS.keys() - {"ALERTS"}):
        assert names & {"libvirt_up", "libvirt_exporter_build_info"}


@EACH_PANEL_QUERY
def test_direction_in_the_query_is_the_one_shown(query: Query) -> None:
    """What is titled receive or read queries just that, and the other way round."""
    title = query.panel["title"]
    shown = " ".join((title, query.target["legendFormat"], column_name(query.panel, query.target)))
    queried = " ".join(selector.name or "" for selector in selectors(parse(query.expression)))

    assert directions(shown) == directions(queried)


# How much is drawn

VALUES: Final = {
    "severity": 3,
    "mode": 4,
    "error": 4,
    "kind": 7,
    **{
        row.label: len(row.values)
        for row in SERIES.values()
        if isinstance(row, StatEnum) and row.values
    },
}
"""How many values labels have that nothing but this project's or libvirt's words can grow."""


def most(node: Any, labels: frozenset[str], *, pinned: bool) -> float:
    """How many series an expression has at most, over all of the time range.

    `labels` are those that tell series of one VM apart, where the page shows one; `pinned`: it is
    evaluated at one moment only.
    """
    match node:
        case promql_parser.ParenExpr():
            return most(node.expr, labels, pinned=pinned)
        case promql_parser.AggregateExpr() if str(node.op) in ("topk", "bottomk"):
            fixed = pinned or all(selector.at for selector in selectors(node.expr))
            within = most(node.expr, labels, pinned=pinned)
            return min(within, cast("Any", node.param).val) if fixed else within
        case promql_parser.AggregateExpr():
            count = _by_labels(node, labels)
            return min(count, most(node.expr, labels, pinned=pinned))
        case promql_parser.BinaryExpr():
            left, right = result_labels(node.lhs), result_labels(node.rhs)
            if left is None or right is None:
                return most(node.rhs if left is None else node.lhs, labels, pinned=pinned)
            both = [most(side, labels, pinned=pinned) for side in (node.lhs, node.rhs)]
            if str(node.op).strip() == "or":
                return sum(both)
            by = re.fullmatch(r"on \((.*)\)", str(node.modifier and node.modifier.matching))
            if by and not left <= set(by[1].split(", ")):
                return both[0]
            return both[0] if str(node.op).strip() == "unless" else min(both)
        case promql_parser.Call() if node.func.name == "label_replace":
            return most(node.args[0], labels, pinned=pinned)
        case promql_parser.Call() if len(node.args) == 1:
            inner = node.args[0]
            return most(getattr(inner, "vector_selector", inner), labels, pinned=pinned)
    return _by_labels(node, labels)


def _by_labels(node: Any, labels: frozenset[str]) -> float:
    """How many values the labels of an expression can have together."""
    equal = {
        matcher.name
        for selector in selectors(node)
        for matcher in selector.matchers.matchers
        if matcher.op == promql_parser.MatchOp.Equal
    }
    others = (result_labels(node) or set()) - labels - equal
    return math.prod(VALUES.get(label, math.inf) for label in others)


@pytest.mark.parametrize("panel", each_panel("stat", "state-timeline", "table", "timeseries"))
def test_panel_draws_no_more_than_top(panel: Json) -> None:
    """However many hosts and VMs there are: all its lines, bars or rows together.

    A page of one VM counts it once; while it migrates, it is on two hosts.
    """
    of_vm = "$uuid" in str(panel["targets"])
    labels = frozenset(SCRAPED | IDENTITY if of_vm else ())
    counts = [
        most(parse(target["expr"]), labels, pinned=bool(target.get("instant")))
        for target in panel["targets"]
    ]

    drawn = max(counts) if panel["type"] == "table" else sum(counts)
    assert drawn <= TOP, counts


def test_count_sees_what_is_not_held_back() -> None:
    """A topk() of each moment lets more through, and so does matching by too little."""
    chosen = "topk(10, avg_over_time(libvirt_domain_snapshots[1h] @ end()))"
    identity = "job, instance, domain, uuid"
    for expression, count in (
        (f"libvirt_domain_snapshots and on ({identity}) {chosen}", 10),
        ("libvirt_domain_snapshots", math.inf),
        ("topk(10, libvirt_domain_snapshots)", math.inf),
        (f"libvirt_domain_block_capacity_bytes and on ({identity}) {chosen}", math.inf),
        ("sum(libvirt_domain_snapshots)", 1),
    ):
        assert most(promql_parser.parse(expression), frozenset(), pinned=False) == count
