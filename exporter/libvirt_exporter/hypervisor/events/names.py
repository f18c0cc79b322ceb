"""libvirt's names of what happens to domains, by number.

The numbers are those of include/libvirt/libvirt-domain.h at libvirt 12.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Names = tuple[str, ...]

WATCHDOG_ACTIONS: Final = ("none", "pause", "reset", "poweroff", "shutdown", "debug", "injectnmi")
WATCHDOG_WORDS: Final[Mapping[str, str]] = {"dump": "pause", "inject-nmi": "injectnmi"}
"""An event's action by that of the domain XML, where they differ."""
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
MEMORY_RECIPIENTS: Final = ("hypervisor", "guest")
MEMORY_ACTIONS: Final = ("ignore", "inject", "fatal", "reset")
JOB_RESULTS: Final = ("success", "failure", "unknown")


def name_of(names: Names | Mapping[int, str], number: int) -> str:
    """The name of a number; `unknown_<n>` for one that is newer than this exporter.

    Raises TypeError or ValueError for what is no number.
    """
    unknown = f"unknown_{number:d}"
    if isinstance(names, Mapping):
        return names.get(number, unknown)
    return names[number] if 0 <= number < len(names) else unknown
