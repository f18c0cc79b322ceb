"""The lane `errors`: which disks of a domain that an I/O error has paused have failed, and how.

QEMU remembers it until the domain runs again, so it is known after a restart of the exporter too,
which no event is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Final

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources.pause_code import PauseCode, is_io_error, pause_code
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import Stats

_BY_CODE: Final[Mapping[PauseCode | None, Stats]] = {
    None: {},
    **{code: {"pause.code": int(code)} for code in PauseCode},
}


class DiskErrorsLane(WalkingLane):
    """Asks `diskErrors` of the domains that are paused by an I/O error, of no others.

    Gives `diskerror.<num>.{name,error}` and, for every active domain, `pause.code`.
    """

    name = "errors"
    knows_domains = True
    asks_monitors = True

    def __init__(
        self,
        connections: Connections,
        *,
        io_error_reason: Callable[[str], str | None],
        stuck: Callable[[], Container[str]],
    ) -> None:
        """`io_error_reason`: what the last I/O error event of a UUID said, None without one.

        `stuck`: the domains whose monitor does not answer.
        """
        super().__init__(connections)
        self._io_error_reason = io_error_reason
        self._stuck_domains = stuck
        self._errors: dict[str, Mapping[str, int]] = {}

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask the domains that are paused by an I/O error and not stuck."""
        found = [domain for domain in domains if is_io_error(*_state(domain))]
        paused = {domain.uuid for domain in found}
        wanted = {domain.uuid for domain in found if domain.wants(self.name)}
        self._errors = {uuid: known for uuid, known in self._errors.items() if uuid in paused}
        stuck = self._stuck_domains()
        askable = sorted(uuid for uuid in paused & wanted if uuid not in stuck)
        if askable:
            result = await self.visit("diskErrors", askable, _visit, deadline)
            self._errors.update(result.answers)

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """The pause code of an active domain, and the disks that have failed."""
        if not (domain.active and domain.state):
            return _BY_CODE[None]
        state, reason = _state(domain)
        if not is_io_error(state, reason):
            return _BY_CODE[pause_code(state, reason, None, None)]
        errors = self._errors.get(domain.uuid)
        code = pause_code(state, reason, errors, self._io_error_reason(domain.uuid))
        found = {**_BY_CODE[code]}
        for number, device in enumerate(sorted(errors or ())):
            found[f"diskerror.{number}.name"] = device
            found[f"diskerror.{number}.error"] = (errors or {})[device]
        return found


def _state(domain: DomainDraft) -> tuple[int, int]:
    state = domain.state
    return int(state.get("state.state", 0)), int(state.get("state.reason", 0))


def _visit(session: Session, uuid: str) -> Mapping[str, int]:
    errors: Any = session.domain(uuid).diskErrors()  # annotated as a number, wrongly
    return dict(errors)
