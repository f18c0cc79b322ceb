"""The lab gives what the tests on it rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import HOSTILE_NAMES, crowd, paused_domain, shutoff_domain, state, statistics
from tests.support.waiting import wait_until

Guests = dict[str, libvirt.virDomain]

CHECKOUT = Path(__file__).parents[2]


class Call:
    """A call on a thread of its own, which a hang may keep for ever."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=function, daemon=True)
        self._thread.start()

    def answered(self, within: float) -> bool:
        """Whether the call has come back after at most `within` seconds."""
        self._thread.join(within)
        return not self._thread.is_alive()


def test_a_crowd_of_paused_domains_answers_bulk_statistics(fresh_libvirtd: PrivateLibvirtd) -> None:
    """Every paused domain gives all groups that need its monitor."""
    domains = crowd(fresh_libvirtd, 5)
    answers = fresh_libvirtd.connect(read_only=True).getAllDomainStats()
    assert {domain.name() for domain, _ in answers} == {domain.name() for domain in domains}
    for _, values in answers:
        assert values["state.state"] == libvirt.VIR_DOMAIN_PAUSED
        assert values["balloon.current"] == 16 * 1024
        assert values["vcpu.current"] == 2
        assert values["block.count"] == 2
        assert values["net.count"] == 1


def test_each_kind_of_guest_has_what_it_is_there_for(guests: Guests) -> None:
    """The devices that the XML names show in the statistics."""
    assert "balloon.current" in statistics(guests["paused"])
    assert statistics(guests["bare"]).get("block.count", 0) == 0
    assert statistics(guests["iothreads"])["iothread.count"] == 2
    layers = statistics(guests["chain"], flags=libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING)
    assert sum(name == "vda" for key, name in layers.items() if key.endswith(".name")) == 3
    assert guests["nics"].isPersistent()
    assert state(guests["off"])[0] == libvirt.VIR_DOMAIN_SHUTOFF
    if "kvm" in guests:
        assert any(key.startswith("vm.") for key in statistics(guests["kvm"]))


def test_the_running_guest_reports_memory_and_moves_data(guests: Guests) -> None:
    """Balloon statistics come from the guest, and its disk and processor time grow."""
    running = guests["running"]
    wait_until(lambda: "balloon.usable" in statistics(running), "balloon statistics", 20)
    before = statistics(running)
    assert 0 < before["balloon.usable"] < before["balloon.available"] < before["balloon.current"]
    moving = ("block.0.wr.bytes", "block.0.rd.bytes", "cpu.time", "vcpu.0.time")

    def all_grew() -> bool:
        now = statistics(running)
        return all(now[key] > before[key] for key in moving)

    wait_until(all_grew, f"{', '.join(moving)} grow")


def test_the_agent_of_the_running_guest_answers(guests: Guests) -> None:
    """The guest agent gives the host name that /init set."""
    running = guests["running"]
    wait_until(lambda: "state='connected'" in running.XMLDesc(), "the agent is connected", 20)
    answer = cast(dict[str, str], running.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME))
    assert answer["hostname"] == "lab-guest"


def test_a_hung_qemu_blocks_the_bulk_call_until_it_goes_on(fresh_libvirtd: PrivateLibvirtd) -> None:
    """The first bulk call is stuck, other clients are served, SIGCONT heals."""
    victim, other = crowd(fresh_libvirtd, 2)
    bulk = fresh_libvirtd.connect(read_only=True)
    with fresh_libvirtd.hung(victim):
        call = Call(bulk.getAllDomainStats)
        assert not call.answered(within=1)
        assert cast(int, victim.controlInfo()[0]) == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED
        assert statistics(other)["block.count"] == 2
    assert call.answered(within=10)


def test_a_crashed_qemu_leaves_a_crashed_domain(libvirtd: PrivateLibvirtd) -> None:
    """SIGKILL of a persistent domain's QEMU: shut off, crashed."""
    domain = paused_domain(libvirtd, "crash", disks=0, nics=0, persistent=True)
    libvirtd.crash(domain)
    expected = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
    wait_until(lambda: state(domain) == expected, "the domain has crashed")
    domain.undefine()


@pytest.mark.parametrize("opener", [libvirt.open, libvirt.openReadOnly])
def test_the_read_only_socket_refuses_writes(
    libvirtd: PrivateLibvirtd, opener: Callable[[str], libvirt.virConnect]
) -> None:
    """A client of the read-only socket may change nothing, however it has opened it."""
    if opener is libvirt.open and not libvirtd.privileged:
        opener = libvirt.openReadOnly
    name = "untouched"
    domain = shutoff_domain(libvirtd, name, disks=0, nics=0)
    with pytest.raises(libvirt.libvirtError) as refusal:
        opener(libvirtd.read_only_uri).lookupByName(name).create()
    assert cast(int, refusal.value.get_error_code()) == libvirt.VIR_ERR_OPERATION_DENIED
    domain.undefine()


def test_hostile_names_arrive_unchanged(fresh_libvirtd: PrivateLibvirtd) -> None:
    """libvirt takes and returns every one of them, and its QEMU process is found."""

    def create(name: str) -> libvirt.virDomain:
        return paused_domain(fresh_libvirtd, name, vcpus=1, disks=0, nics=0)

    with ThreadPoolExecutor(max_workers=3) as threads:
        domains = list(threads.map(create, HOSTILE_NAMES))
    listed = fresh_libvirtd.connect(read_only=True).listAllDomains()
    assert {domain.name() for domain in listed} == set(HOSTILE_NAMES)
    assert len({fresh_libvirtd.qemu_pid(domain) for domain in domains}) == len(HOSTILE_NAMES)


def test_domains_outlive_their_daemon(fresh_libvirtd: PrivateLibvirtd) -> None:
    """Restarted or killed, the daemon finds the same QEMU again."""
    pid = fresh_libvirtd.qemu_pid(paused_domain(fresh_libvirtd, "survivor", disks=0))
    fresh_libvirtd.restart()
    fresh_libvirtd.kill()
    with pytest.raises(libvirt.libvirtError):
        fresh_libvirtd.connect(read_only=True)
    fresh_libvirtd.start()
    survivor = fresh_libvirtd.connection.lookupByName("survivor")
    assert fresh_libvirtd.qemu_pid(survivor) == pid
    assert state(survivor)[0] == libvirt.VIR_DOMAIN_PAUSED


def test_a_frozen_daemon_keeps_its_clients_waiting(fresh_libvirtd: PrivateLibvirtd) -> None:
    """A call is stuck while the daemon is frozen, and is answered afterwards."""
    connection = fresh_libvirtd.connect(read_only=True)
    with fresh_libvirtd.frozen():
        call = Call(connection.listAllDomains)
        assert not call.answered(within=0.5)
    assert call.answered(within=5)


def test_two_daemons_never_meet(libvirtd: PrivateLibvirtd, fresh_libvirtd: PrivateLibvirtd) -> None:
    """A definition on one daemon is unknown to the other and leaves no file on the host."""
    name = libvirtd.unused_name("only-here-")
    shutoff_domain(libvirtd, name, disks=0, nics=0)
    assert name not in [domain.name() for domain in fresh_libvirtd.connection.listAllDomains()]
    assert not Path(f"/etc/libvirt/qemu/{name}.xml").exists()
    libvirtd.connection.lookupByName(name).undefine()


def test_close_leaves_nothing_behind() -> None:
    """Processes, hung ones too, taps and files are gone after `close`."""
    with PrivateLibvirtd() as daemon:
        domain = paused_domain(daemon, "leftover")
        pids = [daemon.pid, daemon.qemu_pid(domain)]
        os.kill(pids[1], signal.SIGSTOP)
        if daemon.privileged:
            assert daemon.root.name[4:] in Path("/proc/net/dev").read_text()
    assert not daemon.root.exists()
    assert all(not is_running(pid) for pid in pids)
    assert daemon.root.name[4:] not in Path("/proc/net/dev").read_text()


def test_a_killed_test_session_leaves_nothing_behind() -> None:
    """The keeper clears up after an owner that was killed with SIGKILL."""
    program = (
        "import time; from tests.lab.daemon import PrivateLibvirtd as Lab;"
        "from tests.lab.domains import paused_domain;"
        "lab = Lab(); domain = paused_domain(lab, 'orphan', disks=0);"
        "print(lab.root, lab.pid, lab.qemu_pid(domain), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        root, *pids = owner.stdout.readline().split()
        owner.kill()
    wait_until(lambda: not Path(root).exists(), "the lab's files are gone")
    assert all(not is_running(int(pid)) for pid in pids)


def is_running(pid: int) -> bool:
    """Whether a process exists that is not merely waiting to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return False
    return fields[0] != "Z"


def test_a_session_daemon_gives_statistics_too() -> None:
    """Where no privileged daemon is possible its stand-in starts domains and finds them."""
    with PrivateLibvirtd(privileged=False) as daemon:
        domain = paused_domain(daemon, "session")
        assert statistics(domain)["block.count"] == 2
        assert daemon.pid_files.joinpath("session.pid").read_text() == str(daemon.qemu_pid(domain))
