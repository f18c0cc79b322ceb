"""What is known of the host, its storage pools and networks, and what a hanging one costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sources import walking_lane
from libvirt_exporter.hypervisor.sources.networks import NetworksLane
from libvirt_exporter.hypervisor.sources.node import NodeLane
from libvirt_exporter.hypervisor.sources.storage import StorageLane
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import Stats
from tests.support.fake_libvirt import FakeConnection, FakeHost, libvirt_error
from tests.support.hosts import settled

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs is given up soon."""
    monkeypatch.setattr(walking_lane, "PATIENCE", 0.3)


class Thing:
    """A pool or a network; whoever needs its lock waits while somebody holds it."""

    def __init__(self, name: str, xml: str, state: int = libvirt.VIR_STORAGE_POOL_RUNNING) -> None:
        self._name = name
        self.xml = xml
        self.state = state
        self.waiting = 0
        self.lacks_flags = False
        self.unlocked = threading.Event()
        self.unlocked.set()

    def wait(self) -> None:
        self.waiting += 1
        self.unlocked.wait()
        self.waiting -= 1

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.unlocked.clear()
        try:
            yield
        finally:
            self.unlocked.set()

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802
        return f"uuid of {self._name}"

    def XMLDesc(self) -> str:  # noqa: N802
        return self.xml

    def info(self) -> list[int]:
        self.wait()
        return [self.state, 300, 100, 200]

    def isActive(self) -> int:  # noqa: N802
        self.wait()
        return 1

    def autostart(self) -> int:
        if self.lacks_flags:
            raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)
        return 0

    def isPersistent(self) -> int:  # noqa: N802
        return 1


def pool(name: str, state: int = libvirt.VIR_STORAGE_POOL_RUNNING) -> Thing:
    """A pool of a directory."""
    return Thing(name, "<pool type='dir'><name>x</name></pool>", state)


class Libvirt:
    """A daemon with pools and networks; its connections are itself."""

    def __init__(self, *things: Thing) -> None:
        self.things = list(things)
        self.lacking: set[str] = set()
        self.refusal: libvirt.libvirtError | None = None
        self.listings = 0
        self.info: list[Any] = ["x86_64", 1024, 8, 2400, 2, 1, 2, 2]
        self.answers = threading.Event()
        self.answers.set()
        self.hanging = 0

    def connections(self, stuck_limit: int = 12) -> Connections:
        def connect(_uri: str) -> Any:
            return self

        return Connections("qemu:///system", Observer(), connect, budget=StuckBudget(stuck_limit))

    def isAlive(self) -> int:  # noqa: N802
        return 1

    def close(self) -> None:
        pass

    def _need(self, call: str) -> None:
        if call in self.lacking:
            raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)

    def listAllStoragePools(self) -> list[Thing]:  # noqa: N802
        self._need("storage")
        self.listings += 1
        if self.refusal is not None:
            raise self.refusal
        for thing in self.things:
            thing.wait()
        return list(self.things)

    listAllNetworks = listAllStoragePools  # noqa: N815

    def storagePoolLookupByUUIDString(self, uuid: str) -> Thing:  # noqa: N802
        for thing in self.things:
            if thing.UUIDString() == uuid:
                return thing
        raise libvirt_error(libvirt.VIR_ERR_NO_STORAGE_POOL)

    networkLookupByUUIDString = storagePoolLookupByUUIDString  # noqa: N815

    def getInfo(self) -> list[Any]:  # noqa: N802
        self.hanging += 1
        self.answers.wait()
        self.hanging -= 1
        return self.info

    def getCPUStats(self, cpu: int) -> dict[str, int]:  # noqa: N802
        assert cpu == libvirt.VIR_NODE_CPU_STATS_ALL_CPUS
        self._need("cpu")
        return {"user": 5, "idle": 7, "utilization": 42}

    def getMemoryStats(self, cell: int) -> dict[str, int]:  # noqa: N802
        assert cell == libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS
        self._need("memory")
        return {"total": 1_048_001, "free": 3}


async def read(lane: WalkingLane) -> Stats:
    """Everything that the lane says after one more reading."""
    await lane.read((), Deadline.within(10))
    return lane.host_stats()


# Storage pools and networks


async def test_pools_are_numbered_by_name_and_sized_while_they_run() -> None:
    """A pool that does not run has the sizes of its last run at best."""
    host = Libvirt(pool("b"), pool("a", libvirt.VIR_STORAGE_POOL_INACTIVE))
    assert await read(StorageLane(host.connections())) == {
        "pool.0.name": "a",
        "pool.0.responsive": True,
        "pool.0.type": "dir",
        "pool.0.state": 0,
        "pool.0.persistent": True,
        "pool.0.autostart": False,
        "pool.1.name": "b",
        "pool.1.responsive": True,
        "pool.1.type": "dir",
        "pool.1.state": 2,
        "pool.1.persistent": True,
        "pool.1.autostart": False,
        "pool.1.capacity": 300,
        "pool.1.allocation": 100,
        "pool.1.available": 200,
    }


async def test_what_a_driver_does_not_tell_is_absent() -> None:
    """A pool without flags has no series of them."""
    plain = pool("a")
    plain.lacks_flags = True
    stats = await read(StorageLane(Libvirt(plain).connections()))
    assert "pool.0.autostart" not in stats
    assert stats["pool.0.persistent"] is True


async def test_networks_say_where_they_lead() -> None:
    """An isolated one leads nowhere, and one of a host device has no bridge."""
    host = Libvirt(
        Thing("nat", "<network><forward mode='nat'/><bridge name='virbr0'/></network>"),
        Thing("alone", "<network><bridge name='virbr1'/></network>"),
        Thing("device", "<network><forward mode='hostdev'/></network>"),
    )
    stats = await read(NetworksLane(host.connections()))
    assert {key: value for key, value in stats.items() if isinstance(value, str)} == {
        "network.0.name": "alone",
        "network.0.bridge": "virbr1",
        "network.0.forward": "",
        "network.1.name": "device",
        "network.1.bridge": "",
        "network.1.forward": "hostdev",
        "network.2.name": "nat",
        "network.2.bridge": "virbr0",
        "network.2.forward": "nat",
    }
    assert stats["network.0.active"] is True


async def test_a_hanging_pool_costs_itself_and_one_call() -> None:
    """However often the lane is read; nothing is listed meanwhile, as that would hang too."""
    bad = pool("bad")
    host = Libvirt(pool("a"), bad, pool("z"))
    connections = host.connections()
    lane = StorageLane(connections)
    before = await read(lane)
    listings = host.listings
    with bad.locked():
        for _ in range(3):
            stats = await read(lane)
            assert {key: value for key, value in stats.items() if key.startswith("pool.1.")} == {
                "pool.1.name": "bad",
                "pool.1.responsive": False,
            }
            assert stats["pool.0.capacity"] == stats["pool.2.capacity"] == 300
        assert (bad.waiting, connections.budget.stuck, host.listings) == (1, 1, listings)
    await settled(connections)
    assert await read(lane) == before
    assert host.listings == listings + 1


async def test_storage_that_is_dead_as_a_whole_leaves_calls_to_the_domains() -> None:
    """However many pools hang, and however often they are asked, a few calls are stuck."""
    pools = [pool(f"p{number}") for number in range(8)]
    host = Libvirt(*pools)
    connections = host.connections()
    lane = StorageLane(connections)
    before = await read(lane)
    with ExitStack() as locks:
        for each in pools:
            locks.enter_context(each.locked())
        for _ in range(3):
            stats = await read(lane)
            assert sum(value is False for value in stats.values()) == BLOCKED_LIMIT
            assert connections.budget.stuck == BLOCKED_LIMIT
    await settled(connections)
    assert await read(lane) == before


async def test_a_listing_that_hangs_is_not_repeated() -> None:
    """When nothing is known yet, the listing itself meets the pool that hangs; once."""
    bad = pool("bad")
    host = Libvirt(pool("a"), bad)
    connections = host.connections()
    lane = StorageLane(connections)
    with bad.locked():
        with pytest.raises(NoAnswerError):
            await read(lane)
        assert await read(lane) == {}
        assert (bad.waiting, connections.budget.stuck) == (1, 1)
    await settled(connections)
    assert len(await read(lane)) == 18


async def test_pools_come_and_go() -> None:
    """A new one is there at once, one that was undefined is gone even while another hangs."""
    first, second = pool("a"), pool("b")
    host = Libvirt(first)
    lane = StorageLane(host.connections())
    await read(lane)
    host.things.append(second)
    assert (await read(lane))["pool.1.name"] == "b"
    host.things.remove(first)
    with second.locked():
        assert await read(lane) == {"pool.0.name": "b", "pool.0.responsive": False}


async def test_a_driver_without_pools_has_none() -> None:
    """That is an answer as good as any."""
    host = Libvirt()
    host.lacking.add("storage")
    assert await read(StorageLane(host.connections())) == {}


async def test_a_listing_that_fails_is_an_error_of_the_lane() -> None:
    """A modular daemon of storage may be away while the one of QEMU answers."""
    host = Libvirt()
    host.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "no virtstoraged")
    with pytest.raises(CallError, match="no virtstoraged"):
        await read(StorageLane(host.connections()))


async def test_a_pool_that_cannot_be_understood_costs_itself() -> None:
    """It answered, and nothing else is known of it."""
    odd = pool("odd")
    odd.xml = "<pool"
    stats = await read(StorageLane(Libvirt(odd, pool("z")).connections()))
    assert [key for key in stats if key.startswith("pool.0.")] == [
        "pool.0.name",
        "pool.0.responsive",
    ]
    assert stats["pool.1.capacity"] == 300


async def test_nothing_is_asked_at_the_limit_of_stuck_calls() -> None:
    """One more might get stuck too."""
    first, second = pool("a"), pool("b")
    host = Libvirt(first, second)
    connections = host.connections(stuck_limit=1)
    lane = StorageLane(connections)
    await read(lane)
    with first.locked(), second.locked():
        for _ in range(2):
            stats = await read(lane)
            assert stats["pool.0.responsive"] is False
            assert "pool.1.responsive" not in stats
        assert (first.waiting, second.waiting) == (1, 0)
        with pytest.raises(NoAnswerError):
            await read(NodeLane(connections))
        assert host.hanging == 0


# The node


async def test_node_has_base_units_of_libvirts_figures() -> None:
    """Memory is more exact than the MiB of getInfo where libvirt says it; no percentages."""
    assert await read(NodeLane(Libvirt().connections())) == {
        "node.cpus": 8,
        "node.numa.nodes": 2,
        "node.topology.sockets": 1,
        "node.topology.cores": 2,
        "node.topology.threads": 2,
        "node.cpu.frequency": 2_400_000_000,
        "node.cpu.user.time": 5,
        "node.cpu.idle.time": 7,
        "node.memory.total": 1_048_001,
        "node.memory.free": 3,
    }


async def test_node_is_shown_as_far_as_the_driver_goes() -> None:
    """Without times, memory or a frequency the rest remains."""
    host = Libvirt()
    host.lacking |= {"cpu", "memory"}
    host.info[3] = 0
    stats = await read(NodeLane(host.connections()))
    assert stats["node.memory.total"] == 1024 * 1024
    assert not [key for key in stats if key.startswith("node.cpu.")]


async def test_a_node_that_hangs_costs_one_call_and_keeps_its_last_figures() -> None:
    """The lane's age tells how old they are."""
    host = Libvirt()
    connections = host.connections()
    lane = NodeLane(connections)
    before = await read(lane)
    host.answers.clear()
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            await read(lane)
    assert (host.hanging, connections.budget.stuck) == (1, 1)
    assert lane.host_stats() == before
    host.answers.set()
    await settled(connections)
    assert await read(lane) == before


# Within a sample


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have FakeHosts answer for their node, while the event is set."""
    answers = threading.Event()
    answers.set()

    def info(_: FakeConnection) -> list[Any]:
        answers.wait()
        return ["x86_64", 1, 4, 0, 1, 1, 4, 1]

    def lacking(*_: object) -> None:
        raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)

    monkeypatch.setattr(FakeConnection, "getInfo", info, raising=False)
    for call in ("getCPUStats", "getMemoryStats", "listAllStoragePools"):
        monkeypatch.setattr(FakeConnection, call, lacking, raising=False)
    yield answers
    answers.set()


def test_a_sample_has_the_lanes_that_were_asked(answers: threading.Event) -> None:
    """With their ages; a sample that asks for none has nothing of the host."""
    host = Host(HostSettings(uri="qemu:///system", pid_directory=None), connect=FakeHost(1).connect)
    host.start()
    lanes = frozenset({"node", "storage"})
    try:
        asked = host.sample(SampleRequest(frozenset(), lanes=lanes), 5).result(6)
        plain = host.sample(SampleRequest(frozenset()), 5).result(6)
    finally:
        host.close()
    assert answers.is_set()
    assert asked.stats["node.cpus"] == 4
    assert asked.lanes.keys() == lanes
    assert all(0 <= age < 5 for age in asked.lanes.values())
    assert (plain.stats, plain.lanes) == ({}, {})


def test_a_lane_that_hangs_never_costs_the_sample(answers: threading.Event) -> None:
    """The sample is whole and there in time, with what the other lanes know."""
    answers.clear()
    host = Host(HostSettings(uri="qemu:///system", pid_directory=None), connect=FakeHost(2).connect)
    host.start()
    request = SampleRequest(frozenset({"block"}), lanes=frozenset({"node", "storage"}))
    try:
        sample = host.sample(request, 2).result(3)
    finally:
        host.close()
    assert sample.up
    assert [domain.missing_groups for domain in sample.domains] == [(), ()]
    assert sample.stats == {}
    assert sample.lanes.keys() == {"storage"}


def test_a_host_that_is_down_has_no_old_figures(answers: threading.Event) -> None:
    """What a lane knew before would pass for the present."""
    fake = FakeHost(1)
    host = Host(HostSettings(uri="qemu:///system", pid_directory=None), connect=fake.connect)
    host.start()
    request = SampleRequest(frozenset(), lanes=frozenset({"node"}))
    try:
        before = host.sample(request, 5).result(6)
        fake.refusal = libvirt_error(libvirt.VIR_ERR_NO_CONNECT)
        fake.drop_connections()
        after = host.sample(request, 5).result(6)
    finally:
        host.close()
    assert answers.is_set()
    assert before.stats
    assert not after.up
    assert after.stats == {}
