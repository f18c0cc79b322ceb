"""Which NUMA nodes of the host run a guest's, and whom that is asked of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sources import numa
from libvirt_exporter.hypervisor.sources.numa import NumaLane
from libvirt_exporter.model import DomainInfo, NumaCell, Stats
from tests.support.fake_libvirt import libvirt_error

pytestmark = pytest.mark.anyio

FOUR_CPUS = """
<capabilities><host><topology><cells num='2'>
  <cell id='0'><cpus num='2'><cpu id='0'/><cpu id='1'/></cpus></cell>
  <cell id='1'><cpus num='2'><cpu id='2'/><cpu id='3'/><cpu/></cpus></cell>
</cells></topology></host></capabilities>"""
TWO_NODES = (NumaCell(0, (0, 1)), NumaCell(7, (2, 3, 4)))


class Libvirt:
    """A daemon of a machine with two nodes; its connections and domains are itself."""

    def __init__(self) -> None:
        self.capabilities: str | None = FOUR_CPUS
        """None: the driver lacks the call."""
        self.calls: list[str] = []
        self.on = {0: 0, 1: 1, 2: 3, 3: 0, 4: 2}
        """CPU of the host by vCPU."""
        self.refusal: libvirt.libvirtError | None = None

    def isAlive(self) -> int:  # noqa: N802
        return 1

    def close(self) -> None:
        pass

    def getCapabilities(self) -> str:  # noqa: N802
        self.calls.append("capabilities")
        if self.capabilities is None:
            raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)
        return self.capabilities

    def lookupByUUIDString(self, uuid: str) -> Any:  # noqa: N802
        self.calls.append(uuid)
        return self

    def vcpus(self) -> Any:
        self.calls.append("vcpus")
        if self.refusal is not None:
            raise self.refusal
        return [(vcpu, 1, 5, cpu) for vcpu, cpu in self.on.items()], []


class Asked:
    """The lane, over a daemon whose domains have these cells."""

    def __init__(self, lane: NumaLane) -> None:
        self._lane = lane

    async def read(self, uuid: str = "a", *, active: bool = True) -> Stats:
        """What the lane says of a domain after a reading of all there are."""
        draft = DomainDraft(uuid, "vm", active=active, state={}, timestamp=time.time())
        await self._lane.read([draft], Deadline.within(5))
        return self._lane.domain_stats(draft)


@contextmanager
def asked(daemon: Libvirt, cells: tuple[NumaCell, ...] = TWO_NODES) -> Iterator[Asked]:
    """The lane on a connection to the daemon."""

    def connect(_uri: str) -> Any:
        return daemon

    connections = Connections("qemu:///system", Observer(), connect)
    info = DomainInfo(uuid="a", name="vm", numa_cells=cells)
    yield Asked(NumaLane(connections, info=lambda uuid: info if uuid == "a" else None))
    connections.close()


async def test_each_node_of_the_guest_has_the_nodes_that_run_it() -> None:
    """By the CPUs that last ran its vCPUs, each node once and ascending."""
    with asked(Libvirt()) as lane:
        stats = await lane.read()
    assert [*stats.items()] == [
        ("numa.0.node.0", True),
        ("numa.7.node.0", True),
        ("numa.7.node.1", True),
    ]


async def test_a_vcpu_that_is_nowhere_counts_nowhere() -> None:
    """-1 is libvirt's word for it; others are not listed, or on a CPU that was plugged in since."""
    daemon = Libvirt()
    daemon.on = {0: -1, 2: 99, 3: 1}
    with asked(daemon) as lane:
        assert await lane.read() == {"numa.7.node.0": True}


@pytest.mark.parametrize("cells", [(), TWO_NODES])
async def test_nothing_is_asked_where_no_domain_that_runs_has_nodes(
    cells: tuple[NumaCell, ...],
) -> None:
    """Not even the host; nor of a domain whose XML is not known yet."""
    daemon = Libvirt()
    with asked(daemon, cells) as lane:
        assert await lane.read(active=not cells) == {}
        assert await lane.read("unknown") == {}
    assert daemon.calls == []


async def test_a_domain_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the host once in a connection's life."""
    daemon = Libvirt()
    with asked(daemon) as lane:
        first = await lane.read()
        daemon.on = {0: 3}
        assert await lane.read() == first
        assert daemon.calls == ["capabilities", "a", "vcpus"]
        monkeypatch.setattr(numa, "LOOK_AGAIN", 0.0)
        assert await lane.read() == {"numa.0.node.1": True}
    assert daemon.calls == ["capabilities", "a", "vcpus", "vcpus"]


async def test_what_is_old_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a domain cannot be asked for long, nothing is known."""
    with asked(Libvirt()) as lane:
        assert await lane.read()
        monkeypatch.setattr(numa, "STALE", -1.0)
        assert await lane.read() == {}


async def test_a_domain_that_stopped_is_forgotten() -> None:
    """Its next run may be elsewhere."""
    daemon = Libvirt()
    with asked(daemon) as lane:
        assert await lane.read()
        assert await lane.read(active=False) == {}
        daemon.on = {0: 3}
        assert await lane.read() == {"numa.0.node.1": True}


async def test_a_refusal_costs_one_call_a_minute() -> None:
    """It is told as nothing, and not asked for in each sample."""
    daemon = Libvirt()
    daemon.refusal = libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID)
    with asked(daemon) as lane:
        assert await lane.read() == {}
        assert await lane.read() == {}
    assert daemon.calls.count("vcpus") == 1


@pytest.mark.parametrize("xml", ["<capabilities><host/></capabilities>", "<capabilities/>", None])
async def test_a_host_without_topology_has_no_nodes(xml: str | None) -> None:
    """As with drivers that do not tell of one; it is not asked for again."""
    daemon = Libvirt()
    daemon.capabilities = xml
    with asked(daemon) as lane:
        assert await lane.read() == {}
        assert await lane.read() == {}
    assert daemon.calls.count("capabilities") == 1


async def test_capabilities_that_are_no_xml_are_an_error_of_the_reading() -> None:
    """The lane tells whoever reads it."""
    daemon = Libvirt()
    daemon.capabilities = "<capabilities"
    with asked(daemon) as lane, pytest.raises(CallError):
        await lane.read()


def test_libvirts_test_driver_places_a_guest() -> None:
    """Its host has two nodes of eight CPUs, and it runs every vCPU on the last one."""
    cells = "".join(f"<cell id='{node}' cpus='{node}' memory='8192'/>" for node in (0, 1))
    connection = libvirt.open("test:///default")
    guest = connection.createXML(
        "<domain type='test'><name>spread</name><memory>16384</memory><vcpu>2</vcpu>"
        f"<os><type>hvm</type></os><cpu><numa>{cells}</numa></cpu></domain>"
    )
    host = Host(HostSettings(uri="test:///default"))
    host.start()
    try:
        request = SampleRequest(frozenset({"state"}), lanes=frozenset({"numa"}))
        sample = host.sample(request, 9.0).result()
    finally:
        host.close()
        guest.destroy()
        connection.close()
    placed = {
        domain.name: [key for key in domain.stats if key.startswith("numa.")]
        for domain in sample.domains
    }
    assert placed == {"test": [], "spread": ["numa.0.node.1", "numa.1.node.1"]}
