"""What is known of one domain's past, and what a listing adds to it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import libvirt
from msgspec import Struct

from libvirt_exporter.hypervisor.events.exits import Exit
from libvirt_exporter.model import DomainInfo, Stats, StatValue

DEVICE_LIMIT: Final = 256
"""Devices of one domain that are told apart."""
COUNTER_LIMIT: Final = 256
"""Counters of one domain or device; a reason for an I/O error is any word."""
_DIED: Final = frozenset({libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON})


class Record(NamedTuple):
    """One event as it was delivered."""

    event: str
    """libvirt's name in lower case: `lifecycle`, `io_error_reason` …"""
    uuid: str
    name: str
    """Of the domain."""
    time: int
    """ns since 1970 at the delivery."""
    details: tuple[Any, ...]
    """What the callback got between the domain and the opaque value."""


class Stop(Struct):
    """The last end of a domain."""

    time: int
    detail: int
    exit: Exit


class DomainHistory(Struct, omit_defaults=True):
    """What is known of one domain; survives the exporter as JSON."""

    name: str
    counts: dict[str, int] = {}
    """By what follows `event.` in the keys."""
    disks: dict[str, dict[str, int]] = {}
    """By device, and by what follows `event.disk.<num>.`."""
    last: dict[str, int] = {}
    """Time by event."""
    state_time: int | None = None
    """Of the last change of state, where it is known."""
    seen: tuple[int, int] | None = None
    """State and reason in the last listing."""
    ran: bool | None = None
    """Whether it has run since its last end; None while that is not known."""
    shutdown: int | None = None
    """Detail of the SHUTDOWN event since it was started."""
    stop: Stop | None = None
    """Its end, until it is started again."""
    io_error: str | None = None
    """Reason of the I/O error that paused it, until it runs again."""
    watchdog: int | None = None
    """The last action."""
    jobs: dict[str, dict[str, int]] = {}
    """Figures of the last job by operation."""


class FollowedDomain:
    """A history, and what need not survive."""

    def __init__(self, history: DomainHistory) -> None:
        self.history = history
        self.seen_at = history.state_time or 0
        """Time of the last listing that was newer than the events."""
        self.info: DomainInfo | None = None
        self.clients: dict[tuple[str, str], int] | None = None
        """Graphics clients by address and port, the latest last, and how many there are of each:
        over a Unix socket all have none. None before the first event."""
        self.latest = 0
        """Time of the last event."""
        self.threshold: tuple[Any, ...] | None = None
        """The write threshold of a disk that was crossed last: the disk, and the event's figures;
        None once libvirt has named its image, too."""
        self.stats: Stats | None = None
        self.stats_for: tuple[bool, StatValue | None, StatValue | None] | None = None

    def happened(self, event: str, time: int) -> None:
        """Note when an event was last."""
        self.history.last[event] = time
        self.stats = None

    def count(self, key: str) -> None:
        """Count one more, under what follows `event.` in the key."""
        _add_one(self.history.counts, key)

    def count_of_disk(self, device: str, key: str) -> None:
        """Count one more of a disk, under what follows `event.disk.<num>.` in the key."""
        disks = self.history.disks
        if device not in disks and len(disks) >= DEVICE_LIMIT:
            device = ""
        _add_one(disks.setdefault(device, {}), key)

    def device(self, alias: str | None, source: str | None = None) -> str:
        """The target of a disk by its alias, the alias where no disk has it; '' when nothing fits.

        Without an alias the disk's source tells; it is no name itself, as it leads into storage.
        """
        disks = self.info.disks if self.info is not None else ()
        if alias:
            return next((disk.device for disk in disks if disk.alias == alias), alias)
        found = (disk.device for disk in disks if source and disk.source == source)
        return next(found, "")


def _add_one(counts: dict[str, int], key: str) -> None:
    if key in counts or len(counts) < COUNTER_LIMIT:
        counts[key] = counts.get(key, 0) + 1


def take_state(domain: FollowedDomain, state: int, reason: int, time: int) -> None:
    """Compare a domain's state with what was known; events may have been missed."""
    history, before = domain.history, domain.history.seen
    history.seen = state, reason
    if state == libvirt.VIR_DOMAIN_RUNNING:
        history.ran, history.io_error = True, None
    if state != libvirt.VIR_DOMAIN_SHUTOFF:
        history.stop = None
    if before is None:
        return
    if before[0] != state and (history.state_time or 0) <= domain.seen_at:
        history.state_time = None
        domain.stats = None
    told = history.stop is not None and history.stop.time >= domain.seen_at
    if state != libvirt.VIR_DOMAIN_SHUTOFF or told:
        return
    if reason == libvirt.VIR_DOMAIN_SHUTOFF_FAILED:
        # libvirt (9.0) has no event for a domain that could not be started.
        domain.happened("failed_start", time)
    elif reason in _DIED:
        domain.happened("crash", time)
