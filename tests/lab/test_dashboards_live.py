"""The dashboards' queries, asked of a real Prometheus with the shipped rules.

It scrapes two hosts, as operators have: the lab's QEMU guests, and the demo host of libvirt's test
driver. Beside them it has targets that are no hosts.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
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
from tests.lab.domains import MIB, begin_backup, paused_domain, shutoff_domain
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.lab.servers import answered_by, free_address
from tests.lab.traffic import Counted, busy_guest
from tests.promql import RULES
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEMO = f"test://{quote(str(ROOT / 'tests' / 'support' / 'test_driver_host.xml'))}"

Json = dict[str, Any]

BUSY = "busy"

DIRECTIONS = {
    "Read throughput": "read bytes",
    "Disk read": "read bytes",
    "Write throughput": "written bytes",
    "Disk written": "written bytes",
    "Read requests": "reads",
    "Write requests": "writes",
    "Flush requests": "flushes",
    "Receive throughput": "received bytes",
    "Received": "received bytes",
    "Transmit throughput": "transmitted bytes",
    "Transmitted": "transmitted bytes",
    "Receive packets": "received packets",
    "Transmit packets": "transmitted packets",
}
"""What libvirt counts, by the title of the panel or the heading of the column that shows it."""

EMPTY = {
    "Abandoned calls": "no call of libvirt hangs",
    "Alerts that fire": "whether one does is not up to this test",
    "Disks whose error has paused a VM": "no disk has an error",
    "Failed calls": "no call of libvirt fails",
    "Firing alerts": "whether one does is not up to this test",
    "Guest load": "the agent of this QEMU does not know it",
    "Hidden domains": "none is",
    "Incomplete domains": "all answer",
    "Last jobs data": "the backup is ended before it has any",
    "Last jobs downtime": "a backup has none",
    "Pools that are not running": "all are",
    "Thin disks": "no disk is a volume",
    "Unknown statistics": "whether libvirt has some is not up to this test",
    "libvirt does not answer": "it does",
    "annotation I/O error": "no disk has one",
    "annotation Migration ended": "none migrates",
    "annotation Watchdog": "none fires",
}
"""Panels and annotations that may have nothing to show, and why."""


class Foreign(BaseHTTPRequestHandler):
    """Another exporter, which takes more than any of ours."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"process_cpu_seconds_total 1e9\nprocess_resident_memory_bytes 1e12\n")


class Grafana:
    """Asks a Prometheus as Grafana does with All chosen in every variable."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._get = prometheus.get
        self.busy: Counted
        """What the busy guest has done since the first scrape."""

    def query(self, expression: str, rate_interval: str = "16s") -> list[Json]:
        """The series at this moment; urllib's HTTPError for a query that is wrong."""
        query = interpolated(expression, top=200, rate_interval=rate_interval, time_range="40s")
        result: list[Json] = self._get("query", query=query)["result"]
        return result

    def query_until_shown(self, expression: str, what: str, within: float = 30) -> list[Json]:
        """The series as soon as there are any; AssertionError after so many seconds."""
        result: list[Json] = []

        def found() -> bool:
            result[:] = self.query(expression)
            return bool(result)

        wait_until(found, what, within)
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
    """A Prometheus that scrapes both hosts every four seconds.

    Meanwhile a guest is backed up, its image stands in a storage pool, one works and has its agent
    asked, one has a snapshot. When events are followed one crashes, and the backup of one ends.
    """
    assert guests
    backed_up = paused_domain(libvirtd, "backed-up", disks=1, data=128 * MIB)
    begin_backup(backed_up, libvirtd)
    place = f"<target><path>{libvirtd.images}</path></target>"
    pool = libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>images</name>{place}</pool>"
    )
    kept = shutoff_domain(libvirtd, "kept", disks=1)
    kept.snapshotCreateXML("<domainsnapshot/>")
    crashing = paused_domain(libvirtd, "crashing", disks=1, persistent=True)
    quick = paused_domain(libvirtd, "quickly-backed-up", disks=1, data=128 * MIB)
    directory = tmp_path_factory.mktemp("prometheus")
    configuration = {
        "guest_agent": {"enabled": True, "interval": "5s", "slow_interval": "5s"},
        "applications": {"enabled": True, "state_directory": str(directory)},
    }
    try:
        with (
            answered_by(Foreign) as foreign,
            busy_guest(libvirtd, BUSY),
            Exporter(libvirtd.uri, directory / "lab", configuration) as lab,
            Exporter(DEMO, directory / "demo") as demo,
            prometheus(
                directory,
                {"libvirt": [lab.address, demo.address], "node": [foreign, free_address()]},
                every="4s",
                rules=sorted(RULES.glob("*.yml")),
            ) as server,
        ):
            asked = Grafana(server)
            asked.query_until_shown(
                "count(libvirt_exporter_event_stream_connected == 1 and libvirt_up == 1) == 2",
                "both hosts are scraped, and their events followed",
                within=90,
            )
            asked.busy = Counted(libvirtd.connection, BUSY)
            libvirtd.crash(crashing)
            begin_backup(quick, libvirtd)
            quick.abortJob()
            yield asked
    finally:
        backed_up.destroy()
        quick.destroy()
        pool.destroy()
        for snapshot in kept.listAllSnapshots():
            snapshot.delete()
        kept.undefine()
        crashing.undefine()


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(query, id=f"{query.dashboard}: {query.place}")
        for query in (*panel_queries(), *other_queries())
    ],
)
def test_query_shows_figures(grafana: Grafana, query: Query) -> None:
    """Prometheus answers it with figures that make sense, and every part of the legend is there."""
    if EMPTY.keys() & {query.panel.get("title"), query.place}:
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
    queries = (*panel_queries(), *other_queries())
    names = {query.panel.get("title") for query in queries} | {query.place for query in queries}

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


def test_other_targets_are_neither_hosts_nor_exporters(grafana: Grafana) -> None:
    """With All chosen, a target of another job that is down and one that is up count nowhere."""
    grafana.query_until_shown('up{job="node"} == 0', "the foreign target that is down is scraped")
    grafana.query_until_shown('up{job="node"} == 1', "the foreign target that is up is scraped")
    queries = {query.panel["title"]: query.expression for query in panel_queries()}

    for title, figure in (("Hosts up", 2), ("Hosts down", 0), ("Exporters reached", 2)):
        [series] = grafana.query(queries[title])
        assert float(series["value"][1]) == figure, title
    for title in ("Scrape duration", "CPU of exporters", "Resident memory of exporters"):
        jobs = [series["metric"]["job"] for series in grafana.query(queries[title])]
        assert jobs == ["libvirt"] * 2, title


def test_state_timeline_tells_each_vm_state(grafana: Grafana) -> None:
    """The number of the state is the VM's, one series each."""
    found = [
        (series["metric"]["domain"], STATES[int(series["value"][1])])
        for series in grafana.query(state_number(HOST))
    ]

    assert len(found) == len(dict(found))
    assert {("running", "running"), ("paused", "paused"), ("off", "shutoff")} <= set(found)


def test_every_direction_is_shown_as_itself(grafana: Grafana) -> None:
    """Of a guest whose rates are far apart each panel and column shows its own, and no other's.

    libvirt's own counters since the first scrape are the measure, so rates are over five minutes
    everywhere. Those of single devices are added up.
    """
    known = grafana.busy.rates()
    checked = set()
    for query in panel_queries():
        title, name = query.panel["title"], query.target["refId"].replace("_", " ").capitalize()
        direction = DIRECTIONS.get(title) or DIRECTIONS.get(name)
        if direction is None:
            continue
        alike = {each for each in known if unit(each) == unit(direction)}
        shown = sum(
            float(series["value"][1])
            for series in grafana.query(query.expression, rate_interval="5m")
            if series["metric"]["domain"] == BUSY
        )
        nearest = min(alike, key=lambda each: abs(math.log((shown + 1e-9) / (known[each] + 1e-9))))
        assert nearest == direction, (query.dashboard, query.place, shown, known)
        checked.add(direction)

    assert checked == known.keys()
    for one, other in itertools.combinations(known, 2):
        if unit(one) == unit(other):
            less, more = sorted((known[one], known[other]))
            assert less * 1.5 < more, known


def unit(direction: str) -> str:
    """Bytes, packets, or requests: what can be taken for each other."""
    last = direction.rpartition(" ")[2]
    return last if last in ("bytes", "packets") else "requests"
