"""The samples that rates are taken against."""

from __future__ import annotations

from typing import Final, NamedTuple

from libvirt_exporter.model import HostSample
from libvirt_exporter.query.need import Scope, covers_all

RATE_TIME: Final = 5.0
"""Seconds that a rate covers at least."""
_MOST: Final = 8
"""Samples that are kept, however different they are."""


class _Kept(NamedTuple):
    sample: HostSample
    scope: Scope

    @property
    def at(self) -> float:
        return self.sample.timestamp


class History:
    """A few samples: enough to have one of the right age whenever another one is taken.

    Of samples that were taken for the same these are two.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        """The youngest last."""

    def add(self, sample: HostSample, scope: Scope) -> None:
        """Keep a sample if it will be of use; they come in the order of time."""
        new = _Kept(sample, scope)
        if self._kept and new.at < self._kept[-1].at:
            # The clock was set back.
            self._kept.clear()
        # The same sample, which somebody had no time to wait for.
        self._kept = [old for old in self._kept if not (old.sample.partial and old.at == new.at)]
        if any(
            new.at < old.at + RATE_TIME
            and covers_all(old.scope, scope)
            and (sample.partial or not old.sample.partial)
            for old in self._kept
        ):
            return
        self._kept.append(new)
        old_enough = [kept for kept in self._kept if kept.at <= new.at - RATE_TIME]
        useless = {
            id(old)
            for number, old in enumerate(old_enough)
            if any(covers_all(younger.scope, old.scope) for younger in old_enough[number + 1 :])
        }
        self._kept = [kept for kept in self._kept if id(kept) not in useless]
        while len(self._kept) > _MOST:
            del self._kept[self._dispensable(new.at)]

    def _dispensable(self, now: float) -> int:
        """Which one is missed least: of the young ones, that with another one soon after it.

        Those that are old enough are what the next rates are taken against, but half of all are
        enough of them; and the oldest young one is the next to become one.
        """
        old = sum(kept.at <= now - RATE_TIME for kept in self._kept)
        if old > _MOST // 2:
            return 0

        def loss(number: int) -> tuple[bool, float]:
            kept, following = self._kept[number : number + 2]
            return not covers_all(following.scope, kept.scope), following.at - kept.at

        return min(range(old + 1, len(self._kept) - 1), key=loss)

    def before(self, sample: HostSample) -> tuple[HostSample, ...]:
        """The samples kept that are at least RATE_TIME older, the youngest first.

        Without those that have nothing that a younger one has not.
        """
        found: list[_Kept] = []
        for kept in reversed(self._kept):
            if kept.at <= sample.timestamp - RATE_TIME and not any(
                covers_all(younger.scope, kept.scope) for younger in found
            ):
                found.append(kept)
        return tuple(kept.sample for kept in found)
