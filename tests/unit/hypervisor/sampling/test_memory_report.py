"""Until when a guest's report of its memory is shown."""

from __future__ import annotations

import pytest

from libvirt_exporter.hypervisor.sampling.memory_report import drop_old_report
from libvirt_exporter.model import DomainInfo, StatValue

REPORTED = 1_700_000_000
KEPT: dict[str, StatValue] = {
    "state.state": 1,
    "balloon.current": 1024,
    "balloon.maximum": 2048,
    "balloon.rss": 512,
    "balloon.last-update": REPORTED,
    "vcpu.current": 1,
}
TOLD: dict[str, StatValue] = {
    f"balloon.{key}": 7
    for key in (
        *("swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available", "usable"),
        *("disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail", "of_a_newer_libvirt"),
    )
}


def info(period: int | None) -> DomainInfo:
    """The XML of a domain whose guest is asked that often, in seconds."""
    return DomainInfo(uuid="u", name="vm", balloon_period=period)


@pytest.mark.parametrize(
    ("period", "age", "shown"),
    [
        (1, 0, True),
        (1, 60, True),
        (1, 61, False),
        (10, 61, False),
        (100, 300, True),
        (100, 301, False),
        (0, 59, True),
        (0, 61, False),
        (None, 61, False),
        (1, -3600, True),
    ],
)
def test_a_report_is_shown_for_three_periods_and_a_minute_at_least(
    period: int | None, age: float, shown: bool
) -> None:
    """Whoever is asked no more (period 0) grows old too; a clock that was set back ages nobody."""
    stats = KEPT | TOLD
    drop_old_report(stats, info(period), REPORTED + age)
    assert stats == (KEPT | TOLD if shown else KEPT)


@pytest.mark.parametrize(("age", "shown"), [(60, True), (61, False)])
def test_without_the_xml_a_report_is_shown_for_a_minute(age: float, shown: bool) -> None:
    """The period is not known then."""
    stats = KEPT | TOLD
    drop_old_report(stats, None, REPORTED + age)
    assert stats == (KEPT | TOLD if shown else KEPT)


@pytest.mark.parametrize("reported", [None, 0])
def test_figures_without_a_time_are_shown(reported: int | None) -> None:
    """Of drivers that tell none, and of guests that have not reported yet."""
    stats = KEPT | TOLD
    del stats["balloon.last-update"]
    if reported is not None:
        stats["balloon.last-update"] = reported
    before = dict(stats)
    drop_old_report(stats, info(1), 2_000_000_000)
    assert stats == before
