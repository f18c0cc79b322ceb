"""What is known of a domain from elsewhere than its bulk statistics and its XML, as series.

Written down without the catalogue, like `expectation`: from libvirt's other calls, from /proc, and
for events from what the exporter promises of them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import libvirt

from tests.lab.domains import state
from tests.lab.expectation import Values
from tests.lab.exporter import Series, series

Identity = dict[str, str]

MOVING: Final = "libvirt_domain_job_elapsed_seconds"
"""A gauge that never stands still."""

_ORDERLY: Final = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: True,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: True,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: False,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: True,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: True,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: False,
    libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: True,
}
_JOB: Final = {
    "time_elapsed": ("elapsed_seconds", 1e-3),
    "time_remaining": ("remaining_seconds", 1e-3),
    "data_total": ("data_total_bytes", 1),
    "data_processed": ("data_processed_bytes", 1),
    "data_remaining": ("data_remaining_bytes", 1),
    "memory_total": ("memory_total_bytes", 1),
    "memory_processed": ("memory_processed_bytes", 1),
    "memory_remaining": ("memory_remaining_bytes", 1),
    "disk_total": ("disk_total_bytes", 1),
    "disk_processed": ("disk_processed_bytes", 1),
    "disk_remaining": ("disk_remaining_bytes", 1),
    "disk_bps": ("disk_bytes_per_second", 1),
}
_JOB_NAMES: Final = {"type", "operation"}
_NO_METRIC: Final = {"disk_temp_used", "disk_temp_total"}
_OPERATIONS: Final = {libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: "backup"}
_JOB_TYPES: Final = {
    libvirt.VIR_DOMAIN_JOB_BOUNDED: "bounded",
    libvirt.VIR_DOMAIN_JOB_UNBOUNDED: "unbounded",
}
_BLOCK_JOBS: Final = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: "copy",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: "backup",
}

_CRASHES: Final = (("stopped", "crashed"), ("stopped", "failed"))


def of_calls(domain: libvirt.virDomain, identity: Identity) -> Values:
    """The series of what other calls of libvirt tell: state, jobs, snapshots, checkpoints."""
    found: Values = {}

    def add(name: str, value: float, **labels: str) -> None:
        found[series(f"libvirt_domain_{name}", **identity, **labels)] = value

    number, reason = state(domain)
    if number == libvirt.VIR_DOMAIN_SHUTOFF:
        if reason in _ORDERLY:
            add("exit_code", not _ORDERLY[reason])
    else:
        paused_by_error = (number, reason) == (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_IOERROR,
        )
        assert not paused_by_error, "no domain of these tests has a disk that is full"
        add("pause_code", 1, code="NOERR")
        found |= _of_jobs(domain, identity)
    snapshots, checkpoints = domain.listAllSnapshots(), domain.listAllCheckpoints()
    for what, listed in (("snapshot", snapshots), ("checkpoint", checkpoints)):
        add(f"{what}s", len(listed))
        if listed:
            add(f"oldest_{what}_timestamp_seconds", min(map(_created, listed)))
    return found


def _created(what: libvirt.virDomainSnapshot | libvirt.virDomainCheckpoint) -> int:
    return int(ElementTree.fromstring(what.getXMLDesc()).findtext("creationTime", ""))


def _of_jobs(domain: libvirt.virDomain, identity: Identity) -> Values:
    found: Values = {}
    job: Any = domain.jobStats()
    if job["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
        named = {
            "operation": _OPERATIONS[job["operation"]],
            "job_type": _JOB_TYPES[job["type"]],
        }
        found[series("libvirt_domain_job_info", **identity, **named)] = 1
        assert job.keys() <= _JOB.keys() | _JOB_NAMES | _NO_METRIC
        for key in job.keys() & _JOB.keys():
            name, unit = _JOB[key]
            if job[key] or not key.endswith("_total"):
                found[series(f"libvirt_domain_job_{name}", **identity)] = job[key] * unit
    for target in ElementTree.fromstring(domain.XMLDesc()).iterfind("devices/disk[source]/target"):
        flags = libvirt.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES
        block_job: Any = domain.blockJobInfo(target.attrib["dev"], flags)
        if not block_job:
            continue
        labels = {"device": target.attrib["dev"], "job_type": _BLOCK_JOBS[block_job["type"]]}
        for key, name in (
            ("cur", "current_bytes"),
            ("end", "end_bytes"),
            ("bandwidth", "bandwidth_bytes_per_second"),
        ):
            if block_job[key] or key != "bandwidth":
                found[series(f"libvirt_domain_block_job_{name}", **identity, **labels)] = block_job[
                    key
                ]
    return found


def of_process(pid: int, identity: Identity, *, kvm: bool) -> Values:
    """The series of a QEMU process, whose start is told to the second.

    Its guest has memory of the ordinary kind.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = {
        series("libvirt_domain_process_id", **identity): float(pid),
        series("libvirt_domain_start_time_seconds", **identity): round(
            booted + int(fields[19]) / ticks
        ),
    }
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    status = Path(f"/proc/{pid}/status").read_text()
    huge_pages = "[never]" not in setting and "THP_enabled:\t1" in status
    found[series("libvirt_domain_transparent_hugepages_enabled", **identity)] = huge_pages
    if kvm:
        guest_time = int(fields[40]) / ticks
        found[series("libvirt_domain_process_guest_seconds_total", **identity)] = guest_time
    return found


def born_with(domain: libvirt.virDomain, identity: Identity) -> set[Series]:
    """The counters of events that a domain has from its first sample on."""
    root = ElementTree.fromstring(domain.XMLDesc())
    born = [("lifecycle_events", {"event": event, "detail": why}) for event, why in _CRASHES]
    for watchdog in root.iterfind("devices/watchdog"):
        born.append(("watchdog_events", {"action": watchdog.attrib["action"]}))
    if root.find("devices/panic") is not None:
        born.append(("lifecycle_events", {"event": "crashed", "detail": "panicked"}))
        born.append(("guest_panics", {}))
    for disk in root.iterfind("devices/disk[@device='disk']/target"):
        for reason in ("enospc", "other"):
            born.append(("io_errors", {"device": disk.attrib["dev"], "reason": reason}))
    if root.find("devices/channel/target[@name='org.qemu.guest_agent.0']") is not None:
        born += [("agent_events", {"state": state}) for state in ("connected", "disconnected")]
    return {series(f"libvirt_domain_{name}_total", **identity, **rest) for name, rest in born}


_LATER: Final = {
    "lifecycle_events_total": {
        "event": "defined|undefined|started|suspended|resumed|stopped|shutdown",
        "detail": "[a-z_]+",
    },
    "last_event_timestamp_seconds": {
        "event": "defined|undefined|started|suspended|resumed|stopped|shutdown"
        "|agent_connected|agent_disconnected"
    },
    "state_change_timestamp_seconds": {},
}


def unlike_events(
    found: Iterable[tuple[Series, float]], *, since: float
) -> list[tuple[Series, float]]:
    """Those series that no event since that time can have brought forth.

    Counted are the events that need nobody's mistake; a time lies between `since` and now.
    """

    def fits(key: Series, value: float) -> bool:
        name, labels = key[0].removeprefix("libvirt_domain_"), dict(key[1])
        own = {label: labels[label] for label in labels.keys() - {"domain", "uuid"}}
        expected = _LATER.get(name)
        if expected is None or own.keys() != expected.keys():
            return False
        if not all(re.fullmatch(expected[label], word) for label, word in own.items()):
            return False
        return value >= 1 if name.endswith("_total") else since <= value <= time.time()

    return [(key, value) for key, value in found if not fits(key, value)]
