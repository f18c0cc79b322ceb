"""Samples of domains whose QEMU is stopped, or waits for storage."""

from __future__ import annotations

import contextlib
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from libvirt_exporter.hypervisor.sampling import monitor
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from tests.support.fake_libvirt import FakeHost
from tests.support.fake_qemu import WAITS, Machine
from tests.support.hosts import DEFAULT, TIMEOUT, by_name, failed_groups, host_of, incomplete, take
from tests.support.waiting import wait_until


def test_a_stopped_qemu_is_not_contacted(tmp_path: Path) -> None:
    """It is stuck from the first sample on, costs no call, and is whole when it goes on."""
    fake = FakeHost(12)
    with closing(Machine(tmp_path)) as machine, host_of(fake, pid_directory=tmp_path) as host:
        uuid = machine.start("vm0")
        assert incomplete(take(host)) == set()
        contacts = fake[0].monitor_contacts
        machine.signal(uuid, signal.SIGSTOP)
        with fake[0].hung():
            for _ in range(3):
                sample = take(host)
                assert incomplete(sample) == {"vm0"}
                assert failed_groups(sample) == set()
                assert {"net.0.rx.bytes", "cpu.time", "vcpu.0.time"} <= set(
                    by_name(sample)["vm0"].stats
                )
                assert list(host.stuck_domains) == [uuid]
            assert host.stuck_calls == 0
            assert fake[0].monitor_contacts == contacts
        machine.signal(uuid, signal.SIGCONT)
        assert incomplete(take(host)) == set()
        assert host.stuck_domains == {}


def test_qemus_that_wait_for_lost_storage_leave_the_others_their_calls(tmp_path: Path) -> None:
    """However many there are: none of them holds a worker, so none counts against the limit."""
    fake = FakeHost(6)
    with (
        closing(Machine(tmp_path)) as machine,
        contextlib.ExitStack() as hung,
        host_of(fake, stuck_calls=2, pid_directory=tmp_path) as host,
    ):
        take(host)
        waiting = {f"vm{number}" for number in range(4)}
        for number, name in enumerate(sorted(waiting)):
            machine.start(name, WAITS)
            hung.enter_context(fake[number].hung())
        for _ in range(2):
            assert incomplete(take(host)) == waiting
        assert host.stuck_calls == 0


def test_a_qemu_that_waits_for_a_moment_is_asked_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ordinary disk I/O costs nobody a series."""
    # Time for a busy machine to end the wait before the second look.
    monkeypatch.setattr(monitor, "APART", 1.0)
    fake = FakeHost(4)
    with closing(Machine(tmp_path)) as machine, host_of(fake, pid_directory=tmp_path) as host:
        take(host)
        waiting = machine.start("vm0", WAITS)
        contacts = [fake[number].monitor_contacts for number in range(4)]
        future = host.sample(SampleRequest(DEFAULT), 2 * TIMEOUT)
        wait_until(lambda: fake[3].monitor_contacts > contacts[3], "its monitor is asked again")
        assert fake[0].monitor_contacts == contacts[0]
        machine.release()
        machine.processes[waiting].wait(10)
        sample = future.result(2 * TIMEOUT + 1)
        assert incomplete(sample) == set()
        assert host.stuck_domains == {}


def test_a_stopped_qemu_that_holds_a_call_is_asked_for_the_rest(tmp_path: Path) -> None:
    """Somebody's call hangs in it already; one more comes back at once with what it can tell."""
    fake = FakeHost(3)
    with closing(Machine(tmp_path)) as machine, host_of(fake, pid_directory=tmp_path) as host:
        take(host)
        machine.signal(machine.start("vm0"), signal.SIGSTOP)
        fake[0].job_since = time.monotonic() - 1
        sample = take(host)
        assert incomplete(sample) == {"vm0"}
        assert "cpu.time" in by_name(sample)["vm0"].stats
        assert host.stuck_calls == 0
