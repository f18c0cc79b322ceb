"""A guest that moves from one host to another while both are scraped."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.faults.watch import Scrape, WatchedExporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.guests import running_guest
from tests.lab.migration import Migration, destination

__all__ = ["destination"]

MOVER = "mover"
DURING = 8
"""Scrapes of each host while the guest's memory is on its way."""


def whole_besides_the_mover(scrape: Scrape, whole: Scrape) -> bool:
    """Whether libvirt answered and no series of the other domains is missing."""
    return scrape.up and scrape.lacks(whole, besides={MOVER}) == set()


def test_a_guest_that_moves_away_takes_its_series_with_it_and_nobody_else_s(
    fresh_libvirtd: PrivateLibvirtd, destination: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Both hosts are whole all the time; then it is at the target, and no ghost at the source."""
    crowd(fresh_libvirtd, 4)
    crowd(destination, 4)
    guest = running_guest(fresh_libvirtd, MOVER, disks=0, nics=0)
    with (
        WatchedExporter(fresh_libvirtd, tmp_path / "source") as source,
        WatchedExporter(destination, tmp_path / "target") as target,
    ):
        before, elsewhere = source.timed(), target.timed()
        migration = Migration(guest, destination, speed=2)
        shown = []
        for _ in range(DURING):
            leaving, arriving = source.timed(), target.timed()
            assert whole_besides_the_mover(leaving, before)
            assert whole_besides_the_mover(arriving, elsewhere)
            assert MOVER in leaving.by_domain
            shown.append(leaving)
        assert migration.going_on
        ending = threading.Thread(target=migration.hurry)
        ending.start()
        while ending.is_alive():
            assert whole_besides_the_mover(source.timed(), before)
            assert whole_besides_the_mover(target.timed(), elsewhere)
        left, arrived = source.timed(), target.timed()
        assert left.value("libvirt_exporter_stuck_calls") == 0
        logs = source.log + target.log
    assert not shown[-1].lacks(before)
    assert MOVER not in left.by_domain
    assert whole_besides_the_mover(left, before)
    assert whole_besides_the_mover(arrived, elsewhere)
    assert names(arrived) >= names(before)
    assert "level=error" not in logs


def names(scrape: Scrape) -> set[str]:
    """The names of the mover's series."""
    return {name for name, _ in scrape.by_domain[MOVER]}
