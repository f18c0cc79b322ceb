"""Bodies that are being written."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.types import Message

from libvirt_exporter.web import bodies
from libvirt_exporter.web.bodies import PIECE, Bodies, Body, PiecewiseResponse
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


class Client:
    """Takes as many pieces as it is let; its connection can be ended."""

    def __init__(self, registry: Bodies, body: Body) -> None:
        self.received: list[bytes] = []
        self.length = -1
        """What the header says."""
        self.held = contextlib.ExitStack()
        self.given_back = False
        self.held.callback(self._give_back)
        self.takes = asyncio.Semaphore(0)
        self._gone = asyncio.Event()
        response = PiecewiseResponse(body, registry, headers={}, held=self.held)
        scope = {"type": "http", "state": {"abort": self._gone.set}}
        self.served = asyncio.create_task(response(scope, self._receive, self._send))

    def _give_back(self) -> None:
        self.given_back = True

    @property
    def dropped(self) -> bool:
        return self._gone.is_set()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.length = int(dict(message["headers"])[b"content-length"])
        if message["type"] == "http.response.body":
            await self.takes.acquire()
            self.received.append(message["body"])

    async def take(self, pieces: int) -> None:
        """Take so many more."""
        before = len(self.received)
        for _ in range(pieces):
            self.takes.release()
        await eventually(lambda: len(self.received) >= before + pieces, "the pieces come")
        await asyncio.sleep(0)


async def nothing_first() -> None:
    """Nobody scrapes."""


async def test_a_large_body_makes_way_and_a_small_one_does_not() -> None:
    """After every second piece, so that one that waits for each turn comes at some speed."""
    waited = 0

    async def make_way() -> None:
        nonlocal waited
        waited += 1

    for pieces, times in ((18, 9), (17, 0)):
        waited = 0
        client = Client(Bodies(make_way), b"x" * pieces * PIECE)
        await client.take(pieces)
        await client.served
        assert waited == times


async def test_a_body_comes_in_pieces_and_holds_its_place_until_the_last() -> None:
    """Whatever the client has not taken is still to be written."""
    body = (bytes(range(256)) * (PIECE // 64))[:-1]
    client = Client(Bodies(nothing_first), body)
    await client.take(2)
    assert [len(piece) for piece in client.received] == [PIECE, PIECE]
    assert not client.given_back
    await client.take(2)
    await client.served
    assert b"".join(client.received) == body
    assert client.given_back
    assert not client.dropped


@pytest.mark.parametrize(
    "sizes",
    [
        (1, PIECE, 1),
        (PIECE - 1, 1, 0, PIECE),
        (3 * PIECE + 5, 7, 2 * PIECE),
        (PIECE // 3,) * 7,
        (0, 0),
        (),
    ],
)
async def test_the_parts_of_a_body_come_in_whole_pieces(sizes: tuple[int, ...]) -> None:
    """However large they are; only the last piece is shorter."""
    parts = tuple(bytes([number]) * size for number, size in enumerate(sizes))
    client = Client(Bodies(nothing_first), parts)
    await client.take(max(-(-sum(sizes) // PIECE), 1))
    await client.served
    assert b"".join(client.received) == b"".join(parts)
    assert client.length == sum(sizes)
    assert all(len(piece) == PIECE for piece in client.received[:-1])


async def test_the_body_of_the_slowest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who are sent one body count once, and the newest one always fits."""
    monkeypatch.setattr(bodies, "_KEPT", 0)
    monkeypatch.setattr(bodies, "_KEPT_LARGE", 2)
    registry = Bodies(nothing_first)
    shared = b"a" * 10 * PIECE
    stalled = [Client(registry, shared) for _ in range(5)]
    await asyncio.sleep(0.001)
    slow = Client(registry, b"b" * 10 * PIECE)
    await asyncio.sleep(0.001)
    await slow.take(1)
    assert not any(client.dropped for client in (*stalled, slow))
    newest = Client(registry, b"c" * 10 * PIECE)
    await asyncio.gather(*(client.served for client in stalled))
    assert all(client.dropped and client.given_back for client in stalled)
    assert not slow.dropped
    for client in (slow, newest):
        await client.take(10 - len(client.received))
        await client.served
        assert b"".join(client.received) in {b"b" * 10 * PIECE, b"c" * 10 * PIECE}


async def test_a_client_that_takes_for_ever_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that takes a little now and then."""
    monkeypatch.setattr(bodies, "LONGEST_WRITING", 0.01)
    client = Client(Bodies(nothing_first), b"x" * 10 * PIECE)
    await client.take(1)
    await client.served
    assert client.dropped
    assert client.given_back
