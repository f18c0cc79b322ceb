"""When a list of applications is read again: once it has changed, and then been left alone."""

from __future__ import annotations

from math import inf
from typing import Final

from msgspec import Struct

LONGEST_HOLD: Final = 3600.0
"""Seconds without another reading, at most, after some that brought nothing new."""
_DOUBLINGS: Final = 10


class Watch(Struct, gc=False):
    """What was seen of one guest; times are of time.monotonic."""

    quiet: float
    """Seconds without a change after which the list is read."""
    longest: float
    """Seconds after a change by which it is read all the same."""
    mark: str = ""
    """What was seen last, while it is not what is known; '' while it is."""
    since: float = 0.0
    """When that was seen first."""
    first: float = 0.0
    """When another mark than the known one was seen first."""
    held_until: float = -inf
    needless: int = 0
    """Readings in a row that brought nothing new."""

    def settled(self, mark: str, known: str | None, now: float) -> bool:
        """Whether the list is to be read now that `mark` was seen; `known`: that of the last list.

        The first list, of which there is no mark, is read at once.
        """
        if mark == known:
            self.mark = ""
            return False
        if not self.mark:
            self.first = now
        if mark != self.mark:
            self.mark, self.since = mark, now
        return known is None or (now >= self.held_until and now >= self.due)

    @property
    def due(self) -> float:
        """When a change that was seen is to be looked at again; inf while there is none."""
        if not self.mark:
            return inf
        return max(min(self.since + self.quiet, self.first + self.longest), self.held_until)

    def read(self, *, anything_new: bool, now: float) -> None:
        """The list was read.

        A guest whose mark changes though its list does not, by mistake or malice, has it read
        more and more seldom.
        """
        self.mark = ""
        self.needless = 0 if anything_new else self.needless + 1
        hold = self.quiet * 2.0 ** min(self.needless, _DOUBLINGS)
        self.held_until = now + min(hold, max(LONGEST_HOLD, self.quiet))
