"""The dashboards' queries, asked of a real Prometheus with the shipped rules.

It scrapes two hosts, as operators have: the lab's QEMU guests, and the demo host of libvirt's test
driver.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libvirt
import pytest

from dashboards.queries import HOST, state_number
from libvirt_exporter.model import STATES
from tests.grafana import (
    DASHBOARDS,
    Query,
    interpolated,
    other_queries,
    panel_queries,
    variable_expression,
)
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, begin_backup, paused_domain
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.promql import RULES
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEMO = f"test://{quote(str(ROOT / 'tests' / 'support' / 'test_driver_host.xml'))}"

Json = dict[str, Any]

EMPTY = {
    "Abandoned calls": "no call of libvirt hangs",
    "Age of the oldest snapshot": "no guest has one",
    "Alerts that fire": "whether one does is not up to this test",
    "Disks whose error has paused a VM": "no disk has an error",
    "Events received": "none comes",
    "Failed calls": "no call of libvirt fails",
    "Firing alerts": "whether one does is not up to this test",
    "Guest file systems in use": "the guest mounts none",
    "Guest load": "the agent of this QEMU does not know it",
    "Hidden domains": "none is",
    "Incomplete domains": "all answer",
    "Last events": "none comes",
    "Last jobs": "none ends",
    "Pools that are not running": "all are",
    "Thin disks": "no disk is a volume",
    "Unknown statistics": "whether libvirt has some is not up to this test",
    "libvirt does not answer": "it does",
    "VMs that crashed, and why": "none does",
    "annotation Crash or panic": "none crashes",
    "annotation I/O error": "no disk has one",
    "annotation Migration ended": "none migrates",
    "annotation Watchdog": "none fires",
}
"""Panels and annotations that may have nothing to show, and why."""


class Grafana:
    """Asks a Prometheus as Grafana does with All chosen in every variable."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._get = prometheus.get

    def query(self, expression: str) -> list[Json]:
        """The series at this moment; urllib's HTTPError for a query that is wrong."""
        query = interpolated(expression, top=200, rate_interval="12s", time_range="30s")
        result: list[Json] = self._get("query", query=query)["result"]
        return result

    def query_until_shown(self, expression: str, what: str) -> list[Json]:
        """The series as soon as there are any; AssertionError after 30 s."""
        result: list[Json] = []

        def found() -> bool:
            result[:] = self.query(expression)
            return bool(result)

        wait_until(found, what, 30)
        return result

    def label_values(self, selector: str, label: str) -> set[str]:
        """The values of a label, as the dashboard's variables list them."""
        return set(self._get(f"label/{label}/values", **{"match[]": interpolated(selector)}))


@pytest.fixture(scope="module")
def grafana(
    tmp_path_factory: pytest.TempPathFactory,
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
) -> Iterator[Grafana]:
    """A Prometheus that scrapes both hosts every two seconds.

    Meanwhile a guest is backed up; its image stands in a storage pool. A guest's agent is asked.
    """
    assert guests
    backed_up = paused_domain(libvirtd, "backed-up", disks=1, data=128 * MIB)
    begin_backup(backed_up, libvirtd)
    place = f"<target><path>{libvirtd.images}</path></target>"
    pool = libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>images</name>{place}</pool>"
    )
    directory = tmp_path_factory.mktemp("prometheus")
    configuration = {"guest_agent": {"enabled": True, "interval": "5s", "slow_interval": "5s"}}
    try:
        with (
            Exporter(libvirtd.uri, directory / "lab", configuration) as lab,
            Exporter(DEMO, directory / "demo") as demo,
            prometheus(
                directory,
                {"libvirt": [lab.address, demo.address]},
                every="2s",
                rules=sorted(RULES.glob("*.yml")),
            ) as server,
        ):
            asked = Grafana(server)
            asked.query_until_shown("count(libvirt_up == 1) == 2", "both hosts are scraped")
            yield asked
    finally:
        backed_up.destroy()
        pool.destroy()


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(query, id=f"{query.dashboard}: {query.place}")
        for query in (*panel_queries(), *other_queries())
    ],
)
def test_query_shows_figures(grafana: Grafana, query: Query) -> None:
    """Prometheus answers it with figures that make sense, and every part of the legend is there."""
    if query.panel.get("title", query.place) in EMPTY:
        shown = grafana.query(query.expression)
    else:
        shown = grafana.query_until_shown(query.expression, f"{query.place} has data")

    for series in shown:
        value = float(series["value"][1])
        assert math.isfinite(value), series
        assert value >= 0, series
        for label in re.findall(r"{{(\w+)}}", query.target.get("legendFormat", "")):
            assert series["metric"].get(label), series


def test_allowed_to_be_empty_is_a_panel() -> None:
    """Every name in the list is one of a panel or an annotation."""
    names = {
        query.panel.get("title", query.place) for query in (*panel_queries(), *other_queries())
    }

    assert EMPTY.keys() <= names


def test_variables_offer_both_hosts_and_their_vms(grafana: Grafana) -> None:
    """Every variable of every dashboard has something to choose, and VMs have their names."""
    for name, dashboard in DASHBOARDS.items():
        offered = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                expression, label = variable_expression(variable)
                offered[variable["name"]] = (
                    grafana.label_values(expression, label)
                    if label
                    else {each["metric"]["display_name"] for each in grafana.query(expression)}
                )

        assert offered["job"] == {"libvirt"}
        assert len(offered["instance"]) == 2
        if name == "libvirt-vm.json":
            assert offered["uuid"] >= {"running", "off", "web-1"}
            assert "instance-0000002a" not in offered["uuid"]


def test_state_timeline_tells_each_vm_state(grafana: Grafana) -> None:
    """The number of the state is the VM's, one series each."""
    found = [
        (series["metric"]["domain"], STATES[int(series["value"][1])])
        for series in grafana.query(state_number(HOST))
    ]

    assert len(found) == len(dict(found))
    assert {("running", "running"), ("paused", "paused"), ("off", "shutoff")} <= set(found)
