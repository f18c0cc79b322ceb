"""The VMs at a glance: what the table of the terminal does not show."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from libvirt_exporter.model import DomainInfo, HostSample, OpenStackInfo, Stats
from libvirt_exporter.query.overview import NAMES_INSTANCES, overview, row
from tests.support.samples import domain


@pytest.mark.parametrize(
    ("stats", "used"),
    [
        ({"balloon.available": 10, "balloon.usable": 4, "balloon.unused": 1}, 6),
        ({"balloon.available": 10, "balloon.unused": 1, "balloon.disk_caches": 2}, 7),
        ({"balloon.available": 10, "balloon.unused": 1}, 9),
        ({"balloon.available": 10, "balloon.usable": 12}, 0),
        ({"balloon.available": 10}, None),
        ({"balloon.usable": 10}, None),
        ({}, None),
    ],
)
def test_used_memory_is_what_the_guest_cannot_give_back(stats: Stats, used: int | None) -> None:
    """As far as the guest tells; KiB become bytes."""
    assert row(domain(stats), None).used == (None if used is None else used * 1024)


def test_the_name_that_nova_gives_is_shown_where_the_metrics_may_say_it() -> None:
    """And where it is another one."""
    for name, metrics, alias in (
        ("shop", {NAMES_INSTANCES}, "shop"),
        ("shop", set(), ""),
        ("web", {NAMES_INSTANCES}, ""),
    ):
        info = DomainInfo(uuid="u", name="web", openstack=OpenStackInfo(instance_name=name))
        assert row(domain(info=info), None, metrics).alias == alias


@pytest.mark.parametrize(("seconds", "cpu"), [(10.0, 0.5), (0.5, 0.5), (0.0, None), (-1.0, None)])
def test_rates_are_taken_over_any_time(seconds: float, cpu: float | None) -> None:
    """`vms --watch 0.5` shows them too."""
    earlier = domain({"cpu.time": 0}, timestamp=100.0)
    later = domain({"cpu.time": int(seconds * 5e8)}, timestamp=100.0 + seconds)
    assert row(later, earlier).cpu == cpu


def test_there_are_no_rates_across_runs_or_a_step_of_the_clock() -> None:
    """The counters of another run, or a time that nobody knows."""
    first, second = (
        HostSample(
            timestamp=at,
            began=at,
            duration=0.0,
            up=True,
            domains=(domain({"cpu.time": int(at * 1e9), "process.pid": 1}, timestamp=at),),
        )
        for at in (100.0, 110.0)
    )
    assert overview(second, first).rows[0].cpu == 1.0
    stepped = replace(second, began=150.0)
    assert overview(stepped, first).rows[0].cpu is None
    other = replace(second.domains[0], stats={"cpu.time": 110 * 10**9, "process.pid": 2})
    assert overview(replace(second, domains=(other,)), first).rows[0].cpu is None


def test_others_may_go_first_after_each_vm() -> None:
    """An overview of many VMs does not hold up a scrape."""
    paused = []
    sample = HostSample(timestamp=0.0, duration=0.0, up=True, domains=(domain(),) * 3)
    assert len(overview(sample, None, pause=lambda: paused.append(1)).rows) == len(paused) == 3
