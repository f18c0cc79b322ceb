"""When a VM was started, and how it ended."""

from __future__ import annotations

import pytest

from libvirt_exporter.model import DomainInfo, OvirtInfo, Stats
from libvirt_exporter.query.fields.table import values
from tests.support.samples import UUID
from tests.support.vm_views import NOW, SECOND, value_with, view


def ago(seconds: float) -> int:
    """A time before NOW in ns."""
    return int((NOW - seconds) * SECOND)


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
        ({"event.last.reboot": ago(30), "event.last.started": ago(60)}, True, 30),
        ({"event.last.reboot": ago(300), "event.last.started": ago(60)}, True, None),
        ({"start.time": ago(-5)}, True, 0),
        ({}, True, None),
        ({"start.time": ago(90), "event.last.reboot": ago(30)}, False, None),
    ],
)
def test_elapsed_time_runs_from_start_or_reboot(
    stats: Stats, active: bool, expected: int | None
) -> None:
    """Never negative, and only of a VM that runs."""
    assert value_with(stats, "elapsedTime", active=active) == expected


def test_start_time_does_not_move_with_reboots() -> None:
    """It is a Unix time with fractions, absent when the VM is off."""
    stats: Stats = {"start.time": ago(90.5), "event.last.reboot": ago(30)}

    assert value_with(stats, "startTime") == NOW - 90.5
    assert value_with(stats, "startTime", active=False) is None
