"""When a VM was started, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from libvirt_exporter.model import OvirtInfo
from libvirt_exporter.query.fields.field import ABSENT, SECOND, VmField, VmView, number
from libvirt_exporter.query.fields.schema import COUNT, INTEGER, SECONDS, STRING


def _exit(key: str, recorded: Callable[[OvirtInfo], int | None]) -> Callable[[VmView], Any]:
    """The number of the end under a key, else what VDSM wrote into the metadata at the end."""

    def value(view: VmView) -> Any:
        found, info = number(view.domain.stats, key), view.info
        if found is None and info is not None and info.ovirt is not None and not view.active:
            found = recorded(info.ovirt)
        return ABSENT if found is None else found

    return value


def _exit_message(view: VmView) -> Any:
    # What VDSM wrote into the metadata may be any exception's text, and is no part of this.
    message = view.domain.stats.get("exit.message")
    return message if isinstance(message, str) and message else ABSENT


def start_time(view: VmView) -> float | None:
    """Unix time at which the VM was started; None when it does not run or nobody saw it."""
    start = number(view.domain.stats, "start.time") if view.active else None
    return None if start is None else start / SECOND


def _started_at(view: VmView) -> Any:
    start = start_time(view)
    return ABSENT if start is None else start


def _elapsed_time(view: VmView) -> Any:
    """Whole seconds since the guest last began to boot."""
    since = start_time(view)
    reboot = number(view.domain.stats, "event.last.reboot")
    # One that is older was of an earlier run.
    begun = number(view.domain.stats, "event.last.started") or 0
    if reboot is not None and reboot >= begun and view.active:
        since = max(since or 0.0, reboot / SECOND)
    return ABSENT if since is None else max(int(view.now - since), 0)


FIELDS: Final = (
    VmField(
        name="elapsedTime",
        schema=COUNT,
        unit="s",
        text="Time since the VM's start, or since its guest's last reboot.",
        source="start of QEMU's process or oVirt's startTime; event REBOOT",
        change="time",
        lanes=("processes",),
        metric="libvirt_domain_start_time_seconds",
        more_metrics=("libvirt_domain_last_event_timestamp_seconds",),
        value=_elapsed_time,
        why_absent=(
            "The start is unknown. Requires oVirt's metadata, QEMU's process in this machine's "
            "/proc, or the event of the start."
        ),
    ),
    VmField(
        name="exitCode",
        schema=INTEGER,
        text="Result of the VM's last run: 0 for a normal end, 1 for an error. Not QEMU's exit "
        "status.",
        source="lifecycle events, else state.reason; oVirt's metadata",
        change="event",
        metric="libvirt_domain_exit_code",
        value=_exit("exit.code", lambda record: record.exit_code),
        why_absent="The VM has not ended.",
    ),
    VmField(
        name="exitMessage",
        schema=STRING,
        text="Cause of the VM's end as text.",
        source="lifecycle events, else state.reason",
        change="event",
        no_metric="Free text: libvirt_domain_state_reason has libvirt's word.",
        value=_exit_message,
        why_absent="The VM has not ended.",
    ),
    VmField(
        name="exitReason",
        own=True,
        schema=INTEGER,
        text="Cause of the VM's end as a VDSM code.",
        source="lifecycle events, else state.reason; oVirt's metadata",
        change="event",
        no_metric="A number of oVirt's: libvirt_domain_state_reason has libvirt's word.",
        value=_exit("exit.reason", lambda record: record.exit_reason),
        why_absent="The VM has not ended.",
    ),
    VmField(
        name="startTime",
        own=True,
        schema=SECONDS,
        unit="s",
        text="Unix time of the VM's start. Reboots do not change it.",
        source="start of QEMU's process or oVirt's startTime",
        change="event",
        lanes=("processes",),
        metric="libvirt_domain_start_time_seconds",
        value=_started_at,
        why_absent="The start is unknown; see elapsedTime.",
    ),
)
