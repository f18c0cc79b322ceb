"""What state a VM is in, why, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from msgspec import UnsetType

from libvirt_exporter.model import REASONS, STATES, DomainSample, Stats, VanishedDomain
from libvirt_exporter.query.fields.field import (
    ABSENT,
    GONE,
    NOT_IN_XML,
    NOT_SEEN,
    SECOND,
    VmField,
    VmView,
    number,
)
from libvirt_exporter.query.fields.schema import BOOLEAN, COUNT, SECONDS, STRING, enum_of, object_of

Status = Literal[
    "Up",
    "Down",
    "Paused",
    "Powering up",
    "Powering down",
    "RebootInProgress",
    "Migration Source",
    "Migration Destination",
    "Saving State",
    "Restoring state",
    "WaitForLaunch",
]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

BOOT_TIME: Final = 60.0
"""Seconds for which a guest counts as booting, unless its agent is heard of before."""
LONGEST_BOOT_TIME: Final = 600.0
"""The same of a guest whose agent has answered before its boot, and so will again."""

_BY_JOB: Final[Mapping[int, Status]] = {
    2: "Saving State",
    3: "Restoring state",
    4: "Migration Destination",
    5: "Migration Source",
}
"""By virDomainJobOperation."""
_BY_REASON: Final[Mapping[tuple[str, str], Status]] = {
    ("running", "postcopy"): "Migration Destination",
    ("paused", "migration"): "Migration Destination",
    ("paused", "save"): "Saving State",
}
"""Where the job's own figures are not known: they take a call that may block."""
_BY_STATE: Final[Mapping[str, Status]] = {
    "paused": "Paused",
    "pmsuspended": "Paused",
    "shutdown": "Powering down",
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


def _reason_name(stats: Stats) -> str:
    """libvirt's name of the state's reason, '' when it is not known."""
    state, reason = number(stats, "state.state"), number(stats, "state.reason")
    if state is None or reason is None:
        return ""
    return REASONS.get(state, {}).get(reason, f"unknown_{reason}")


def _status(view: VmView) -> Status | UnsetType:
    if isinstance(view.domain, VanishedDomain):
        return "Down"
    stats = view.domain.stats
    state = state_name(stats)
    if state in ("shutoff", "crashed"):
        return "Down"
    reason = _reason_name(stats)
    if state == "nostate" or (state, reason) == ("paused", "starting_up"):
        return "WaitForLaunch"
    if (state, reason) != ("paused", "postcopy"):
        during_job = _BY_JOB.get(number(stats, "job.operation") or 0) or _BY_REASON.get(
            (state, reason)
        )
        if during_job is not None:
            return during_job
    if state not in ("running", "blocked"):
        return _BY_STATE.get(state, ABSENT)
    return _booting(view, view.domain, reason) or "Up"


def _booting(view: VmView, domain: DomainSample, reason: str) -> Status | None:
    """Whether the guest is believed to boot: it did so lately, and no agent was heard of."""
    answered = number(domain.stats, "guest.agent.answered")
    reboot = number(domain.stats, "event.last.reboot") or 0
    start = number(domain.stats, "start.time") or 0
    longest = BOOT_TIME if answered is None else LONGEST_BOOT_TIME
    earliest = (view.now - longest) * SECOND
    rebooted = reboot > max(start, earliest)
    started = start > earliest and reason not in _NO_BOOT
    if not (rebooted or started):
        return None
    if answered is None:
        heard_of = domain.info is not None and domain.info.agent_channel == "connected"
    else:
        heard_of = answered > max(reboot, start)
    if heard_of:
        return None
    return "RebootInProgress" if rebooted else "Powering up"


def _state(view: VmView) -> Any:
    return state_name(view.domain.stats) or ABSENT


def _state_reason(view: VmView) -> Any:
    return _reason_name(view.domain.stats) or ABSENT


def _pause_code(view: VmView) -> Any:
    code = number(view.domain.stats, "pause.code")
    return PAUSE_CODES[code] if code is not None and code < len(PAUSE_CODES) else ABSENT


def _monitor_response(view: VmView) -> Any:
    match view.domain.stats.get("monitor.responsive"):
        case True:
            return 0
        case False:
            return -1
    return ABSENT


def _pid(view: VmView) -> Any:
    process = number(view.domain.stats, "process.pid")
    return ABSENT if process is None else process


def _transparent_huge_pages(view: VmView) -> Any:
    if view.info is not None and view.info.hugepages:
        return False
    found = view.domain.stats.get("process.transparent_hugepages")
    return found if isinstance(found, bool) else ABSENT


def _vcpus_now(view: VmView) -> Any:
    """vCPUs online; the XML is not read again when one is plugged in."""
    current = number(view.domain.stats, "vcpu.current")
    if current is None and view.info is not None:
        current = view.info.vcpus_current
    return ABSENT if current is None else current


def _watchdog_event(view: VmView) -> Any:
    time = number(view.domain.stats, "event.watchdog.last.time")
    action = number(view.domain.stats, "event.watchdog.last.action")
    if time is None or action is None:
        return ABSENT
    known = action < len(WATCHDOG_ACTIONS)
    return {
        "time": time / SECOND,
        "action": WATCHDOG_ACTIONS[action] if known else f"unknown_{action}",
    }


_PROCESS: Final = "Requires QEMU's process in this machine's /proc, and the group `process`."

FIELDS: Final = (
    VmField(
        name="monitorResponse",
        schema={"enum": [-1, 0]},
        text="0 while QEMU's monitor responds, -1 if it does not.",
        source="virDomainGetControlInfo, while calls take long",
        change="event",
        asks=("balloon", "block"),
        metric="libvirt_domain_monitor_responsive",
        value=_monitor_response,
        why_absent="The domain is not active, or no group that requires its monitor is selected.",
    ),
    VmField(
        name="pauseCode",
        schema=enum_of(PAUSE_CODES),
        text="Cause of the VM's pause as an oVirt code: NOERR (no error), ENOSPC, EIO, EPERM, "
        "EOTHER (also a crash or the watchdog), POSTCOPY.",
        source="state.reason; virDomainGetDiskErrors, event IO_ERROR",
        change="event",
        lanes=("errors",),
        metric="libvirt_domain_pause_code",
        more_metrics=("libvirt_domain_disk_error",),
        value=_pause_code,
        why_absent="The domain is not active, or its disk errors have not been read yet.",
    ),
    VmField(
        name="pid",
        schema=COUNT,
        text="Process ID of QEMU.",
        source="/run/libvirt/qemu/<name>.pid",
        change="event",
        lanes=("processes",),
        metric="libvirt_domain_process_id",
        value=_pid,
        why_absent=_PROCESS,
    ),
    VmField(
        name="smp",
        schema=COUNT,
        text="Number of plugged vCPUs.",
        source="vcpu.current, else domain XML, vcpu/@current",
        change="event",
        asks=("vcpu",),
        metric="libvirt_domain_vcpus_current",
        more_metrics=("libvirt_domain_configured_vcpus",),
        value=_vcpus_now,
        why_absent=NOT_IN_XML,
    ),
    VmField(
        name="status",
        schema=enum_of(STATUSES),
        text=(
            "State of the VM as a VDSM status. Powering up and RebootInProgress last from a "
            "start or reboot until the guest's agent answers, if it answered before. Otherwise "
            "they are estimates: 60 s, or until the agent connects."
        ),
        source=(
            "state.state, state.reason; virDomainGetJobStats; event REBOOT; start of QEMU; "
            "guest agent"
        ),
        change="event",
        lanes=("guest_agent", "jobs", "processes"),
        by_clock=True,
        metric="libvirt_domain_state",
        more_metrics=("libvirt_domain_state_reason", "libvirt_domain_job_info"),
        value=_status,
        why_absent="libvirt returned a state unknown to this version.",
    ),
    VmField(
        name="transparentHugePages",
        schema=BOOLEAN,
        text=(
            "Whether the kernel may back the VM's memory with transparent huge pages: they are "
            "enabled on the host and for the process, and hugetlbfs does not back the memory."
        ),
        source=(
            "domain XML, memoryBacking; THP_enabled of /proc/PID/status, and "
            "/sys/kernel/mm/transparent_hugepage/enabled"
        ),
        change="event",
        lanes=("processes",),
        metric="libvirt_domain_transparent_hugepages_enabled",
        value=_transparent_huge_pages,
        why_absent=f"{_PROCESS} Absent for shared or file-backed memory.",
    ),
    VmField(
        name="vmId",
        schema=STRING,
        text="UUID of the VM; always returned.",
        source="virDomainGetUUID",
        change="static",
        metric="libvirt_domain_info",
        value=lambda view: view.domain.uuid,
        why_absent="It is always present.",
    ),
    VmField(
        name="vmName",
        schema=STRING,
        text="Name of the VM.",
        source="virDomainGetName",
        change="static",
        metric="libvirt_domain_info",
        value=lambda view: view.domain.name,
        why_absent="It is always present.",
    ),
    VmField(
        name="watchdogEvent",
        schema=object_of(
            time=(SECONDS, "Unix time"),
            action=(STRING, f"{', '.join(WATCHDOG_ACTIONS)}, or `unknown_` and libvirt's number"),
        ),
        text="Time and action of the last watchdog expiry. The actions are VDSM's names of "
        "libvirt's: none is ignore, poweroff is destroy, debug is log; the other names are "
        "equal. The metric uses libvirt's names.",
        source="event WATCHDOG",
        change="event",
        metric="libvirt_domain_watchdog_events_total",
        more_metrics=("libvirt_domain_last_event_timestamp_seconds",),
        value=_watchdog_event,
        why_absent=NOT_SEEN,
    ),
    VmField(
        name="state",
        own=True,
        schema=STRING,
        text=f"libvirt's state: {', '.join(STATES)}, or `unknown_` and libvirt's number.",
        source="state.state",
        change="event",
        metric="libvirt_domain_state",
        value=_state,
        why_absent=GONE,
    ),
    VmField(
        name="stateReason",
        own=True,
        schema=STRING,
        text="libvirt's reason for the state: booted, ioerror, watchdog and others.",
        source="state.reason",
        change="event",
        metric="libvirt_domain_state_reason",
        value=_state_reason,
        why_absent=GONE,
    ),
)
