"""Label values: cleaned, cut and escaped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.render import labels


@pytest.mark.parametrize("value", ["", "web", "x" * 32, "ü" * 16, 'a"b\\c\nd'])
def test_fitting_value_stays_as_it_is(value: str) -> None:
    """Whatever Prometheus can hold is kept, up to the limit."""
    assert labels.clean(value, 32) == value


@pytest.mark.parametrize("value", ["a\ud800b", "a\0b"])
def test_what_no_label_can_hold_is_replaced(value: str) -> None:
    """Lone surrogates, which are no UTF-8, and NUL become U+FFFD."""
    assert labels.clean(value, 256) == "a\ufffdb"


def test_long_value_is_cut_and_ends_in_a_hash() -> None:
    """The limit counts bytes; the hash follows `~`."""
    cut = labels.clean("x" * 3000, 32)

    assert len(cut) == 32
    assert cut[:24] == "x" * 23 + "~"


def test_values_that_differ_behind_the_cut_stay_different() -> None:
    """Two long names remain two series."""
    assert labels.clean("x" * 300 + "a", 256) != labels.clean("x" * 300 + "b", 256)


@given(st.text(st.characters()), st.integers(32, 64))
def test_clean_value_is_utf8_within_the_limit(value: str, limit: int) -> None:
    """No character is cut in two."""
    assert len(labels.clean(value, limit).encode()) <= limit


def test_label_value_is_escaped() -> None:
    """Quotes, backslashes and line feeds, as both formats demand."""
    assert labels.escape('a"b\\c\nd') == r"a\"b\\c\nd"


def test_help_of_the_text_format_keeps_quotes() -> None:
    """Only backslash and line feed are special there."""
    assert labels.escape_help('a"b\\c\nd') == r'a"b\\c' + r"\nd"


def test_labels_are_rendered_in_order() -> None:
    """As they are given: identity first."""
    assert labels.render((("b", "1"), ("a", 'x"'))) == r'b="1",a="x\""'
