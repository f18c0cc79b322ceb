"""How many calls to one libvirt may be stuck, over all pools of connections to it.

An abandoned call may hold a worker of the daemon, which has 20, for as long as a QEMU hangs; so a
second pool of the same URI must not double what the first one may leave there.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from libvirt_exporter.hypervisor.connection.deadline import Deadline

TURN: Final = 0.02
"""Seconds after which it is looked again whether a call may be begun."""


class Caller(Protocol):
    """A connection, which makes one call at a time."""

    @property
    def busy(self) -> bool:
        """Whether a call has not come back yet."""
        ...


class StuckBudget:
    """The connections of all pools of one URI; those in use, and those given up.

    Used from one asyncio loop, but for `returned`.
    """

    def __init__(self, limit: int = 12) -> None:
        """`limit`: calls that may be stuck before nothing is asked that could add another."""
        self.limit = limit
        self._in_use: set[Caller] = set()
        self._abandoned: set[Caller] = set()

    @property
    def stuck(self) -> int:
        """Calls that were abandoned and have not come back: each may hold a daemon's worker."""
        return len(self._abandoned)

    @property
    def full(self) -> bool:
        """Whether as many calls are stuck as may be."""
        return self.stuck >= self.limit

    @property
    def room(self) -> int:
        """Calls that may be begun now, as many as keep `limit` should all others get stuck.

        Whatever may block asks for it, but for state and control: by them a host is seen to be
        up, and a domain to answer again.
        """
        return self.limit - self.stuck - sum(caller.busy for caller in self._in_use)

    async def has_room(self, deadline: Deadline) -> bool:
        """Wait until there is room for a call; False when it is `full`, or time is up."""
        while self.room <= 0:
            if self.full or deadline.rest <= 0:
                return False
            await asyncio.sleep(TURN)
        return True

    def is_stuck(self, caller: Caller) -> bool:
        """Whether this connection was abandoned and its call has not come back."""
        return caller in self._abandoned

    def use(self, caller: Caller) -> None:
        """Calls are made on this connection from now on."""
        self._in_use.add(caller)

    def abandon(self, caller: Caller) -> None:
        """Its call does not come back."""
        self._in_use.discard(caller)
        self._abandoned.add(caller)

    def let_go(self, caller: Caller) -> None:
        """No more calls are made on it, and none of it is waited for."""
        self._in_use.discard(caller)

    def returned(self, caller: Caller) -> None:
        """Its thread has ended; may be called from any thread."""
        self._abandoned.discard(caller)
