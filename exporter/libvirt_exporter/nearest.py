"""What was probably meant by a name that nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Final

LONGEST_WORD: Final = 80
"""Characters that are compared: no name is longer, and the time taken is quadratic."""
MOST_NAMES: Final = 5000
"""Names that a word is compared with; the catalogue's names and patterns are some 1300."""


def nearest(word: str, known: Iterable[str], *, resemblance: float = 0.6) -> str:
    """Return `did you mean NAME?` with the known name that was probably meant; '' without one.

    `resemblance` is difflib's ratio from which another name is near, from 0 to 1.
    """
    names = list(islice(known, MOST_NAMES))
    close = get_close_matches(word[:LONGEST_WORD], names, n=1, cutoff=resemblance)
    return f"did you mean {close[0]}?" if close else ""
