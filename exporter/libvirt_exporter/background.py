"""Work that may block for ever, on daemon threads, for which nobody waits at the end."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_Jobs = SimpleQueue[Callable[[], None] | None]


class Worker:
    """One daemon thread that does one piece of work after the other.

    An executor would wait for its threads when the process ends. The thread starts with the first
    piece of work, and ends when nobody has the worker any more.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of the thread."""
        self._name = name
        self._jobs: _Jobs = SimpleQueue()
        self._started = False

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Queue `work`; the future gets what it returns or raises.

        Cancelling the future takes away work that has not begun.
        """
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - delivered to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        if not self._started:
            self._started = True
            weakref.finalize(self, self._jobs.put, None).atexit = False
            threading.Thread(target=_do, args=(self._jobs,), name=self._name, daemon=True).start()
        return future


def _do(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # what it holds may be large
