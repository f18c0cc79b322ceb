"""How a domain came to its end: a code, a reason and words for it, out of libvirt's own terms.

Codes are 0 for an orderly end and 1 for an error. Reasons are numbered as oVirt's management
engine knows them. The exit status of the QEMU process is not to be had from libvirt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import libvirt

from libvirt_exporter.model import Stats


class Exit(NamedTuple):
    code: int
    """0 orderly, 1 error."""
    reason: int
    """0 to 14."""
    message: str

    def stats(self, time: int | None) -> Stats:
        """The end under `exit.*`; `time` in ns since 1970, None when it is not known."""
        known = {} if time is None else {"exit.time": time}
        return {
            "exit.code": self.code,
            "exit.reason": self.reason,
            "exit.message": self.message,
            **known,
        }


ENDED: Final = Exit(0, 0, "VM terminated successfully")
ERROR: Final = Exit(1, 1, "VM terminated with error")
LOST: Final = Exit(1, 2, "Lost connection with the QEMU process")
NOT_STARTED: Final = Exit(1, 3, "Failed to start the VM")
MIGRATED: Final = Exit(0, 4, "Migration succeeded")
SAVED: Final = Exit(0, 5, "State was saved")
FORCED_OFF: Final = Exit(0, 6, "Forced off on the host")
SHUT_DOWN: Final = Exit(0, 7, "Shut down, not forced off")
GONE: Final = Exit(1, 9, "The domain is gone, and no event told why")
TERMINATED: Final = Exit(1, 11, "VM was terminated on the host")

_LESS_EXACT: Final[Mapping[Exit, Exit]] = {LOST: ERROR, TERMINATED: SHUT_DOWN}
"""Ends that only an event tells, by what the state tells of them (9.0)."""

_BY_DETAIL: Final[Mapping[int, Exit]] = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: SHUT_DOWN,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: FORCED_OFF,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: ERROR,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: MIGRATED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: SAVED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: LOST,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: ENDED,
}
_BY_REASON: Final[Mapping[int, Exit]] = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: SHUT_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: FORCED_OFF,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: ERROR,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: MIGRATED,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: SAVED,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: NOT_STARTED,
    libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: ENDED,
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: LOST,
}
_FAILED_REASONS: Final = frozenset(
    {
        libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN,
        libvirt.VIR_DOMAIN_SHUTOFF_CRASHED,
        libvirt.VIR_DOMAIN_SHUTOFF_FAILED,
        libvirt.VIR_DOMAIN_SHUTOFF_DAEMON,
    }
)


def of_event(detail: int, *, ran: bool, shutdown: int | None) -> Exit:
    """The end that a STOPPED event tells of; a detail that is not known counts as an error.

    `ran`: whether the domain had run. `shutdown`: the detail of the SHUTDOWN
    event that came before.
    """
    if detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED and not ran:
        return NOT_STARTED
    if (
        detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN
        and shutdown == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST
    ):
        return TERMINATED
    return _BY_DETAIL.get(detail, ERROR)


def of_state(state: int, reason: int) -> Exit | None:
    """The end that a state tells of; None where it tells of none, or not of which."""
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return ERROR
    return _BY_REASON.get(reason) if state == libvirt.VIR_DOMAIN_SHUTOFF else None


def as_a_state_tells(end: Exit) -> Exit:
    """What the state of a domain that came to this end tells of it."""
    return _LESS_EXACT.get(end, end)


def agree(detail: int, reason: int) -> bool:
    """Whether a STOPPED event and a shut off state can tell of the same end.

    They do not when the domain has run again since, unseen. After a restart of the daemon the
    state gives no reason.
    """
    if detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED:
        # A QEMU that was killed: the event says failed, the state says crashed (seen with 9.0).
        return reason in _FAILED_REASONS
    return reason == 0 or _BY_DETAIL.get(detail) is _BY_REASON.get(reason)
