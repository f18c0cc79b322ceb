"""Domains that answered without their monitor because another client held their job."""

from __future__ import annotations

import asyncio
from typing import Final

RETRIES: Final = 5
"""Times that a domain is asked again whose job another client held."""
RETRY_DELAY: Final = 0.02
"""Seconds before the first of them; each further one waits twice as long."""

Again = dict[tuple[str, frozenset[str]], int]
"""Replies without the job so far, by UUID and groups."""


class Retries:
    """Who is to be asked again, and when."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._again: Again = {}
        self._at = 0.0

    @property
    def at(self) -> float | None:
        """The loop time at which they are to be asked; None when there are none."""
        return self._at if self._again else None

    def add(self, uuid: str, groups: frozenset[str], attempt: int) -> None:
        """Have a domain asked again for these groups, after `attempt` replies without the job."""
        if not self._again:
            self._at = self._loop.time() + RETRY_DELAY * 2 ** (attempt - 1)
        self._again[uuid, groups] = attempt

    def due(self) -> Again:
        """Those whose time has come; they are not waited for any more."""
        if not self._again or self._loop.time() < self._at:
            return {}
        due, self._again = self._again, {}
        return due
