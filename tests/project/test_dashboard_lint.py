"""The dashboards by the rules of Grafana's dashboard-linter, and the rules themselves."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Final

import pytest

from tests.dashboard_lint import RULES
from tests.grafana import DASHBOARDS, Json, panels

EXCEPTIONS: Final = {
    ("uneditable-dashboard", r".*", r""): "operators make these pages their own; a provider of "
    "provisioned files decides whether changes are kept",
    (
        "target-(job|instance)-rule",
        r"libvirt-fleet\.json",
        r"Firing alerts|Alerts that fire",
    ): "alerts on VMs of several hosts, or on no exporter at all, have neither label",
    (
        "target-instance-rule",
        r"libvirt-fleet\.json",
        r".* by project",
    ): "projects are recorded over all hosts of a job",
    (
        "target-(job|instance)-rule",
        r"libvirt-(fleet|exporter)\.json",
        r"Hosts (up|down)|Scrape duration",
    ): "a host that was not reached is known by its job: by others of it, or as that of the rules",
}
"""Rule, file and panel, as patterns, and why it does not hold there."""


def excepted(rule: str, file: str, panel: str) -> bool:
    """Whether one of the exceptions is for it."""
    return any(
        re.fullmatch(rules, rule) and re.fullmatch(files, file) and re.fullmatch(titles, panel)
        for rules, files, titles in EXCEPTIONS
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("file", DASHBOARDS)
def test_linter_has_nothing_to_say(file: str, rule: str) -> None:
    """Each rule holds in each dashboard, but where there is a reason."""
    complaints = [
        (panel, what)
        for panel, what in RULES[rule](DASHBOARDS[file])
        if not excepted(rule, file, panel)
    ]
    assert not complaints


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_exception_is_needed(exception: tuple[str, str, str]) -> None:
    """Without it a rule would complain."""
    rules, files, titles = exception
    assert any(
        re.fullmatch(rules, rule) and re.fullmatch(files, file) and re.fullmatch(titles, panel)
        for file, dashboard in DASHBOARDS.items()
        for rule, check in RULES.items()
        for panel, _ in check(dashboard)
    )


def _variable(dashboard: Json, name: str) -> Json:
    found: Json = next(each for each in dashboard["templating"]["list"] if each["name"] == name)
    return found


def _graph(dashboard: Json) -> Json:
    found: Json = next(
        panel
        for panel in panels(dashboard)
        if panel["type"] == "timeseries" and "rate(" in panel["targets"][0]["expr"]
    )
    return found


def _expr(change: Callable[[str], str]) -> Callable[[Json], None]:
    def spoil(dashboard: Json) -> None:
        target = _graph(dashboard)["targets"][0]
        target["expr"] = change(target["expr"])

    return spoil


SPOILT: Final[dict[str, Callable[[Json], None]]] = {
    "template-datasource-rule": lambda d: _variable(d, "datasource").update(label="Prometheus"),
    "template-job-rule": lambda d: _variable(d, "job").update(multi=False),
    "template-instance-rule": lambda d: _variable(d, "instance").update(allValue=".*"),
    "template-label-promql-rule": lambda d: _variable(d, "job")["query"].update(
        query="label_values(up{, job)"
    ),
    "template-on-time-change-reload-rule": lambda d: _variable(d, "job").update(refresh=1),
    "panel-datasource-rule": lambda d: _graph(d).update(datasource={"uid": "mine"}),
    "panel-title-description-rule": lambda d: _graph(d).update(description=""),
    "panel-units-rule": lambda d: _graph(d)["fieldConfig"]["defaults"].update(unit="bytes/s"),
    "panel-no-targets-rule": lambda d: _graph(d).update(targets=[]),
    "target-logql-rule": lambda d: _graph(d)["targets"][0].update(datasource={"type": "loki"}),
    "target-promql-rule": _expr(lambda text: text + ")"),
    "target-rate-interval-rule": _expr(lambda text: text.replace("$__rate_interval", "5m")),
    "target-job-rule": _expr(lambda text: text.replace('job=~"$job",', "")),
    "target-instance-rule": _expr(lambda text: text.replace("=~", "=")),
    "target-counter-agg-rule": _expr(lambda text: text.replace("rate(", "avg_over_time(")),
    "uneditable-dashboard": lambda d: d.update(editable=True),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_sees_what_it_is_for(rule: str) -> None:
    """A dashboard that is spoilt in the rule's own way has one complaint more."""
    whole = DASHBOARDS["libvirt-vm.json"] | {"editable": False}
    spoilt = copy.deepcopy(whole)
    SPOILT[rule](spoilt)

    assert len([*RULES[rule](spoilt)]) > len([*RULES[rule](whole)])
