"""Bodies in parts of any size, cut to pieces of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def pieces(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """All bytes of `parts`, `size` at a time; the last piece is shorter, and none is empty."""
    held: list[memoryview] = []
    room = size
    for part in parts:
        start = 0
        while start < len(part):
            held.append(memoryview(part)[start : start + room])
            start += len(held[-1])
            room -= len(held[-1])
            if not room:
                yield b"".join(held)
                held, room = [], size
    if held:
        yield b"".join(held)
