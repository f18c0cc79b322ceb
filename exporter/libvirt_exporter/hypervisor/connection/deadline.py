"""A moment until which several things wait, and which may move while they do."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadline:
    """A time of the running loop; whoever waits with it follows when it is put off."""

    def __init__(self, at: float) -> None:
        self.at = at

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @property
    def rest(self) -> float:
        """Seconds that are left; negative afterwards."""
        return self.at - asyncio.get_running_loop().time()

    def put_off(self, at: float) -> None:
        """Move it to `at`, if that is later."""
        self.at = max(self.at, at)

    async def wait(self, future: asyncio.Future[Any]) -> bool:
        """Wait for a future, without cancelling it; whether it was done in time."""
        while not future.done() and (rest := self.rest) > 0:
            await asyncio.wait({future}, timeout=rest)
        return future.done()
