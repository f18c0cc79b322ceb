"""The name that was probably meant, and what the search for it may cost."""

import pytest

from libvirt_exporter.nearest import LONGEST_WORD, MOST_NAMES, nearest


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("dirty-rate", ("block", "dirtyrate"), "did you mean dirtyrate?"),
        ("nothing", ("block", "vcpu"), ""),
        ("block", (), ""),
        ("", ("block",), ""),
    ],
)
def test_the_nearest_name_is_the_one_that_resembles(
    word: str, known: tuple[str, ...], hint: str
) -> None:
    """A name that begins with the word wins; where no name is near, there is no hint."""
    assert nearest(word, known) == hint


def test_a_higher_resemblance_takes_fewer_names() -> None:
    """Whoever would refuse what may be anybody's asks for more."""
    assert nearest("include[]", ("exclude[]",)) == "did you mean exclude[]?"
    assert nearest("include[]", ("exclude[]",), resemblance=0.8) == ""


def test_a_search_is_bounded_in_the_words_length_and_the_number_of_names() -> None:
    """What lies beyond the bounds is not compared."""
    name = "a" * LONGEST_WORD
    assert nearest(f"{name}{'b' * 1000}", [name]) == f"did you mean {name}?"
    assert nearest("block", [*map(str, range(MOST_NAMES)), "block"]) == ""
