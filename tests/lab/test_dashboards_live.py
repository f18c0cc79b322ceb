"""The dashboards' queries, asked of a real Prometheus that scrapes real exporters.

Two hosts, as operators have: the lab's QEMU guests and the demo host of libvirt's test driver.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libvirt
import pytest

from dashboards import build, vms
from libvirt_exporter.model import STATES
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, begin_backup, paused_domain
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEMO = f"test://{quote(str(ROOT / 'deploy' / 'demo' / 'node.xml'))}"

Json = dict[str, Any]

DASHBOARDS: tuple[Json, ...] = tuple(json.loads(text) for text in build.files().values())

EMPTY = {
    "Failed and abandoned libvirt calls": "no call fails here",
    "Paused by an error": "no guest is",
}
"""Panels that may have nothing to show, and why."""


class Grafana:
    """Asks a Prometheus as Grafana does with All chosen in every variable."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._get = prometheus.get

    def query(self, expression: str) -> list[Json]:
        """The series at this moment; urllib's HTTPError for a query that is wrong."""
        expression = all_chosen(expression).replace("$__rate_interval", "12s")
        result: list[Json] = self._get("query", query=expression)["result"]
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
        return set(self._get(f"label/{label}/values", **{"match[]": all_chosen(selector)}))


def all_chosen(expression: str) -> str:
    """The expression with every variable set to All."""
    return re.sub(r"\$(?!_)\w+", ".+", expression)


@pytest.fixture(scope="module")
def grafana(
    tmp_path_factory: pytest.TempPathFactory,
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
) -> Iterator[Grafana]:
    """A Prometheus that scrapes both hosts every two seconds.

    Meanwhile a guest is backed up; its image stands in a storage pool.
    """
    assert guests
    backed_up = paused_domain(libvirtd, "backed-up", disks=1, data=128 * MIB)
    begin_backup(backed_up, libvirtd)
    place = f"<target><path>{libvirtd.images}</path></target>"
    pool = libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>images</name>{place}</pool>"
    )
    directory = tmp_path_factory.mktemp("prometheus")
    try:
        with (
            Exporter(libvirtd.read_only_uri, directory / "lab") as lab,
            Exporter(DEMO, directory / "demo") as demo,
            prometheus(directory, {"libvirt": [lab.address, demo.address]}, every="2s") as server,
        ):
            asked = Grafana(server)
            asked.query_until_shown("count(libvirt_up == 1) == 2", "both hosts are scraped")
            yield asked
    finally:
        backed_up.destroy()
        pool.destroy()


@pytest.mark.parametrize(
    ("panel", "target"),
    [
        pytest.param(panel, target, id=f"{panel['title']} {target['refId']}")
        for dashboard in DASHBOARDS
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ],
)
def test_query_shows_figures(grafana: Grafana, panel: Json, target: Json) -> None:
    """Prometheus answers it with figures that make sense, and every part of the legend is there."""
    if panel["title"] in EMPTY:
        shown = grafana.query(target["expr"])
    else:
        shown = grafana.query_until_shown(target["expr"], f"{panel['title']} has data")

    for series in shown:
        value = float(series["value"][1])
        assert math.isfinite(value), series
        assert value >= 0, series
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert series["metric"].get(label), series


def test_variables_offer_both_hosts_and_their_vms(grafana: Grafana) -> None:
    """Every variable of every dashboard has something to choose."""
    for dashboard in DASHBOARDS:
        offered = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert query
                offered[variable["name"]] = grafana.label_values(query[1], query[2])

        assert offered["job"] == {"libvirt"}
        assert len(offered["instance"]) == 2
        assert offered["domain"] >= {"running", "off", "web-1"}


def test_state_timeline_tells_each_vm_state(grafana: Grafana) -> None:
    """The number of the state is the VM's, one series each."""
    found = [
        (series["metric"]["domain"], STATES[int(series["value"][1])])
        for series in grafana.query(vms.state_number())
    ]

    assert len(found) == len(dict(found))
    assert {("running", "running"), ("paused", "paused"), ("off", "shutoff")} <= set(found)
