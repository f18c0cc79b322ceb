"""How many connections there may be, and which of them goes when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

MOST: Final = 512
"""Connections at once; each may keep some 200 KiB."""
MOST_OF_ONE: Final = 384
"""Connections of one address at once: others always find room."""


class Client(Protocol):
    """A connection, as seen from the door."""

    address: str

    def busy(self) -> tuple[int, float]:
        """How much would be lost with it; of equal ones the older time goes first."""

    def end(self) -> None:
        """Drop it at once."""


class Connections:
    """All connections, whatever they are doing.

    A new one is always let in: where there are too many, one goes of the address that has the most,
    first of those that ask nothing, then of those that do not read.
    """

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._addresses = Counter[str]()

    def add(self, client: Client) -> None:
        self._clients.add(client)
        self._addresses[client.address] += 1
        if len(self._clients) > MOST:
            address, _ = self._addresses.most_common(1)[0]
            self._drop_one(address, client)
        elif self._addresses[client.address] > MOST_OF_ONE:
            self._drop_one(client.address, client)

    def discard(self, client: Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            self._addresses[client.address] -= 1
            if not self._addresses[client.address]:
                del self._addresses[client.address]

    def _drop_one(self, address: str, newest: Client) -> None:
        candidates = (each for each in self._clients if each.address == address)
        goes = min(candidates, key=lambda each: (each is newest, *each.busy()))
        self.discard(goes)
        goes.end()


class OncePerMinute:
    """Decides which lines of a kind are worth a log."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds."""
        self._clock = clock
        self._told: dict[str, float] = {}

    def may(self, address: str) -> bool:
        """Whether nothing was said of this address for a minute; says that it is now."""
        now = self._clock()
        if now - self._told.get(address, -_MINUTE) < _MINUTE:
            return False
        self._told.pop(address, None)
        self._told[address] = now
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


_MINUTE: Final = 60.0
_REMEMBERED: Final = 1024
"""Addresses; a flood from more of them is logged more often."""
