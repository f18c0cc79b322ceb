"""CPU, memory and NUMA nodes of a VM."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from libvirt_exporter.model import DomainInfo, NumaCell, OvirtInfo, Stats
from libvirt_exporter.query.fields.table import BY_NAME, values
from tests.support.samples import TYPICAL_INFO, TYPICAL_STATS, UUID
from tests.support.vm_views import NOW, SECOND, described, later, running, value_of, view

KVM = DomainInfo(uuid=UUID, name="web", type="kvm")


TCG = DomainInfo(uuid=UUID, name="web", type="qemu")


def cpu(guest: int, total: int, vcpus: int) -> Stats:
    """CPU times in seconds: of the guest by /proc, of the process, of each of two vCPUs."""
    return {
        "process.guest.time": guest * SECOND,
        "cpu.time": total * SECOND,
        "vcpu.maximum": 2,
        "vcpu.0.time": vcpus * SECOND,
        "vcpu.1.time": vcpus * SECOND,
    }


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (KVM, {"cpuUser": 80.0, "cpuSys": 40.0}),
        (TCG, {"cpuUser": 100.0, "cpuSys": 20.0}),
        (None, {"cpuUser": 100.0, "cpuSys": 20.0}),
    ],
    ids=["kvm", "tcg", "unknown"],
)
def test_cpu_usage_is_the_growth_of_cpu_times(
    info: DomainInfo | None, expected: dict[str, float]
) -> None:
    """Guest code by /proc with KVM, else by the vCPUs' times, and the rest is QEMU's own."""
    both = later(10, cpu(10, 100, 50), cpu(18, 112, 55), info=info)

    assert values(both, ["cpuUser", "cpuSys"]) == expected


def test_cpu_usage_without_proc_is_that_of_the_vcpus() -> None:
    """A host over the network has no guest time."""
    now = {**cpu(0, 112, 55)}
    del now["process.guest.time"]

    assert value_of(later(10, cpu(0, 100, 50), now, info=KVM), "cpuUser") == 100.0


@pytest.mark.parametrize("late", [0.0, 1.0, 3.7])
def test_rates_are_those_of_the_calls_that_told_them(late: float) -> None:
    """A monitor that answered late in the first sample says nothing of interfaces and /proc."""
    net: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 0}
    busy = 10.0 - late
    first = {**cpu(0, 0, 0), **net}
    second = {**first, "net.0.rx.bytes": 500_000_000, "process.guest.time": 10 * SECOND}
    second |= {"cpu.time": round(busy * SECOND), "block.count": 1, "block.0.name": "vda"}
    second["block.0.rd.bytes"] = round(busy * 1_000_000)
    first |= {"block.count": 1, "block.0.name": "vda", "block.0.rd.bytes": 0}
    both = later(busy, first, second, info=KVM, without_monitor_at=NOW)
    assert both.earlier is not None
    both = replace(both, earlier=replace(both.earlier, without_monitor_at=NOW - 10))

    found = values(both, ["cpuUser", "cpuSys", "network", "disks"])

    assert found["cpuUser"] == 100.0
    assert found["cpuSys"] == 0.0
    assert found["network"]["vnet0"]["rxBytesPerSecond"] == 50_000_000
    assert found["disks"]["vda"]["readRate"] == 1_000_000


def test_vcpu_that_was_plugged_in_meanwhile_does_not_count_yet() -> None:
    """Its time before is not known."""
    before = {"vcpu.maximum": 2, "vcpu.0.time": 0}
    now = {"vcpu.maximum": 2, "vcpu.0.time": SECOND, "vcpu.1.time": 7 * SECOND}

    assert value_of(later(10, before, now), "cpuUser") == 10.0


@pytest.mark.parametrize(
    ("before", "now", "more"),
    [
        ({}, {}, {"active": False}),
        ({"process.pid": 1}, {"process.pid": 2}, {}),
        ({"start.time": 1}, {"start.time": 2}, {}),
    ],
    ids=["inactive", "other process", "other start"],
)
def test_there_are_no_rates_across_runs(before: Stats, now: Stats, more: dict[str, Any]) -> None:
    """Two runs of a domain have nothing to do with each other."""
    both = later(10, {**TYPICAL_STATS, **before}, {**TYPICAL_STATS, **now}, **more)

    assert values(both, ["cpuUser", "cpuSys"]) == {}
    assert "readRate" not in value_of(both, "disks")["vda"]


def test_counter_that_starts_again_gives_no_rate() -> None:
    """Rather none than a wrong one."""
    both = later(10, cpu(9, 9, 9), cpu(9, 8, 8), info=TCG)

    assert values(both, ["cpuUser", "cpuSys"]) == {}


def test_rates_are_absent_with_the_first_sample_and_when_samples_are_too_close() -> None:
    """Absent everywhere, inside disks and network too."""
    for first in (running(), later(0.2, TYPICAL_STATS, TYPICAL_STATS)):
        found = values(first, BY_NAME)
        text = repr(found)

        assert found.keys().isdisjoint({"cpuUser", "cpuSys"})
        assert not any(word in text for word in ("Rate", "Latency", "PerSecond", "swap_", "flt"))


def test_balloon_is_in_kib_with_what_ovirt_wants_of_it() -> None:
    """Its own figures as libvirt's, oVirt's from the metadata."""
    stats: Stats = {"balloon.maximum": 2048, "balloon.current": 1024}
    ovirt = OvirtInfo(guaranteed_memory=2**20, balloon_target=2**19, ballooning_enabled=False)
    device = DomainInfo(uuid=UUID, name="web", balloon_model="virtio")

    assert value_of(view(stats), "balloonInfo") == {"balloon_max": 2048, "balloon_cur": 1024}
    assert value_of(view(stats, info=device), "balloonInfo")["ballooning_enabled"] is True
    assert value_of(view(stats, info=replace(device, ovirt=ovirt)), "balloonInfo") == {
        "balloon_max": 2048,
        "balloon_min": 1024,
        "balloon_cur": 1024,
        "balloon_target": 512,
        "ballooning_enabled": False,
    }
    assert value_of(view({}), "balloonInfo") is None


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({"balloon.usable": 250, "balloon.available": 1000, "balloon.unused": 1}, 75),
        ({"balloon.unused": 100, "balloon.disk_caches": 100, "balloon.available": 1000}, 80),
        ({"balloon.unused": 500, "balloon.maximum": 1000}, 50),
        ({"balloon.unused": 2000, "balloon.maximum": 1000}, 0),
        ({"balloon.maximum": 1000, "balloon.current": 1000, "balloon.rss": 900}, None),
        ({"balloon.usable": 0, "balloon.available": 0}, None),
    ],
)
def test_memory_usage_is_of_what_the_guest_reports(stats: Stats, expected: int | None) -> None:
    """The memory that QEMU holds on the host stands in for nothing."""
    assert value_of(view(stats), "memUsage") == expected


def test_memory_statistics_are_in_kib_and_per_second() -> None:
    """Sizes as reported, swapping and faults as rates of three digits."""
    before: Stats = {
        **{f"balloon.{key}": 0 for key in ("swap_in", "swap_out", "major_fault")},
        "balloon.minor_fault": 0,
    }
    now: Stats = {
        "balloon.available": 1000,
        "balloon.unused": 200,
        "balloon.disk_caches": 100,
        "balloon.swap_in": 40,
        "balloon.swap_out": 0,
        "balloon.major_fault": 25,
        "balloon.minor_fault": 123456,
    }

    assert value_of(later(10, before, now), "memoryStats") == {
        "mem_total": 1000,
        "mem_unused": 200,
        "mem_free": 300,
        "swap_in": 4,
        "swap_out": 0,
        "majflt": 2,
        "minflt": 12300,
        "pageflt": 12302,
    }
    assert value_of(view({"balloon.current": 1, "balloon.rss": 1}), "memoryStats") is None


@pytest.mark.parametrize(
    ("reported", "faults", "expected"), [((60, 120), 6000, 100), ((60, 60), 0, None)]
)
def test_rates_of_what_the_guest_reports_are_between_its_reports(
    reported: tuple[int, int], faults: int, expected: int | None
) -> None:
    """Its counters stand still from one report to the next, however often it is sampled."""
    before, now = ({"balloon.last-update": at} for at in reported)
    both = later(
        10,
        {**before, "balloon.major_fault": 50, "balloon.available": 1},
        {**now, "balloon.major_fault": 50 + faults, "balloon.available": 1},
    )
    assert value_of(both, "memoryStats").get("majflt") == expected


def test_host_nodes_of_a_guest_are_lists_in_ascending_order() -> None:
    """By the guest's node; of a guest without nodes nothing is said."""
    stats = {f"numa.{key}": True for key in ("1.node.10", "1.node.9", "0.node.0")}
    cells = (NumaCell(0, (0,)), NumaCell(1, (1,)))

    placed = view(stats, info=replace(TYPICAL_INFO, numa_cells=cells))
    assert value_of(placed, "vNodeRuntimeInfo") == {"0": [0], "1": [9, 10]}
    assert value_of(view(stats, info=TYPICAL_INFO), "vNodeRuntimeInfo") is None
    assert value_of(described(numa_cells=cells), "vNodeRuntimeInfo") is None
