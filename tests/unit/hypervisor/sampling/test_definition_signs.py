"""Changes that no event tells and the statistics show."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_exporter.model import StatValue
from tests.support.fake_libvirt import FakeDomain, FakeHost
from tests.support.hosts import DEFAULT, by_name, following_host_of, take
from tests.support.waiting import wait_until

BEFORE: dict[str, StatValue] = {
    "vcpu.current": 2,
    "vcpu.maximum": 4,
    "balloon.maximum": 2048,
    "iothread.count": 1,
    "net.count": 1,
    "net.0.name": "tap0",
    "net.0.rx.bytes": 1,
    "block.count": 1,
    "block.0.name": "vda",
    "block.0.path": "/images/a.qcow2",
    "block.0.wr.bytes": 1,
    "perf.cmt": 1,
}


class Measured(FakeDomain):
    """A domain whose statistics can be chosen."""

    def __init__(self, number: int) -> None:
        super().__init__(number, iothreads=1)
        self.measured = True
        self.chosen = dict(BEFORE)

    def statistics(self, groups: set[str], flags: int) -> dict[str, Any]:
        stats = super().statistics(groups, flags)
        words = {"interface": "net", "cpu-total": "cpu"}
        asked = tuple(f"{words.get(group, group)}." for group in groups)
        return stats | {key: value for key, value in self.chosen.items() if key.startswith(asked)}


def measured_host() -> tuple[FakeHost, Measured, Measured]:
    """A host of two such domains."""
    fake, first, second = FakeHost(0), Measured(0), Measured(1)
    fake.add(first)
    fake.add(second)
    return fake, first, second


@pytest.mark.parametrize(
    "change",
    [
        {"block.0.path": "/images/a.s1"},
        {"block.0.backingIndex": 3},
        {"block.count": 2, "block.1.name": "vdb", "block.1.path": "/images/b"},
        {"net.0.name": "tap7"},
        {"net.count": 2, "net.1.name": "tap1"},
        {"vcpu.current": 3},
        {"vcpu.maximum": 8},
        {"balloon.maximum": 4096},
        {"iothread.count": 2},
        {"perf.cmt": 2, "perf.mbmt": 1},
    ],
    ids=lambda change: ",".join(change),
)
def test_a_change_that_the_statistics_show_has_the_xml_read_once(
    change: dict[str, StatValue],
) -> None:
    """That domain's, once for the change, although libvirt sent no event."""
    fake, first, second = measured_host()
    groups = DEFAULT | {"perf"}
    with following_host_of(fake) as host:
        take(host, groups)
        take(host, groups)
        wait_until(lambda: first.xml_reads == second.xml_reads == 1, "each XML is read")
        first.iothreads = 5
        first.chosen |= change
        take(host, groups)
        wait_until(lambda: first.xml_reads == 2, "the XML is read again")
        wait_until(lambda: iothreads(by_name(take(host, groups))["vm0"]) == 5, "and is shown")
        assert (first.xml_reads, second.xml_reads) == (2, 1)


def iothreads(domain: Any) -> int | None:
    return None if domain.info is None else domain.info.iothreads


def test_counters_that_move_have_nothing_read() -> None:
    """Nor do samples that ask for less, or for the backing chains too."""
    fake, first, _ = measured_host()
    with following_host_of(fake) as host:
        for moved in range(3):
            first.chosen |= {"net.0.rx.bytes": moved, "block.0.wr.bytes": moved, "cpu.time": moved}
            take(host)
            take(host, frozenset({"state"}))
        first.chosen |= {"block.count": 2, "block.1.name": "vda", "block.1.path": "/images/base"}
        for _ in range(2):
            take(host, backing=True)
            take(host, frozenset({"interface"}))
        assert first.xml_reads == 1


def test_a_domain_that_answers_less_for_a_while_has_nothing_read() -> None:
    """Another client holds its job: what is missing is no change."""
    fake, first, _ = measured_host()
    with following_host_of(fake) as host:
        take(host)
        with first.hung():
            take(host)
            take(host)
        take(host)
        assert first.xml_reads == 1
