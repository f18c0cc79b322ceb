"""Lanes whose calls may each block: made one by one, and around those that did not come back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, Walk, walk
from libvirt_exporter.hypervisor.sampling.lane import Lane

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE: Final = 4.0
"""Seconds without an answer after which a call is given up."""


class WalkingLane(Lane):
    """A lane that leaves alone what does not answer, until the call for it has come back.

    Each hanging thing so costs one stuck call, however often the lane is read. With BLOCKED_LIMIT
    of them the lane asks nothing more: dead storage must not use up what the domains need.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._stuck = Blocked(connections)

    @property
    def stuck(self) -> set[str]:
        """The things for which a call was given up and has not come back."""
        self._stuck.renew()
        return set(self._stuck)

    async def visit(
        self,
        call: str,
        things: Iterable[str],
        visit: Callable[[Session, str], T],
        deadline: Deadline,
    ) -> Walk[T]:
        """Run `visit` for each thing that is not stuck. Raises CallError as `walk` does."""
        stuck = self.stuck
        result = await walk(
            self.connections,
            self.name,
            call,
            [thing for thing in things if thing not in stuck],
            visit,
            deadline=deadline,
            patience=PATIENCE,
            may_block=BLOCKED_LIMIT - len(stuck),
        )
        self._stuck.add(result.blocked)
        for thing, failure in result.failures.items():
            if isinstance(failure, CallError):
                log.debug("lane %s: %s of %s failed: %s", self.name, call, thing, failure)
            else:
                self.failures.failed(self, thing, f"lane {self.name}, {call} of {thing}", failure)
        self.failures.works(self, result.answers)
        return result

    async def ask(self, call: str, function: Callable[[Session], T], deadline: Deadline) -> T:
        """The answer of one call that is about no single thing.

        Raises CallError, and NoAnswerError when the call does not come back in time or an earlier
        one has not come back yet.
        """
        result = await self.visit(call, (call,), lambda session, _: function(session), deadline)
        if call in result.answers:
            return result.answers[call]
        match result.failures.get(call):
            case None:
                raise NoAnswerError(call)
            case CallError() as error:
                raise error
            case error:
                raise CallError(repr(error), ErrorClass.OTHER)
