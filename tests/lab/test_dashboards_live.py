"""The dashboards' queries, asked of a real Prometheus that scrapes real exporters.

Two hosts, as operators have: the lab's QEMU guests and the demo host of libvirt's test driver.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import libvirt
import pytest
import yaml

from dashboards import build
from libvirt_exporter.model import STATES
from tests.lab.daemon import PrivateLibvirtd, wait_until
from tests.lab.domains import MIB, begin_backup, paused_domain

ROOT = Path(__file__).parents[2]
DEMO = f"test://{quote(str(ROOT / 'deploy' / 'demo' / 'node.xml'))}"

Json = dict[str, Any]

DASHBOARDS: tuple[Json, ...] = tuple(json.loads(text) for text in build.files().values())

EMPTY = {
    "Failed and abandoned libvirt calls": "no call fails here",
    "Paused by an error": "no guest is",
}
"""Panels that may have nothing to show, and why."""


def free_address() -> str:
    """An address on the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def program(*command: str, log: Path) -> Iterator[None]:
    """A program that runs until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT / "exporter", stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Prometheus:
    """A running Prometheus, asked as Grafana asks it with All chosen in every variable."""

    def __init__(self, address: str) -> None:
        self._address = f"http://{address}"

    def _get(self, path: str, **parameters: str) -> Any:
        with urlopen(
            f"{self._address}/api/v1/{path}?{urlencode(parameters)}", timeout=10
        ) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether it has started."""
        with contextlib.suppress(OSError), urlopen(f"{self._address}/-/ready", timeout=10):
            return True
        return False

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
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
) -> Iterator[Prometheus]:
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
    exporters = {free_address(): uri for uri in (libvirtd.read_only_uri, DEMO)}
    address = free_address()
    configuration = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
        "scrape_configs": [
            {"job_name": "libvirt", "static_configs": [{"targets": list(exporters)}]}
        ],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with contextlib.ExitStack() as running:
        running.callback(pool.destroy)
        running.callback(backed_up.destroy)
        for number, (listen, uri) in enumerate(exporters.items()):
            running.enter_context(
                program(
                    sys.executable,
                    "-m",
                    "libvirt_exporter",
                    f"--libvirt.uri={uri}",
                    f"--web.listen-address={listen}",
                    log=directory / f"exporter-{number}.log",
                )
            )
        running.enter_context(
            program(
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
                log=directory / "prometheus.log",
            )
        )
        served = Prometheus(address)
        wait_until(served.is_ready, "Prometheus is ready", 20)
        served.query_until_shown("count(libvirt_up == 1) == 2", "both hosts are scraped")
        yield served


@pytest.mark.parametrize(
    ("panel", "target"),
    [
        pytest.param(panel, target, id=f"{panel['title']} {target['refId']}")
        for dashboard in DASHBOARDS
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ],
)
def test_query_shows_figures(prometheus: Prometheus, panel: Json, target: Json) -> None:
    """Prometheus answers it with figures that make sense, and every part of the legend is there."""
    if panel["title"] in EMPTY:
        shown = prometheus.query(target["expr"])
    else:
        shown = prometheus.query_until_shown(target["expr"], f"{panel['title']} has data")

    for series in shown:
        value = float(series["value"][1])
        assert math.isfinite(value), series
        assert value >= 0, series
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert series["metric"].get(label), series


def test_variables_offer_both_hosts_and_their_vms(prometheus: Prometheus) -> None:
    """Every variable of every dashboard has something to choose."""
    for dashboard in DASHBOARDS:
        offered = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert query
                offered[variable["name"]] = prometheus.label_values(query[1], query[2])

        assert offered["job"] == {"libvirt"}
        assert len(offered["instance"]) == 2
        assert offered["domain"] >= {"running", "off", "web-1"}


def test_state_timeline_tells_each_vm_state(prometheus: Prometheus) -> None:
    """The number of the state is the VM's, one series each."""
    found = [
        (series["metric"]["domain"], STATES[int(series["value"][1])])
        for series in prometheus.query(build.state_number())
    ]

    assert len(found) == len(dict(found))
    assert {("running", "running"), ("paused", "paused"), ("off", "shutoff")} <= set(found)
