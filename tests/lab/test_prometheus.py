"""A real Prometheus takes the exposition as it is meant, in both formats."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import libvirt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.exporter import EVERYTHING, Exporter, Series
from tests.lab.prometheus import Prometheus, prometheus, text_only
from tests.support.waiting import wait_until

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Scraped:
    """An exporter, and a Prometheus that scrapes it as the jobs `openmetrics` and `text`."""

    exporter: Exporter
    prometheus: Prometheus
    asked: Sequence[str]
    """What Prometheus sent as Accept."""


@pytest.fixture(scope="module")
def scraped(
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
    hostile: list[libvirt.virDomain],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scraped]:
    """Both formats of all there is, with hostile names among the guests."""
    assert guests
    assert hostile
    directory = tmp_path_factory.mktemp("prometheus")
    with (
        Exporter(libvirtd.read_only_uri, directory / "exporter", EVERYTHING) as exporter,
        text_only(exporter.address) as (address, asked),
        prometheus(directory, {"openmetrics": [exporter.address], "text": [address]}) as server,
    ):
        for job in ("openmetrics", "text"):
            up = f'up{{job="{job}"}}'
            wait_until(lambda up=up: server.value(up) == 1, f"the job {job} is up", 30)  # type: ignore[misc]
        yield Scraped(exporter, server, asked)


@pytest.mark.parametrize("job", ["openmetrics", "text"])
def test_prometheus_stores_the_very_series_of_the_exposition(scraped: Scraped, job: str) -> None:
    """Every series arrives under its name and labels, and Prometheus has no complaint."""

    def exposed() -> set[Series]:
        # Prometheus drops labels that are empty: to it they are the same as none.
        return {
            (name, frozenset((label, text) for label, text in labels if text))
            for name, labels in scraped.exporter.scrape().samples
        }

    def difference() -> set[Series]:
        return exposed() ^ {
            found
            for found in scraped.prometheus.series(job)
            if found[0] != "up" and not found[0].startswith("scrape_")
        }

    wait_until(lambda: not difference(), f"{job} has the same series", 20)
    assert scraped.prometheus.target(job)["health"] == "up"
    assert scraped.prometheus.target(job)["lastError"] == ""

    def counts() -> tuple[float | None, float]:
        counted = scraped.prometheus.value(f'scrape_samples_scraped{{job="{job}"}}')
        return counted, len(scraped.exporter.scrape().samples)

    wait_until(lambda: len({*counts()}) == 1, f"{job} has the same number of samples", 20)


def test_prometheus_asks_for_openmetrics_and_gets_it(scraped: Scraped) -> None:
    """What Prometheus sends by itself is answered with OpenMetrics, which alone has units."""
    accept = scraped.asked[0]
    assert "application/openmetrics-text" in accept
    assert scraped.exporter.get("/metrics", {"Accept": accept}).headers["Content-Type"] == (
        OPENMETRICS
    )
    family = scraped.prometheus.metadata("openmetrics")["libvirt_domain_cpu_seconds"]
    assert (family["type"], family["unit"]) == ("counter", "seconds")


def test_text_is_what_everybody_else_gets(scraped: Scraped) -> None:
    """A client that accepts text only gets it, and its counters keep `_total` in their name."""
    answer = scraped.exporter.get("/metrics", {"Accept": "text/plain"})
    assert answer.headers["Content-Type"] == TEXT
    family = scraped.prometheus.metadata("text")["libvirt_domain_cpu_seconds_total"]
    assert (family["type"], family["unit"]) == ("counter", "")


@pytest.mark.parametrize("job", ["openmetrics", "text"])
def test_prometheus_knows_the_type_of_every_family(scraped: Scraped, job: str) -> None:
    """Counters are counters, gauges gauges, in either format."""
    families = text_string_to_metric_families(scraped.exporter.scrape().text)
    known = scraped.prometheus.metadata(job)
    for family in families:
        suffix = "_total" if family.type == "counter" and job == "text" else ""
        # prometheus_client's parser takes `_total` off; a name that ends in it has only that.
        row = known[f"{family.name}{suffix}"]
        assert (family.name, row["type"]) == (family.name, family.type)
        assert row["help"] == family.documentation


@pytest.mark.parametrize("shown", ["default", "everything"])
def test_promtool_has_nothing_to_say(
    scraped: Scraped,
    libvirtd: PrivateLibvirtd,
    tmp_path_factory: pytest.TempPathFactory,
    shown: str,
) -> None:
    """`promtool check metrics` prints nothing and ends with 0."""
    if shown == "everything":
        text = scraped.exporter.scrape().text
    else:
        with Exporter(libvirtd.read_only_uri, tmp_path_factory.mktemp("default")) as exporter:
            text = exporter.scrape().text
    check = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
