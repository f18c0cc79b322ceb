"""Which samples are kept for rates."""

from __future__ import annotations

import pytest

from libvirt_exporter.model import HostSample
from libvirt_exporter.query.history import RATE_TIME, History
from libvirt_exporter.query.need import MOST_IDS, Need, Scope, covers, merged

EVERYTHING: Scope = frozenset({Need(groups=frozenset({"block"}))})


def sample(at: float, *, partial: bool = False) -> HostSample:
    return HostSample(timestamp=at, duration=0.1, up=True, partial=partial)


def of_vms(*numbers: int) -> Scope:
    """What it takes to tell figures of these VMs."""
    vm_ids = frozenset(map(str, numbers))
    return frozenset({Need(groups=frozenset({"block"}), vm_ids=vm_ids)})


def earlier(history: History, at: float, scope: Scope) -> list[float]:
    """Times of the samples that the rates of one taken now are taken against; it is kept."""
    now = sample(at)
    found = [old.timestamp for old in history.before(now)]
    history.add(now, scope)
    return found


def test_vms_that_are_asked_one_by_one_all_have_an_earlier_sample() -> None:
    """Each request has a sample taken for those who asked of late; twenty come at once."""
    history = History()
    for burst in range(3):
        for number in range(20):
            at = 10.0 * burst + 0.05 * number
            found = earlier(history, at, of_vms(*range(number + 1)))
            if burst:
                assert found[:1] == [10.0 * (burst - 1) + 0.05 * 19]


def test_who_asks_for_all_has_rates_beside_those_who_ask_for_one() -> None:
    """However many samples others have taken since."""
    history = History()
    for poll in range(3):
        found = earlier(history, 10.0 * poll, EVERYTHING)
        assert (10.0 * (poll - 1) in found) == (poll > 0)
        for number in range(12):
            earlier(history, 10.0 * poll + 6 + 0.1 * number, of_vms(number))


@pytest.mark.parametrize(("vms", "step", "oldest"), [(9, 1, 8), (12, 1, 9), (7, 1, 8), (10, 2, 18)])
def test_rates_stay_young_where_vms_are_asked_in_turn_all_the_time(
    vms: int, step: int, oldest: int
) -> None:
    """Each sample is taken for those who asked in the last seconds, and covers no other whole."""
    history = History()
    for number in range(120):
        at = float(step * number)
        asked = {each % vms for each in range(number, number - 1 - 5 // step, -1) if each >= 0}
        found = earlier(history, at, of_vms(*asked))
        if at > 20:
            assert RATE_TIME <= at - found[0] <= oldest


def test_a_whole_sample_is_kept_beside_a_part_of_it() -> None:
    """And a part of one beside no whole one."""
    history = History()
    history.add(sample(0.0, partial=True), EVERYTHING)
    history.add(sample(1.0), EVERYTHING)
    history.add(sample(2.0, partial=True), EVERYTHING)
    assert [old.timestamp for old in history.before(sample(2.0 + RATE_TIME))] == [1.0]


def test_needs_of_very_many_vms_are_merged_to_all() -> None:
    """Those of a few stay as they are."""
    few = [Need(groups=frozenset({"block"}), vm_ids=frozenset({str(each)})) for each in range(10)]
    (one,) = merged(few)
    assert one.vm_ids == frozenset(map(str, range(10)))
    many = [
        Need(vm_ids=frozenset(str(1000 * client + each) for each in range(1000)))
        for client in range(40)
    ]
    (all_of_them,) = merged(many)
    assert all_of_them.vm_ids is None
    assert all(covers(merged([*many, *few]), need) for need in (*many, *few))
    (exactly,) = merged([Need(vm_ids=frozenset(map(str, range(MOST_IDS))))])
    assert exactly.vm_ids is not None
