"""Blocking calls on daemon threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from libvirt_exporter.hypervisor.connection.threads import CallThread

pytestmark = pytest.mark.anyio


def nothing() -> None:
    """For threads whose end does not matter."""


async def test_answer_reaches_whoever_awaits_it() -> None:
    """The result of a call becomes the future's result."""
    assert await CallThread("test", nothing).run(lambda: 42) == 42


async def test_exception_reaches_whoever_awaits_it() -> None:
    """What a call raises is raised where it is awaited."""
    with pytest.raises(ZeroDivisionError):
        await CallThread("test", nothing).run(lambda: 1 // 0)


async def test_calls_run_one_at_a_time_in_order() -> None:
    """A second call waits for the first, on the same thread."""
    thread = CallThread("test", nothing)
    seen: list[tuple[int, int]] = []

    gate = threading.Event()

    def call(number: int) -> None:
        gate.wait(20)
        seen.append((number, threading.get_ident()))

    both = thread.run(lambda: call(1)), thread.run(lambda: call(2))
    gate.set()
    await asyncio.gather(*both)
    assert [number for number, _ in seen] == [1, 2]
    assert len({ident for _, ident in seen}) == 1


async def test_finish_runs_on_the_thread_after_the_last_call() -> None:
    """Whatever belongs to the thread can be closed there."""
    order: list[str] = []
    finished = threading.Event()

    def finish() -> None:
        order.append("finish")
        finished.set()

    thread = CallThread("test", finish)
    answer = thread.run(lambda: order.append("call"))
    thread.stop()
    await answer
    assert await asyncio.to_thread(finished.wait, 5)
    assert order == ["call", "finish"]


async def test_a_call_given_up_before_it_began_never_runs() -> None:
    """Cancelling the future takes a queued call out."""
    thread = CallThread("test", nothing)
    gate = threading.Event()
    ran: list[str] = []
    first = thread.run(gate.wait)
    second = thread.run(lambda: ran.append("second"))
    second.cancel()
    gate.set()
    await first
    await thread.run(nothing)
    assert ran == []


def test_an_answer_for_a_closed_loop_is_dropped() -> None:
    """A call that comes back after its host was closed disturbs nobody."""
    gate, finished = threading.Event(), threading.Event()
    thread = CallThread("test", finished.set)
    complaints: list[object] = []
    before, threading.excepthook = threading.excepthook, complaints.append

    async def begin() -> None:
        thread.run(gate.wait)
        thread.stop()

    try:
        asyncio.run(begin())
        gate.set()
        assert finished.wait(5)
    finally:
        threading.excepthook = before
    assert complaints == []
