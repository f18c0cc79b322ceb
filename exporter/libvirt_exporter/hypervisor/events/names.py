"""libvirt's names of what happens to domains, by number, and the counters made of them.

The numbers are those of include/libvirt/libvirt-domain.h at libvirt 12.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Final

from libvirt_exporter.model import JOB_OPERATIONS

Names = tuple[str, ...]

WATCHDOG_ACTIONS: Final = ("none", "pause", "reset", "poweroff", "shutdown", "debug", "injectnmi")
LIFECYCLE: Final[Mapping[str, Names]] = {
    "defined": ("added", "updated", "renamed", "from_snapshot"),
    "undefined": ("removed", "renamed"),
    "started": ("booted", "migrated", "restored", "from_snapshot", "wakeup", "recreated"),
    "suspended": (
        "paused",
        "migrated",
        "ioerror",
        "watchdog",
        "restored",
        "from_snapshot",
        "api_error",
        "postcopy",
        "postcopy_failed",
        "guest_shutdown",
    ),
    "resumed": ("unpaused", "migrated", "from_snapshot", "postcopy", "postcopy_failed"),
    "stopped": (
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from_snapshot",
        "recreated",
    ),
    "shutdown": ("finished", "guest", "host"),
    "pmsuspended": ("memory", "disk"),
    "crashed": ("panicked", "crashloaded"),
}
"""Names of virDomainEventType, and of the details of each, by number."""
AGENT_STATES: Final[Mapping[int, str]] = {1: "connected", 2: "disconnected"}
GRAPHICS_PHASES: Final = ("connect", "initialize", "disconnect")
BLOCK_JOB_TYPES: Final = ("unknown", "pull", "copy", "commit", "active_commit", "backup")
BLOCK_JOB_STATUSES: Final = ("completed", "failed", "canceled", "ready")
DISK_CHANGES: Final = ("missing_on_start", "drop_missing_on_start")
TRAY_STATES: Final = ("open", "close")
DEVICE_EVENTS: Final = ("added", "removed", "removal_failed")
MEMORY_RECIPIENTS: Final = ("hypervisor", "guest")
MEMORY_ACTIONS: Final = ("ignore", "inject", "fatal", "reset")
JOB_RESULTS: Final = ("success", "failure", "unknown")
ALWAYS_COUNTED: Final = (
    *(f"watchdog.{action}" for action in WATCHDOG_ACTIONS),
    "lifecycle.stopped.crashed",
    "lifecycle.stopped.failed",
    "lifecycle.crashed.panicked",
    "guest_panic",
)
"""Counters that every domain has from its birth on, because alerts build on them."""
AGENT_COUNTED: Final = tuple(f"agent.{state}" for state in AGENT_STATES.values())
"""Those of every domain that has a channel to a guest agent."""
DISK_COUNTED: Final = ("io_error.enospc", "io_error.other")
"""Those of every disk."""
COUNTED_ON_REQUEST: Final = (
    *(f"lifecycle.{event}.{detail}" for event, details in LIFECYCLE.items() for detail in details),
    "reboot",
    *AGENT_COUNTED,
    *(f"job.{operation}.{result}" for operation, result in product(JOB_OPERATIONS, JOB_RESULTS)),
    "migration_iteration",
    *(f"device.{event}" for event in DEVICE_EVENTS),
    *(f"memory_failure.{who}.{what}" for who, what in product(MEMORY_RECIPIENTS, MEMORY_ACTIONS)),
    "balloon_change",
    "control_error",
    *(f"graphics.{phase}" for phase in GRAPHICS_PHASES),
)
"""All others whose labels have known values."""


def name_of(names: Names | Mapping[int, str], number: int) -> str:
    """The name of a number; `unknown_<n>` for one that is newer than this exporter.

    Raises TypeError or ValueError for what is no number.
    """
    unknown = f"unknown_{number:d}"
    if isinstance(names, Mapping):
        return names.get(number, unknown)
    return names[number] if 0 <= number < len(names) else unknown
