"""What libvirt says of a domain's monitor: `controlInfo`, which waits for neither job nor monitor.

It waits for the domain's lock only, and shows for how long somebody has been waiting for QEMU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import libvirt

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import Walk
from libvirt_exporter.hypervisor.sampling.around import walk_around
from libvirt_exporter.hypervisor.sampling.draft import STUCK_AFTER, HostDraft

T = TypeVar("T")


@dataclass(frozen=True)
class Control:
    """What virDomainGetControlInfo says of one domain."""

    ok: bool
    """Whether nobody is using its monitor."""
    occupied: bool
    """Whether somebody is waiting for it …"""
    seconds: float
    """… and for how long; 0 when nobody is."""


class ControlReader:
    """Visits domains on the control connection; those that block are locked from then on."""

    def __init__(self, connections: Connections, draft: HostDraft, locked: Blocked) -> None:
        self._connections = connections
        self._draft = draft
        self._locked = locked
        self._look = draft.look

    async def read(self, uuids: Iterable[str]) -> Walk[Control]:
        """How the monitors of these domains are; none of those that are locked."""
        return await self.visit("controlInfo", uuids, _visit)

    async def visit(
        self, call: str, uuids: Iterable[str], visit: Callable[[Session, str], T]
    ) -> Walk[T]:
        """Make another call that waits for neither job nor monitor."""
        return await walk_around(
            self._connections,
            self._draft,
            self._locked,
            "control",
            call,
            uuids,
            visit,
            deadline=Deadline.within(min(self._draft.deadline.rest, STUCK_AFTER)),
            patience=2 * self._look,
        )


def _visit(session: Session, uuid: str) -> Control:
    answer: Any = session.domain(uuid).controlInfo()  # annotated as a list of str, wrongly
    state, _, milliseconds = answer
    occupied = state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED
    seconds = milliseconds / 1000 if occupied else 0.0
    return Control(state == libvirt.VIR_DOMAIN_CONTROL_OK, occupied, seconds)
