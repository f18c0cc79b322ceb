"""What libvirt says of a domain's monitor: `controlInfo`, which waits for neither job nor monitor.

It waits for the domain's lock only, and shows for how long somebody has been waiting for QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import libvirt

from libvirt_exporter.hypervisor.connection.session import Session


@dataclass(frozen=True)
class Control:
    """What virDomainGetControlInfo says of one domain."""

    ok: bool
    """Whether nobody is using its monitor."""
    occupied: bool
    """Whether somebody is waiting for it …"""
    seconds: float
    """… and for how long; 0 when nobody is."""


def visit_control(session: Session, uuid: str) -> Control:
    """How the monitor of a domain is. Waits for its lock only. Raises libvirt.libvirtError."""
    answer: Any = session.domain(uuid).controlInfo()  # annotated as a list of str, wrongly
    state, _, milliseconds = answer
    occupied = state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED
    seconds = milliseconds / 1000 if occupied else 0.0
    return Control(state == libvirt.VIR_DOMAIN_CONTROL_OK, occupied, seconds)
