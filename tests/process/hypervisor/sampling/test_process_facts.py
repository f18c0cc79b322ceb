"""What /proc says of the processes that run domains."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcesses
from tests.support.fake_qemu import RUNS, Machine
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

UUID = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"
PR_SET_THP_DISABLE = 41
"""prctl(2)."""


async def test_a_process_is_as_old_as_it_is(machine: Machine) -> None:
    """To the second, and the same at every reading."""
    processes = QemuProcesses(str(machine.directory))
    before = time.time()
    uuid = machine.start("vm")
    after = time.time()
    await processes.look(machine.names, 5.0)
    first = processes.process(uuid)
    await processes.look(machine.names, 5.0)
    assert first is not None
    assert processes.process(uuid) is first
    assert first.pid == machine.processes[uuid].pid
    assert before - 1 <= first.started / 10**9 <= after + 1
    assert before <= first.read_at <= time.time()
    assert first.guest_time == 0
    assert not first.incoming
    processes.close()


async def test_a_process_that_awaits_a_guest_is_told_from_one_that_boots(machine: Machine) -> None:
    """By its command line, which stays."""
    processes = QemuProcesses(str(machine.directory))
    uuid = machine.start("vm", RUNS, arguments=("-incoming", "defer"))
    await processes.look(machine.names, 5.0)
    found = processes.process(uuid)
    assert found is not None
    assert found.incoming
    processes.close()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("[always] madvise never", True),
        ("always [madvise] never", True),
        ("always madvise [never]", False),
        (None, None),
    ],
)
async def test_the_kernels_leave_for_huge_pages_is_read(
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    expected: bool | None,
) -> None:
    """QEMU asks for them, so `madvise` is enough; a kernel without them has no such file."""
    file = tmp_path / "enabled"
    if setting is not None:
        file.write_text(f"{setting}\n")
    monkeypatch.setattr(
        "libvirt_exporter.hypervisor.sampling.qemu_process._HUGE_PAGES", os.fsencode(file)
    )
    processes = QemuProcesses(str(machine.directory))
    await processes.look(machine.names, 5.0)
    assert processes.huge_pages is expected
    processes.close()


async def test_a_process_that_gave_up_huge_pages_is_told_from_one_that_did_not(
    machine: Machine,
) -> None:
    """By prctl(2), as a real process may."""
    forbid = f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0); {RUNS}"
    willing, unwilling = machine.start("willing"), machine.start("unwilling", forbid)
    status = Path(f"/proc/{machine.processes[unwilling].pid}/status")
    await asyncio.to_thread(
        wait_until, lambda: "THP_enabled:\t0" in status.read_text(), "it gave them up"
    )
    processes = QemuProcesses(str(machine.directory))
    await processes.look(machine.names, 5.0)
    found = processes.process(willing), processes.process(unwilling)
    assert [process is not None and process.may_have_huge_pages for process in found] == [
        True,
        False,
    ]
    processes.close()


async def test_a_domain_that_ended_has_no_process(machine: Machine) -> None:
    """Nor one that is not looked for any more."""
    processes = QemuProcesses(str(machine.directory))
    ended, other = machine.start("ended"), machine.start("other")
    await processes.look(machine.names, 5.0)
    machine.processes[ended].kill()
    machine.processes[ended].communicate()
    await processes.look(machine.names, 5.0)
    assert processes.process(ended) is None
    assert processes.process(other) is not None
    await processes.look({}, 5.0)
    assert processes.process(other) is None
    processes.close()


async def test_guest_time_is_the_kernels(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field 43 of proc(5), in ticks; the process's name may look like fields."""
    fields = [b"S", *(b"%d" % number for number in range(4, 53))]
    content = b"1 (a) R 1) " + b" ".join(fields)
    monkeypatch.setattr("libvirt_exporter.hypervisor.sampling.qemu_process.KEPT_OPEN", 0)
    monkeypatch.setattr(
        "libvirt_exporter.hypervisor.sampling.qemu_process._content",
        lambda path, _size=0: content if path.endswith(b"/stat") else b"1\0-uuid\0" + UUID.encode(),
    )
    monkeypatch.setattr(
        "libvirt_exporter.hypervisor.sampling.qemu_process._is_qemu_of", lambda _pid, _uuid: True
    )
    monkeypatch.setattr(QemuProcesses, "_pid", lambda _self, _name: 1)
    processes = QemuProcesses(str(machine.directory))
    await processes.look({UUID: "vm"}, 5.0)
    found = processes.process(UUID)
    assert found is not None
    assert found.guest_time == 43 * 10**9 // os.sysconf("SC_CLK_TCK")
    assert found.start_time == b"22"
    processes.close()
