"""One domain's history: what each event, and each listing, adds to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import libvirt
from msgspec import Struct

from libvirt_exporter.hypervisor.events import exits
from libvirt_exporter.hypervisor.events.exits import Exit
from libvirt_exporter.hypervisor.events.names import (
    AGENT_STATES,
    BLOCK_JOB_STATUSES,
    BLOCK_JOB_TYPES,
    DISK_CHANGES,
    GRAPHICS_PHASES,
    LIFECYCLE,
    MEMORY_ACTIONS,
    MEMORY_RECIPIENTS,
    TRAY_STATES,
    WATCHDOG_ACTIONS,
    name_of,
)
from libvirt_exporter.model import JOB_OPERATIONS, DomainInfo, Stats, StatValue

log = logging.getLogger(__name__)

REBOOT_WINDOW: Final = 2 * 10**9
"""ns within which resets count as one reboot. One reset of a guest arrives two to four times within
1.3 s (libvirt 9.0, QEMU 7.2 under TCG): the firmware resets the machine again to start afresh."""
DEVICE_LIMIT: Final = 256
"""Devices of one domain that are told apart."""
COUNTER_LIMIT: Final = 256
"""Counters of one domain or device; a reason for an I/O error is any word."""
CLIENT_LIMIT: Final = 256
"""Graphics clients of one domain that are remembered, in case libvirt forgets to say goodbye."""
LAST_JOB_KEYS: Final = (
    "success",
    "time_elapsed",
    "downtime",
    "data_total",
    "memory_total",
)
"""What is kept of a job that is over; of libvirt's keys and in its units."""

_DIED: Final = frozenset({libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON})
_LIFECYCLE_EVENTS: Final = tuple(LIFECYCLE)
_STATE_EVENTS: Final = LIFECYCLE.keys() - {"defined", "undefined"}
# Every domain with a channel begins with this event (seen with 9.0).
_AGENT_NOT_YET_THERE: Final = (
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_DOMAIN_STARTED,
)


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
        self.clients: dict[tuple[str, str], None] | None = None
        """Graphics clients by address and port, the latest last; None before the first event."""
        self.latest = 0
        """Time of the last event."""
        self.stats: Stats | None = None
        self.stats_for: tuple[bool, StatValue | None, StatValue | None] | None = None


def take_event(domain: FollowedDomain, record: Record) -> None:
    """Count and date one event; those that only tell of a change in the XML change nothing."""
    handler = _HANDLERS.get(record.event)
    if handler is None:
        return
    try:
        handler(domain, record)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        # A binding that delivers other arguments than those of 12.8.
        log.debug("event %s not understood: %r", record.event, error)


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
        _happened(domain, "failed_start", time)
    elif reason in _DIED:
        _happened(domain, "crash", time)


# One function per event.


def _happened(domain: FollowedDomain, event: str, time: int) -> None:
    domain.history.last[event] = time
    domain.stats = None


def _count(domain: FollowedDomain, key: str) -> None:
    _add_one(domain.history.counts, key)


def _count_of_disk(domain: FollowedDomain, device: str, key: str) -> None:
    disks = domain.history.disks
    if device not in disks and len(disks) >= DEVICE_LIMIT:
        device = ""
    _add_one(disks.setdefault(device, {}), key)


def _add_one(counts: dict[str, int], key: str) -> None:
    if key in counts or len(counts) < COUNTER_LIMIT:
        counts[key] = counts.get(key, 0) + 1


def _device(domain: FollowedDomain, alias: str | None, source: str | None = None) -> str:
    """The target of a disk by its alias, the alias where no disk has it; '' when nothing fits.

    Without an alias the disk's source tells; it is no name itself, as it leads into storage.
    """
    disks = domain.info.disks if domain.info is not None else ()
    if alias:
        return next((disk.device for disk in disks if disk.alias == alias), alias)
    found = (disk.device for disk in disks if source and disk.source == source)
    return next(found, "")


def _word(text: object) -> str:
    """A libvirt's word as a part of a key; `other` when it says nothing."""
    return (
        re.sub(r"[^a-z0-9_-]", "_", text.lower())[:32]
        if isinstance(text, str) and text
        else "other"
    )


def _lifecycle(domain: FollowedDomain, record: Record) -> None:
    number, detail, *_ = record.details
    event = name_of(_LIFECYCLE_EVENTS, number)
    _count(domain, f"lifecycle.{event}.{name_of(LIFECYCLE.get(event, ()), detail)}")
    history = domain.history
    if event in _STATE_EVENTS:
        history.state_time = record.time
    woken = (event, detail) == ("started", libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP)
    if event in LIFECYCLE and not woken:
        _happened(domain, event, record.time)
    match event:
        case "started":
            # At the destination of a migration nothing runs until it is resumed.
            history.ran = detail != libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED
            history.stop = history.shutdown = history.io_error = None
        case "resumed":
            history.ran, history.io_error = True, None
        case "shutdown":
            history.shutdown = detail
        case "crashed":
            _count(domain, "guest_panic")
            _happened(domain, "panic", record.time)
        case "stopped":
            _stopped(domain, detail, record.time)


def _stopped(domain: FollowedDomain, detail: int, time: int) -> None:
    history = domain.history
    end = exits.of_event(detail, ran=history.ran is not False, shutdown=history.shutdown)
    if detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED or end is exits.LOST:
        _happened(domain, "crash", time)
    elif end is exits.NOT_STARTED:
        _happened(domain, "failed_start", time)
    history.stop = Stop(time, detail, end)
    history.ran = False
    if domain.clients is not None:
        domain.clients = {}


def _rebooted(domain: FollowedDomain, record: Record) -> None:
    before = domain.history.last.get("reboot")
    if before is None or not 0 <= record.time - before < REBOOT_WINDOW:
        _count(domain, "reboot")
        _happened(domain, "reboot", record.time)


def _watchdog(domain: FollowedDomain, record: Record) -> None:
    action, *_ = record.details
    _count(domain, f"watchdog.{name_of(WATCHDOG_ACTIONS, action)}")
    domain.history.watchdog = action
    _happened(domain, "watchdog", record.time)


def _io_error(domain: FollowedDomain, record: Record) -> None:
    source, alias, action, reason, *_ = record.details
    word = _word(reason)
    _count_of_disk(domain, _device(domain, alias, source), f"io_error.{word}")
    if action == libvirt.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE:
        domain.history.io_error = word
    _happened(domain, "io_error", record.time)


def _graphics(domain: FollowedDomain, record: Record) -> None:
    phase, _local, remote, *_ = record.details
    _count(domain, f"graphics.{name_of(GRAPHICS_PHASES, phase)}")
    _happened(domain, "graphics", record.time)
    clients = domain.clients = {} if domain.clients is None else domain.clients
    client = (str(remote.get("node") or ""), str(remote.get("service") or ""))
    if phase == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE:
        clients[client] = None
        if len(clients) > CLIENT_LIMIT:
            del clients[next(iter(clients))]
    elif phase == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT:
        clients.pop(client, None)


def _block_job(domain: FollowedDomain, record: Record) -> None:
    device, kind, status, *_ = record.details
    words = f"{name_of(BLOCK_JOB_TYPES, kind)}.{name_of(BLOCK_JOB_STATUSES, status)}"
    _count_of_disk(domain, device or "", f"block_job.{words}")
    _happened(domain, "block_job", record.time)


def _agent(domain: FollowedDomain, record: Record) -> None:
    number, reason, *_ = record.details
    if (number, reason) == _AGENT_NOT_YET_THERE:
        return
    state = name_of(AGENT_STATES, number)
    _count(domain, f"agent.{state}")
    if number in AGENT_STATES:
        _happened(domain, f"agent_{state}", record.time)


def _job_completed(domain: FollowedDomain, record: Record) -> None:
    job = record.details[0]
    operation = name_of(JOB_OPERATIONS, job.get("operation", 0))
    success = job.get("success")
    result = "unknown" if success is None else "success" if success else "failure"
    _count(domain, f"job.{operation}.{result}")
    _happened(domain, "job_completed", record.time)
    figures = {key: int(job[key]) for key in LAST_JOB_KEYS if key in job}
    domain.history.jobs[operation] = {"time": record.time, **figures}


def _disk_changed(domain: FollowedDomain, record: Record) -> None:
    _old, _new, alias, reason, *_ = record.details
    _count_of_disk(domain, _device(domain, alias), f"change.{name_of(DISK_CHANGES, reason)}")
    _happened(domain, "disk_change", record.time)


def _tray_changed(domain: FollowedDomain, record: Record) -> None:
    alias, state, *_ = record.details
    _count_of_disk(domain, _device(domain, alias), f"tray.{name_of(TRAY_STATES, state)}")
    _happened(domain, "tray_change", record.time)


def _threshold(domain: FollowedDomain, record: Record) -> None:
    device = record.details[0]
    _count_of_disk(domain, device or "", "threshold")
    _happened(domain, "block_threshold", record.time)


def _memory_failure(domain: FollowedDomain, record: Record) -> None:
    recipient, action, *_ = record.details
    words = f"{name_of(MEMORY_RECIPIENTS, recipient)}.{name_of(MEMORY_ACTIONS, action)}"
    _count(domain, f"memory_failure.{words}")
    _happened(domain, "memory_failure", record.time)


def _plain(key: str, event: str) -> Callable[[FollowedDomain, Record], None]:
    """For an event of which only its number and time matter."""

    def handle(domain: FollowedDomain, record: Record) -> None:
        _count(domain, key)
        _happened(domain, event, record.time)

    return handle


_HANDLERS: Final[Mapping[str, Callable[[FollowedDomain, Record], None]]] = {
    "lifecycle": _lifecycle,
    "reboot": _rebooted,
    "watchdog": _watchdog,
    "io_error_reason": _io_error,
    "graphics": _graphics,
    "control_error": _plain("control_error", "control_error"),
    "disk_change": _disk_changed,
    "tray_change": _tray_changed,
    "balloon_change": _plain("balloon_change", "balloon_change"),
    "device_removed": _plain("device.removed", "device_removed"),
    "block_job_2": _block_job,
    "agent_lifecycle": _agent,
    "device_added": _plain("device.added", "device_added"),
    "migration_iteration": _plain("migration_iteration", "migration_iteration"),
    "job_completed": _job_completed,
    "device_removal_failed": _plain("device.removal_failed", "device_removal_failed"),
    "block_threshold": _threshold,
    "memory_failure": _memory_failure,
}
"""By `Record.event`; events that are not here only say that the domain's XML has changed."""
