"""How many requests of a kind may be answered at once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Hashable, Iterator

from libvirt_exporter.web.problems import BusyError


class Slots:
    """Places of requests that are being answered."""

    def __init__(self, number: float, message: str, hint: str = "") -> None:
        """`number` may be infinite; who finds no place is told `message` and `hint`."""
        self._number = number
        self._taken = Counter[Hashable]()
        self._message = message
        self._hint = hint

    @contextlib.contextmanager
    def one(self, key: Hashable = None) -> Iterator[None]:
        """Take one, which those of the same key share; BusyError when there is none.

        Without a key it is one of its own.
        """
        key = object() if key is None else key
        if key not in self._taken and len(self._taken) >= self._number:
            raise BusyError(self._message, self._hint)
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
