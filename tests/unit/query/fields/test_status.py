"""The status of a VM, and what happened to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libvirt_exporter.model import REASONS, STATES, DomainInfo, Hugepages, Stats, VanishedDomain
from libvirt_exporter.query.fields.field import VmView
from libvirt_exporter.query.fields.status import BOOT_TIME, LONGEST_BOOT_TIME, STATUSES
from libvirt_exporter.query.fields.table import values
from tests.support.samples import TYPICAL_INFO, UUID
from tests.support.vm_views import NOW, QEMU, SECOND, value_of, value_with, view

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


def with_agent(channel: str) -> DomainInfo:
    """The XML of a domain whose agent's channel is in a state."""
    return DomainInfo(uuid=UUID, name="web", agent_channel=channel)


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

    assert value_with(stats, "status") == expected


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

    assert value_with(stats, "status", info=with_agent(channel)) == expected


@pytest.mark.parametrize(
    ("events", "answered", "expected"),
    [
        ({"start.time": ago(300)}, ago(400), "Powering up"),
        ({"start.time": ago(300)}, ago(200), "Up"),
        ({"event.last.reboot": ago(300), "start.time": ago(999)}, ago(301), "RebootInProgress"),
        ({"event.last.reboot": ago(300), "start.time": ago(999)}, ago(299), "Up"),
        ({"event.last.reboot": ago(LONGEST_BOOT_TIME + 1)}, ago(999), "Up"),
    ],
)
@pytest.mark.parametrize("channel", ["connected", "disconnected"])
def test_guest_whose_agent_is_asked_boots_until_it_answers(
    events: Stats, answered: int, expected: str, channel: str
) -> None:
    """Whatever the channel says meanwhile; but not for ever."""
    stats = {**in_state("running", "booted"), **events, "guest.agent.answered": answered}

    assert value_with(stats, "status", info=with_agent(channel)) == expected


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

    assert value_with(stats, "status") == "Up"


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

    assert value_with(stats, "status") is None
    assert value_with(stats, "state") == "unknown_99"
    assert value_with(stats, "stateReason") == "unknown_7"


@given(st.integers(0, 9), st.integers(0, 20), st.integers(0, 12))
def test_status_is_always_one_of_vdsms_words(state: int, reason: int, job: int) -> None:
    """Whatever states, reasons and operations meet."""
    stats: Stats = {"state.state": state, "state.reason": reason, "job.operation": job}

    found = value_with(stats, "status")

    assert found in STATUSES if state < len(STATES) else found in {None, *STATUSES}


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, "NOERR"), (1, "ENOSPC"), (2, "EIO"), (3, "EPERM"), (4, "EOTHER"), (5, "POSTCOPY")],
)
def test_pause_code_has_its_name(code: int, expected: str) -> None:
    """The names that oVirt knows."""
    assert value_with({"pause.code": code}, "pauseCode") == expected


def test_pause_code_is_absent_while_it_is_not_known() -> None:
    """Not known is not NOERR."""
    assert value_with(in_state("paused", "ioerror"), "pauseCode") is None
    assert value_with({"pause.code": 6}, "pauseCode") is None


@pytest.mark.parametrize(
    ("stats", "expected"),
    [({"monitor.responsive": True}, 0), ({"monitor.responsive": False}, -1), ({}, None)],
)
def test_monitor_response_is_that_of_the_sampler(stats: Stats, expected: int | None) -> None:
    """Absent where no monitor was needed."""
    assert value_with(stats, "monitorResponse") == expected


def test_vcpus_are_those_of_the_statistics_else_of_the_xml() -> None:
    """A vCPU that is plugged in shows at once."""
    info = DomainInfo(uuid=UUID, name="web", vcpus_current=2)

    assert value_with({"vcpu.current": 4}, "smp", info=info) == 4
    assert value_with({}, "smp", info=info) == 2
    assert value_with({}, "smp") is None


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

    assert value_with(stats, "watchdogEvent") == {"time": NOW - 1.5, "action": expected}
    assert value_with({}, "watchdogEvent") is None


def test_process_id_is_qemus() -> None:
    """Absent over the network."""
    assert value_with({"process.pid": 4711}, "pid") == 4711
    assert value_with({}, "pid") is None


@pytest.mark.parametrize("enabled", [True, False])
def test_transparent_huge_pages_are_as_the_kernel_has_them(enabled: bool) -> None:
    """Unless hugetlbfs backs the memory."""
    stats: Stats = {"process.transparent_hugepages": enabled}
    plain = replace(TYPICAL_INFO, hugepages=())
    assert value_of(view(stats, info=plain), "transparentHugePages") is enabled
    backed = replace(TYPICAL_INFO, hugepages=(Hugepages(0),))
    assert value_of(view(stats, info=backed), "transparentHugePages") is False
