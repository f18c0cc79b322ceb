"""Why a domain is paused, in the words of VDSM and oVirt's engine.

libvirt's reason says only that there was an I/O error; which one, the disks or the event tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import libvirt


class PauseCode(IntEnum):
    """The values of the key `pause.code`; EPERM is one that QEMU no longer gives."""

    NOERR = 0
    ENOSPC = 1
    EIO = 2
    EPERM = 3
    EOTHER = 4
    POSTCOPY = 5


_BY_REASON: Final[Mapping[int, PauseCode]] = {
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: PauseCode.EOTHER,
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: PauseCode.EOTHER,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: PauseCode.POSTCOPY,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: PauseCode.EOTHER,
}


def is_io_error(state: object, reason: object) -> bool:
    """Whether these numbers say that a domain is paused by an I/O error."""
    return state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR


def pause_code(
    state: int, reason: int, disk_errors: Mapping[str, int] | None, event_reason: str | None
) -> PauseCode | None:
    """The code of an active domain; None while an I/O error is not known any closer.

    `disk_errors`: virDomainDiskErrorCode by device; None: not asked, or not answered yet.
    `event_reason`: what the I/O error event said, `enospc` or another word; None: none was seen.
    """
    if not is_io_error(state, reason):
        paused = state == libvirt.VIR_DOMAIN_PAUSED
        return _BY_REASON.get(reason, PauseCode.NOERR) if paused else PauseCode.NOERR
    if disk_errors:
        no_space = libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in disk_errors.values()
        return PauseCode.ENOSPC if no_space else PauseCode.EIO
    if event_reason is not None:
        return PauseCode.ENOSPC if event_reason == "enospc" else PauseCode.EOTHER
    return None if disk_errors is None else PauseCode.EOTHER
