"""Waiting for what other threads and processes bring about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds that what is certain to come may take on the busiest machine."""
LOOK_EVERY = 0.01
"""Seconds between two looks."""


def wait_until(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """The first true value of `condition()`; AssertionError with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(LOOK_EVERY)
    return value


async def eventually(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """`wait_until` for coroutines: their loop goes on meanwhile."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not (value := condition()):
        assert loop.time() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(LOOK_EVERY)
    return value
