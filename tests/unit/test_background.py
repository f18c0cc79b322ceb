"""Work on a thread that nobody waits for."""

from __future__ import annotations

import gc
import threading

import pytest

from libvirt_exporter.background import Worker
from tests.support.waiting import wait_until


def test_work_is_done_in_order_on_one_daemon_thread() -> None:
    """What it returns or raises is handed over."""
    worker = Worker("work")
    threads = [worker.run(threading.current_thread) for _ in range(3)]
    assert len({thread.result(5) for thread in threads}) == 1
    assert threads[0].result().daemon
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 // 0).result(5)
    assert worker.run(lambda: 7).result(5) == 7


def test_work_that_is_not_wanted_any_more_is_not_begun() -> None:
    """Who gave up leaves nothing behind a call that hangs."""
    worker = Worker("work")
    hanging = threading.Event()
    done: list[int] = []
    first = worker.run(hanging.wait)
    second = worker.run(lambda: done.append(2))
    assert second.cancel()
    hanging.set()
    assert first.result(5)
    worker.run(lambda: done.append(3)).result(5)
    assert done == [3]


def test_the_thread_ends_with_its_worker() -> None:
    """Nobody has to stop it."""
    worker = Worker("work")
    thread = worker.run(threading.current_thread).result(5)
    del worker
    gc.collect()
    wait_until(lambda: not thread.is_alive(), "the thread has ended")
