"""What happens to an invented VM."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.invented import story
from libvirt_exporter.hypervisor.invented.load import DAY, Load
from libvirt_exporter.hypervisor.invented.machines import MACHINES, Machine

MOMENTS: Final = st.floats(1e9, 4e9)
SPANS: Final = st.floats(0, 3000)
TOLD: Final = [machine.story for machine in MACHINES]
IDLE: Final = next(told for told in TOLD if len(told) == 1 and not told[0].activity)
STORIES: Final = st.sampled_from(TOLD)
LOAD: Final = Load(1.0)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_story_begins_with_its_cycle_and_goes_on_in_order(machine: Machine) -> None:
    """Otherwise there would be moments of no episode."""
    begins = [episode.begins for episode in machine.story]
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    assert begins[-1] < story.CYCLE
    assert DAY % story.CYCLE == 0


@given(STORIES, MOMENTS)
def test_a_moment_lies_in_its_episode(told: story.Story, now: float) -> None:
    """And each belongs to the run that was begun last."""
    episode, since, until = story.moment(told, now)

    assert since <= now < until
    assert episode in told
    assert story.run_began(told, now) <= now


@given(STORIES, MOMENTS, SPANS)
def test_counters_of_a_run_never_fall(told: story.Story, now: float, span: float) -> None:
    """Only a new run begins anew."""
    later = now + span
    if story.run_began(told, now) == story.run_began(told, later):
        assert story.done(told, LOAD, later) >= story.done(told, LOAD, now) - 1e-3


@example(IDLE, 420 * story.MONTH, 1.0)
@given(STORIES, MOMENTS, st.floats(0, 1))
def test_who_does_not_run_does_nothing(told: story.Story, now: float, share: float) -> None:
    """Counters stand still while a VM is paused or stopped."""
    episode, since, until = story.moment(told, now)
    if not episode.activity:
        at = since + share * (until - since) * 0.999
        assert story.done(told, LOAD, at) == pytest.approx(story.done(told, LOAD, since), abs=1e-3)


@given(STORIES, MOMENTS, SPANS, SPANS)
def test_everything_happens_once_however_often_somebody_looks(
    told: story.Story, begin: float, one: float, other: float
) -> None:
    """Two spans bring what both together do, in order."""
    middle, end = begin + one, begin + one + other
    at_once = list(story.happenings(told, begin, end))

    assert [*story.happenings(told, begin, middle), *story.happenings(told, middle, end)] == at_once
    assert [at for at, _, _ in at_once] == sorted(at for at, _, _ in at_once)


def test_a_cycle_has_all_that_the_demo_promises() -> None:
    """A migration, a full disk, a watchdog and a backup come in every cycle."""
    events = {
        event
        for machine in MACHINES
        for _, event, _ in story.happenings(machine.story, 1e9, 1e9 + story.CYCLE)
    }
    assert events >= {"migration_iteration", "io_error_reason", "watchdog", "job_completed"}
