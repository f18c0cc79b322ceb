"""bcrypt: what a hash costs, and checks that leave a share of their queue to everybody."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

import bcrypt

from libvirt_exporter.background import Worker
from libvirt_exporter.web.problems import BusyError

HIGH_COST: Final = 14
"""Above it a check takes longer than most clients wait."""
_SECONDS: Final = 0.065
"""Of one check at cost 10 on a usual CPU; each step doubles it."""
_HASH: Final = re.compile(r"\$2[abxy]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")
_COSTS: Final = range(4, 32)


def mistake(stored: str) -> str:
    """Say what is wrong with the bcrypt hash of a password; '' when bcrypt can check it."""
    found = _HASH.fullmatch(stored)
    if found is None:
        return "not a bcrypt hash"
    if int(found["cost"]) not in _COSTS:
        return f"bcrypt cost {found['cost']} is out of range: it is 4 to 31"
    try:
        # At the least cost, for what the pattern does not see of the salt.
        bcrypt.hashpw(b"", f"{stored[:4]}04{stored[6:29]}".encode())
    except ValueError as error:
        return f"not a bcrypt hash ({error})"
    return ""


def cost(stored: str) -> int:
    """The cost of a hash without mistakes: the binary logarithm of its rounds."""
    return int(stored[4:6])


def seconds(cost: int) -> float:
    """Roughly what one check takes of a CPU."""
    return float(_SECONDS * 2.0 ** (cost - 10))


def dearest(hashes: Iterable[str]) -> str:
    """The hash that costs most: who guesses at users that do not exist has to wait as long."""
    return max(hashes, key=cost)


class _Check(NamedTuple):
    password: bytes
    stored: str
    right: asyncio.Future[bool]


class PasswordChecks:
    """Checks passwords on a thread, one at a time, for one client after the other.

    A client with many checks waits for its own, and loses its last one to a client with fewer when
    as many wait as may.
    """

    def __init__(self, most: int) -> None:
        """`most` checks may wait or run; more would be worked off for minutes after a flood."""
        self._most = most
        self._waiting: dict[str, deque[_Check]] = {}
        """By client, in the order of their turns."""
        self._running = False
        self._worker = Worker("bcrypt")

    async def check(self, client: str, password: bytes, stored: str) -> bool:
        """Return whether the password is that of the hash; BusyError when too many wait."""
        if sum(map(len, self._waiting.values())) + self._running >= self._most:
            self._make_room(client)
        check = _Check(password, stored, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, deque()).append(check)
        self._next()
        return await check.right

    def _make_room(self, client: str) -> None:
        own = len(self._waiting.get(client, ()))
        busiest = max(self._waiting, key=lambda each: len(self._waiting[each]), default=client)
        error = BusyError("Too many passwords to check; try again later.")
        if busiest == client or len(self._waiting[busiest]) <= own + 1:
            raise error
        last = self._waiting[busiest].pop().right
        if not last.done():
            last.set_exception(error)

    def _next(self) -> None:
        while self._waiting and not self._running:
            client = next(iter(self._waiting))
            checks = self._waiting.pop(client)
            check = checks.popleft()
            if checks:
                self._waiting[client] = checks
            if check.right.done():
                continue  # nobody waits for it any more
            self._running = True
            hashed = check.stored.encode()
            work = asyncio.wrap_future(
                self._worker.run(partial(bcrypt.checkpw, check.password, hashed))
            )
            work.add_done_callback(partial(self._done, check.right))

    def _done(self, right: asyncio.Future[bool], work: asyncio.Future[bool]) -> None:
        self._running = False
        if not right.done():
            if (error := work.exception()) is not None:
                right.set_exception(error)
            else:
                right.set_result(work.result())
        self._next()
