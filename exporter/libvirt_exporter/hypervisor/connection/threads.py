"""Blocking calls on daemon threads of our own, awaited from asyncio.

A libvirt call may block for ever and cannot be cancelled, and an executor waits at interpreter
exit for the calls it runs. So every thread here is a daemon that nobody ever joins; whoever
loses patience with a call stops awaiting it and stops using its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from libvirt_exporter.hypervisor.connection.errors import detached

T = TypeVar("T")


class CallThread:
    """One daemon thread that runs calls in the order given, one at a time.

    The thread starts with the first call. `finish` runs on it once, after the last call.
    """

    def __init__(self, name: str, finish: Callable[[], None]) -> None:
        self._name = name
        self._finish = finish
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = False

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Queue `function`; the future, of the running loop, gets its result or exception.

        Nobody needs to await the future: an answer that comes too late is dropped silently.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(mark_retrieved)

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - delivered to whoever awaits
                _hand_over(loop, future, future.set_exception, detached(error))
            else:
                _hand_over(loop, future, future.set_result, result)

        self._calls.put(call)
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def stop(self) -> None:
        """Take no more calls; those already queued still run. Never blocks."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # its result holds libvirt objects, which must not outlive the connection
        self._finish()


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    settle: Callable[..., None],
    outcome: object,
) -> None:
    def settle_once() -> None:
        if not future.done():
            settle(outcome)

    # The loop is closed when its host was closed before the call came back: nobody waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle_once)


def mark_retrieved(future: asyncio.Future[T]) -> None:
    """Have asyncio not complain of a future whose exception nobody came to see."""
    if not future.cancelled():
        future.exception()
