"""Bodies that are being written: in pieces, and no more of them than fit into the memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from libvirt_exporter.pieces import pieces

PIECE: Final = 120 * 1024
"""Bytes that are handed on at once. Each piece costs some CPU time besides its bytes; from 128 KiB
on the allocator maps new memory for each, whose page faults cost more (glibc, as the unit sets it:
2.8 ms for 2 MB, 4.2 ms in pieces of 256 KiB, 3.5 ms in pieces of 64)."""
_TURN: Final = 2
"""Pieces after which others go first."""
LONGEST_WRITING: Final = 120.0
"""Seconds in which a client must have taken a whole body."""
_LARGE: Final = 2 * 1024 * 1024
"""Bytes of a body from which on it makes way: a compressed body is seldom as large."""
_KEPT: Final = 64 * 1024 * 1024
"""Bytes of bodies that may be kept for the clients that still read them."""
_KEPT_LARGE: Final = 4
"""Bodies that may be kept where a single one is large."""


Body = bytes | tuple[bytes, ...]
"""A whole, or parts of any size; clients that are sent the same object share it."""


class _Writer:
    def __init__(self, body: Body, size: int, limit: asyncio.Timeout) -> None:
        self.body = body
        self.size = size
        self.limit = limit
        self.moved = asyncio.get_running_loop().time()
        """When the client last took a piece."""


class Bodies:
    """The bodies that are being written; clients that are sent the same one share it.

    When they become too many, the one goes whose clients have taken nothing for the longest time.
    """

    def __init__(self, make_way: Callable[[], Awaitable[None]]) -> None:
        """`make_way` is awaited after every second piece of a large body."""
        self._make_way = make_way
        self._writers: set[_Writer] = set()

    @contextlib.contextmanager
    def writing(self, body: Body, size: int, limit: asyncio.Timeout) -> Iterator[_Writer]:
        """Keep `body` for a client; `limit` is ended when it has to give way."""
        writer = _Writer(body, size, limit)
        self._writers.add(writer)
        try:
            self._make_room(body)
            yield writer
        finally:
            self._writers.discard(writer)

    async def turn(self, size: int) -> None:
        """Let others go first: everyone once, and, for a large body, what `make_way` waits for."""
        if size > _LARGE:
            await self._make_way()
        # A connection that is lost is noticed, too.
        await asyncio.sleep(0)

    def _make_room(self, newest: Body) -> None:
        moved: dict[int, float] = {}
        sizes: dict[int, int] = {}
        for writer in self._writers:
            key = id(writer.body)
            sizes[key] = writer.size
            moved[key] = max(moved.get(key, 0.0), writer.moved)
        size, room = sum(sizes.values()), max(_KEPT, _KEPT_LARGE * max(sizes.values()))
        for key in sorted(moved, key=moved.__getitem__):
            if size <= room:
                return
            if key != id(newest):
                size -= sizes[key]
                self._drop(key)

    def _drop(self, key: int) -> None:
        for writer in [writer for writer in self._writers if id(writer.body) == key]:
            # Before the client's task has had its turn, so that nobody counts it twice.
            self._writers.discard(writer)
            writer.limit.reschedule(asyncio.get_running_loop().time())


class PiecewiseResponse(Response):
    """A response whose body is written in pieces, with what has to be given back afterwards."""

    def __init__(
        self,
        body: Body,
        bodies: Bodies,
        *,
        headers: Mapping[str, str],
        held: contextlib.ExitStack,
    ) -> None:
        """`held` is closed when the body has been written, or the client is gone."""
        self._parts = (body,) if isinstance(body, bytes) else body
        self._size = sum(map(len, self._parts))
        super().__init__(headers={**headers, "Content-Length": str(self._size)})
        self._whole = body
        self._bodies = bodies
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it; a client that takes too long loses its connection."""
        with self._held:
            if self._size <= PIECE:
                self.body = b"".join(self._parts)
                await super().__call__(scope, receive, send)
                return
            try:
                async with asyncio.timeout(LONGEST_WRITING) as limit:
                    await self._write(send, limit)
                return
            except TimeoutError:
                self._whole, self._parts = b"", ()
        await _abort(scope, receive)

    async def _write(self, send: Send, limit: asyncio.Timeout) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        with self._bodies.writing(self._whole, self._size, limit) as writer:
            for number, piece in enumerate(pieces(self._parts, PIECE), 1):
                more = number * PIECE < self._size
                await send({"type": "http.response.body", "body": piece, "more_body": more})
                if number % _TURN == 0:
                    await self._bodies.turn(self._size)
                writer.moved = asyncio.get_running_loop().time()


async def _abort(scope: Scope, receive: Receive) -> None:
    """End the connection without what is missing; the server offers that in the scope's state."""
    scope["state"]["abort"]()
    while (await receive())["type"] != "http.disconnect":
        pass
