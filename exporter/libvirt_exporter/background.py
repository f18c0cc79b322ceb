"""Work that may block for ever, on daemon threads, for which nobody waits at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def run(work: Callable[[], T], name: str) -> Future[T]:
    """Begin `work` on a daemon thread of that name; the future gets what it returns or raises.

    An executor would wait for its threads when the process ends.
    """
    future: Future[T] = Future()
    # Who gives up waiting cannot cancel it.
    future.set_running_or_notify_cancel()

    def deliver() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - delivered to whoever waits
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=deliver, name=name, daemon=True).start()
    return future
