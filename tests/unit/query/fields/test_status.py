"""The status of a VM, and what happened to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.model import (
    REASONS,
    STATES,
    Disk,
    DomainInfo,
    OvirtInfo,
    Stats,
    VanishedDomain,
)
from libvirt_exporter.query.fields.field import VmView
from libvirt_exporter.query.fields.status import BOOT_TIME, STATUSES
from libvirt_exporter.query.fields.table import values
from tests.support.samples import UUID
from tests.support.vm_views import NOW, QEMU, SECOND, view

NUMBERS = {name: number for number, name in enumerate(STATES)}
SAVE, RESTORE, MIGRATION_IN, MIGRATION_OUT, BACKUP = 2, 3, 4, 5, 9


def ago(seconds: float) -> int:
    """A time before NOW in ns."""
    return int((NOW - seconds) * SECOND)


def in_state(state: str, reason: str = "unknown") -> dict[str, Any]:
    """Statistics of a domain in a state by libvirt's names."""
    number = NUMBERS[state]
    reasons = {name: number for number, name in REASONS[number].items()}
    return {"state.state": number, "state.reason": reasons[reason]}


def value(stats: Stats, name: str, **more: Any) -> Any:
    """A field of a domain with these statistics, None when it has none."""
    return values(view(stats, **more), [name]).get(name)


def with_agent(channel: str) -> DomainInfo:
    """The XML of a domain whose agent's channel is in a state."""
    return DomainInfo(uuid=UUID, name="web", agent_channel=channel)


# Status.


@pytest.mark.parametrize(
    ("state", "reason", "job", "expected"),
    [
        ("shutoff", "destroyed", None, "Down"),
        ("shutoff", "saved", SAVE, "Down"),
        ("crashed", "panicked", None, "Down"),
        ("nostate", "unknown", None, "WaitForLaunch"),
        ("paused", "starting_up", None, "WaitForLaunch"),
        ("paused", "starting_up", MIGRATION_IN, "WaitForLaunch"),
        ("running", "booted", MIGRATION_OUT, "Migration Source"),
        ("paused", "migration", MIGRATION_OUT, "Migration Source"),
        ("paused", "user", MIGRATION_OUT, "Migration Source"),
        ("paused", "postcopy", MIGRATION_OUT, "Paused"),
        ("paused", "postcopy", None, "Paused"),
        ("running", "booted", MIGRATION_IN, "Migration Destination"),
        ("running", "postcopy", None, "Migration Destination"),
        ("paused", "migration", None, "Migration Destination"),
        ("running", "booted", SAVE, "Saving State"),
        ("paused", "save", None, "Saving State"),
        ("paused", "unknown", RESTORE, "Restoring state"),
        ("paused", "user", None, "Paused"),
        ("paused", "ioerror", None, "Paused"),
        ("paused", "postcopy_failed", None, "Paused"),
        ("pmsuspended", "unknown", None, "Paused"),
        ("shutdown", "user", None, "Powering down"),
        ("running", "booted", None, "Up"),
        ("running", "booted", BACKUP, "Up"),
        ("blocked", "unknown", None, "Up"),
    ],
)
def test_status_follows_state_reason_and_job(
    state: str, reason: str, job: int | None, expected: str
) -> None:
    """The first rule that matches decides."""
    stats = in_state(state, reason)
    if job is not None:
        stats["job.operation"] = job

    assert value(stats, "status") == expected


@pytest.mark.parametrize(
    ("events", "channel", "expected"),
    [
        ({"start.time": ago(10)}, "", "Powering up"),
        ({"start.time": ago(10)}, "disconnected", "Powering up"),
        ({"start.time": ago(10)}, "connected", "Up"),
        ({"start.time": ago(BOOT_TIME + 1)}, "", "Up"),
        ({"event.last.reboot": ago(10), "start.time": ago(999)}, "", "RebootInProgress"),
        ({"event.last.reboot": ago(10)}, "disconnected", "RebootInProgress"),
        ({"event.last.reboot": ago(10)}, "connected", "Up"),
        ({"event.last.reboot": ago(BOOT_TIME + 1), "start.time": ago(999)}, "", "Up"),
        ({"event.last.reboot": ago(20), "start.time": ago(10)}, "", "Powering up"),
        ({"event.last.reboot": ago(5), "start.time": ago(10)}, "", "RebootInProgress"),
    ],
)
def test_guest_counts_as_booting_for_a_minute_or_until_its_agent_speaks(
    events: Stats, channel: str, expected: str
) -> None:
    """The later of start and reboot decides which it is."""
    stats = {**in_state("running", "booted"), **events}

    assert value(stats, "status", info=with_agent(channel)) == expected


def test_boot_ends_with_the_time_alone() -> None:
    """The same sample says Powering up, and Up a minute later."""
    booting = view({**in_state("running", "booted"), "start.time": ago(0)})
    later = msgspec.structs.replace(booting, now=NOW + BOOT_TIME)

    assert values(booting, ["status"]) == {"status": "Powering up"}
    assert values(later, ["status"]) == {"status": "Up"}


@pytest.mark.parametrize("reason", ["migrated", "restored", "from_snapshot", "postcopy_failed"])
def test_guest_whose_memory_came_along_does_not_boot(reason: str) -> None:
    """A new QEMU process is no new guest then."""
    stats = {**in_state("running", reason), "start.time": ago(1)}

    assert value(stats, "status") == "Up"


def test_vanished_vm_is_down() -> None:
    """With its exit as far as known, and nothing else."""
    gone = VanishedDomain(
        uuid=UUID,
        name="web",
        timestamp=NOW,
        stats={"exit.code": 1, "exit.reason": 9, "exit.message": "gone"},
    )

    assert values(
        VmView(QEMU, gone), ["vmId", "status", "exitCode", "exitReason", "exitMessage", "pid"]
    ) == {"vmId": UUID, "status": "Down", "exitCode": 1, "exitReason": 9, "exitMessage": "gone"}


def test_state_that_is_not_known_has_no_status() -> None:
    """A libvirt newer than this exporter is not guessed at."""
    stats: Stats = {"state.state": 99, "state.reason": 7}

    assert value(stats, "status") is None
    assert value(stats, "state") == "unknown_99"
    assert value(stats, "stateReason") == "unknown_7"


@given(st.integers(0, 9), st.integers(0, 20), st.integers(0, 12))
def test_status_is_always_one_of_vdsms_words(state: int, reason: int, job: int) -> None:
    """Whatever states, reasons and operations meet."""
    stats: Stats = {"state.state": state, "state.reason": reason, "job.operation": job}

    found = value(stats, "status")

    assert found in STATUSES if state < len(STATES) else found in {None, *STATUSES}


# What happened.


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, "NOERR"), (1, "ENOSPC"), (2, "EIO"), (3, "EPERM"), (4, "EOTHER"), (5, "POSTCOPY")],
)
def test_pause_code_has_its_name(code: int, expected: str) -> None:
    """The names that oVirt knows."""
    assert value({"pause.code": code}, "pauseCode") == expected


def test_pause_code_is_absent_while_it_is_not_known() -> None:
    """Not known is not NOERR."""
    assert value(in_state("paused", "ioerror"), "pauseCode") is None
    assert value({"pause.code": 6}, "pauseCode") is None


def test_exit_is_that_of_libvirt_else_ovirts_record_of_a_vm_that_is_off() -> None:
    """What oVirt noted of an earlier end says nothing of a VM that runs; its text is free text."""
    names = ["exitCode", "exitReason", "exitMessage"]
    record = OvirtInfo(exit_code=0, exit_reason=7, exit_message="User shut down")
    info = DomainInfo(uuid=UUID, name="web", ovirt=record)
    known: Stats = {"exit.code": 1, "exit.reason": 1, "exit.message": "crashed"}

    assert values(view(known, active=False, info=info), names) == {
        "exitCode": 1,
        "exitReason": 1,
        "exitMessage": "crashed",
    }
    assert values(view({}, active=False, info=info), names) == {
        "exitCode": 0,
        "exitReason": 7,
    }
    assert values(view({}, info=info), names) == {}


@pytest.mark.parametrize(
    ("stats", "active", "expected"),
    [
        ({"start.time": ago(90.5)}, True, 90),
        ({"start.time": ago(90), "event.last.reboot": ago(30)}, True, 30),
        ({"start.time": ago(90), "event.last.reboot": ago(300)}, True, 90),
        ({"event.last.reboot": ago(30)}, True, 30),
        ({"start.time": ago(-5)}, True, 0),
        ({}, True, None),
        ({"start.time": ago(90), "event.last.reboot": ago(30)}, False, None),
    ],
)
def test_elapsed_time_runs_from_start_or_reboot(
    stats: Stats, active: bool, expected: int | None
) -> None:
    """Never negative, and only of a VM that runs."""
    assert value(stats, "elapsedTime", active=active) == expected


def test_start_time_does_not_move_with_reboots() -> None:
    """It is a Unix time with fractions, absent when the VM is off."""
    stats: Stats = {"start.time": ago(90.5), "event.last.reboot": ago(30)}

    assert value(stats, "startTime") == NOW - 90.5
    assert value(stats, "startTime", active=False) is None


@pytest.mark.parametrize(
    ("stats", "expected"),
    [({"monitor.responsive": True}, 0), ({"monitor.responsive": False}, -1), ({}, None)],
)
def test_monitor_response_is_that_of_the_sampler(stats: Stats, expected: int | None) -> None:
    """Absent where no monitor was needed."""
    assert value(stats, "monitorResponse") == expected


def test_vcpus_are_those_of_the_statistics_else_of_the_xml() -> None:
    """A vCPU that is plugged in shows at once."""
    info = DomainInfo(uuid=UUID, name="web", vcpus_current=2)

    assert value({"vcpu.current": 4}, "smp", info=info) == 4
    assert value({}, "smp", info=info) == 2
    assert value({}, "smp") is None


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (0, "ignore"),
        (1, "pause"),
        (2, "reset"),
        (3, "destroy"),
        (4, "shutdown"),
        (5, "log"),
        (6, "injectnmi"),
        (7, "unknown_7"),
    ],
)
def test_watchdog_event_has_all_of_libvirts_actions(action: int, expected: str) -> None:
    """In VDSM's words, with the time as a Unix time."""
    stats: Stats = {
        "event.watchdog.last.time": ago(1.5),
        "event.watchdog.last.action": action,
    }

    assert value(stats, "watchdogEvent") == {"time": NOW - 1.5, "action": expected}
    assert value({}, "watchdogEvent") is None


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({}, None),
        ({"graphics.clients": 0, "graphics.client.address": ""}, ""),
        ({"graphics.clients": 0, "graphics.client.address": "192.0.2.1"}, ""),
        ({"graphics.clients": 2, "graphics.client.address": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_client_is_unknown_until_the_first_event(stats: Stats, expected: str | None) -> None:
    """Then it is the one that came last, and empty when the last one left."""
    assert value(stats, "clientIp") == expected


def test_process_id_is_qemus() -> None:
    """Absent over the network."""
    assert value({"process.pid": 4711}, "pid") == 4711
    assert value({}, "pid") is None


# Jobs.


@pytest.mark.parametrize(
    ("operation", "total", "remaining", "expected"),
    [
        (MIGRATION_OUT, 1000, 1000, 0),
        (MIGRATION_OUT, 1000, 505, 50),
        (MIGRATION_OUT, 1000, 1, 99),
        (MIGRATION_OUT, 1000, 0, 100),
        (MIGRATION_OUT, 1000, 1200, 0),
        (MIGRATION_OUT, 0, 0, 0),
        (SAVE, 1000, 500, None),
        (MIGRATION_IN, 1000, 500, None),
    ],
)
def test_migration_progress_is_what_remains_of_the_data(
    operation: int, total: int, remaining: int, expected: int | None
) -> None:
    """Whole percents, 100 only when nothing remains, and only where the VM leaves."""
    stats: Stats = {
        "job.operation": operation,
        "job.data_total": total,
        "job.data_remaining": remaining,
    }

    assert value(stats, "migrationProgress") == expected
    assert value({"job.operation": operation}, "migrationProgress") is None


def block_job(job_type: int) -> Stats:
    """A block job on vda that is half done."""
    return {
        "blockjob.count": 1,
        "blockjob.0.name": "vda",
        "blockjob.0.type": job_type,
        "blockjob.0.bandwidth": 0,
        "blockjob.0.cur": 50,
        "blockjob.0.end": 100,
    }


def test_no_block_job_is_told_from_one_that_nobody_looked_for() -> None:
    """Empty and absent."""
    assert value({"blockjob.count": 0}, "vmJobs") == {}
    assert value({}, "vmJobs") is None


@pytest.mark.parametrize(
    ("job_type", "expected"),
    [
        (0, "unknown"),
        (1, "pull"),
        (2, "copy"),
        (3, "commit"),
        (4, "commit"),
        (5, "backup"),
        (6, "unknown"),
    ],
)
def test_block_job_is_listed_by_its_disk(job_type: int, expected: str) -> None:
    """libvirt has no ids for them."""
    assert value(block_job(job_type), "vmJobs") == {
        "vda": {
            "id": "vda",
            "jobType": "block",
            "blockJobType": expected,
            "drive": "vda",
            "bandwidth": 0,
            "cur": 50,
            "end": 100,
        }
    }


def test_block_job_of_ovirt_is_listed_by_ovirts_id() -> None:
    """The metadata knows the id, and the image."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(Disk(device="vda", image_id="image"),),
        ovirt=OvirtInfo(jobs='{"j1": {"drive": "vdb"}, "j2": {"drive": "vda"}}'),
    )

    jobs = value(block_job(3), "vmJobs", info=info)

    assert {key: (job["id"], job["imgUUID"]) for key, job in jobs.items()} == {
        "j2": ("j2", "image")
    }


DEEP = '{"a":' * 10_000


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"drive": 7}}', DEEP])
def test_odd_list_of_jobs_in_the_metadata_costs_its_ids(text: str) -> None:
    """The job itself is libvirt's."""
    info = DomainInfo(uuid=UUID, name="web", ovirt=OvirtInfo(jobs=text))

    assert [*value(block_job(3), "vmJobs", info=info)] == ["vda"]
