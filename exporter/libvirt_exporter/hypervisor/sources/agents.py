"""Guest agents as all lanes see them: which may be asked, and one call after the other.

Two lanes ask agents. One guest gets one call at a time, whoever asks, and what may be stuck is
bounded for both together: libvirt would let a second call wait for the first, and hold a worker.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator
from time import monotonic
from typing import Final, Protocol, TypeVar

import libvirt

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.budget import TURN
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import (
    CallError,
    ErrorClass,
    NoAnswerError,
    classify,
)
from libvirt_exporter.hypervisor.connection.pool import Connection, Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.model import STATES, DomainInfo

log = logging.getLogger(__name__)

T = TypeVar("T")
G = TypeVar("G", bound="Guest")

FIRST_PAUSE: Final = 60.0
"""Seconds for which a guest that failed is left alone, doubled with every failure in a row …"""
LONGEST_PAUSE: Final = 900.0
"""… up to these."""
REFUSED_PAUSE: Final = 3600.0
"""Seconds after which is asked again what was refused."""
CALL_MARGIN: Final = 5.0
"""Seconds beyond its timeouts after which a call is given up: libvirt itself should have."""
RETRY_PAUSE: Final = 60.0
"""Seconds before the connection is tried again after it could not be opened."""

_REFUSAL: Final = re.compile(r"has been disabled|has not been found|not supported|unsupported")
"""What an agent says (QEMU 7.2), which libvirt 9.0 passes on as an internal error."""
_UNKNOWN_TO_LIBVIRT: Final = frozenset({libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG})
_PURPOSE: Final = "guest_agent"
_RUNNING: Final = frozenset({"running", "blocked"})


class Guest(Protocol):
    """What a lane knows of one guest."""

    def follow(self, run: int | None) -> None:
        """Take note of the run of the domain whose agent is connected; None: none is."""
        ...


class NoTurnError(Exception):
    """No call could be begun in time, or too many are stuck."""


def pause_after(failures: int) -> float:
    """Seconds for which a guest is left alone after so many failures in a row, at least one."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE)


class Agents:
    """The agents of one host's guests; lives on the host's asyncio loop."""

    def __init__(
        self,
        connections: Connections,
        settings: HostSettings,
        *,
        info: Callable[[str], DomainInfo | None],
        stuck: Callable[[], Container[str]],
    ) -> None:
        """`connections`: a pool of read-write ones. `info`: what is known of the XML of a UUID.

        `stuck`: the domains whose monitor does not answer.
        """
        self.connections = connections
        self.settings = settings
        self._info = info
        self._stuck_domains = stuck
        self._hung: Container[str] = ()
        """Those domains, as of the last `renew`."""
        self._stuck = Blocked(connections)
        self._asked: set[str] = set()
        """Guests that a call is waited for of."""
        self.failure: CallError | None = None
        """Why no agent can be asked."""
        self._retry_at = 0.0

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings."""
        before, self.settings = self.settings, settings
        if settings.guest_agent != before.guest_agent:
            self.failure, self._retry_at = None, 0.0
        if settings.guest_agent is None:
            self.connections.close()

    def run_of(self, domain: DomainDraft) -> int | None:
        """libvirt's number of the run of a domain whose agent is connected; None: none is."""
        info = self._info(domain.uuid) if domain.active else None
        return info.id if info is not None and info.agent_connected else None

    def is_shown(self, domain: DomainDraft) -> bool:
        """Whether the configuration shows the domain."""
        shown = self.settings.shown
        if shown is None:
            return True
        info = self._info(domain.uuid)
        return bool(shown.matches(domain.name, domain.uuid, _state(domain), info))

    def follow(
        self,
        domains: Iterable[DomainDraft],
        guests: dict[str, G],
        new: Callable[[str], G],
        hidden: Callable[[str, G], object] = lambda _uuid, _guest: None,
    ) -> Iterator[tuple[DomainDraft, G]]:
        """Have `guests` follow the domains, and yield those that may answer.

        `new` is asked for a guest whose agent connected; `hidden` gets one that is no longer shown.
        """
        for domain in domains:
            guest = guests.get(domain.uuid)
            run = self.run_of(domain)
            if run is None:
                if guest is not None:
                    guest.follow(None)
            elif not self.is_shown(domain):
                if guest is not None:
                    hidden(domain.uuid, guests.pop(domain.uuid))
            else:
                if guest is None:
                    guest = guests[domain.uuid] = new(domain.uuid)
                guest.follow(run)
                if self.may_answer(domain):
                    yield domain, guest

    def may_answer(self, domain: DomainDraft) -> bool:
        """Whether nothing is known that keeps an agent that is connected from answering.

        A guest that is paused cannot answer; a monitor that hangs may hold up its agent.
        """
        uuid = domain.uuid
        hangs = uuid in self._hung or uuid in self._stuck
        return _state(domain) in _RUNNING and not hangs

    def renew(self) -> None:
        """Forget the calls that have come back, and look whose monitors answer."""
        self._stuck.renew()
        self._hung = self._stuck_domains()

    async def go_through(
        self, uuids: Iterable[str], visit: Callable[[str], Awaitable[None]]
    ) -> None:
        """Visit guests, a few at once, until one visit raises NoTurnError.

        Raises CallError where there is no connection, and NoAnswerError a moment after.
        """
        if self.settings.guest_agent is None or not (queue := deque(uuids)):
            return
        if monotonic() < self._retry_at:
            raise NoAnswerError(_PURPOSE)

        async def work() -> None:
            while queue:
                try:
                    await visit(queue.popleft())
                except NoTurnError:
                    return
                except CallError:
                    queue.clear()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.settings.guest_agent.parallel_calls):
                tasks.create_task(work())
        if self.failure is not None:
            raise self.failure

    async def ask(
        self, uuid: str, function: Callable[[Session], T], deadline: Deadline, patience: float
    ) -> T:
        """Run `function`, which asks one guest, on a connection's thread.

        `deadline`: until when it may be begun. `patience`: seconds after which it is given up.

        Raises NoTurnError, NoAnswerError when it was given up, and CallError where there is no
        connection.
        """
        connection = await self._turn(uuid, deadline)
        self._asked.add(uuid)
        try:
            answer = connection.call("guest agent", function)
            if not await Deadline.within(patience).wait(answer):
                if connection.waiting_for_open:
                    # No guest has been asked.
                    words = "the read-write connection to libvirt does not open"
                    raise CallError(words, ErrorClass.DISCONNECTED)
                if self.connections.replaceable(connection):
                    self.connections.abandon(connection, "guest agent")
                    self._stuck.add({uuid: connection})
                raise NoAnswerError("guest agent")
            found = answer.result()
        except CallError as error:
            self._unreachable(error)
            raise
        finally:
            self._asked.discard(uuid)
        if self.failure is not None:
            log.info("guest agents are queried again")
            self.failure = None
        return found

    async def _turn(self, uuid: str, deadline: Deadline) -> Connection:
        """Wait until a call to this guest may be begun that leaves a sample all of its own."""
        budget = self.connections.budget
        while True:
            agent = self.settings.guest_agent
            if agent is None or len(self._stuck) >= max(BLOCKED_LIMIT, agent.parallel_calls):
                raise NoTurnError
            at_once = min(
                agent.parallel_calls,
                max(BLOCKED_LIMIT, agent.parallel_calls) - len(self._stuck),
            )
            kept = min(self.settings.parallel_calls, budget.limit - 1)
            if uuid not in self._asked and len(self._asked) < at_once and budget.room > kept:
                connection = self.connections.idle(_PURPOSE, agent.parallel_calls)
                if connection is not None:
                    return connection
            if deadline.rest <= 0:
                raise NoTurnError
            await asyncio.sleep(TURN)

    def _unreachable(self, error: CallError) -> None:
        """No agent can be asked: there is no connection, or it was lost."""
        self._retry_at = monotonic() + RETRY_PAUSE
        if str(self.failure) != str(error):
            log.warning("guest agents are not queried: %s", error)
        self.failure = error


def _state(domain: DomainDraft) -> str:
    number = domain.state.get("state.state")
    return STATES[number] if isinstance(number, int) and 0 <= number < len(STATES) else ""


def is_over(error: libvirt.libvirtError) -> bool:
    """Whether the guest is gone, or no longer runs."""
    return classify(error) in (ErrorClass.GONE, ErrorClass.NOT_RUNNING)


def error_name(error: libvirt.libvirtError) -> str:
    """The class of an error as it is counted; '' where libvirt does not know the question."""
    if error.get_error_code() in _UNKNOWN_TO_LIBVIRT:
        return ""
    match classify(error):
        case ErrorClass.TIMEOUT:
            return "timeout"
        case ErrorClass.DENIED:
            return "denied"
        case ErrorClass.UNSUPPORTED:
            return "refused"
    return "refused" if _REFUSAL.search(str(error)) else "other"
