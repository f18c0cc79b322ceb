"""How many requests of a kind may be answered at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from libvirt_exporter.web.problems import BusyError


class Slots:
    """Places of requests that are being answered."""

    def __init__(self, number: float, message: str, hint: str = "") -> None:
        """`number` may be infinite; who finds no place is told `message` and `hint`."""
        self._free = number
        self._message = message
        self._hint = hint

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Take one; BusyError when there is none."""
        if self._free < 1:
            raise BusyError(self._message, self._hint)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
