"""The kinds of events: one record each, of how it is counted and whether it changes the XML.

Counters are named by what follows `event.` in their keys, those of a disk by what follows
`event.disk.<num>.`. The rows of the keys are in the catalogue's `event`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

import libvirt

from libvirt_exporter.hypervisor.events import exits
from libvirt_exporter.hypervisor.events.domain_history import FollowedDomain, Record, Stop
from libvirt_exporter.hypervisor.events.names import (
    AGENT_STATES,
    BLOCK_JOB_STATUSES,
    BLOCK_JOB_TYPES,
    DISK_CHANGES,
    GRAPHICS_PHASES,
    JOB_RESULTS,
    LIFECYCLE,
    MEMORY_ACTIONS,
    MEMORY_RECIPIENTS,
    TRAY_STATES,
    WATCHDOG_ACTIONS,
    WATCHDOG_WORDS,
    name_of,
)
from libvirt_exporter.model import JOB_OPERATIONS, Disk, DomainInfo

REBOOT_WINDOW: Final = 2 * 10**9
"""ns within which resets count as one reboot. One reset of a guest arrives two to four times within
1.3 s (libvirt 9.0, QEMU 7.2 under TCG): the firmware resets the machine again to start afresh."""
CLIENT_LIMIT: Final = 256
"""Graphics clients of one domain that are remembered, in case libvirt forgets to say goodbye."""
LAST_JOB_KEYS: Final = ("success", "time_elapsed", "downtime", "data_processed", "memory_processed")
"""What is kept of a job that is over; of libvirt's keys and in its units."""

_NAMELESS: Final = ("", "")
"""Address and port of every graphics client over a Unix socket."""
_LIFECYCLE_EVENTS: Final = tuple(LIFECYCLE)
_STATE_EVENTS: Final = LIFECYCLE.keys() - {"defined", "undefined"}
# Every domain with a channel begins with this event (seen with 9.0).
_AGENT_NOT_YET_THERE: Final = (
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_DOMAIN_STARTED,
)
_LIFECYCLE_XML_CHANGES: Final = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_DEFINED,
        libvirt.VIR_DOMAIN_EVENT_UNDEFINED,
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
    }
)


def _always(_record: Record) -> bool:
    return True


class Kind(NamedTuple):
    name: str
    """What follows VIR_DOMAIN_EVENT_ID_ in libvirt's name, in lower case."""
    take: Callable[[FollowedDomain, Record], None] | None = None
    """Counts and dates one; None: there is nothing to count.

    May raise TypeError, ValueError, LookupError or AttributeError for arguments that a newer
    libvirt may deliver.
    """
    changes_xml: Callable[[Record], bool] = lambda _: False
    """Whether the domain's XML differs afterwards."""
    always: tuple[str, ...] = ()
    """Counters that every domain has from its birth on, because alerts build on them."""
    of_devices: Callable[[DomainInfo], tuple[str, ...]] = lambda _: ()
    """Those that a domain has because of its devices."""
    with_agent: tuple[str, ...] = ()
    """Those of every domain that has a channel to a guest agent."""
    of_disks: tuple[str, ...] = ()
    """Those of every disk that the event can be about."""
    on_request: tuple[str, ...] = ()
    """Other counters whose labels have known values."""
    needs: Callable[[DomainInfo], bool] = lambda _: True
    """Whether a domain has what `on_request` counts."""


def _word(text: object) -> str:
    """A libvirt's word as a part of a key; `other` when it says nothing.

    Nor does `message` (seen with 12.8, where 9.0 has ''): the domain's messages hold the reason.
    """
    return (
        re.sub(r"[^a-z0-9_-]", "_", text.lower())[:32]
        if isinstance(text, str) and text not in ("", "message")
        else "other"
    )


def _lifecycle(domain: FollowedDomain, record: Record) -> None:
    number, detail, *_ = record.details
    event = name_of(_LIFECYCLE_EVENTS, number)
    domain.count(f"lifecycle.{event}.{name_of(LIFECYCLE.get(event, ()), detail)}")
    history = domain.history
    if event in _STATE_EVENTS:
        history.state_time = record.time
    woken = (event, detail) == ("started", libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP)
    if event in LIFECYCLE and not woken:
        domain.happened(event, record.time)
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
            domain.count("guest_panic")
            domain.happened("panic", record.time)
        case "stopped":
            _stopped(domain, detail, record.time)


def _stopped(domain: FollowedDomain, detail: int, time: int) -> None:
    history = domain.history
    end = exits.of_event(detail, ran=history.ran is not False, shutdown=history.shutdown)
    if detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED or end is exits.LOST:
        domain.happened("crash", time)
    elif end is exits.NOT_STARTED:
        domain.happened("failed_start", time)
    history.stop = Stop(time, detail, end)
    history.ran = False
    if domain.clients is not None:
        domain.clients = {}


def _rebooted(domain: FollowedDomain, record: Record) -> None:
    before = domain.history.last.get("reboot")
    if before is None or not 0 <= record.time - before < REBOOT_WINDOW:
        domain.count("reboot")
        domain.happened("reboot", record.time)


def _watchdog(domain: FollowedDomain, record: Record) -> None:
    action, *_ = record.details
    domain.count(f"watchdog.{name_of(WATCHDOG_ACTIONS, action)}")
    domain.history.watchdog = action
    domain.happened("watchdog", record.time)


def _io_error(domain: FollowedDomain, record: Record) -> None:
    source, alias, action, reason, *_ = record.details
    word = _word(reason)
    domain.count_of_disk(domain.device(alias, source), f"io_error.{word}")
    if action == libvirt.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE:
        domain.history.io_error = word
    domain.happened("io_error", record.time)


def _graphics(domain: FollowedDomain, record: Record) -> None:
    phase, _local, remote, *_ = record.details
    domain.count(f"graphics.{name_of(GRAPHICS_PHASES, phase)}")
    domain.happened("graphics", record.time)
    clients = domain.clients = {} if domain.clients is None else domain.clients
    client = (str(remote.get("node") or ""), str(remote.get("service") or ""))
    if phase == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE:
        known = clients.get(client, 0) if client == _NAMELESS else 0
        clients[client] = min(known + 1, CLIENT_LIMIT)
        if len(clients) > CLIENT_LIMIT:
            del clients[next(iter(clients))]
    elif phase == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT:
        if clients.get(client, 0) > 1:
            clients[client] -= 1
        else:
            clients.pop(client, None)


def _block_job(domain: FollowedDomain, record: Record) -> None:
    device, kind, status, *_ = record.details
    words = f"{name_of(BLOCK_JOB_TYPES, kind)}.{name_of(BLOCK_JOB_STATUSES, status)}"
    domain.count_of_disk(device or "", f"block_job.{words}")
    domain.happened("block_job", record.time)


def _agent(domain: FollowedDomain, record: Record) -> None:
    number, reason, *_ = record.details
    if (number, reason) == _AGENT_NOT_YET_THERE:
        return
    state = name_of(AGENT_STATES, number)
    domain.count(f"agent.{state}")
    if number in AGENT_STATES:
        domain.happened(f"agent_{state}", record.time)


def _job_completed(domain: FollowedDomain, record: Record) -> None:
    job = record.details[0]
    operation = name_of(JOB_OPERATIONS, job.get("operation", 0))
    success = job.get("success")
    result = "unknown" if success is None else "success" if success else "failure"
    domain.count(f"job.{operation}.{result}")
    domain.happened("job_completed", record.time)
    figures = {key: int(job[key]) for key in LAST_JOB_KEYS if key in job}
    domain.history.jobs[operation] = {"time": record.time, **figures}


def _disk_changed(domain: FollowedDomain, record: Record) -> None:
    _old, _new, alias, reason, *_ = record.details
    domain.count_of_disk(domain.device(alias), f"change.{name_of(DISK_CHANGES, reason)}")
    domain.happened("disk_change", record.time)


def _tray_changed(domain: FollowedDomain, record: Record) -> None:
    alias, state, *_ = record.details
    domain.count_of_disk(domain.device(alias), f"tray.{name_of(TRAY_STATES, state)}")
    domain.happened("tray_change", record.time)


def _threshold(domain: FollowedDomain, record: Record) -> None:
    device, *what = record.details
    disk, index, _ = (device or "").partition("[")
    # Of a disk's own image libvirt (9.0) sends two, for `vda` and then for `vda[3]`, unless the
    # threshold was set for the latter; of the images below it there is one.
    crossed = disk, *what
    if index and crossed == domain.threshold:
        domain.threshold = None
        return
    domain.threshold = None if index else crossed
    domain.count_of_disk(disk, "threshold")
    domain.happened("block_threshold", record.time)


def _memory_failure(domain: FollowedDomain, record: Record) -> None:
    recipient, action, *_ = record.details
    words = f"{name_of(MEMORY_RECIPIENTS, recipient)}.{name_of(MEMORY_ACTIONS, action)}"
    domain.count(f"memory_failure.{words}")
    domain.happened("memory_failure", record.time)


def _plain(
    name: str,
    key: str = "",
    changes_xml: Callable[[Record], bool] = lambda _: False,
    needs: Callable[[DomainInfo], bool] = lambda _: True,
) -> Kind:
    """A kind of which only number and time matter; `key` is its counter, else its name is."""
    key = key or name

    def take(domain: FollowedDomain, record: Record) -> None:
        domain.count(key)
        domain.happened(name, record.time)

    return Kind(name, take, changes_xml, on_request=(key,), needs=needs)


def _watchdog_actions(info: DomainInfo) -> tuple[str, ...]:
    """The counter of what each watchdog does; the other actions cannot happen."""
    actions = (WATCHDOG_WORDS.get(device.action, device.action) for device in info.watchdogs)
    return tuple(f"watchdog.{action}" for action in actions)


def _panics(info: DomainInfo) -> tuple[str, ...]:
    """Nobody is told of a panic without a device for it."""
    if any(device.kind == "panic" for device in info.devices):
        return ("lifecycle.crashed.panicked", "guest_panic")
    return ()


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "lifecycle",
            _lifecycle,
            lambda record: record.details[0] in _LIFECYCLE_XML_CHANGES,
            always=("lifecycle.stopped.crashed", "lifecycle.stopped.failed"),
            of_devices=_panics,
            on_request=tuple(
                f"lifecycle.{event}.{detail}"
                for event, details in LIFECYCLE.items()
                if event != "crashed"
                for detail in details
            ),
        ),
        Kind("reboot", _rebooted, on_request=("reboot",)),
        Kind("rtc_change", changes_xml=_always),
        Kind("watchdog", _watchdog, of_devices=_watchdog_actions),
        Kind("io_error_reason", _io_error, of_disks=("io_error.enospc", "io_error.other")),
        Kind(
            "graphics",
            _graphics,
            on_request=tuple(f"graphics.{phase}" for phase in GRAPHICS_PHASES),
            needs=lambda info: bool(info.graphics),
        ),
        _plain("control_error"),
        Kind("disk_change", _disk_changed, _always),
        Kind("tray_change", _tray_changed, _always),
        Kind("pmwakeup"),
        Kind("pmsuspend"),
        _plain("balloon_change", needs=lambda info: info.balloon_model not in ("", "none")),
        Kind("pmsuspend_disk"),
        _plain("device_added", "device.added", _always),
        _plain("device_removed", "device.removed", _always),
        Kind("block_job_2", _block_job, _always),
        Kind("tunable", changes_xml=_always),
        Kind(
            "agent_lifecycle",
            _agent,
            _always,
            with_agent=tuple(f"agent.{state}" for state in AGENT_STATES.values()),
        ),
        _plain("migration_iteration"),
        Kind(
            "job_completed",
            _job_completed,
            on_request=tuple(
                f"job.{operation}.{result}"
                for operation, result in product(JOB_OPERATIONS, JOB_RESULTS)
            ),
        ),
        _plain("device_removal_failed", "device.removal_failed"),
        Kind("metadata_change", changes_xml=_always),
        Kind("block_threshold", _threshold),
        Kind(
            "memory_failure",
            _memory_failure,
            on_request=tuple(
                f"memory_failure.{who}.{what}"
                for who, what in product(MEMORY_RECIPIENTS, MEMORY_ACTIONS)
            ),
        ),
        Kind("memory_device_size_change", changes_xml=_always),
        Kind("nic_mac_change", changes_xml=_always),
        Kind("vcpu_removed", changes_xml=_always),
    )
}
"""By name; `lifecycle` must be first, as a host that has not even that one has no events.

IO_ERROR and BLOCK_JOB are left out because IO_ERROR_REASON and BLOCK_JOB_2 tell of the same,
CHANNEL_LIFECYCLE because libvirt-python (12.8) hands its callbacks the wrong arguments.
"""

ALWAYS_COUNTED: Final = tuple(key for kind in KINDS.values() for key in kind.always)
AGENT_COUNTED: Final = tuple(key for kind in KINDS.values() for key in kind.with_agent)
DISK_COUNTED: Final = tuple(key for kind in KINDS.values() for key in kind.of_disks)


def born_with(info: DomainInfo | None, *, everything: bool) -> Iterator[str]:
    """The counters that a domain has at 0 from its birth on, without its disks' and its agent's.

    `info`: what is known of its devices. `everything`: those on request too.
    """
    yield from ALWAYS_COUNTED
    if info is None:
        return
    for kind in KINDS.values():
        yield from kind.of_devices(info)
        if everything and kind.needs(info):
            yield from kind.on_request


def tells_of_io_errors(disk: Disk) -> bool:
    """Whether libvirt has an event for an I/O error of this disk.

    The event needs a path or name of the image (libvirt 9.0; not 12.8, which counts from the first
    on), and QEMU itself at the storage.
    """
    if disk.kind in ("cdrom", "floppy") or disk.source_type in ("nvme", "vhostuser", "vhostvdpa"):
        return False
    if disk.source_type == "network":
        _protocol, _colon, name = disk.source.partition(":")
        return bool(name)
    return bool(disk.source)


def take_event(domain: FollowedDomain, record: Record) -> Exception | None:
    """Count and date one event, if its kind is counted; return why it is not understood."""
    take = KINDS[record.event].take
    if take is None:
        return None
    try:
        take(domain, record)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        # A binding that delivers other arguments than those of 12.8.
        return error
    return None


def changes_xml(record: Record) -> bool:
    """Whether a domain's XML differs after an event that is understood."""
    return KINDS[record.event].changes_xml(record)
