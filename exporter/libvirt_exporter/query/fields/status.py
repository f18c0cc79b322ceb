"""What state a VM is in, why, since when, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from libvirt_exporter.model import REASONS, STATES, DomainSample, OvirtInfo, Stats, VanishedDomain
from libvirt_exporter.query.fields.field import ABSENT, VmView, number

Status = str
UP: Final = "Up"
DOWN: Final = "Down"
PAUSED: Final = "Paused"
POWERING_UP: Final = "Powering up"
POWERING_DOWN: Final = "Powering down"
REBOOTING: Final = "RebootInProgress"
MIGRATION_SOURCE: Final = "Migration Source"
MIGRATION_DESTINATION: Final = "Migration Destination"
SAVING: Final = "Saving State"
RESTORING: Final = "Restoring state"
WAIT_FOR_LAUNCH: Final = "WaitForLaunch"
STATUSES: Final = (
    UP,
    DOWN,
    PAUSED,
    POWERING_UP,
    POWERING_DOWN,
    REBOOTING,
    MIGRATION_SOURCE,
    MIGRATION_DESTINATION,
    SAVING,
    RESTORING,
    WAIT_FOR_LAUNCH,
)

BOOT_TIME: Final = 60.0
"""Seconds for which a guest counts as booting, unless its agent is heard of before."""
SECOND: Final = 10**9

_BY_JOB: Final[Mapping[int, Status]] = {
    2: SAVING,
    3: RESTORING,
    4: MIGRATION_DESTINATION,
    5: MIGRATION_SOURCE,
}
"""By virDomainJobOperation."""
_BY_REASON: Final[Mapping[tuple[str, str], Status]] = {
    ("running", "postcopy"): MIGRATION_DESTINATION,
    ("paused", "migration"): MIGRATION_DESTINATION,
    ("paused", "save"): SAVING,
}
"""Where the job's own figures are not known: they take a call that may block."""
_BY_STATE: Final[Mapping[str, Status]] = {
    "paused": PAUSED,
    "pmsuspended": PAUSED,
    "shutdown": POWERING_DOWN,
}
_NO_BOOT: Final = frozenset({"migrated", "restored", "from_snapshot", "postcopy_failed"})
"""Reasons to run with which a new process does not mean a guest that boots."""

PAUSE_CODES: Final = ("NOERR", "ENOSPC", "EIO", "EPERM", "EOTHER", "POSTCOPY")
WATCHDOG_ACTIONS: Final = ("ignore", "pause", "reset", "destroy", "shutdown", "log", "injectnmi")
"""By virDomainEventWatchdogAction, in VDSM's words."""


def state_name(stats: Stats) -> str:
    """libvirt's name of the state, '' when it is not known."""
    state = number(stats, "state.state")
    if state is None:
        return ""
    return STATES[state] if state < len(STATES) else f"unknown_{state}"


def reason_name(stats: Stats) -> str:
    """libvirt's name of the state's reason, '' when it is not known."""
    state, reason = number(stats, "state.state"), number(stats, "state.reason")
    if state is None or reason is None:
        return ""
    return REASONS.get(state, {}).get(reason, f"unknown_{reason}")


def status(view: VmView) -> Any:
    """VDSM's word for what the VM does."""
    if isinstance(view.domain, VanishedDomain):
        return DOWN
    stats = view.domain.stats
    state = state_name(stats)
    if state in ("shutoff", "crashed"):
        return DOWN
    reason = reason_name(stats)
    if state == "nostate" or (state, reason) == ("paused", "starting_up"):
        return WAIT_FOR_LAUNCH
    if (state, reason) != ("paused", "postcopy"):
        during_job = _BY_JOB.get(number(stats, "job.operation") or 0) or _BY_REASON.get(
            (state, reason)
        )
        if during_job is not None:
            return during_job
    if state not in ("running", "blocked"):
        return _BY_STATE.get(state, ABSENT)
    return _booting(view, view.domain, reason) or UP


def _booting(view: VmView, domain: DomainSample, reason: str) -> Status | None:
    """Whether the guest is believed to boot: it did so lately, and no agent was heard of."""
    reboot = number(domain.stats, "event.last.reboot") or 0
    start = number(domain.stats, "start.time") or 0
    earliest = (view.now - BOOT_TIME) * SECOND
    rebooted = reboot > max(start, earliest)
    started = start > earliest and reason not in _NO_BOOT
    if not (rebooted or started):
        return None
    if domain.info is not None and domain.info.agent_channel == "connected":
        return None
    return REBOOTING if rebooted else POWERING_UP


def state(view: VmView) -> Any:
    """libvirt's state."""
    return state_name(view.domain.stats) or ABSENT


def state_reason(view: VmView) -> Any:
    """libvirt's reason of the state."""
    return reason_name(view.domain.stats) or ABSENT


def pause_code(view: VmView) -> Any:
    """Why the VM is paused."""
    code = number(view.domain.stats, "pause.code")
    return PAUSE_CODES[code] if code is not None and code < len(PAUSE_CODES) else ABSENT


def exit_code(view: VmView) -> Any:
    """0 for a normal end, 1 for an error."""
    code = number(view.domain.stats, "exit.code")
    if code is None and (record := _ovirt_record(view)) is not None:
        code = record.exit_code
    return ABSENT if code is None else code


def exit_reason(view: VmView) -> Any:
    """VDSM's number of the reason for the end."""
    reason = number(view.domain.stats, "exit.reason")
    if reason is None and (record := _ovirt_record(view)) is not None:
        reason = record.exit_reason
    return ABSENT if reason is None else reason


def exit_message(view: VmView) -> Any:
    """Why the VM ended, in words."""
    # What VDSM wrote into the metadata may be any exception's text, and is no part of this.
    message = view.domain.stats.get("exit.message")
    return message if isinstance(message, str) and message else ABSENT


def _ovirt_record(view: VmView) -> OvirtInfo | None:
    """What VDSM wrote into the metadata when the VM ended."""
    info = view.info
    return None if info is None or view.active else info.ovirt


def start_time(view: VmView) -> float | None:
    """Unix time at which the VM was started; None when it does not run or nobody saw it."""
    start = number(view.domain.stats, "start.time") if view.active else None
    return None if start is None else start / SECOND


def started_at(view: VmView) -> Any:
    """The start as a field."""
    start = start_time(view)
    return ABSENT if start is None else start


def elapsed_time(view: VmView) -> Any:
    """Whole seconds since the guest last began to boot."""
    since = start_time(view)
    reboot = number(view.domain.stats, "event.last.reboot")
    if reboot is not None and view.active:
        since = max(since or 0.0, reboot / SECOND)
    return ABSENT if since is None else max(int(view.now - since), 0)


def monitor_response(view: VmView) -> Any:
    """0 while QEMU's monitor answers, else -1."""
    match view.domain.stats.get("monitor.responsive"):
        case True:
            return 0
        case False:
            return -1
    return ABSENT


def pid(view: VmView) -> Any:
    """Number of the QEMU process."""
    process = number(view.domain.stats, "process.pid")
    return ABSENT if process is None else process


def transparent_huge_pages(view: VmView) -> Any:
    """Whether the kernel may put the VM's memory into transparent huge pages."""
    if view.info is not None and view.info.hugepage_size is not None:
        return False
    found = view.domain.stats.get("process.transparent_hugepages")
    return found if isinstance(found, bool) else ABSENT


def vcpus_now(view: VmView) -> Any:
    """vCPUs online; the XML is not read again when one is plugged in."""
    current = number(view.domain.stats, "vcpu.current")
    if current is None and view.info is not None:
        current = view.info.vcpus_current
    return ABSENT if current is None else current


def watchdog_event(view: VmView) -> Any:
    """The last time that the watchdog fired."""
    time = number(view.domain.stats, "event.watchdog.last.time")
    action = number(view.domain.stats, "event.watchdog.last.action")
    if time is None or action is None:
        return ABSENT
    known = action < len(WATCHDOG_ACTIONS)
    return {
        "time": time / SECOND,
        "action": WATCHDOG_ACTIONS[action] if known else f"unknown_{action}",
    }


def client_address(view: VmView) -> Any:
    """Address of the display's client that came last; '' without a client."""
    stats = view.domain.stats
    if "graphics.clients" not in stats:
        return ABSENT
    address = stats.get("graphics.client.address")
    return address if isinstance(address, str) and number(stats, "graphics.clients") else ""
