"""The threads that compute, and which of them goes first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from libvirt_exporter.service import workers
from libvirt_exporter.service.workers import Views, Workers
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def both() -> Iterator[Workers]:
    """Both threads."""
    with closing(Workers()) as both:
        yield both


async def test_other_work_stands_still_while_somebody_scrapes(
    both: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its next pause on, until the scrape has its body, and then goes on."""
    monkeypatch.setattr(workers, "_PAUSE", PATIENCE)
    monkeypatch.setattr(workers, "_SLICE", 0.0)
    steps, asked = 0, threading.Event()

    def work() -> None:
        nonlocal steps
        asked.wait()
        for _ in range(3):
            both.pause()
            steps += 1

    with both.scraping(), both.scraping():
        working = asyncio.ensure_future(both.other(work))
        asked.set()
        assert await both.first(lambda: steps) == 0
    await working
    assert steps == 3


async def test_a_scrape_that_waits_for_its_host_holds_up_others_for_its_time_only(
    both: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it goes on; another one that is within its time still goes first."""
    monkeypatch.setattr(workers, "_PAUSE", PATIENCE)
    monkeypatch.setattr(workers, "_SLICE", 0.0)
    with both.scraping(at_most=0.0):
        await both.other(both.pause)
        await both.turn()
        with both.scraping():
            held = asyncio.ensure_future(both.other(both.pause))
            assert await both.first(lambda: "first") == "first"
            assert not held.done()
        await held


async def test_it_goes_on_slowly_however_much_is_scraped(
    both: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape that never ends stops nothing for good."""
    monkeypatch.setattr(workers, "_SLICE", 0.0)
    with both.scraping():
        for _ in range(3):
            await both.other(both.pause)


async def test_work_that_nobody_waits_for_is_not_begun(both: Workers) -> None:
    """As long as it is in the queue."""
    busy = threading.Event()
    begun: list[str] = []
    first = asyncio.ensure_future(both.other(busy.wait))
    second = asyncio.ensure_future(both.other(begun.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    await asyncio.sleep(0)
    busy.set()
    await first
    await both.other(begun.append, "third")
    assert begun == ["third"]


async def test_one_new_view_has_its_turn_at_a_time() -> None:
    """Known ones do not wait for it."""
    views = Views()
    inside: list[str] = []
    leave = asyncio.Event()

    async def enter(name: str, *, known: bool) -> None:
        async with views.turn(known=known):
            inside.append(name)
            await leave.wait()

    tasks = [
        asyncio.create_task(enter(name, known=name == "known"))
        for name in ("new", "another", "known")
    ]
    await eventually(lambda: len(inside) == 2, "two are inside")
    assert inside == ["new", "known"]
    leave.set()
    await asyncio.gather(*tasks)
    assert inside == ["new", "known", "another"]
