"""How busy an invented VM is, and what it has done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.invented.load import DAY, Load

MOMENTS = st.floats(0, 4e9)
LOADS = st.builds(
    Load,
    st.floats(0.01, 1e8),
    daily=st.floats(0, 0.6),
    wave=st.floats(0, 0.39),
    period=st.floats(30, 3000),
    shift=st.floats(0, 100),
)


@given(LOADS, MOMENTS, st.floats(0, 2 * DAY), st.floats(0, 2 * DAY))
def test_what_was_done_never_falls_and_adds_up(
    load: Load, begin: float, one: float, other: float
) -> None:
    """A counter of it is one: it grows, and two spans make what both together are."""
    middle, end = begin + one, begin + one + other
    parts = load.done(begin, middle), load.done(middle, end)

    assert min(parts) >= -1e-5 * load.mean
    assert sum(parts) == pytest.approx(load.done(begin, end), rel=1e-6, abs=1e-5 * load.mean)


@given(LOADS, MOMENTS)
def test_what_was_done_in_a_moment_is_the_work_of_the_moment(load: Load, when: float) -> None:
    """`done` is the integral of `at`."""
    assert load.done(when - 0.5, when + 0.5) == pytest.approx(load.at(when), rel=0.01)


def test_the_afternoon_is_busier_than_the_night() -> None:
    """The figures follow the hour."""
    load = Load(1.0)
    assert load.done(14 * 3600, 15 * 3600) > 3 * load.done(2 * 3600, 3 * 3600)
