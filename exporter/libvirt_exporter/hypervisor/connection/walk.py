"""Calls made for one domain after the other, where any of them may block.

`destroy` holds its domain's lock for many seconds, and whatever needs that lock waits: the
listing, `state` and even `controlInfo` (libvirt 9.0: 2 s, with a hung QEMU up to 27 s). A walk
finds such a domain by standing still at it, gives that connection up and goes on with the rest.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import call_error, detached
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.session import Session

T = TypeVar("T")

SLICE: Final = 0.05
"""Seconds that one visit to a connection's thread may take before others get their turn."""
BLOCKED_LIMIT: Final = 3
"""Domains at which one walk may get stuck before it ends: each costs a worker of the daemon."""


@dataclass
class Walk(Generic[T]):
    """What a walk brought home, by UUID."""

    answers: dict[str, T] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    """CallError, or whatever else the visit raised."""
    blocked: dict[str, Connection] = field(default_factory=dict)
    """Domains that block, and the connection stuck at each."""


class _Progress(Generic[T]):
    """One slice of a walk, written by the connection's thread and watched by the loop."""

    def __init__(self, uuids: list[str], seconds: float) -> None:
        self.uuids = uuids
        self.seconds = seconds
        self.visited = 0
        self.walking = False
        self.answers: list[tuple[str, T]] = []
        self.failures: list[tuple[str, Exception]] = []

    def run(self, visit: Callable[[Session, str], T], session: Session) -> None:
        end = time.monotonic() + self.seconds
        self.walking = True
        for uuid in self.uuids:
            try:
                self.answers.append((uuid, visit(session, uuid)))
            except Exception as error:  # it must cost this domain only
                if isinstance(error, libvirt.libvirtError) and not session.alive:
                    raise
                failure = call_error(error, uri=session.uri, alive=True)
                self.failures.append((uuid, detached(failure or error)))
            self.visited += 1
            if time.monotonic() >= end:
                return


async def walk(
    connections: Connections,
    purpose: str,
    call: str,
    uuids: Iterable[str],
    visit: Callable[[Session, str], T],
    *,
    deadline: Deadline,
    patience: float,
    may_block: int = BLOCKED_LIMIT,
    always: bool = False,
) -> Walk[T]:
    """Run `visit` for each domain on one connection, in order, until done or time is up.

    A visit without an answer for `patience` seconds is given up; `may_block` of them may be, and
    no more than the limit on stuck calls leaves, unless `always`. Domains not reached are in none
    of the result's mappings. Raises CallError when the connection is lost.
    """
    result: Walk[T] = Walk()
    rest = list(uuids)
    while rest and len(result.blocked) < may_block and deadline.rest > 0:
        progress: _Progress[T] = _Progress(rest, min(SLICE, deadline.rest))
        connection = connections.of(purpose)
        if not await connection.free(deadline):
            connections.give_up(connection, call)
            break
        if not (always or await connections.budget.has_room(deadline)):
            break
        answer = connection.call(call, functools.partial(progress.run, visit))
        stood_still = await _watch(answer, progress, deadline, patience)
        visited = progress.visited
        result.answers.update(progress.answers)
        result.failures.update(progress.failures)
        rest = rest[visited:]
        if answer.done():
            answer.result()
            continue
        connections.give_up(connection, call)
        if not (stood_still and rest):
            break
        result.blocked[rest.pop(0)] = connection
    return result


async def _watch(
    answer: asyncio.Future[None], progress: _Progress[T], deadline: Deadline, patience: float
) -> bool:
    """Wait for a slice; True when it stands still at a domain, False when it ends or time is up."""
    while not answer.done():
        before = progress.visited
        timeout = min(patience, deadline.rest + SLICE)
        if timeout <= 0:
            return False
        await asyncio.wait({answer}, timeout=timeout)
        if progress.walking and progress.visited == before and timeout == patience:
            return not answer.done()
    return False
