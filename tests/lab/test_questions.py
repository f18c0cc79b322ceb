"""The questions of docs/promql.md, asked of a real Prometheus that scrapes real exporters.

Two hosts, as in the tests of the dashboards: the lab's QEMU guests, of which one is backed up, and
the demo host of libvirt's test driver.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, begin_backup, paused_domain
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.promql import RULES, recorded_rules
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
DEMO: Final = f"test://{quote(str(ROOT / 'tests' / 'support' / 'test_driver_host.xml'))}"

QUERIES: Final = tuple(
    re.findall(r"```promql\n(.*?)```", (ROOT / "docs" / "promql.md").read_text(), re.DOTALL)
)
EMPTY: Final = {
    "libvirt_domain_last_event_timestamp_seconds": "nothing of the kind happens here",
    "libvirt_domain_interface_receive_drop_total": "no guest receives anything here",
}
"""Metrics in queries that may have nothing to show, and why."""


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory,
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes both hosts every two seconds, with the shipped rules."""
    assert guests
    backed_up = paused_domain(libvirtd, "asked-about", disks=1, data=128 * MIB)
    begin_backup(backed_up, libvirtd)
    place = f"<target><path>{libvirtd.images}</path></target>"
    pool = libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>asked-about</name>{place}</pool>"
    )
    directory = tmp_path_factory.mktemp("questions")
    try:
        with (
            Exporter(libvirtd.read_only_uri, directory / "lab") as lab,
            Exporter(DEMO, directory / "demo") as demo,
            prometheus(
                directory,
                {"libvirt": [lab.address, demo.address]},
                every="2s",
                rules=sorted(RULES.glob("*.yml")),
            ) as server,
        ):
            yield server
    finally:
        backed_up.destroy()
        pool.destroy()


def assert_shows_figures(server: Prometheus, query: str) -> None:
    """The query is answered, within 30 s with some series, whose values make sense."""
    found: list[float] = []

    def shown() -> bool:
        result = server.get("query", query=query)["result"]
        found[:] = [float(series["value"][1]) for series in result]
        return bool(found) or any(name in query for name in EMPTY)

    wait_until(shown, f"{query} shows something", 30)
    assert all(math.isfinite(value) and value >= 0 for value in found), (query, found)


@pytest.mark.parametrize("query", QUERIES)
def test_question_is_answered(asked: Prometheus, query: str) -> None:
    """As the page has it."""
    assert_shows_figures(asked, query)


@pytest.mark.parametrize("name", recorded_rules())
def test_recorded_metric_has_figures(asked: Prometheus, name: str) -> None:
    """Every recording rule finds what it is made of on a real host."""
    assert_shows_figures(asked, name)
