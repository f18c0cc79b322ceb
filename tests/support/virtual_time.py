"""Time that a test sets, and coroutines that wait for minutes at once."""

from __future__ import annotations

import asyncio
import selectors
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TURN = 1e-6
"""Seconds that one turn of the loop takes, so that what comes later has a later time."""


class Clock:
    """A clock that a test sets, in the place of the module `time` or its `monotonic`."""

    def __init__(self) -> None:
        self.now = 1000.0
        """Seconds."""

    def monotonic(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but sockets and executors, and keeps the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.executing = 0
        """Calls in executors, whose end comes in real time."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += TURN
        if timeout is None or timeout <= 0 or self.executing:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop without pauses; its time starts at 0 and passes while nothing can run.

    Executors are waited for in real time, during which its own stands still. Threads that it
    did not start are not: they may find that their answer comes too late.
    """

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._clock.executing += 1
        future.add_done_callback(self._executed)
        return future

    def _executed(self, _future: Future[Any]) -> None:
        self._clock.executing -= 1


def run_virtually(work: Coroutine[Any, Any, T], within: float) -> T:
    """What the coroutine returns; TimeoutError after `within` seconds of its own time."""
    factory: Callable[[], AbstractEventLoop] = VirtualTimeLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(work, within))
