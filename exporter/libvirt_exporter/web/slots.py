"""How many requests of a kind may be answered at once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator

from libvirt_exporter.web.problems import BusyError


class Slots:
    """Places of requests that are being answered."""

    def __init__(
        self,
        number: float,
        message: str,
        hint: str = "",
        *,
        hosts: Callable[[], int] = lambda: 1,
    ) -> None:
        """`number` may be infinite; who finds no place is told `message` and `hint`.

        `hosts` that share the places: of several none gets more than half of them, so that a flood
        of requests about one leaves places for the others.
        """
        self._number = number
        self._hosts = hosts
        self._taken = Counter[tuple[str, Hashable]]()
        self._places = Counter[str]()
        """Taken, by host."""
        self._message = message
        self._hint = hint

    @contextlib.contextmanager
    def one(self, key: Hashable = None, *, host: str = "") -> Iterator[None]:
        """Take one, which those of the same key share; BusyError when there is none.

        Without a key it is one of its own. `host`: the alias of the host that is asked about.
        """
        place = host, object() if key is None else key
        if place not in self._taken:
            most = self._number if self._hosts() < 2 else self._number - self._number // 2
            if len(self._taken) >= self._number or self._places[host] >= most:
                raise BusyError(self._message, self._hint)
            self._places[host] += 1
        self._taken[place] += 1
        try:
            yield
        finally:
            self._taken[place] -= 1
            if not self._taken[place]:
                del self._taken[place]
                self._places[host] -= 1
                if not self._places[host]:
                    del self._places[host]
