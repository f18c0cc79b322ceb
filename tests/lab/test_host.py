"""A real host beside its domains: node, storage pools, networks; and the domains' processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import Stats
from tests.lab.daemon import PrivateLibvirtd, can_run_privileged
from tests.lab.domains import MIB, Machine, create, kvm_works, paused_domain, state
from tests.lab.exporter import Exporter, series
from tests.support.waiting import wait_until

POOL_NAMES: Final = (
    'double"quote',
    "back\\slash\\n",
    'braces{a="b"} # HELP',
    "angle <b> &amp; 'c'",
    "dot.0.state",
    " spaces ",
    "tab\there",
    "ä 虚拟机 🐧",
    "x" * 200,
)
"""Names that libvirt takes for a pool."""

CONFIGURATION: Final = {"groups": {"include": ["default", "network"]}}


def pool_xml(directory: Path, name: str) -> str:
    """A pool of a directory, which this makes."""
    directory.mkdir(mode=0o711)
    return (
        f"<pool type='dir'><name>{escape(name)}</name>"
        f"<target><path>{directory}</path><permissions><mode>0711</mode></permissions></target>"
        "</pool>"
    )


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateLibvirtd]:
    """A host with pools and networks of all kinds."""
    with PrivateLibvirtd() as libvirtd:
        conn = libvirtd.connection
        for number, name in enumerate(POOL_NAMES):
            conn.storagePoolDefineXML(pool_xml(libvirtd.images / f"pool{number}", name)).create()
        conn.storagePoolCreateXML(pool_xml(libvirtd.images / "passing", "passing"))
        conn.storagePoolDefineXML(pool_xml(libvirtd.images / "never", "never started"))
        stopped = conn.storagePoolDefineXML(pool_xml(libvirtd.images / "stopped", "stopped"))
        stopped.create()
        stopped.destroy()
        stopped.setAutostart(1)
        # Of a kind that changes nothing on the host.
        bridged = "<network><name>{}</name><forward mode='bridge'/><bridge name='br-x'/></network>"
        conn.networkDefineXML(bridged.format("defined"))
        if libvirtd.privileged:
            conn.networkCreateXML(bridged.format("passing"))
        yield libvirtd


@pytest.fixture(scope="module")
def scraped(host: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, float]:
    """What an exporter shows of it, by series."""
    directory = tmp_path_factory.mktemp("exporter")
    with Exporter(host.read_only_uri, directory, CONFIGURATION) as exporter:
        return exporter.scrape().samples


def test_pools_have_libvirts_figures(host: PrivateLibvirtd, scraped: dict[Any, float]) -> None:
    """Whatever they are called: to the byte, and not of this moment but of the last refresh."""
    names = []
    for pool in host.connection.listAllStoragePools():
        info: Any = pool.info()
        name = pool.name()
        names.append(name)
        assert scraped[series("libvirt_storage_pool_info", pool=name, pool_type="dir")] == 1
        assert scraped[series("libvirt_storage_pool_responsive", pool=name)] == 1
        assert (
            scraped[series("libvirt_storage_pool_state", pool=name, state="running")]
            == pool.isActive()
        )
        assert scraped[series("libvirt_storage_pool_persistent", pool=name)] == pool.isPersistent()
        assert scraped[series("libvirt_storage_pool_autostart", pool=name)] == pool.autostart()
        for what, value in zip(("capacity", "allocation", "available"), info[1:], strict=True):
            shown = scraped.get(series(f"libvirt_storage_pool_{what}_bytes", pool=name))
            assert shown == (value if pool.isActive() else None)
    assert {*names} == {*POOL_NAMES, "passing", "never started", "stopped"}


def test_networks_are_shown(host: PrivateLibvirtd, scraped: dict[Any, float]) -> None:
    """Active or not, with the bridge that they lead to."""
    networks = host.connection.listAllNetworks()
    assert networks
    for network in networks:
        name = network.name()
        told = {"network": name, "bridge": "br-x", "forward": "bridge"}
        assert scraped[series("libvirt_network_info", **told)] == 1
        assert scraped[series("libvirt_network_active", network=name)] == network.isActive()
        assert scraped[series("libvirt_network_persistent", network=name)] == network.isPersistent()
        assert scraped[series("libvirt_network_autostart", network=name)] == 0


def test_node_is_this_machine(host: PrivateLibvirtd, scraped: dict[Any, float]) -> None:
    """Its CPUs, its memory and its time since it was booted."""
    info: Any = host.connection.getInfo()
    memory: Any = host.connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    now: Any = host.connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    assert scraped[series("libvirt_node_cpus")] == info[2] <= (os.cpu_count() or 0)
    assert scraped[series("libvirt_node_memory_bytes")] == memory["total"] * 1024
    assert 0 < scraped[series("libvirt_node_memory_free_bytes")] < memory["total"] * 1024
    available = scraped.get(series("libvirt_node_memory_available_bytes"))
    assert (available is None) == ("available" not in memory)  # libvirt 12.3
    assert available is None or 0 < available < memory["total"] * 1024
    for mode in ("kernel", "user", "idle", "iowait"):
        seconds = scraped[series("libvirt_node_cpu_seconds_total", mode=mode)]
        assert 0 <= seconds <= now[mode] / 10**9
    assert scraped[series("libvirt_node_cpu_seconds_total", mode="idle")] > 0


def test_lanes_are_as_old_as_the_scrape(scraped: dict[Any, float]) -> None:
    """Nothing hangs here, so each was read for it."""
    for lane in ("node", "storage", "networks"):
        assert 0 <= scraped[series("libvirt_exporter_lane_age_seconds", lane=lane)] < 5


def test_a_scrape_of_one_group_of_the_host_shows_that_and_no_domain(tmp_path: Path) -> None:
    """The other lanes are not even asked."""
    with Exporter("test:///default", tmp_path / "exporter") as exporter:
        before = exporter.scrape().samples
        narrow = exporter.scrape(collect="storage").samples
        refused = exporter.scrape(collect="network")
    nodes = series("libvirt_exporter_libvirt_calls_total", call="node statistics")
    assert {name for name, _ in narrow if name.startswith("libvirt_storage_pool_")}
    assert not {name for name, _ in narrow if name.startswith(("libvirt_node_", "libvirt_domain_"))}
    assert {labels for name, labels in narrow if name == "libvirt_exporter_lane_age_seconds"} == {
        frozenset({("lane", "storage")})
    }
    assert narrow[nodes] == before[nodes]
    assert refused.status == 400


# A pool whose storage hangs

PROGRAMS: Final = {
    "pvs": "echo /dev/x volumes",
    "vgchange": "exit 0",
    "lvs": "exit 0",
    "vgs": "[ -e {gate} ] && read _ < {gate}\necho 1000000:400000",
}
"""As much of LVM as libvirt asks for a pool; `vgs` hangs while there is the FIFO `gate`."""


@pytest.fixture
def volumes(fresh_libvirtd: PrivateLibvirtd) -> libvirt.virStoragePool:
    """A pool of LVM beside two of directories; its programs are stubs that only the daemon sees."""
    libvirtd = fresh_libvirtd
    stubs = libvirtd.root / "stubs"
    stubs.mkdir()
    for name, text in PROGRAMS.items():
        script = stubs / name
        script.write_text(f"#!/bin/sh\n{text.format(gate=libvirtd.root / 'gate')}\n")
        script.chmod(0o755)
    libvirtd.inside("mkdir", "/run/overlay")
    libvirtd.inside("mount", "-t", "tmpfs", "lab", "/run/overlay")
    # Where libvirt looks was decided when it was built.
    for number, directory in enumerate(("/usr/sbin", "/usr/bin")):
        upper, work = f"/run/overlay/upper{number}", f"/run/overlay/work{number}"
        libvirtd.inside("cp", "-pr", str(stubs), upper)
        libvirtd.inside("mkdir", work)
        layers = f"lowerdir={directory},upperdir={upper},workdir={work}"
        libvirtd.inside("mount", "-t", "overlay", "lab", "-o", layers, directory)
    conn = libvirtd.connection
    for name in ("a", "z"):
        conn.storagePoolDefineXML(pool_xml(libvirtd.images / name, name)).create()
    pool = conn.storagePoolDefineXML(
        "<pool type='logical'><name>volumes</name><source><name>volumes</name></source>"
        "<target><path>/dev/volumes</path></target></pool>"
    )
    pool.create()
    return pool


@contextmanager
def refresh_hanging(libvirtd: PrivateLibvirtd, name: str) -> Iterator[None]:
    """Have a refresh of a pool hang in libvirtd, as one of dead storage does."""
    gate = libvirtd.root / "gate"
    os.mkfifo(gate)
    conn = libvirtd.connect()
    threading.Thread(target=conn.storagePoolLookupByName(name).refresh, daemon=True).start()
    writer = -1
    try:
        # This waits for the reader.
        writer = os.open(gate, os.O_WRONLY)
        gate.unlink()
        yield
    finally:
        os.close(writer)


@pytest.mark.skipif(not can_run_privileged(), reason="a session daemon sees the real programs")
def test_a_pool_that_hangs_costs_itself(
    fresh_libvirtd: PrivateLibvirtd, volumes: libvirt.virStoragePool, tmp_path: Path
) -> None:
    """And one call of libvirt's; VMs, node and other pools are shown as ever. Then it heals."""
    paused_domain(fresh_libvirtd, "vm", disks=1, nics=0)
    with Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter:
        whole = exporter.scrape().samples
        assert whole[series("libvirt_storage_pool_available_bytes", pool="volumes")] == 400000
        assert volumes.name() == "volumes"
        with refresh_hanging(fresh_libvirtd, "volumes"):
            responsive = series("libvirt_storage_pool_responsive", pool="volumes")
            wait_until(lambda: exporter.scrape().samples.get(responsive) == 0, "it is found", 30)
            for _ in range(5):
                samples = exporter.scrape().samples
                lost = whole.keys() - samples.keys()
                assert samples[series("libvirt_up")] == 1
                assert samples[series("libvirt_exporter_stuck_calls")] == 1
                assert lost
                assert all(("pool", "volumes") in labels for _, labels in lost), lost
                assert samples[series("libvirt_exporter_lane_age_seconds", lane="storage")] < 5
        wait_until(lambda: whole.keys() <= exporter.scrape().samples.keys(), "it is well again", 30)
        assert exporter.scrape().samples[series("libvirt_exporter_stuck_calls")] == 0


# Processes


def stats_of(libvirtd: PrivateLibvirtd, name: str) -> Stats:
    """What a new exporter knows of a domain."""
    settings = HostSettings(uri=libvirtd.read_only_uri, pid_directory=str(libvirtd.pid_files))
    host = Host(settings)
    host.start()
    try:
        sample = host.sample(SampleRequest(frozenset({"cpu-total"})), 10).result(11)
    finally:
        host.close()
    return next(domain.stats for domain in sample.domains if domain.name == name)


def test_a_domain_is_as_old_as_its_process() -> None:
    """To the second, for any exporter; a guest under KVM has its own CPU time."""
    with PrivateLibvirtd() as libvirtd:
        before = time.time()
        plain = paused_domain(libvirtd, "plain", disks=0, nics=0)
        after = time.time()
        for _ in range(2):
            stats = stats_of(libvirtd, "plain")
            assert stats["process.pid"] == libvirtd.qemu_pid(plain)
            assert before - 1 <= int(stats["start.time"]) / 10**9 <= after + 1
            # Under emulation the kernel counts no guest's time.
            assert "process.guest.time" not in stats
        if kvm_works(libvirtd):
            paused_domain(libvirtd, "kvm", disks=0, nics=0, kvm=True)
            # Not more than that: a nested KVM may leave the kernel's figure at 0.
            assert "process.guest.time" in stats_of(libvirtd, "kvm")


def test_a_domain_that_arrived_is_older_than_its_process() -> None:
    """After a live migration nothing here knows its start; from a file it is started anew."""
    with PrivateLibvirtd(privileged=False) as source, PrivateLibvirtd(privileged=False) as target:
        machine = Machine(name="vm", memory=32 * MIB, disks=0, nics=0)
        domain = create(source, machine, paused=False)
        assert stats_of(source, "vm")["start.time"]
        where: Any = {libvirt.VIR_MIGRATE_PARAM_URI: "tcp://127.0.0.1"}
        arrived = domain.migrate3(target.connection, where, libvirt.VIR_MIGRATE_LIVE)
        assert state(arrived) == (
            libvirt.VIR_DOMAIN_RUNNING,
            libvirt.VIR_DOMAIN_RUNNING_MIGRATED,
        )
        stats = stats_of(target, "vm")
        assert "start.time" not in stats
        assert stats["process.pid"] == target.qemu_pid(arrived)
        arrived.suspend()
        arrived.resume()
        assert "start.time" not in stats_of(target, "vm")
        saved = str(target.images / "saved")
        arrived.save(saved)
        target.connection.restore(saved)
        restored = stats_of(target, "vm")
        assert restored["state.reason"] == libvirt.VIR_DOMAIN_RUNNING_RESTORED
        assert abs(int(restored["start.time"]) / 10**9 - time.time()) < 60
