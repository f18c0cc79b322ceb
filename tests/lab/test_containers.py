"""Containers for real: libvirt's LXC driver, whose statistics the exporter asks one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.lab.containers import MEMORY, MIB, NAME, start_container
from tests.lab.daemon import PrivateLibvirtd, can_run_privileged
from tests.lab.exporter import EVERYTHING, Exporter, Series, series

pytestmark = pytest.mark.skipif(not can_run_privileged(), reason="only root can run containers")

SCRAPES: Final = 24


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd of containers, with one that works."""
    with PrivateLibvirtd(containers=True) as daemon:
        container = start_container(daemon)
        yield daemon
        container.destroy()


@pytest.fixture(scope="module")
def scrapes(
    libvirtd: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[Series, float]]:
    """What the exporter shows of the container while that takes memory and gives it back."""
    directory = tmp_path_factory.mktemp("exporter")
    shown = []
    with Exporter(libvirtd.read_only_uri, directory, EVERYTHING) as exporter:
        for _ in range(SCRAPES):
            shown.append(exporter.scrape().domain_samples)
            time.sleep(0.15)
    return shown


def of_container(scrape: dict[Series, float], name: str, **labels: str) -> float:
    """The one series of that name with those labels."""
    wanted = labels.items() | {("domain", NAME)}
    (value,) = (value for (found, own), value in scrape.items() if found == name and wanted <= own)
    return value


def test_container_is_shown(libvirtd: PrivateLibvirtd, scrapes: list[dict[Series, float]]) -> None:
    """Its state, CPU, memory and interface."""
    last = scrapes[-1]
    assert of_container(last, "libvirt_domain_state", state="running") == 1
    assert of_container(last, "libvirt_domain_cpu_seconds_total") > 0
    assert of_container(last, "libvirt_domain_vcpus_current") == 1
    assert of_container(last, "libvirt_domain_balloon_current_bytes") == MEMORY
    assert of_container(last, "libvirt_domain_balloon_maximum_bytes") == MEMORY
    device = next(
        dict(labels)["device"] for name, labels in last if name == "libvirt_domain_interface_info"
    )
    assert Path("/sys/class/net", device).exists()
    for name in ("receive_bytes", "transmit_bytes", "receive_packets", "transmit_errors"):
        assert of_container(last, f"libvirt_domain_interface_{name}_total", device=device) >= 0


def test_counters_of_a_container_that_lives_never_fall(
    scrapes: list[dict[Series, float]],
) -> None:
    """Although what it uses rises and falls all the while."""
    used = [of_container(scrape, "libvirt_domain_balloon_rss_bytes") for scrape in scrapes]
    both = [
        of_container(scrape, "libvirt_domain_container_memory_and_swap_bytes") for scrape in scrapes
    ]
    for figures in (used, both):
        steps = [later - earlier for earlier, later in pairwise(figures)]
        assert min(steps) < -MIB < MIB < max(steps)
    worked = [of_container(scrape, "libvirt_domain_cpu_seconds_total") for scrape in scrapes]
    assert worked[-1] > worked[0]
    for earlier, later in pairwise(scrapes):
        for counter, value in earlier.items():
            if counter[0].endswith("_total"):
                assert later[counter] >= value, counter


def test_nothing_is_shown_that_a_container_does_not_have(
    scrapes: list[dict[Series, float]],
) -> None:
    """No swap traffic, no monitor, no watchdog, no guest that could panic."""
    names = {name for scrape in scrapes for name, _ in scrape}
    assert not names & {
        "libvirt_domain_balloon_swap_in_bytes_total",
        "libvirt_domain_monitor_responsive",
        "libvirt_domain_watchdog_events_total",
        "libvirt_domain_guest_panics_total",
    }
    assert series("libvirt_domain_state", domain=NAME)[0] in names
