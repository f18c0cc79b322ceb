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
        stats.pop("perf.cmt", None)
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


PERF_FREE = {key: value for key, value in BEFORE.items() if not key.startswith("perf.")}


@pytest.mark.parametrize("disabled", [False, True])
def test_a_first_or_last_perf_event_has_the_xml_read_once(disabled: bool) -> None:
    """Where the interfaces and perf are asked: those who have none are asked in one call."""
    fake, first, second = measured_host()
    second.measured = False
    second.chosen = PERF_FREE
    groups = DEFAULT | {"perf"}
    changed = first if disabled else second
    with following_host_of(fake) as host:
        take(host, groups)
        wait_until(lambda: first.xml_reads == second.xml_reads == 1, "each XML is read")
        fake.calls.clear()
        take(host, groups)
        asked = {(call[1], call[2]) for call in fake.calls if call[1] & {"interface", "perf"}}
        assert asked == {
            (frozenset({"interface"}), ("vm0",)),
            (frozenset({"perf"}), ("vm0",)),
            (frozenset({"interface", "perf"}), ("vm1",)),
        }
        changed.measured = not disabled
        changed.chosen = PERF_FREE if disabled else BEFORE
        shown = by_name(take(host, groups))[changed.name].stats
        assert ("perf.cmt" in shown) is not disabled
        wait_until(lambda: changed.xml_reads == 2, "the XML is read again")
        take(host, groups)
        assert (first.xml_reads, second.xml_reads) == ((2, 1) if disabled else (1, 2))


@pytest.mark.parametrize("groups", [DEFAULT, DEFAULT - {"interface"} | {"perf"}])
def test_a_first_perf_event_that_is_not_asked_has_nothing_read(groups: frozenset[str]) -> None:
    """No call is made for it alone."""
    fake, first, _ = measured_host()
    first.measured = False
    first.chosen = PERF_FREE
    with following_host_of(fake) as host:
        take(host, groups)
        first.chosen = dict(BEFORE)
        take(host, groups)
        take(host, groups)
        assert first.xml_reads == 1


def test_a_first_perf_event_that_fails_costs_no_interfaces() -> None:
    """The call fails as a whole; the parts that do not are asked again."""
    fake, first, second = measured_host()
    first.measured = second.measured = False
    first.chosen = second.chosen = PERF_FREE
    groups = DEFAULT | {"perf"}
    with following_host_of(fake) as host:
        take(host, groups)
        first.failing = {"perf"}
        sample = by_name(take(host, groups))
    assert all(sample[name].stats["net.count"] == 1 for name in ("vm0", "vm1"))


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
