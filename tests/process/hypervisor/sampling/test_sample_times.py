"""Samples of a host that hangs come in time, by a real clock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from statistics import median

import libvirt

from libvirt_exporter.hypervisor.domains import inventory
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample
from tests.support.fake_libvirt import FakeDomain, FakeHost
from tests.support.hosts import (
    DEFAULT,
    MONITOR,
    TIMEOUT,
    by_name,
    failed_groups,
    host_of,
    incomplete,
    take,
)
from tests.support.waiting import wait_until

SLACK = 0.5
"""Seconds that a busy machine may take for what takes none."""


def timed_take(host: Host, timeout: float = TIMEOUT) -> tuple[HostSample, float]:
    """A sample, and the seconds it took."""
    started = time.monotonic()
    sample = take(host, timeout=timeout)
    return sample, time.monotonic() - started


def test_a_new_domain_whose_xml_is_not_to_be_had_is_waited_for_once_and_not_long() -> None:
    """One sample waits for it, for half of its time at most; the next ones do not."""
    fake = FakeHost(2)
    with host_of(fake) as host:
        take(host)
        late = FakeDomain(9)
        fake.add(late)
        late.readable.clear()
        sample, seconds = timed_take(host)
        assert seconds < TIMEOUT * 0.6
        assert by_name(sample)["vm9"].info is None
        assert incomplete(sample) == set()
        wait_until(lambda: host.stuck_calls == 1, "one call is stuck")
        assert median(timed_take(host)[1] for _ in range(3)) < SLACK
        late.readable.set()


def test_each_waiter_keeps_its_own_deadline() -> None:
    """Whoever has less time gets what is known by then, without spoiling it for the others."""
    fake = FakeHost(3)
    durations = []
    with host_of(fake) as host:
        take(host)
        for _ in range(3):
            with fake[0].hung():
                patient = host.sample(SampleRequest(DEFAULT), 4.0)
                hasty, seconds = timed_take(host, 0.3)
                durations.append(seconds)
                assert hasty.up
                assert "vm0" in incomplete(hasty)
                assert "net.0.rx.bytes" in by_name(hasty)["vm0"].stats
            assert incomplete(patient.result(5)) == set()
    assert median(durations) < 0.3 + SLACK


def test_a_hung_domain_costs_itself_only() -> None:
    """The first sample is whole for all others, in time, and says what the hung one lacks."""
    fake = FakeHost(12)
    with host_of(fake) as host:
        take(host)
        with fake[3].hung():
            sample, seconds = timed_take(host)
            assert seconds < TIMEOUT
            assert incomplete(sample) == {"vm3"}
            assert failed_groups(sample) == set()
            assert set(by_name(sample)["vm3"].missing_groups) == MONITOR - {"iothread"}
            assert "net.0.rx.bytes" in by_name(sample)["vm3"].stats
            assert "cpu.time" in by_name(sample)["vm3"].stats
            assert list(host.stuck_domains) == [fake[3].uuid]
            assert host.stuck_calls == 1


def test_a_domain_known_to_hang_costs_later_samples_nothing() -> None:
    """No second call is lost to it, and nobody waits."""
    fake = FakeHost(12)
    with host_of(fake) as host:
        take(host)
        contacts = fake[3].monitor_contacts
        with fake[3].hung():
            take(host)
            later = [timed_take(host) for _ in range(5)]
            assert median(seconds for _, seconds in later) < 0.4  # finding out took longer
            assert [incomplete(sample) for sample, _ in later] == [{"vm3"}] * 5
            assert host.stuck_calls == 1
            assert fake[3].monitor_contacts == contacts + 1


def test_what_others_have_under_way_counts_towards_the_calls_that_may_get_stuck() -> None:
    """The XML of a domain does not come either: together they hold no more than allowed."""
    fake = FakeHost(20)
    with contextlib.ExitStack() as hung, host_of(fake, stuck_calls=3) as host:
        take(host)
        fake[0].readable.clear()
        hung.callback(fake[0].readable.set)
        fake.emit(fake[0], libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, 0, "uri")
        wait_until(lambda: fake[0].xml_waiters == 1, "somebody waits for the XML")
        for domain in fake.domains.values():
            hung.enter_context(domain.hung())
        end = time.monotonic() + inventory.PATIENCE + SLACK
        while time.monotonic() < end:
            assert take(host, timeout=0.5).up
            assert host.stuck_calls <= 3
        assert host.stuck_calls == 3
        hung.close()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host)) == set()


def test_a_domain_without_the_usual_keys_is_asked_again_in_one_sample_only() -> None:
    """Where nobody holds its job, what it answers is all that it has."""
    fake = FakeHost(2)
    fake[1].markless = True
    with host_of(fake) as host:
        assert incomplete(take(host)) == set()
        contacts = fake[1].monitor_contacts
        later = [timed_take(host) for _ in range(3)]
        assert [incomplete(sample) for sample, _ in later] == [set()] * 3
        assert median(seconds for _, seconds in later) < SLACK
    assert fake[1].monitor_contacts == contacts + 3


def test_a_frozen_daemon_is_answered_for_in_time_and_piles_nothing_up() -> None:
    """Every sample ends by its deadline; no lane has more than one call and one fresh thread."""
    fake = FakeHost(3)
    others = set(threading.enumerate())
    with host_of(fake) as host:
        take(host)
        fake.thawed.clear()
        durations = []
        for _ in range(6):
            sample, seconds = timed_take(host, 0.3)
            durations.append(seconds)
            assert not sample.up
            assert "did not answer" in sample.error
            threads = Counter(
                thread.name for thread in threading.enumerate() if thread not in others
            )
            assert threads["libvirt-state"] > 0
            assert max(threads.values()) <= 2, threads
        assert median(durations) < 0.3 + SLACK
        fake.thawed.set()
        wait_until(lambda: incomplete(take(host)) == set() and take(host).up, "the sample is whole")


def test_close_does_not_wait_for_what_is_stuck() -> None:
    """Whoever waits is answered at once, and so is whoever asks afterwards."""

    def closing_time() -> float:
        fake = FakeHost(3)
        with host_of(fake) as host:
            take(host)
            with fake[0].hung():
                waiting = host.sample(SampleRequest(DEFAULT), 30)
                wait_until(lambda: fake[0].job_since is not None, "the domain has a job")
                started = time.monotonic()
                host.close()
                seconds = time.monotonic() - started
                assert "stopped" in waiting.result(1).error
                assert not host.sample(SampleRequest(DEFAULT), 1).result(1).up
        return seconds

    assert median(closing_time() for _ in range(3)) < 0.5
