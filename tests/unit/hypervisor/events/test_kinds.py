"""What becomes of an event of each kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from libvirt_exporter.hypervisor.events.domain_history import Record
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.kinds import KINDS, changes_xml
from libvirt_exporter.model import Disk, DomainInfo, Stats
from libvirt_exporter.render import keys
from tests.support.samples import UUID

TIME = 100 * 10**9
INFO = DomainInfo(
    uuid=UUID,
    name="web",
    disks=(
        Disk(device="vda", alias="virtio-disk0", source="/images/a"),
        Disk(device="vdb", alias="ua-data", source="/images/b"),
        Disk(device="sda", alias="sata0-0-0", kind="cdrom"),
    ),
)

CASES: list[tuple[str, tuple[Any, ...], Stats]] = [
    ("agent_lifecycle", (1, 2), {"agent.connected": 1, "last.agent_connected": TIME}),
    ("balloon_change", (1024,), {"balloon_change": 1, "last.balloon_change": TIME}),
    (
        "block_job_2",
        ("vdb", 4, 3),
        {"disk.1.block_job.active_commit.ready": 1, "last.block_job": TIME},
    ),
    (
        "block_job_2",
        ("vdb", 1, 9),
        {"disk.1.block_job.pull.unknown_9": 1, "last.block_job": TIME},
    ),
    (
        "block_threshold",
        ("vda", "/images/a", 1, 2),
        {"disk.0.threshold": 1, "last.block_threshold": TIME},
    ),
    ("control_error", (), {"control_error": 1, "last.control_error": TIME}),
    ("device_added", ("net1",), {"device.added": 1, "last.device_added": TIME}),
    ("device_removed", ("net1",), {"device.removed": 1, "last.device_removed": TIME}),
    (
        "device_removal_failed",
        ("net1",),
        {"device.removal_failed": 1, "last.device_removal_failed": TIME},
    ),
    (
        "disk_change",
        ("/x", None, "ua-data", 1),
        {"disk.1.change.drop_missing_on_start": 1, "last.disk_change": TIME},
    ),
    ("graphics", (0, {}, {}, "none", []), {"graphics.connect": 1, "last.graphics": TIME}),
    (
        "io_error_reason",
        ("/images/a", "virtio-disk0", 1, "enospc"),
        {"disk.0.io_error.enospc": 1, "last.io_error": TIME},
    ),
    (
        "job_completed",
        ({"operation": 5, "success": True},),
        {"job.migration_out.success": 1, "last.job_completed": TIME},
    ),
    ("lifecycle", (4, 0), {"lifecycle.resumed.unpaused": 1, "last.resumed": TIME}),
    ("memory_failure", (1, 2, 3), {"memory_failure.guest.fatal": 1, "last.memory_failure": TIME}),
    (
        "memory_failure",
        (9, 9, 0),
        {"memory_failure.unknown_9.unknown_9": 1, "last.memory_failure": TIME},
    ),
    ("migration_iteration", (3,), {"migration_iteration": 1, "last.migration_iteration": TIME}),
    ("reboot", (), {"reboot": 1, "last.reboot": TIME}),
    ("tray_change", ("sata0-0-0", 0), {"disk.2.tray.open": 1, "last.tray_change": TIME}),
    (
        "watchdog",
        (2,),
        {
            "watchdog.reset": 1,
            "watchdog.last.action": 2,
            "watchdog.last.time": TIME,
            "last.watchdog": TIME,
        },
    ),
]
"""Kind, what its callback gets, and the keys below `event.` that are not 0 afterwards."""
COUNTED = {name for name, _, _ in CASES}

CHANGE_THE_XML = {
    *("agent_lifecycle", "block_job_2", "device_added", "device_removed", "disk_change"),
    *("memory_device_size_change", "metadata_change", "nic_mac_change", "rtc_change"),
    *("tray_change", "tunable", "vcpu_removed"),
}
NEITHER = {"pmwakeup", "pmsuspend", "pmsuspend_disk"}
"""Kinds that are only counted as received: a lifecycle event tells the same."""


class Listed(NamedTuple):
    """What a listing says of a domain."""

    uuid: str
    name: str
    active: bool
    state: Stats


def counters(event: str, details: tuple[Any, ...]) -> Stats:
    """What is known below `event.` after one event, without what is 0 or names a disk."""
    history = EventHistory()
    history.begin()
    history.record(Record(event, UUID, "web", TIME, details), INFO)
    running = Listed(UUID, "web", active=True, state={"state.state": 1, "state.reason": 1})
    return {
        key.removeprefix("event."): value
        for key, value in history.stats(running, INFO).items()
        if key.startswith("event.") and value != 0 and not key.endswith(".name")
    }


@pytest.mark.parametrize(("event", "details", "expected"), CASES)
def test_an_event_is_counted_and_dated(
    event: str, details: tuple[Any, ...], expected: Stats
) -> None:
    """One more under its labels, and the time of the last one, each with a metric."""
    found = counters(event, details)

    assert found == expected
    unmapped = [key for key in found if keys.match(f"event.{key}") is None]
    assert not unmapped, (
        f"give {unmapped} below `event.` rows in exporter/libvirt_exporter/catalogue/event.py, "
        "then `make golden docs`"
    )


@pytest.mark.parametrize(
    ("devices", "times"),
    [
        (["vda", "vda[3]"], 1),
        (["vda[3]"], 1),
        (["vda", "vda[3]", "vda[3]"], 2),
        (["vda", "vda"], 2),
        (["vda", "vda[3]", "vda", "vda[3]"], 2),
    ],
    ids=["own image", "set by index", "one of each", "without index", "twice"],
)
def test_a_threshold_is_counted_once_for_its_disk(devices: list[str], times: int) -> None:
    """However libvirt names the image, or if it does so in two events."""
    history = EventHistory()
    history.begin()
    for device in devices:
        record = Record("block_threshold", UUID, "web", TIME, (device, "/images/a", 1, 2))
        history.record(record, INFO)
    running = Listed(UUID, "web", active=True, state={"state.state": 1, "state.reason": 1})
    found = history.stats(running, INFO)
    assert {
        found[key.removesuffix("threshold") + "name"]: value
        for key, value in found.items()
        if key.endswith(".threshold")
    } == {"vda": times}


@pytest.mark.parametrize("event", sorted(kind.name for kind in KINDS.values() if not kind.take))
def test_an_event_with_nothing_to_count_is_not_counted(event: str) -> None:
    """Whatever it says."""
    assert counters(event, (1, 2, 3, 4)) == {}


def test_every_kind_is_tested() -> None:
    """A kind that is counted has a case, and what no kind does is no case's."""
    untested = {kind.name for kind in KINDS.values() if kind.take is not None} - COUNTED
    assert not untested, (
        f"no test counts {sorted(untested)}: add them to CASES in "
        "tests/unit/hypervisor/events/test_kinds.py, then `pytest tests/unit/hypervisor/events`"
    )
    useless = KINDS.keys() - COUNTED - CHANGE_THE_XML - {"lifecycle"} - NEITHER
    assert not useless, (
        f"{sorted(useless)} are neither counted nor change the XML: give them `take` or "
        "`changes_xml` in exporter/libvirt_exporter/hypervisor/events/kinds.py"
    )


@pytest.mark.parametrize("event", sorted(KINDS.keys() - {"lifecycle"}))
def test_which_events_change_the_xml(event: str) -> None:
    """Those of devices, metadata and settings, with which the XML is read again."""
    assert changes_xml(Record(event, UUID, "web", TIME, ())) is (event in CHANGE_THE_XML)


@pytest.mark.parametrize("number", range(9))
def test_lifecycle_events_that_change_the_xml_begin_or_end_something(number: int) -> None:
    """Pausing and resuming leave it as it is."""
    record = Record("lifecycle", UUID, "web", TIME, (number, 0))
    assert changes_xml(record) is (number in {0, 1, 2, 5})
