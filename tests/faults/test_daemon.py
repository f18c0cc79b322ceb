"""libvirtd frozen, killed or busy with domains that come and go, on a small host."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cases import churned, endured, frozen, reopened, restarted
from tests.faults.watch import WatchedExporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd, shutoff_domain


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with five paused domains, which each test leaves running."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, 5)
        yield daemon


@pytest.fixture
def exporter(daemon: PrivateLibvirtd, tmp_path: Path) -> Iterator[WatchedExporter]:
    """An exporter on its socket."""
    with WatchedExporter(daemon, tmp_path / "exporter") as exporter:
        yield exporter


def test_a_frozen_daemon_costs_nothing_but_its_series(
    daemon: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Every scrape is answered by its deadline with up 0; the thaw is enough to recover."""
    with WatchedExporter(daemon, tmp_path / "exporter", timeout=1.0) as exporter:
        frozen(daemon, exporter, scrapes=8)


def test_a_killed_daemon_is_followed_within_one_scrape(
    daemon: PrivateLibvirtd, exporter: WatchedExporter
) -> None:
    """Away and back, again and again, with nothing left behind each time."""
    restarted(daemon, exporter, times=3)


def test_a_connection_lost_in_the_middle_of_a_scrape_is_survived(
    daemon: PrivateLibvirtd, exporter: WatchedExporter
) -> None:
    """The daemon ends under a scrape: that one is answered, and the next ones are as before."""
    whole = exporter.timed()
    with daemon.frozen():
        asking = threading.Thread(target=exporter.at_once, args=(2,))
        asking.start()
        time.sleep(0.2)
        daemon.kill()
    asking.join()
    daemon.start()
    time.sleep(1.0)
    daemon.wait_for_monitors()
    assert exporter.timed().lacks(whole) == set()


def test_hosts_that_are_opened_and_closed_leave_libvirtd_as_it_was(
    daemon: PrivateLibvirtd, exporter: WatchedExporter
) -> None:
    """Events are taken back and connections closed, of several at once."""
    reopened(daemon, exporter, times=16)


def test_domains_that_come_and_go_are_followed(
    daemon: PrivateLibvirtd, exporter: WatchedExporter
) -> None:
    """No ghost of those that are gone, and no series lost of those that stay."""
    churned(daemon, exporter, seconds=8)


def test_a_renamed_domain_is_shown_under_its_new_name_only(
    daemon: PrivateLibvirtd, exporter: WatchedExporter
) -> None:
    """Old handles and what was known of it must not keep the old one."""
    domain = shutoff_domain(daemon, "before", disks=0, nics=0)
    try:
        assert "before" in exporter.timed().by_domain
        domain.rename("after")
        scrape = exporter.timed()
        assert "before" not in scrape.by_domain
        assert any(name == "libvirt_domain_info" for name, _ in scrape.by_domain["after"])
    finally:
        domain.undefine()


def test_many_scrapes_leave_nothing_behind(exporter: WatchedExporter) -> None:
    """Memory, threads and descriptors stay what they are."""
    endured(exporter, scrapes=150)
