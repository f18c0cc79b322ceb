"""What is known of domains to which everything has happened that libvirt has an event for.

The events and their details are those of include/libvirt/libvirt-domain.h at libvirt 12.4, as
libvirt-python hands them to callbacks; which of them come together is as seen with libvirt 9.0.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from libvirt_exporter.hypervisor.events.domain_history import Record
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.names import LIFECYCLE
from libvirt_exporter.model import Disk, DomainInfo, Stats
from tests.contract.numbers import number_of

NOW: Final = 1_700_000_000_000_000_000
INFO: Final = DomainInfo(
    uuid="",
    name="",
    agent_channel="connected",
    disks=(Disk(device="vda", alias="virtio-disk0"), Disk(device="sda", kind="cdrom", alias="cd")),
)


class _Listed(NamedTuple):
    """What a listing says of a domain."""

    uuid: str
    name: str
    active: bool
    state: Stats


def _events() -> list[tuple[str, tuple[Any, ...]]]:
    return [
        *(("watchdog", (action,)) for action in range(8)),
        ("io_error_reason", ("/images/vda", "virtio-disk0", 1, "enospc")),
        ("io_error_reason", ("/images/vda", "virtio-disk0", 2, "")),
        ("reboot", ()),
        *(("block_job_2", ("vda", kind, kind % 5)) for kind in range(6)),
        ("block_threshold", ("vda", "/images/vda", 2**30, 512)),
        ("tray_change", ("cd", 0)),
        ("tray_change", ("cd", 1)),
        ("disk_change", ("/images/gone.iso", None, "cd", 1)),
        ("agent_lifecycle", (1, 1)),
        ("agent_lifecycle", (2, 2)),
        ("device_added", ("net1",)),
        ("device_removed", ("net1",)),
        ("device_removal_failed", ("net1",)),
        ("migration_iteration", (1,)),
        ("job_completed", ({"operation": 5, "success": False},)),
        ("memory_failure", (1, 1, 1)),
        ("balloon_change", (524288,)),
        ("control_error", ()),
        *(
            ("graphics", (phase, {}, {"node": "192.0.2.9", "service": "40000"}, "vnc", []))
            for phase in (0, 1, 2)
        ),
        *(
            ("lifecycle", (number, detail))
            for number, details in enumerate(LIFECYCLE.values())
            for detail in range(len(details))
        ),
        ("lifecycle", (2, 0)),
    ]


def _time(event: str, details: tuple[Any, ...]) -> int:
    """Of the last two weeks; by the event, so that another one changes no time but its own."""
    return NOW - 10**9 * number_of(f"{event} {details}")


def _stats(events: list[tuple[str, tuple[Any, ...]]], state: Stats, *, active: bool) -> Stats:
    history = EventHistory()
    history.begin()
    for event, details in events:
        history.record(Record(event, "", "", _time(event, details), details), INFO)
    known = history.stats(_Listed("", "", active, state), INFO)
    return {key: value for key, value in known.items() if not key.startswith("lastjob.")}


HAPPENED: Final = _stats(_events(), {"state.state": 1, "state.reason": 1}, active=True)
"""Of a running domain."""
ENDED: Final = _stats(
    [("lifecycle", (2, 0)), ("lifecycle", (5, 5))],
    {"state.state": 5, "state.reason": 8},
    active=False,
)
"""Of one whose QEMU was killed."""
