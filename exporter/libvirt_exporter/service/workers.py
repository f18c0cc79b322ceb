"""The threads that compute answers, and which of them goes first."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SLICE: Final = 0.005
"""Seconds that other work goes on for while somebody scrapes; Python's switch interval."""
_PAUSE: Final = 0.025
"""Seconds for which it then stands still, unless the scrape ends before."""
_KNOWN_VIEWS: Final = 2
"""Views of parts, rendered before, that are sampled and rendered at once: each costs a sample."""
_NEW_VIEWS: Final = 1
"""Others, whose first rendering takes long."""
_LONGEST_SCRAPE: Final = 60.0
"""Seconds."""
_TURN: Final = 1.0
"""Seconds that a page lets scrapes go first at most."""


class Views:
    """The turns of the views of parts of one host.

    Their samples belong to their turns, so each host has its own: one that hangs holds up no other.
    """

    def __init__(self) -> None:
        self._new = asyncio.Semaphore(_NEW_VIEWS)
        self._known = asyncio.Semaphore(_KNOWN_VIEWS)

    def turn(self, *, known: bool) -> AbstractAsyncContextManager[None]:
        """The turn of a view, `known` when it has been rendered before."""
        return self._known if known else self._new


class Workers:
    """One thread for the usual scrape, one for everything else, which makes room for the first.

    Two threads alone would not do: whoever computes in Python holds the interpreter's lock, and
    each of the thousands of times that a sample waits for it costs up to 5 ms. So what computes for
    long has to call `pause` now and then. Each thread is one, as renderers and queries keep state;
    none of them waits for libvirt.
    """

    def __init__(self) -> None:
        self._first = ThreadPoolExecutor(1, "render")
        self._others = ThreadPoolExecutor(1, "other-work")
        self._scrapes = 0
        self._none = threading.Event()
        """Set while nobody scrapes the usual view."""
        self._none.set()
        self._quiet = asyncio.Event()
        """The same for the event loop."""
        self._quiet.set()
        self._resumed = 0.0

    @contextlib.contextmanager
    def scraping(self, at_most: float = _LONGEST_SCRAPE) -> Iterator[None]:
        """Somebody scrapes the usual view: from the beginning of the sample to its body.

        It goes first for so many seconds; one that takes longer waits for its host, not for the
        interpreter.
        """
        self._scrapes += 1
        self._none.clear()
        self._quiet.clear()
        with contextlib.ExitStack() as ends:
            ends.callback(self._scraped)
            rest = asyncio.get_running_loop().call_later(at_most, ends.close)
            try:
                yield
            finally:
                rest.cancel()

    def _scraped(self) -> None:
        self._scrapes -= 1
        if not self._scrapes:
            self._none.set()
            self._quiet.set()

    async def first(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work on the thread of the usual scrape."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._first, partial(work, *args, **kwargs))

    async def other(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work on the other thread; cancelled before it begins, it is not done."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._others, partial(work, *args, **kwargs))

    def pause(self) -> None:
        """Let a scrape go first; for work on the other thread, every millisecond or so.

        That goes on all the same, at a sixth of its speed, however much is scraped.
        """
        if self._none.is_set() or time.monotonic() - self._resumed < _SLICE:
            return
        self._none.wait(_PAUSE)
        self._resumed = time.monotonic()

    async def turn(self, at_most: float = _TURN) -> None:
        """Wait while the usual view is scraped, for so many seconds; for what the loop does."""
        if self._quiet.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self._quiet.wait()

    def close(self) -> None:
        """Take away what has not begun; never waits."""
        for thread in (self._first, self._others):
            thread.shutdown(wait=False, cancel_futures=True)
