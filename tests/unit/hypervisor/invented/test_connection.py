"""The invented host, seen as any host is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

import libvirt
import pytest

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.hypervisor.connection.errors import ErrorClass, classify
from libvirt_exporter.hypervisor.connection.read_write import open_read_write
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.kinds import KINDS
from libvirt_exporter.hypervisor.events.stream import EventQueue
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.invented import story
from libvirt_exporter.hypervisor.invented.connection import InventedConnection
from libvirt_exporter.hypervisor.invented.machines import MACHINES
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.text import TextRenderer
from tests.support.hosts import by_name
from tests.support.waiting import wait_until

CYCLE: Final = 2_000_000 * story.CYCLE
"""Unix time at which one begins."""
ASKED: Final = Selection({group.name for group in GROUPS})


class Clock:
    """Unix time as a test wants it."""

    def __init__(self) -> None:
        self.now = CYCLE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(clock: Clock) -> Iterator[Host]:
    """A host that was opened as any other, at a time of the test's own."""
    opened = Host(
        HostSettings(uri="demo:///"), connect=lambda _: _as_any(InventedConnection(clock))
    )
    opened.start()
    wait_until(lambda: opened.events_connected, "events are followed")
    yield opened
    opened.close()


def _as_any(connection: InventedConnection) -> Any:
    return connection


def sample(host: Host) -> HostSample:
    """A sample with all that there is."""
    request = SampleRequest(ASKED.asks, True, ASKED.lanes)
    return host.sample(request, 5).result(6)


def test_the_uri_opens_it() -> None:
    """`demo:///` needs no libvirt, and is read-only."""
    host = Host(HostSettings(uri="demo:///"))
    host.start()
    try:
        found = sample(host)
    finally:
        host.close()

    assert found.up
    assert {domain.name for domain in found.domains} == {machine.name for machine in MACHINES}


def test_every_vm_answers_in_full_and_with_nothing_unknown(host: Host) -> None:
    """No group is missing, no key without a metric, and every XML can be read."""
    found = sample(host)

    assert found.error == ""
    assert [
        domain.name for domain in found.domains if domain.missing_groups or not domain.info
    ] == []
    assert all(outcome.success for outcome in found.groups)
    assert TextRenderer(ASKED).render(found.domains, found.stats).tally.unmapped() == {}


@pytest.mark.parametrize(
    ("at", "name", "state", "reason"),
    [
        (100, "build-1", "running", "booted"),
        (500, "build-1", "shutoff", "shutdown"),
        (300, "files", "paused", "ioerror"),
        (520, "files", "running", "unpaused"),
        (450, "build-2", "shutoff", "migrated"),
        (600, "build-2", "running", "migrated"),
        (300, "staging", "paused", "user"),
        (300, "archive", "shutoff", "shutdown"),
    ],
)
def test_states_follow_the_story(
    host: Host, clock: Clock, at: float, name: str, state: str, reason: str
) -> None:
    """Each VM is what its story says it is."""
    clock.now = CYCLE + at
    domain = by_name(sample(host))[name]

    assert (domain.state, domain.reason) == (state, reason)
    assert ("cpu.time" in domain.stats) == (state != "shutoff")


def test_a_full_disk_is_known_with_its_code(host: Host, clock: Clock) -> None:
    """The lane that asks for disk errors sees which disk has no space."""
    clock.now = CYCLE + 300
    files = by_name(sample(host))["files"]

    assert files.stats["pause.code"] == 1
    assert files.stats["diskerror.0.name"] == "vdb"


def test_pools_are_never_more_than_full(host: Host, clock: Clock) -> None:
    """The pool of the full disk is full with it, and has room again when it goes on."""
    free: list[int] = []
    for at in (0, 239, 300, 499, 510, 719):
        clock.now = CYCLE + at
        stats = sample(host).stats
        assert (stats["pool.0.name"], stats["pool.1.name"]) == ("images", "scratch")
        assert int(stats["pool.0.available"]) >= 0
        free.append(int(stats["pool.1.available"]))
    assert min(free) == free[2] == 0
    assert free[4] > 50 * 2**30


@pytest.mark.parametrize("start", [CYCLE, CYCLE + 350.0])
def test_events_arrive_as_libvirt_delivers_them(
    start: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Each event of a whole cycle is delivered to its callbacks, and understood."""
    connection, queue = InventedConnection(lambda: start), EventQueue(lambda: None)
    for event in KINDS:
        number = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{event.upper()}", -1)
        connection.domainEventRegisterAny(None, number, queue.callback(event), None)
    connection.deliver(start, start + story.CYCLE)
    connection.close()

    records = queue.take()
    history = EventHistory()
    with caplog.at_level(logging.DEBUG):
        for record in records:
            history.record(record, None)
    assert caplog.messages == []
    told = {machine.uuid: machine.story for machine in MACHINES}
    expected = sum(len(episode.happens) for one in told.values() for episode in one)
    assert len(records) == expected
    assert {record.event for record in records} >= {"watchdog", "io_error_reason", "job_completed"}


def test_jobs_are_as_far_as_the_time_is(clock: Clock) -> None:
    """A backup begins with nothing done, and is done when it ends."""
    connection = InventedConnection(clock)
    database = next(machine for machine in MACHINES if machine.story is story.BACKED_UP)
    domain = connection.lookupByUUIDString(database.uuid)
    shares = []
    for at in (0, 200, 399.9):
        clock.now = CYCLE + at
        job = domain.jobStats()
        shares.append(round(job["disk_processed"] / job["disk_total"], 2))
        assert domain.blockJobInfo("vdb")["end"] > 1
    clock.now = CYCLE + 400

    assert shares == [0.0, 0.5, 1.0]
    assert domain.jobStats() == {"type": libvirt.VIR_DOMAIN_JOB_NONE}
    assert domain.blockJobInfo("vdb") == {}


@pytest.mark.parametrize(
    "look_up",
    ["lookupByUUIDString", "storagePoolLookupByUUIDString", "networkLookupByUUIDString"],
)
def test_who_is_not_there_is_gone(look_up: str) -> None:
    """The error is the one that libvirt has for it."""
    with pytest.raises(libvirt.libvirtError) as caught:
        getattr(InventedConnection(), look_up)("00000000-0000-0000-0000-000000000000")
    assert classify(caught.value) is ErrorClass.GONE


def test_guest_agents_cannot_be_asked() -> None:
    """A configuration with agents works: it says that there are none."""
    with pytest.raises(libvirt.libvirtError, match="no guest agents"):
        open_read_write("demo:///")


def test_nothing_in_it_can_be_somebodys() -> None:
    """Names are plain words, addresses of hardware those of QEMU's own range, all different."""
    infos = [
        parse_domain(InventedConnection().lookupByUUIDString(machine.uuid).XMLDesc())
        for machine in MACHINES
    ]
    macs = [interface.mac for info in infos for interface in info.interfaces]

    assert len({info.uuid for info in infos} | set(macs)) == 2 * len(MACHINES)
    assert all(mac.startswith("52:54:00:00:") for mac in macs)
    assert sum(info.openstack is not None for info in infos) == 3
    assert sum(info.ovirt is not None for info in infos) == 1
