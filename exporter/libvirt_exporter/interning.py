"""Equal texts kept once, for as long as somebody uses them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final


def _itself(text: str) -> str:
    return text


def interning(version: tuple[int, ...]) -> Callable[[str], str]:
    """sys.intern; a function that returns its argument where interned texts are never freed."""
    # CPython issue 113993.
    return _itself if (3, 12) <= version < (3, 12, 7) else sys.intern


intern: Final = interning(sys.version_info[:3])
"""Returns the same text; the same object for all equal ones, where `interning` allows it."""
