"""When a list is read: after a change and a quiet time, and not for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.sources.applications.watch import LONGEST_HOLD, Watch


def watch() -> Watch:
    return Watch(quiet=60, longest=600)


def test_the_first_list_is_read_at_once() -> None:
    """Nobody knows anything yet."""
    assert watch().settled("a", None, 1000)


def test_nothing_is_read_while_nothing_changes() -> None:
    """However often it is looked at."""
    it = watch()
    assert not any(it.settled("a", "a", float(now)) for now in range(0, 10_000, 100))
    assert it.due == float("inf")


def test_a_change_is_read_once_it_has_been_left_alone() -> None:
    """A further one begins the time anew."""
    it = watch()
    assert not it.settled("b", "a", 1000)
    assert it.due == 1060
    assert not it.settled("c", "a", 1059)
    assert it.due == 1119
    assert not it.settled("c", "a", 1118)
    assert it.settled("c", "a", 1119)


def test_what_goes_back_to_what_was_known_is_no_change() -> None:
    """The next one begins anew."""
    it = watch()
    it.settled("b", "a", 1000)
    assert not it.settled("a", "a", 1030)
    assert not it.settled("b", "a", 1065)
    assert it.settled("b", "a", 1125)


def test_a_guest_that_never_rests_is_read_all_the_same() -> None:
    """After the longest wait."""
    it = watch()
    read_at = next(
        now for now in range(0, 2000, 50) if it.settled(f"mark-{now}", "known", float(now))
    )
    assert read_at == 600


def test_readings_that_bring_nothing_new_become_rare() -> None:
    """Whose mark changes by every look is read about once an hour."""
    it = watch()
    known, reads = "0", 0
    for now in range(0, 86_400, 30):
        if it.settled(f"mark-{now}", known, float(now)):
            reads, known = reads + 1, f"mark-{now}"
            it.read(anything_new=False, now=float(now))
    assert 20 < reads < 40
    it.read(anything_new=True, now=0.0)
    assert it.held_until == 60


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(1, 300)), min_size=1, max_size=60))
def test_every_change_is_read_in_time_and_never_too_early(steps: list[tuple[str, float]]) -> None:
    """By the longest wait and a look, or once it was quiet; never sooner after the last reading."""
    it = watch()
    known, now, last_read, differs_since = "a", 0.0, -1e9, None
    for mark, pause in steps:
        now += pause
        differs_since = None if mark == known else differs_since or now
        if it.settled(mark, known, now):
            assert mark != known
            assert now - last_read >= 60
            known, last_read, differs_since = mark, now, None
            it.read(anything_new=True, now=now)
        elif differs_since is not None:
            assert now - differs_since < 600 or now < it.held_until
        assert it.held_until - now <= LONGEST_HOLD
