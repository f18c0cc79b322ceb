"""Work that is done once for all who ask for the same."""

from __future__ import annotations

import asyncio

import pytest

from libvirt_exporter.shared import Shared

pytestmark = pytest.mark.anyio


class Work:
    """Work that ends when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.let = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.begun


async def test_those_who_ask_at_the_same_time_share_it() -> None:
    """Another key is other work, and so is the same one later."""
    shared, work, other = Shared[int](), Work(), Work()
    asking = [asyncio.create_task(shared.get("a", work)) for _ in range(3)]
    asking.append(asyncio.create_task(shared.get("b", other)))
    await asyncio.sleep(0)
    work.let.set()
    other.let.set()
    assert await asyncio.gather(*asking) == [1, 1, 1, 1]
    assert (work.begun, other.begun) == (1, 1)
    assert await shared.get("a", work) == 2


async def test_it_ends_with_the_last_who_waits_for_it() -> None:
    """One that goes away takes nothing from the others, and leaves no work for nobody."""
    shared, work = Shared[int](), Work()
    asking = [asyncio.create_task(shared.get("a", work)) for _ in range(2)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    await asyncio.sleep(0)
    assert not work.cancelled
    asking[1].cancel()
    await asyncio.wait(asking)
    await asyncio.sleep(0)
    assert work.cancelled


async def test_all_learn_what_it_failed_with() -> None:
    """A failure is nobody's for long: the next who asks has it tried again."""

    async def fails() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    shared = Shared[int]()
    found = await asyncio.gather(
        *(shared.get("a", fails) for _ in range(2)), return_exceptions=True
    )
    assert [str(error) for error in found] == ["no", "no"]
    work = Work()
    work.let.set()
    assert await shared.get("a", work) == 1
