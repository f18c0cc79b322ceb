"""Equal texts kept once, for as long as somebody uses them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final


def _itself(text: str) -> str:
    return text


def interning(version: tuple[int, ...]) -> Callable[[str], str]:
    """What a Python of this version can intern texts with that come and go."""
    # From 3.12.0 to 3.12.6 what is interned is never freed: CPython issue 113993.
    return _itself if (3, 12) <= version < (3, 12, 7) else sys.intern


intern: Final = interning(sys.version_info[:3])
"""Returns an equal text, mostly the same object as for any other equal one."""
