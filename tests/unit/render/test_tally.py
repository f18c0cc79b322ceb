"""The numbers about the numbers."""

from __future__ import annotations

import pytest

from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.tally import Tally

IDENTITY = (("domain", "web"),)
OTHER = (("domain", "db"),)


@pytest.fixture
def tally() -> Tally:
    """8 series of state and 2 of CPU time, 1 duplicate, 3 unmapped keys; nothing of balloon."""
    selection = Selection({"state", "cpu-total", "balloon"})
    cpu = selection.index["libvirt_domain_cpu_seconds_total"]
    found = Tally(selection)
    found.add(IDENTITY, 10, 1, ["a.0.x", "a.1.x", "b"])
    found.counts[0], found.counts[cpu] = 8, 2
    return found


def test_series_are_counted_per_group(tally: Tally) -> None:
    """Chosen groups without series are there with 0."""
    assert tally.series(0) == {"balloon": 0, "cpu-total": 2, "state": 8}


@pytest.mark.parametrize(
    ("limit", "shown", "dropped"), [(0, 10, 0), (10, 10, 0), (9, 8, 2), (8, 8, 2), (7, 8, 2)]
)
def test_limit_drops_whole_families(tally: Tally, limit: int, shown: int, dropped: int) -> None:
    """A family that does not fit goes, the least important group first and state never."""
    assert sum(tally.series(limit).values()) == shown
    assert tally.dropped(limit)["limit"] == dropped


def test_duplicates_are_counted(tally: Tally) -> None:
    """Within a domain, and whole domains of a taken identity."""
    assert not tally.add(IDENTITY, 8, 2, ["c"])
    assert tally.dropped(0)["duplicate"] == 11


def test_domains_are_added_up(tally: Tally) -> None:
    """Another identity is another domain."""
    assert tally.add(OTHER, 8, 0, ["b"])
    assert tally.unmapped() == {"a.<n>.x": 1, "b": 2}
