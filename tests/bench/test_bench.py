"""The benchmark itself, on hosts too small to tell anything."""

from __future__ import annotations

import os

import pytest

from tests.bench import applications, rendering, synthetic_hosts
from tests.bench.figures import Column, Figure, Spread, Table
from tests.bench.processes import memory, series_in


def test_a_table_shows_medians_with_their_range_in_the_unit_of_the_title() -> None:
    """Figures are kept in base units and shown in others."""
    columns = (Column("what", "what"), Column("took_seconds", "took ms", 1e3))
    rows: list[list[Figure]] = [["one", Spread.of([0.002, 0.001, 0.004])], ["two", None]]
    table = Table("name", "Title", columns, rows, ["a note"])
    assert table.text().splitlines() == [
        "Title",
        "",
        "what  took ms",
        "one   2 (1–4)",
        "two         –",
        "* a note",
    ]
    assert table.document()["rows"][0] == {
        "what": "one",
        "took_seconds": {"median": 0.002, "least": 0.001, "most": 0.004},
    }


def test_comments_and_empty_lines_are_no_series() -> None:
    """Series are the lines with a value."""
    assert series_in(b'# HELP a b\n# TYPE a gauge\na 1\n\na{b="# c"} 2\n') == 2


def test_memory_of_its_own_is_less_than_what_it_shares_in() -> None:
    """Of this process."""
    found = memory(os.getpid())
    assert 0 < found.unique <= found.proportional
    assert 0 < found.now <= found.peak


def test_rendering_is_measured_beside_prometheus_client() -> None:
    """Every column has a figure, and series grow with the domains."""
    few, more = rendering.run((1, 3), rounds=2).document()["rows"]
    assert more["series"] == 3 * few["series"]
    assert None not in more.values()


@pytest.mark.parametrize("client", ["raw", "libvirt-exporter"])
def test_a_synthetic_host_is_measured_for_each_client(client: str) -> None:
    """The exporter and the raw call both answer for the made-up domains."""
    table = synthetic_hosts.run((3,), rounds=1).document()
    row = next(row for row in table["rows"] if row["client"] == client)
    assert row["series"]["median"] >= 3 * 2
    assert row["client_cpu_seconds"]["median"] > 0


def test_lists_of_applications_are_read_and_lie_on_the_disk() -> None:
    """So the figures are those of a lane that has read them all."""
    figures = applications.measure("disk", 2, 10)
    assert figures["known"] > 0
    assert figures["disk"] > 2 * 10 * len("package-0000-with-a-usual-name-1.0-1")
    assert applications.measure("none", 2, 10)["disk"] == 0
