"""What the pages for people show: made once for all who look, of samples that others had taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from msgspec.structs import replace

from libvirt_exporter.model import HostSample
from libvirt_exporter.query.overview import Overview, overview
from libvirt_exporter.service.display import Display
from libvirt_exporter.service.workers import Workers
from libvirt_exporter.shared import Shared

_AGE: Final = 2.0
"""Seconds for which a sample may be shown, …"""
_SHARE: Final = 5
"""… or this many times as long as it took, so that pages leave libvirt time for others."""
_KEPT: Final = 60.0
"""Seconds after which all is forgotten when nobody looks."""
_SHORTEST_RATE: Final = 1.0
_LONGEST_RATE: Final = 600.0
"""Seconds between two samples from which a rate is made."""


class _Made(NamedTuple):
    sample: HostSample
    display: Display
    overview: Overview


class Overviews:
    """The last overview of one host; lives on one event loop."""

    def __init__(self, take: Callable[[], Awaitable[HostSample]], workers: Workers) -> None:
        """`take` takes a sample of all domains."""
        self._take = take
        self._workers = workers
        self._made: _Made | None = None
        self._making = Shared[Overview]()
        self._forgetting: asyncio.TimerHandle | None = None

    async def get(self, latest: HostSample | None, display: Display) -> Overview:
        """The host of late, the same object as long as nothing is sampled anew.

        `latest`: the last sample that was taken for somebody else, `display`: what is shown of it.
        """
        known = [latest] if latest is not None else []
        if self._made is not None:
            known.append(self._made.sample)
        sample = next(filter(_is_young, known), None) or await self._take()
        made = self._made
        if made is None or made.sample is not sample or made.display is not display:
            before = _before(sample, known)
            # The work keeps both, whose ids are in the key.
            work = await self._making.get(
                (id(sample), id(display)), lambda: self._make(sample, before, display)
            )
            made = self._made = _Made(sample, display, work)
        self._forget_later()
        return made.overview

    async def _make(
        self, sample: HostSample, before: HostSample | None, display: Display
    ) -> Overview:
        shown = replace(sample, domains=tuple(display.shown(sample).domains))
        metrics = frozenset(display.everything.selection.index)
        pause = self._workers.pause
        return await self._workers.other(overview, shown, before, metrics, pause=pause)

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(_KEPT, self._forget)

    def _forget(self) -> None:
        self._made = self._forgetting = None


def _is_young(sample: HostSample) -> bool:
    age = time.time() - sample.timestamp - sample.duration
    return 0 <= age <= max(_AGE, _SHARE * sample.duration)


def _before(sample: HostSample, known: Iterable[HostSample]) -> HostSample | None:
    """The youngest of the samples against which rates can be taken."""
    usable = [
        old
        for old in known
        if old.up and _SHORTEST_RATE <= sample.timestamp - old.timestamp <= _LONGEST_RATE
    ]
    return max(usable, key=lambda old: old.timestamp, default=None)
