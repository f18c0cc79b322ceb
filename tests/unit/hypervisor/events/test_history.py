"""What becomes of records of events: counts, last times, last states."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import libvirt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.events import domain_history, kinds
from libvirt_exporter.hypervisor.events import history as event_history
from libvirt_exporter.hypervisor.events.domain_history import DomainHistory, Record
from libvirt_exporter.hypervisor.events.history import EventHistory, Memory
from libvirt_exporter.hypervisor.events.kinds import KINDS
from libvirt_exporter.hypervisor.events.names import LIFECYCLE, WATCHDOG_ACTIONS
from libvirt_exporter.model import Device, Disk, DomainInfo, Graphics, Stats, StatValue, Watchdog
from libvirt_exporter.render import keys
from tests.support.samples import DEFAULT, TYPICAL_INFO, TYPICAL_STATS, domain, series

SECOND = 10**9
UUID = TYPICAL_INFO.uuid
INFO = DomainInfo(
    uuid=UUID,
    name="web",
    disks=(
        Disk(device="vda", alias="virtio-disk0", source="/images/a"),
        Disk(device="vdb", alias="ua-data", source="/images/b"),
        Disk(device="sda", alias="sata0-0-0", kind="cdrom"),
        Disk(device="fda", alias="fdc0-0-0", kind="floppy"),
    ),
)
WITH_AGENT = replace(INFO, agent_channel="disconnected")


@dataclass
class Listed:
    """What a listing says of a domain."""

    uuid: str = UUID
    name: str = "web"
    active: bool = True
    state: Stats = field(default_factory=lambda: {"state.state": 1, "state.reason": 1})


OFF = Listed(active=False, state={"state.state": 5, "state.reason": 1})


def off(reason: int) -> Listed:
    """The domain, shut off for a reason."""
    return Listed(active=False, state={"state.state": 5, "state.reason": reason})


SETTINGS = HostSettings(uri="qemu:///system")
ALL = HostSettings(uri="qemu:///system", all_counters=True)


def following(settings: HostSettings = SETTINGS) -> EventHistory:
    """A history while events are delivered."""
    history = EventHistory()
    history.apply(settings)
    history.begin()
    return history


def tell(
    history: EventHistory,
    event: str,
    *details: Any,
    time: int = 100 * SECOND,
    info: DomainInfo | None = INFO,
    uuid: str = UUID,
) -> None:
    """Record one event."""
    history.record(Record(event, uuid, "web", time, details), info)


def lifecycle(history: EventHistory, event: str, detail: str, **options: Any) -> None:
    """Record a lifecycle event by its names."""
    number = list(LIFECYCLE).index(event)
    tell(history, "lifecycle", number, LIFECYCLE[event].index(detail), **options)


def stats(
    history: EventHistory, listed: Listed | None = None, info: DomainInfo | None = INFO
) -> Stats:
    """All keys of the domain."""
    return history.stats(listed or Listed(), info)


def changed(history: EventHistory, listed: Listed | None = None) -> dict[str, StatValue]:
    """The keys of the domain without those that are 0, or name a disk."""
    return {
        key: value
        for key, value in stats(history, listed).items()
        if value != 0 and not key.endswith(".name")
    }


# Birth.


def born(info: DomainInfo | None, settings: HostSettings = SETTINGS) -> set[str]:
    """What stands at 0 for a domain to which nothing has happened, without its disks."""
    found = stats(following(settings), info=info)
    assert {value for key, value in found.items() if not key.endswith(".name")} == {0}
    return {key.removeprefix("event.") for key in found if not key.startswith("event.disk.")}


def test_a_domain_is_born_with_the_counters_that_alerts_build_on() -> None:
    """`increase()` does not see a counter that is born at 1."""
    assert born(INFO) == born(None) == {"lifecycle.stopped.crashed", "lifecycle.stopped.failed"}


@pytest.mark.parametrize(
    ("action", "word"), [("reset", "reset"), ("dump", "pause"), ("inject-nmi", "injectnmi")]
)
def test_watchdog_counters_are_there_where_a_watchdog_is(action: str, word: str) -> None:
    """Only for what that device does: 0 says that something can be counted and was not seen."""
    info = replace(INFO, watchdogs=(Watchdog("i6300esb", action),))
    assert born(info) - born(INFO) == {f"watchdog.{word}"}
    assert word in WATCHDOG_ACTIONS


def test_panics_are_counted_where_the_guest_can_tell_of_them() -> None:
    """By a panic device."""
    info = replace(INFO, devices=(Device(kind="panic", model="pvpanic"),))
    assert born(info) - born(INFO) == {"lifecycle.crashed.panicked", "guest_panic"}


def test_counters_on_request_are_those_of_what_there_is() -> None:
    """No graphics of a domain without a console, no balloon or agent of one without."""
    bare = born(INFO, ALL)
    assert not [key for key in bare if re.match("agent|graphics|balloon|watchdog|.*panic", key)]
    console = replace(INFO, graphics=(Graphics(type="vnc"),), balloon_model="virtio")
    assert born(console, ALL) - bare == {
        "graphics.connect",
        "graphics.initialize",
        "graphics.disconnect",
        "balloon_change",
    }
    assert born(replace(INFO, balloon_model="none"), ALL) == bare


@pytest.mark.parametrize(
    "disk",
    [
        Disk(device="vda", source_type="network", source="nbd"),
        Disk(device="vda", source_type="nvme", source="0000:01:00.0/1"),
        Disk(device="vda", source_type="vhostuser", source="/run/spdk.sock"),
        Disk(device="sda", source_type="block", kind="lun"),
    ],
    ids=lambda disk: disk.source_type,
)
def test_io_errors_that_libvirt_does_not_tell_of_are_not_0(disk: Disk) -> None:
    """A disk without a path or name, or served by another process."""
    info = replace(INFO, disks=(disk,))
    assert not [key for key in stats(following(), info=info) if "io_error" in key]


def test_io_errors_of_a_disk_on_the_network_are_told_of_by_its_name() -> None:
    """libvirt's event carries it in place of a path."""
    info = replace(INFO, disks=(Disk(device="vda", source_type="network", source="rbd:volumes/x"),))
    assert stats(following(), info=info)["event.disk.0.io_error.enospc"] == 0


def test_disks_are_born_with_their_io_errors_and_drives_are_not() -> None:
    """A CD-ROM has no I/O errors that pause anything."""
    found = stats(following())
    assert {key: value for key, value in found.items() if key.startswith("event.disk.")} == {
        "event.disk.0.name": "vda",
        "event.disk.0.io_error.enospc": 0,
        "event.disk.0.io_error.other": 0,
        "event.disk.1.name": "vdb",
        "event.disk.1.io_error.enospc": 0,
        "event.disk.1.io_error.other": 0,
    }


def test_agent_counters_are_there_where_a_channel_is() -> None:
    """And stay when the domain is shut off, though its XML then tells nothing of the channel."""
    history = following()
    assert "event.agent.connected" not in stats(history)
    found = stats(history, info=WITH_AGENT)
    assert (found["event.agent.connected"], found["event.agent.disconnected"]) == (0, 0)
    assert stats(history, OFF, INFO)["event.agent.connected"] == 0


def test_an_inactive_domain_has_its_counters_too() -> None:
    """Its first start and crash must be seen."""
    always = {f"event.{key}" for kind in KINDS.values() for key in kind.always}
    assert stats(following(), OFF).keys() >= always


def test_nothing_is_counted_as_long_as_no_events_are_followed() -> None:
    """Not knowing is not zero."""
    history = EventHistory()
    assert not stats(history, info=WITH_AGENT)
    history.begin()
    assert stats(history, info=WITH_AGENT)["event.agent.connected"] == 0


def test_all_counters_can_be_had_at_0() -> None:
    """By option, also while it runs; those of disks and free words are left out."""
    history = following(ALL)
    wanted = {
        f"event.{key}" for kind in KINDS.values() if kind.needs(INFO) for key in kind.on_request
    }
    assert {key: stats(history)[key] for key in wanted} == dict.fromkeys(wanted, 0)
    history.apply(SETTINGS)
    assert "event.reboot" not in stats(history)


@pytest.mark.parametrize("option", [False, True])
def test_every_counter_that_is_born_has_a_metric(option: bool) -> None:
    """No key of a birth is unmapped."""
    found = stats(
        following(HostSettings(uri="qemu:///system", all_counters=option)), info=WITH_AGENT
    )
    assert [key for key in found if keys.match(key) is None] == []


def test_a_typical_domain_stays_below_130_series() -> None:
    """2 vCPUs, 2 disks, 1 NIC, memory figures, an agent, and all that events add by default."""
    history = following()
    lifecycle(history, "started", "booted")
    tell(history, "agent_lifecycle", 1, 1)
    info = replace(TYPICAL_INFO, agent_channel="connected")
    known = {**TYPICAL_STATS, **stats(history, info=info)}
    shown = series(domain(known, info=info), selection=DEFAULT)
    assert 'libvirt_domain_io_errors_total{domain="web",device="vdb",reason="enospc"}' in shown
    assert len(shown) <= 130, len(shown)


# Each event.


@pytest.mark.parametrize(
    ("number", "action"),
    [*enumerate(WATCHDOG_ACTIONS), (7, "unknown_7")],
)
def test_a_watchdog_is_counted_by_its_action(number: int, action: str) -> None:
    """All seven, and one that is newer than this exporter."""
    history = following()
    tell(history, "watchdog", number, time=5 * SECOND)
    tell(history, "watchdog", number, time=9 * SECOND)
    found = changed(history)
    assert found.pop("event.watchdog.last.action", 0) == number
    assert found == {
        f"event.watchdog.{action}": 2,
        "event.last.watchdog": 9 * SECOND,
        "event.watchdog.last.time": 9 * SECOND,
    }


@pytest.mark.parametrize(
    ("event", "detail"),
    [(event, detail) for event, details in LIFECYCLE.items() for detail in details],
)
def test_a_lifecycle_event_is_counted_by_its_detail(event: str, detail: str) -> None:
    """In libvirt's words; waking up is no start."""
    history = following()
    lifecycle(history, event, detail)
    found = changed(history)
    assert found[f"event.lifecycle.{event}.{detail}"] == 1
    assert found.get(f"event.last.{event}") == (None if detail == "wakeup" else 100 * SECOND)


def test_a_lifecycle_event_of_a_newer_libvirt_is_counted_by_number() -> None:
    """It changes nothing else."""
    history = following()
    tell(history, "lifecycle", 9, 4)
    tell(history, "lifecycle", 3, 99)
    found = changed(history)
    assert found["event.lifecycle.unknown_9.unknown_4"] == 1
    assert found["event.lifecycle.suspended.unknown_99"] == 1


def test_io_errors_are_counted_by_device_and_reason() -> None:
    """The alias becomes the target; libvirt says nothing, or enospc, or what a newer one may."""
    history = following()
    for alias, reason in (
        ("virtio-disk0", "enospc"),
        ("virtio-disk0", "enospc"),
        ("ua-data", ""),
        ("ua-data", "message"),
        ("ua-data", "E.I O"),
        ("gone", "enospc"),
    ):
        tell(history, "io_error_reason", "/images/x", alias, 1, reason)
    assert changed(history) == {
        "event.disk.0.io_error.enospc": 2,
        "event.disk.1.io_error.other": 2,
        "event.disk.1.io_error.e_i_o": 1,
        "event.disk.2.io_error.enospc": 1,
        "event.last.io_error": 100 * SECOND,
    }
    assert stats(history)["event.disk.2.name"] == "gone"


def test_a_path_into_storage_is_no_name_of_a_device() -> None:
    """Without an alias the disk with that source is meant, else none is named."""
    history = following()
    tell(history, "io_error_reason", "/images/b", "", 1, "enospc")
    tell(history, "io_error_reason", "/elsewhere", "", 1, "enospc")
    found = stats(history)
    assert found["event.disk.1.io_error.enospc"] == 1
    assert found["event.disk.2.name"] == ""
    assert not any("/" in str(value) for value in found.values())


def test_an_event_before_the_xml_is_known_finds_its_disk_later() -> None:
    """The counter moves from the alias to the target once, and adds up."""
    history = following()
    tell(history, "io_error_reason", "", "virtio-disk0", 1, "enospc", info=None)
    assert stats(history, info=None)["event.disk.0.name"] == "virtio-disk0"
    tell(history, "io_error_reason", "", "virtio-disk0", 1, "enospc")
    found = stats(history)
    assert (found["event.disk.0.name"], found["event.disk.0.io_error.enospc"]) == ("vda", 2)
    assert "virtio-disk0" not in found.values()


def test_a_disk_that_was_unplugged_keeps_what_happened_to_it() -> None:
    """Its counters that never moved go with it."""
    history = following()
    tell(history, "io_error_reason", "", "ua-data", 1, "enospc")
    found = stats(history, info=replace(INFO, disks=()))
    assert {key for key in found if "disk" in key} == {
        "event.disk.0.name",
        "event.disk.0.io_error.enospc",
    }


def test_devices_are_bounded() -> None:
    """Names without end end up under no name."""
    history = following()
    for number in range(domain_history.DEVICE_LIMIT + 9):
        tell(history, "block_threshold", f"vd{number}", "", 1, 1)
    found = stats(history, info=None)
    counts = [value for key, value in found.items() if key.endswith(".threshold")]
    assert len(counts) == domain_history.DEVICE_LIMIT + 1
    assert max(map(int, counts)) == 9


def test_reasons_are_bounded() -> None:
    """Whatever QEMU may call them; those known go on being counted."""
    history = following()
    for number in range(2 * domain_history.COUNTER_LIMIT):
        tell(history, "io_error_reason", "", "virtio-disk0", 1, f"reason{number}")
        tell(history, "io_error_reason", "", "virtio-disk0", 1, "reason0")
    counts = history.memory.domains[UUID].disks["vda"]
    assert len(counts) == domain_history.COUNTER_LIMIT
    assert counts["io_error.reason0"] == 2 * domain_history.COUNTER_LIMIT + 1


def test_an_agent_that_has_not_come_yet_has_not_gone() -> None:
    """libvirt tells at the start of every domain that its agent is not connected."""
    history = following()
    tell(history, "agent_lifecycle", 2, 1)
    assert changed(history) == {}
    tell(history, "agent_lifecycle", 2, 2)
    assert changed(history) == {
        "event.agent.disconnected": 1,
        "event.last.agent_disconnected": 100 * SECOND,
    }


def test_resets_that_libvirt_tells_twice_count_as_one_reboot() -> None:
    """The window begins with the first, so a guest that resets for ever is not counted once."""
    history = following()
    for time in (10.0, 10.1, 11.9, 12.1, 13.9, 20.0):
        tell(history, "reboot", time=int(time * SECOND))
    assert stats(history)["event.reboot"] == 3


def test_reboots_are_counted_after_the_clock_went_back() -> None:
    """A time in the future hides nothing."""
    history = following()
    tell(history, "reboot", time=5000 * SECOND)
    tell(history, "reboot", time=10 * SECOND)
    assert stats(history)["event.reboot"] == 2


@pytest.mark.parametrize("detail", ["panicked", "crashloaded"])
def test_a_panic_is_counted_and_dated(detail: str) -> None:
    """Whether the guest dumps itself or not."""
    history = following()
    lifecycle(history, "crashed", detail)
    found = stats(history)
    assert (found["event.guest_panic"], found["event.last.panic"]) == (1, 100 * SECOND)


def test_an_event_of_an_unknown_disk_is_of_no_other_when_the_domain_is_off() -> None:
    """The disks of a domain that does not run have no aliases."""
    history = following()
    on = DomainInfo(uuid=UUID, name="web", disks=(Disk(device="vda", alias="virtio-disk0"),))
    off = DomainInfo(uuid=UUID, name="web", disks=(Disk(device="vda"),))
    tell(history, "io_error_reason", "", "", 2, "")
    for info in (on, off):
        found = history.stats(Listed(), info)
        errors = {
            device: found.get(key.replace(".name", ".io_error.other"), 0)
            for key, device in found.items()
            if key.startswith("event.disk.") and key.endswith(".name")
        }
        assert errors.get("vda", 0) == 0
        assert errors[""] == 1


def test_the_last_job_of_each_operation_is_kept() -> None:
    """Its figures in libvirt's keys and units, and when it ended."""
    history = following()
    figures = {
        "time_elapsed": 1500,
        "downtime": 30,
        "memory_total": 2**30,
        "memory_processed": 2**20,
    }
    tell(history, "job_completed", {"operation": 5, "success": True, **figures})
    tell(history, "job_completed", {"operation": 9, "success": False}, time=200 * SECOND)
    tell(history, "job_completed", {"operation": 42}, time=300 * SECOND)
    found = stats(history)
    assert {key: value for key, value in found.items() if "job" in key} == {
        "event.job.migration_out.success": 1,
        "event.job.backup.failure": 1,
        "event.job.unknown_42.unknown": 1,
        "event.last.job_completed": 300 * SECOND,
        "lastjob.migration_out.time": 100 * SECOND,
        "lastjob.migration_out.success": 1,
        "lastjob.migration_out.time_elapsed": 1500,
        "lastjob.migration_out.downtime": 30,
        "lastjob.migration_out.memory_processed": 2**20,
        "lastjob.backup.time": 200 * SECOND,
        "lastjob.backup.success": 0,
        "lastjob.unknown_42.time": 300 * SECOND,
    }


def test_a_job_is_suspected_from_the_first_iteration_to_the_end() -> None:
    """Of this run of the domain."""
    history = following()
    assert not history.job_suspected(UUID)
    tell(history, "migration_iteration", 1, time=10)
    assert history.job_suspected(UUID)
    tell(history, "job_completed", {"operation": 5}, time=20)
    assert not history.job_suspected(UUID)
    tell(history, "migration_iteration", 1, time=30)
    lifecycle(history, "started", "booted", time=40)
    assert not history.job_suspected(UUID)


def client(port: int, node: str = "192.0.2.1") -> dict[str, Any]:
    """The far end of a graphics connection."""
    return {"family": 0, "node": node, "service": str(port)}


def test_graphics_clients_are_counted_by_address_and_port() -> None:
    """Several may look at once; whose goodbye is for another connection stays."""
    history = following()
    assert "graphics.clients" not in stats(history)

    def graphics(phase: int, remote: dict[str, Any]) -> Stats:
        tell(history, "graphics", phase, {}, remote, "none", [])
        found = stats(history)
        return {key: found[key] for key in ("graphics.clients", "graphics.client.address")}

    assert graphics(0, client(1))["graphics.clients"] == 0
    graphics(1, client(1))
    assert graphics(1, client(2, "192.0.2.2")) == {
        "graphics.clients": 2,
        "graphics.client.address": "192.0.2.2",
    }
    assert graphics(2, client(9))["graphics.clients"] == 2
    assert graphics(2, client(2, "192.0.2.2"))["graphics.client.address"] == "192.0.2.1"
    assert graphics(2, client(1)) == {"graphics.clients": 0, "graphics.client.address": ""}
    assert stats(history)["event.graphics.disconnect"] == 3


def test_graphics_clients_over_a_unix_socket_are_counted_too() -> None:
    """They have neither address nor port."""
    history = following()
    seen = []
    for phase in (1, 1, 2, 2, 2):
        tell(history, "graphics", phase, {}, {"family": 2, "node": "", "service": ""}, "none", [])
        seen.append(stats(history)["graphics.clients"])
    assert seen == [1, 2, 1, 0, 0]
    for phase, remote in ((1, {}), (1, {}), (1, client(1)), (2, {})):
        tell(history, "graphics", phase, {}, remote, "none", [])
    assert stats(history)["graphics.clients"] == 2
    assert stats(history)["graphics.client.address"] == "192.0.2.1"


def test_graphics_clients_end_with_the_domain_and_are_bounded() -> None:
    """No goodbye comes from a QEMU that was killed."""
    history = following()
    for port in range(kinds.CLIENT_LIMIT + 5):
        tell(history, "graphics", 1, {}, client(port), "none", [])
    assert stats(history)["graphics.clients"] == kinds.CLIENT_LIMIT
    lifecycle(history, "stopped", "failed")
    assert stats(history)["graphics.clients"] == 0


@given(
    event=st.sampled_from(sorted(KINDS)),
    details=st.lists(
        st.none()
        | st.integers(-5, 50)
        | st.text(max_size=5)
        | st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=3)),
        max_size=5,
    ),
)
def test_no_event_can_do_harm(event: str, details: list[Any]) -> None:
    """Whatever a callback is given: keys are well formed, values are numbers or text."""
    history = following()
    tell(history, event, *details)
    for key, value in stats(history).items():
        assert all(key.split("."))
        assert isinstance(value, int | str)
        assert keys.match(key) is not None


# The reason of an I/O error.


def test_the_reason_of_an_io_error_holds_until_the_domain_runs_again() -> None:
    """Only errors that paused it count."""
    history = following()
    assert history.io_error_reason(UUID) is None
    tell(history, "io_error_reason", "", "virtio-disk0", 1, "enospc")
    tell(history, "io_error_reason", "", "virtio-disk0", 2, "")
    assert history.io_error_reason(UUID) == "enospc"
    lifecycle(history, "resumed", "unpaused")
    assert history.io_error_reason(UUID) is None
    tell(history, "io_error_reason", "", "virtio-disk0", 1, "")
    assert history.io_error_reason(UUID) == "other"
    history.listed([Listed()], 200 * SECOND)
    assert history.io_error_reason(UUID) is None


# Ends.


def test_an_active_domain_has_no_end() -> None:
    """Not even when it has ended before."""
    history = following()
    lifecycle(history, "stopped", "destroyed")
    lifecycle(history, "started", "booted")
    assert not any(key.startswith("exit.") for key in stats(history))


def test_the_end_is_known_by_its_event() -> None:
    """Code, reason, words and time."""
    history = following()
    lifecycle(history, "started", "booted", time=SECOND)
    lifecycle(history, "shutdown", "host", time=2 * SECOND)
    lifecycle(history, "stopped", "shutdown", time=3 * SECOND)
    found = stats(history, off(1))
    assert (found["exit.code"], found["exit.reason"], found["exit.time"]) == (0, 7, 3 * SECOND)


def test_without_events_the_state_tells_the_end() -> None:
    """After a restart of the exporter; without a time."""
    found = stats(following(), off(2))
    assert (found["exit.code"], found["exit.reason"]) == (0, 6)
    assert "exit.time" not in found
    assert "exit.code" not in stats(following(), off(0))


def test_a_crashed_domain_that_is_kept_has_an_end() -> None:
    """libvirt counts it as active."""
    found = stats(following(), Listed(state={"state.state": 6, "state.reason": 1}))
    assert found["exit.code"] == 1


def test_a_later_end_that_was_missed_wins() -> None:
    """The domain was started and crashed while no events came."""
    history = following()
    lifecycle(history, "stopped", "destroyed")
    assert stats(history, off(2))["exit.reason"] == 6
    assert stats(history, off(3))["exit.reason"] == 1
    assert stats(history, off(0))["exit.reason"] == 6


def test_a_killed_qemu_is_a_crash() -> None:
    """libvirt calls it failed."""
    history = following()
    lifecycle(history, "started", "booted", time=SECOND)
    lifecycle(history, "stopped", "failed", time=2 * SECOND)
    found = stats(history, off(3))
    assert found["event.last.crash"] == 2 * SECOND
    assert "event.last.failed_start" not in found
    assert (found["exit.code"], found["exit.reason"]) == (1, 1)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([("stopped", "failed")], 3),
        ([("shutdown", "host"), ("stopped", "shutdown")], 1),
        ([("shutdown", "guest"), ("stopped", "shutdown")], 1),
        ([("stopped", "destroyed")], 2),
        ([("stopped", "crashed")], 3),
        ([("stopped", "migrated")], 4),
        ([("stopped", "saved")], 5),
        ([("stopped", "from_snapshot")], 7),
    ],
)
def test_an_end_is_the_same_after_a_restart_of_exporter_or_daemon(
    events: list[tuple[str, str]], reason: int
) -> None:
    """Who saw the events, who sees the state only, and who sees that the daemon forgot it."""
    names = ("exit.code", "exit.reason", "exit.message")
    before = following()
    lifecycle(before, "started", "booted", time=SECOND)
    for event, detail in events:
        lifecycle(before, event, detail, time=2 * SECOND)
    told = [
        [found[name] for name in names]
        for found in (
            stats(before, off(reason)),
            stats(following(), off(reason)),
            stats(before, off(0)),
        )
    ]
    assert told == [told[0]] * 3


def test_a_domain_seen_running_crashes() -> None:
    """It was started before the exporter."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "failed", time=2 * SECOND)
    assert "event.last.crash" in stats(history, off(3))


def test_a_domain_nobody_has_seen_yet_crashes() -> None:
    """An event before the first sample; libvirt has none for a start that fails."""
    history = following()
    lifecycle(history, "stopped", "failed")
    assert "event.last.crash" in stats(history, off(3))


def test_an_incoming_migration_that_fails_is_a_failed_start() -> None:
    """The domain has not run at its destination."""
    history = following()
    lifecycle(history, "started", "migrated", time=SECOND)
    lifecycle(history, "stopped", "failed", time=2 * SECOND)
    found = stats(history, off(6))
    assert found["event.last.failed_start"] == 2 * SECOND
    assert "event.last.crash" not in found
    assert found["exit.reason"] == 3


def test_a_start_that_fails_shows_in_the_state_only() -> None:
    """libvirt (9.0) has no event for it; its time is that of the listing."""
    history = following()
    history.listed([off(1)], SECOND)
    history.listed([off(6)], 5 * SECOND)
    history.listed([off(6)], 9 * SECOND)
    found = stats(history, off(6))
    assert found["event.last.failed_start"] == 5 * SECOND
    assert found["exit.reason"] == 3


def test_a_crash_that_no_event_told_of_is_dated_by_the_listing() -> None:
    """The stream was down; a domain that was found crashed has no time."""
    history = following()
    history.listed([off(3)], SECOND)
    assert "event.last.crash" not in stats(history, off(3))
    history.listed([Listed()], 2 * SECOND)
    history.listed([off(3)], 3 * SECOND)
    assert stats(history, off(3))["event.last.crash"] == 3 * SECOND


def test_a_crash_that_was_missed_after_an_end_that_was_not() -> None:
    """The domain was started again in between, unseen or seen in a listing only."""
    for seen_running in (False, True):
        history = following()
        history.listed([Listed()], SECOND)
        lifecycle(history, "stopped", "destroyed", time=2 * SECOND)
        history.listed([off(2)], 3 * SECOND)
        if seen_running:
            history.listed([Listed()], 4 * SECOND)
        history.listed([off(3)], 5 * SECOND)
        assert stats(history, off(3))["event.last.crash"] == 5 * SECOND


def test_an_end_whose_event_told_all_is_not_dated_anew() -> None:
    """The listing after it says the same in other words."""
    for reason in (3, 6, 8):
        history = following()
        history.listed([Listed()], SECOND)
        lifecycle(history, "started", "booted", time=2 * SECOND)
        lifecycle(history, "stopped", "failed", time=3 * SECOND)
        history.listed([off(reason)], 4 * SECOND)
        found = stats(history, off(reason))
        assert found["event.last.crash"] == 3 * SECOND
        assert "event.last.failed_start" not in found


def test_a_vm_seen_running_again_has_not_ended_as_before() -> None:
    """Its start was missed, and then it vanished without a word."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "destroyed", time=2 * SECOND)
    history.listed([off(2)], 3 * SECOND)
    history.listed([Listed()], 4 * SECOND)
    history.listed([], 5 * SECOND)
    (gone,) = history.vanished
    assert gone.stats["exit.reason"] == 9


def test_a_domain_that_the_daemon_gave_up_is_a_crash() -> None:
    """libvirtd came back and could not reach its QEMU any more."""
    history = following()
    history.listed([Listed()], SECOND)
    history.listed([off(8)], 2 * SECOND)
    assert stats(history, off(8))["event.last.crash"] == 2 * SECOND


def test_a_crash_whose_event_comes_after_the_listing_is_a_crash() -> None:
    """Not a failed start of a domain that does not run."""
    history = following()
    history.listed([Listed()], SECOND)
    history.listed([off(3)], 2 * SECOND)
    lifecycle(history, "stopped", "failed", time=2 * SECOND + 5)
    found = stats(history, off(3))
    assert found["event.last.crash"] == 2 * SECOND + 5
    assert "event.last.failed_start" not in found


# The last change of state.


@pytest.mark.parametrize("event", sorted(LIFECYCLE.keys() - {"defined", "undefined"}))
def test_a_change_of_state_is_dated(event: str) -> None:
    """By the event that told of it."""
    history = following()
    lifecycle(history, event, LIFECYCLE[event][0])
    assert stats(history)["state.change.time"] == 100 * SECOND


def test_no_other_event_dates_the_state() -> None:
    """Definitions change no state."""
    history = following()
    lifecycle(history, "defined", "added")
    tell(history, "watchdog", 1)
    assert "state.change.time" not in stats(history)


def test_a_change_of_state_that_was_missed_has_no_time() -> None:
    """An old time would be a lie."""
    history = following()
    lifecycle(history, "resumed", "unpaused", time=SECOND)
    history.listed([Listed()], 2 * SECOND)
    paused = Listed(state={"state.state": 3, "state.reason": 1})
    assert "state.change.time" in stats(history)
    history.listed([paused], 3 * SECOND)
    assert "state.change.time" not in stats(history, paused)


def test_a_change_that_was_missed_after_others_has_no_time_either() -> None:
    """Every listing in between showed the domain running."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "suspended", "paused", time=2 * SECOND)
    lifecycle(history, "resumed", "unpaused", time=3 * SECOND)
    history.listed([Listed()], 4 * SECOND)
    history.listed([Listed(state={"state.state": 3, "state.reason": 1})], 5 * SECOND)
    assert "state.change.time" not in stats(history)


def test_a_change_while_the_exporter_was_away_has_no_time() -> None:
    """What an earlier exporter knew holds only for the state that it saw."""
    for state, known in ((1, True), (3, False)):
        history = EventHistory()
        history.adopt(Memory({UUID: DomainHistory("web", seen=(1, 1), state_time=SECOND)}))
        history.listed([Listed(state={"state.state": state, "state.reason": 1})], 2 * SECOND)
        assert ("state.change.time" in stats(history)) is known


def test_thousands_of_domains_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on those that no listing shows."""
    monkeypatch.setattr(event_history, "UNLISTED_LIMIT", 10)
    history = following()
    many = [Listed(uuid=str(number)) for number in range(100)]
    tell(history, "watchdog", 1, uuid="0", time=SECOND)
    history.listed(many, 2 * SECOND)
    tell(history, "watchdog", 1, uuid="99", time=3 * SECOND)
    assert len(history.memory.domains) == 100
    assert history.memory.domains["0"].counts == {"watchdog.pause": 1}


def test_a_listing_older_than_the_event_changes_nothing() -> None:
    """It was begun before the event and says what was before."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "suspended", "paused", time=3 * SECOND)
    history.listed([Listed()], 2 * SECOND)
    history.listed([Listed(state={"state.state": 3, "state.reason": 1})], 4 * SECOND)
    assert stats(history)["state.change.time"] == 3 * SECOND


# Coming and going.


def test_a_transient_domain_that_ended_is_gone_with_its_end() -> None:
    """At the first listing without it."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "destroyed", time=3 * SECOND)
    history.listed([], 2 * SECOND)
    (gone,) = history.vanished
    assert (gone.uuid, gone.name, gone.timestamp) == (UUID, "web", 2.0)
    assert (gone.stats["exit.code"], gone.stats["exit.time"]) == (0, 3 * SECOND)


def test_a_crash_is_told_of_a_domain_that_it_ended() -> None:
    """A transient one is gone with it, and nothing else would tell."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "failed", time=3 * SECOND)
    history.listed([], 4 * SECOND)
    (gone,) = history.vanished
    assert (gone.stats["exit.code"], gone.stats["event.last.crash"]) == (1, 3 * SECOND)


def test_a_crash_is_still_told_after_a_restart_of_the_exporter() -> None:
    """Of a domain that is gone for less than a quarter of an hour."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "failed", time=3 * SECOND)
    history.listed([], 4 * SECOND)
    later = EventHistory()
    later.adopt(msgspec.json.decode(msgspec.json.encode(history.memory), type=Memory))
    later.listed([], 5 * SECOND)
    assert later.vanished == history.vanished
    later.listed([], 1000 * SECOND)
    assert later.vanished == ()


def test_an_earlier_crash_is_not_told_of_a_domain_that_ended_in_order() -> None:
    """It was started again since."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "failed", time=3 * SECOND)
    lifecycle(history, "started", "booted", time=4 * SECOND)
    lifecycle(history, "stopped", "destroyed", time=5 * SECOND)
    history.listed([], 6 * SECOND)
    (gone,) = history.vanished
    assert "event.last.crash" not in gone.stats


def test_an_end_that_was_shown_stays_when_the_domain_is_undefined() -> None:
    """A transient domain, of which nobody saw the state, has what its event told."""
    reasons = []
    for listing in ([off(3)], []):
        history = following()
        history.listed([Listed()], SECOND)
        lifecycle(history, "stopped", "failed", time=2 * SECOND)
        if listing:
            history.listed(listing, 3 * SECOND)
            lifecycle(history, "undefined", "removed", time=4 * SECOND)
        history.listed([], 5 * SECOND)
        (gone,) = history.vanished
        assert gone.stats["exit.time"] == gone.stats["event.last.crash"] == 2 * SECOND
        reasons.append((gone.stats["exit.code"], gone.stats["exit.reason"]))
    assert reasons == [(1, 1), (1, 2)]


def test_a_domain_gone_without_event_is_an_error() -> None:
    """Nobody knows what became of it."""
    history = following()
    history.listed([Listed()], SECOND)
    history.listed([], 2 * SECOND)
    (gone,) = history.vanished
    assert (gone.stats["exit.code"], gone.stats["exit.reason"]) == (1, 9)


def test_an_end_stays_known_when_the_last_event_comes_late() -> None:
    """The listing may miss a domain a moment before the event tells that it is undefined."""
    history = following()
    history.listed([Listed()], SECOND)
    lifecycle(history, "stopped", "shutdown", time=2 * SECOND)
    history.listed([], 3 * SECOND)
    before = history.vanished
    lifecycle(history, "undefined", "removed", time=4 * SECOND)
    history.listed([], 5 * SECOND)
    assert history.vanished == before
    assert before[0].stats["exit.code"] == 0
    assert history.memory.domains == {}


def test_an_undefined_domain_has_the_end_that_its_state_told() -> None:
    """It was shut off long before."""
    history = following()
    history.listed([off(2)], SECOND)
    lifecycle(history, "undefined", "removed", time=3 * SECOND)
    history.listed([], 2 * SECOND)
    (gone,) = history.vanished
    assert gone.stats["exit.reason"] == 6


def test_a_domain_that_came_after_the_listing_is_not_gone() -> None:
    """Its events are newer than the listing without it."""
    history = following()
    lifecycle(history, "started", "booted", time=3 * SECOND)
    history.listed([], 2 * SECOND)
    assert history.vanished == ()
    assert stats(history)["event.lifecycle.started.booted"] == 1


def test_an_incomplete_listing_tells_of_nobody_that_he_is_gone() -> None:
    """Domains asked one by one are those known before; a new one is not among them."""
    history = following()
    history.listed([OFF], SECOND)
    tell(history, "watchdog", 1, time=2 * SECOND, uuid="new")
    history.listed([], 3 * SECOND, complete=False)
    assert history.vanished == ()
    assert history.memory.domains.keys() == {UUID, "new"}
    history.listed([], 4 * SECOND)
    assert len(history.vanished) == 2


def test_a_domain_that_comes_back_is_not_gone_and_starts_at_0() -> None:
    """What it was before is forgotten."""
    history = following()
    tell(history, "watchdog", 1, time=SECOND)
    history.listed([], 2 * SECOND)
    history.listed([Listed()], 3 * SECOND)
    assert history.vanished == ()
    guarded = replace(INFO, watchdogs=(Watchdog("i6300esb", "pause"),))
    assert stats(history, info=guarded)["event.watchdog.pause"] == 0


def test_a_renamed_domain_keeps_its_history() -> None:
    """libvirt undefines it under its old name and defines it under the new one."""
    history = following()
    history.listed([OFF], SECOND)
    tell(history, "watchdog", 1, time=2 * SECOND)
    lifecycle(history, "undefined", "renamed", time=3 * SECOND)
    lifecycle(history, "defined", "renamed", time=3 * SECOND + 1)
    renamed = replace_name(OFF, "other")
    history.listed([renamed], 4 * SECOND)
    assert stats(history, renamed)["event.watchdog.pause"] == 1
    assert history.memory.domains[UUID].name == "other"
    assert history.vanished == ()


def replace_name(listed: Listed, name: str) -> Listed:
    """The same domain under another name."""
    return Listed(listed.uuid, name, listed.active, listed.state)


def test_what_is_gone_is_told_of_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not of more than a number of domains, the latest."""
    monkeypatch.setattr(event_history, "VANISHED_LIMIT", 3)
    history = following()
    for number in range(5):
        history.listed([Listed(uuid=str(number))], number * SECOND)
    history.listed([], 5 * SECOND)
    assert [gone.uuid for gone in history.vanished] == ["2", "3", "4"]
    history.listed([], 4 * SECOND + event_history.VANISHED_FOR)
    assert [gone.uuid for gone in history.vanished] == ["3", "4"]


def test_one_that_comes_and_goes_keeps_no_other_longer() -> None:
    """A transient domain that crashes and is created again, faster than it is listed."""
    history = following()
    history.listed([Listed(uuid="once")], 0)
    history.listed([], SECOND)
    for time in range(100, 2000, 100):
        lifecycle(history, "started", "booted", time=time * SECOND)
        lifecycle(history, "stopped", "crashed", time=(time + 1) * SECOND)
        history.listed([], (time + 2) * SECOND)
    assert [gone.uuid for gone in history.vanished] == [UUID]


def test_domains_that_no_listing_shows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes samples while thousands of domains come and go."""
    monkeypatch.setattr(event_history, "UNLISTED_LIMIT", 10)
    history = following()
    history.listed([Listed()], SECOND)
    for number in range(1000):
        tell(history, "watchdog", 1, uuid=str(number), time=2 * SECOND)
    assert len(history.memory.domains) <= 22
    assert {UUID, "999"} <= history.memory.domains.keys()


def test_they_are_bounded_where_there_was_no_listing_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And cost nothing of what an earlier exporter knew."""
    monkeypatch.setattr(event_history, "UNLISTED_LIMIT", 10)
    adopted = {f"known{number}": DomainHistory("vm") for number in range(50)}
    history = following()
    history.adopt(Memory(adopted))
    for number in range(1000):
        tell(history, "watchdog", 1, uuid=str(number), time=2 * SECOND)
    assert len(history.memory.domains) <= 71
    assert adopted.keys() <= history.memory.domains.keys()


# What survives.


def test_a_history_survives_as_json() -> None:
    """All that is exported afterwards is the same, but for who looks at the screen."""
    history = following()
    history.listed([Listed()], SECOND)
    for event, details in (
        ("watchdog", (1,)),
        ("io_error_reason", ("", "virtio-disk0", 1, "enospc")),
        ("job_completed", ({"operation": 5, "success": True, "downtime": 3},)),
        ("agent_lifecycle", (2, 2)),
        ("lifecycle", (6, 1)),
        ("lifecycle", (5, 0)),
    ):
        tell(history, event, *details, time=2 * SECOND)
    saved = msgspec.json.encode(history.memory)
    later = EventHistory()
    later.adopt(msgspec.json.decode(saved, type=Memory))
    later.begin()
    assert stats(later, off(1)) == stats(history, off(1))
    assert later.io_error_reason(UUID) == "enospc"


def test_what_was_loaded_is_kept_until_the_first_listing() -> None:
    """Domains that went while the exporter was away are forgotten without a word."""
    history = following()
    history.adopt(Memory({UUID: DomainHistory("web"), "other": DomainHistory("gone")}))
    assert history.memory.domains.keys() == {UUID, "other"}
    history.listed([Listed()], SECOND)
    assert history.memory.domains.keys() == {UUID}
    assert history.vanished == ()


def test_changes_are_marked_for_saving() -> None:
    """What says nothing new is not saved again."""
    history = following()

    def did(listed: list[Listed], time: int) -> bool:
        history.changed = False
        history.listed(listed, time)
        return history.changed

    assert did([Listed()], SECOND)
    assert not did([Listed()], 2 * SECOND)
    assert did([off(1)], 3 * SECOND)
    assert did([], 4 * SECOND)


def test_nothing_new_gives_the_same_object() -> None:
    """A thousand idle domains cost next to nothing."""
    history = following()
    assert stats(history) is stats(history)
    before = stats(history)
    tell(history, "watchdog", 1)
    assert stats(history) is not before


def test_libvirts_numbers_are_those_of_the_names() -> None:
    """The binding knows the same names under the same numbers."""
    for number, (event, details) in enumerate(LIFECYCLE.items()):
        assert getattr(libvirt, f"VIR_DOMAIN_EVENT_{event.upper()}") == number
        for position, detail in enumerate(details):
            name = f"VIR_DOMAIN_EVENT_{event.upper()}_{detail.upper()}"
            assert getattr(libvirt, name, position) == position
