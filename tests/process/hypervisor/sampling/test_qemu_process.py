"""Processes that cannot answer are told from those that can, on real processes."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from pathlib import Path
from uuid import UUID

import pytest

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.sampling import qemu_process
from libvirt_exporter.hypervisor.sampling.qemu_process import APART, Halted, QemuProcesses
from tests.support.fake_qemu import WAITS, Machine
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

PATIENCE = 5.0


async def look(processes: QemuProcesses, machine: Machine, *among: str) -> Halted | None:
    return await processes.look(machine.names, PATIENCE, among or None)


async def test_a_stopped_process_is_frozen_until_it_goes_on(machine: Machine) -> None:
    """SIGSTOP is seen at once, and so is SIGCONT; the others run."""
    processes = QemuProcesses(str(machine.directory))
    stopped, _ = machine.start("stopped"), machine.start("other")
    assert await look(processes, machine) == Halted()
    machine.signal(stopped, signal.SIGSTOP)
    assert await look(processes, machine) == Halted(frozen={stopped})
    machine.signal(stopped, signal.SIGCONT)
    assert await look(processes, machine) == Halted()
    processes.close()


async def test_a_process_that_waits_uninterruptibly_is_frozen_at_the_second_look(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reading proves nothing, as disk I/O looks the same; a later one at the same wait does."""
    processes = QemuProcesses(str(machine.directory))
    waiting = machine.start("waiting", WAITS)
    with monkeypatch.context() as patched:
        patched.setattr(qemu_process, "APART", 60.0)
        assert await look(processes, machine) == Halted(unsure={waiting})
        assert await look(processes, machine, waiting) == Halted(unsure={waiting})
    await asyncio.sleep(APART)
    assert await look(processes, machine, waiting) == Halted(frozen={waiting})
    assert await look(processes, machine) == Halted(frozen={waiting})
    machine.release()
    await asyncio.to_thread(machine.processes[waiting].wait, 10)
    assert await look(processes, machine) == Halted()
    processes.close()


async def test_another_wait_than_before_is_not_taken_for_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process at work is often found waiting; its count of switches tells that it ran."""
    processes = QemuProcesses(str(machine.directory))
    waiting = machine.start("waiting", WAITS)
    counts = iter((b"1", b"2"))
    monkeypatch.setattr(
        "libvirt_exporter.hypervisor.sampling.qemu_process._switches", lambda _pid: next(counts)
    )
    for _ in range(2):
        assert await look(processes, machine) == Halted(unsure={waiting})
        await asyncio.sleep(APART)
    processes.close()


async def test_names_are_escaped_as_libvirt_does(machine: Machine) -> None:
    """The file of a name with quotes, angles or ampersands is found."""
    processes = QemuProcesses(str(machine.directory))
    uuid = machine.start("""a"b'c<d>&e""", file="a&quot;b&apos;c&lt;d&gt;&amp;e")
    machine.signal(uuid, signal.SIGSTOP)
    assert await look(processes, machine) == Halted(frozen={uuid})
    processes.close()


async def test_a_process_of_another_domain_is_not_mistaken(machine: Machine) -> None:
    """A pid file may be old and its number in use again: the command line decides."""
    processes = QemuProcesses(str(machine.directory))
    stopped = machine.start("stopped")
    machine.signal(stopped, signal.SIGSTOP)
    machine.names = {str(UUID(int=99)): "stopped"}
    assert await look(processes, machine) == Halted()
    processes.close()


async def test_a_domain_started_anew_is_found_again(machine: Machine) -> None:
    """Its pid file names another process then."""
    processes = QemuProcesses(str(machine.directory))
    first = machine.start("vm")
    assert await look(processes, machine) == Halted()
    machine.processes[first].kill()
    machine.processes[first].communicate()
    machine.names.clear()
    second = machine.start("vm")
    assert second == first
    machine.signal(second, signal.SIGSTOP)
    assert await look(processes, machine) == Halted(frozen={second})
    processes.close()


async def test_a_process_that_ends_while_it_is_looked_at_is_not_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for the one that comes next, and have no start."""
    processes = QemuProcesses(str(machine.directory))
    uuid = machine.start("vm")

    def ends(_pid: int, _uuid: str) -> bool:
        machine.processes[uuid].kill()
        machine.processes[uuid].communicate()
        return True

    with monkeypatch.context() as patch:
        patch.setattr("libvirt_exporter.hypervisor.sampling.qemu_process._is_qemu_of", ends)
        assert await look(processes, machine) == Halted()
    assert processes.process(uuid) is None
    assert processes.unseen(uuid) == "no_process"
    machine.names.clear()
    assert machine.start("vm") == uuid
    assert await look(processes, machine) == Halted()
    process = processes.process(uuid)
    assert process is not None
    assert process.started > 0
    processes.close()


@pytest.mark.parametrize("content", ["", "x", "999999999", "-1"])
async def test_what_cannot_be_read_is_taken_to_run(machine: Machine, content: str) -> None:
    """No file, no directory, no sense in it: nothing is said about anybody."""
    machine.names = {str(UUID(int=1)): "vm", str(UUID(int=2)): "\udcff\0/.."}
    (machine.directory / "vm.pid").write_text(content)
    for directory in (machine.directory, machine.directory / "missing"):
        processes = QemuProcesses(str(directory))
        assert await look(processes, machine) == Halted()
        processes.close()


async def test_nobody_waits_long_for_what_cannot_be_read_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that blocks tells nothing, and no other is begun until it is over."""
    processes = QemuProcesses(str(machine.directory))
    machine.start("vm")
    gate = threading.Event()
    begun: list[int] = []

    def block(pid: int, _uuid: str) -> bool:
        begun.append(pid)
        return gate.wait(10)

    monkeypatch.setattr("libvirt_exporter.hypervisor.sampling.qemu_process._is_qemu_of", block)
    for _ in range(2):
        assert await processes.look(machine.names, 0.05) is None
    gate.set()
    deadline = time.monotonic() + 10
    while (halted := await look(processes, machine)) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert halted == Halted()
    assert len(begun) == 1
    processes.close()


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/run/x", True),
        ("qemu+ssh://host/system", False),
        ("qemu://host/system", False),
        ("xen:///system", False),
    ],
)
def test_only_the_processes_of_this_machine_are_looked_at(uri: str, *, local: bool) -> None:
    """The same pid means nothing on another host."""
    assert HostSettings(uri=uri).is_local is local
    assert HostSettings(uri=uri).shows_processes is local


@pytest.mark.parametrize("uri", ["qemu:///session", "qemu:///embed?root=/srv/x"])
def test_processes_of_a_user_s_own_libvirt_are_not_looked_for(uri: str) -> None:
    """Its files lie elsewhere; that they are not where the system's are means nothing."""
    assert HostSettings(uri=uri).is_local
    assert not HostSettings(uri=uri).shows_processes


async def test_no_file_stays_open_for_a_process_that_is_not_looked_for_any_more(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each process, up to a limit, and none after the end."""
    monkeypatch.setattr("libvirt_exporter.hypervisor.sampling.qemu_process.KEPT_OPEN", 2)
    processes = QemuProcesses(str(machine.directory))
    uuids = [machine.start(f"vm{number}") for number in range(3)]

    def kept() -> list[str]:
        files = Path("/proc/self/fd").iterdir()
        stats = {f"/proc/{process.pid}/stat" for process in machine.processes.values()}
        return [file.name for file in files if str(file.resolve()) in stats]

    await look(processes, machine)
    await look(processes, machine)
    assert len(kept()) == 2
    machine.signal(uuids[2], signal.SIGSTOP)
    assert await look(processes, machine) == Halted(frozen={uuids[2]})
    await processes.look({uuids[0]: "vm0"}, PATIENCE)
    assert len(kept()) == 1
    processes.close()
    wait_until(lambda: kept() == [], "the files are closed")


async def test_why_a_process_is_not_seen_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is missing, its number is another program's here, or /proc hides it."""
    seen, elsewhere, unknown = machine.start("seen"), machine.start("elsewhere"), str(UUID(int=9))
    machine.names[unknown] = "unknown"
    (machine.directory / "elsewhere.pid").write_text("1")
    processes = QemuProcesses(str(machine.directory))
    await look(processes, machine)
    assert processes.unseen(seen) is None
    assert processes.unseen(elsewhere) == "no_process"
    assert processes.unseen(unknown) == "no_pid_file"

    read = qemu_process._content

    def hidden(path: bytes, size: int = 4096) -> bytes:
        return b"" if path == b"/proc/1/stat" else read(path, size)

    monkeypatch.setattr(qemu_process, "_content", hidden)
    await look(processes, machine)
    assert processes.unseen(elsewhere) == "proc_hidden"

    (machine.directory / "elsewhere.pid").write_text(str(machine.processes[elsewhere].pid))
    del machine.names[unknown]
    await look(processes, machine)
    assert processes.unseen(elsewhere) is None
    assert processes.unseen(unknown) is None
    processes.close()


async def test_that_none_is_seen_is_logged_once_and_so_is_its_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at once: a process that starts is not seen yet either."""
    caplog.set_level(logging.INFO)
    uuid = machine.start("vm")
    files = machine.directory / "missing"
    processes = QemuProcesses(str(files))
    await look(processes, machine)
    assert processes.unseen(uuid) == "no_pid_file"
    assert not caplog.messages

    monkeypatch.setattr(qemu_process, "BLIND_AFTER", 0.0)
    for _ in range(3):
        await look(processes, machine)
    [said] = caplog.messages
    assert "of all 1 active domains are invisible to the exporter (no_pid_file)" in said

    files.symlink_to(machine.directory)
    for _ in range(3):
        await look(processes, machine)
    assert caplog.messages == [said, "QEMU processes are visible again"]
    processes.close()
