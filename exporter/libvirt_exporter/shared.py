"""Work that is done once for all who ask for the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """The work under way by its key; lives on one event loop."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry[T]] = {}

    async def get(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work of this key returns or raises; `start` begins it if nobody has.

        It is cancelled when the last one who waits for it is.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(asyncio.ensure_future(start()))
        entry.waiting += 1
        try:
            return await asyncio.shield(entry.work)
        finally:
            entry.waiting -= 1
            if (entry.work.done() or not entry.waiting) and self._entries.get(key) is entry:
                del self._entries[key]
            if not entry.waiting:
                entry.work.cancel()


class _Entry(Generic[T]):
    def __init__(self, work: asyncio.Future[T]) -> None:
        self.work = work
        self.waiting = 0
