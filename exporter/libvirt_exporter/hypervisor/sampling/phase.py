"""What the phases of a sample have in common: asking around a domain that holds a call.

`destroy` holds its domain's lock for many seconds, and every call that comes to this domain waits
for it (libvirt 9.0), whatever is asked.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.threads import mark_retrieved
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, Walk, walk
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.sources import SourceFailures

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(eq=False)
class Phase(ABC):
    """One part of a sample; what it learns for the next sample is in a memory of its own."""

    connections: Connections
    draft: HostDraft
    locked: Blocked
    """Domains not to be touched at all; grows."""
    failures: SourceFailures
    """Where mistakes of ours are reported."""

    @abstractmethod
    async def run(self) -> None:
        """Ask, and put the answers into the draft, for as long as that has time."""

    async def timed(self, name: str) -> None:
        """Run, and book the time under a name."""
        with self.draft.phase(name):
            await self.run()

    async def ask_around(
        self,
        purpose: str,
        call: str,
        function: Callable[[Session], T],
        *,
        patience: float,
        others: Callable[[Connection], Coroutine[Any, Any, T | None]] | None,
    ) -> T:
        """The answer of a call about many domains, or of `others` where that comes first.

        `others` asks without the domains that hold the call, on a fresh connection; it
        is told the old one, and starts when there is no answer after `patience` seconds. When it
        answers None, nobody holds the call, which is then waited for. Raises NoAnswerError, and
        CallError from either.
        """
        connections, deadline = self.connections, self.draft.deadline
        connection = connections.of(purpose)
        if deadline.rest <= 0:
            raise NoAnswerError(call)
        if not await connection.free(Deadline.within(min(patience, deadline.rest))):
            connections.give_up(connection, call)
            connection = connections.of(purpose)
            if not await connection.free(deadline):
                raise NoAnswerError(call)
        answer = connection.call(call, function)
        await asyncio.wait({answer}, timeout=min(patience, deadline.rest))
        if not answer.done() and others is not None and connections.replaceable(connection):
            connections.give_up(connection, call)
            around = asyncio.create_task(others(connection))
            around.add_done_callback(mark_retrieved)
            either: set[asyncio.Future[Any]] = {answer, around}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                around.cancel()
            elif (found := around.result()) is not None:
                return found
        if not await deadline.wait(answer):
            connections.give_up(connection, call)
            raise NoAnswerError(call)
        return answer.result()

    async def walk_around(
        self,
        purpose: str,
        call: str,
        uuids: Iterable[str],
        visit: Callable[[Session, str], T],
        deadline: Deadline,
    ) -> Walk[T]:
        """Visit domains one by one; those that block are excused, and locked from then on."""
        try:
            result = await walk(
                self.connections,
                purpose,
                call,
                [uuid for uuid in uuids if uuid not in self.locked],
                visit,
                deadline=deadline,
                patience=2 * self.draft.look,
                # Also at the limit: this is how a domain is seen to answer again.
                may_block=min(max(self.connections.budget.room, 1), BLOCKED_LIMIT),
                always=True,
            )
        except CallError as error:
            log.debug("%s failed: %s", call, error)
            return Walk()
        self.locked.add(result.blocked)
        for uuid in result.blocked:
            self.draft.domains[uuid].excused = True
        self.report(call, result)
        return result

    def report(self, call: str, result: Walk[Any]) -> None:
        """Log and count the visits that failed by a mistake of ours; what libvirt says is none."""
        for uuid, failure in result.failures.items():
            words = f"{call} of domain {uuid}"
            if isinstance(failure, CallError):
                log.debug("%s failed: %s", words, failure)
            else:
                self.failures.failed(type(self), f"{call} {uuid}", words, failure)
        self.failures.works(type(self), (f"{call} {uuid}" for uuid in result.answers))
