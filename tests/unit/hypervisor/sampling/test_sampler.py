"""Samples of a host: whole when it is well, and as whole as can be when it is not."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.connection import pool
from libvirt_exporter.hypervisor.connection.errors import ErrorClass
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling import control, monitor, state
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sources import walking_lane
from libvirt_exporter.hypervisor.sources.process_stats import ProcessStats
from libvirt_exporter.model import HostSample, Stats
from libvirt_exporter.patterns.labels import compile_label
from tests.support.fake_libvirt import HOST_UUID, FakeDomain, FakeHost, libvirt_error
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


class Recorder(Observer):
    """Keeps what a host reports."""

    def __init__(self) -> None:
        self.abandoned: list[str] = []
        self.shared = 0
        self.taken = 0
        self.failures = 0
        self.lost = 0
        self.regained = 0
        self.errors: list[tuple[str, ErrorClass]] = []

    def call_finished(self, call: str, seconds: float, error: ErrorClass | None) -> None:
        assert seconds >= 0
        if error is not None:
            self.errors.append((call, error))

    def call_abandoned(self, call: str) -> None:
        self.abandoned.append(call)

    def connection_lost(self, reason: str) -> None:
        self.lost += 1

    def connection_regained(self) -> None:
        self.regained += 1

    def sample_taken(self, seconds: float) -> None:
        self.taken += 1

    def sample_shared(self) -> None:
        self.shared += 1

    def source_failed(self) -> None:
        self.failures += 1


# A host that is well.


def test_a_sample_merges_all_groups_of_every_domain() -> None:
    """Each domain's keys from all calls are in one mapping, with its info and a time."""
    before = time.time()
    with host_of(FakeHost(3)) as host:
        sample = take(host)
    assert sample.up
    assert sample.error == ""
    assert failed_groups(sample) == set()
    assert {group.group for group in sample.groups} == DEFAULT
    assert set(by_name(sample)) == {"vm0", "vm1", "vm2"}
    for domain in sample.domains:
        assert domain.info is not None
        assert domain.missing_groups == ()
        assert {"state.state", "net.0.rx.bytes", "block.0.rd.reqs", "balloon.rss"} <= set(
            domain.stats
        )
        assert before <= domain.timestamp <= time.time()
    assert sample.host is not None
    assert (sample.host.driver, sample.host.libvirt_version) == ("QEMU", "9.0.0")


def test_who_the_host_is_is_known_soon_and_holds_nobody_up() -> None:
    """A cold libvirtd takes seconds to find it out, so no sample waits for it, or guesses."""
    fake = FakeHost(1)
    known = fake.version_known
    known.clear()
    with host_of(fake) as host:
        first = take(host).host
        known.set()
        wait_until(lambda: take(host).host != first, "the version is known")
        then = take(host).host
    assert first is not None
    assert then is not None
    assert (first.hypervisor_version, first.hostname, first.uuid) == (None, "", "")
    assert (then.hypervisor_version, then.hostname, then.uuid) == ("7.2.22", "kvm1", HOST_UUID)


def test_keys_come_in_the_same_order_in_every_sample() -> None:
    """A rendering plan is made for a domain's keys in their order."""
    with host_of(FakeHost(6)) as host:
        orders = {tuple(domain.stats) for _ in range(5) for domain in take(host).domains}
    # The first sample asks for the iothread group too; there all keys of it follow the others.
    assert len({tuple(key for key in order if "iothread" not in key) for order in orders}) == 1


def test_what_a_lane_finds_comes_after_what_libvirt_said() -> None:
    """A key in front of the others would move all values of a rendering plan."""
    request = SampleRequest(DEFAULT, lanes=frozenset({"jobs"}))
    with host_of(FakeHost(1)) as host:

        def keys() -> list[str]:
            return [*host.sample(request, TIMEOUT).result(TIMEOUT + 1).domains[0].stats]

        take(host)  # that of the iothread group
        before = [key for key in take(host).domains[0].stats if not key.startswith("monitor.")]
        assert "balloon.rss" in before
        wait_until(lambda: "blockjob.count" in keys(), "the first look at the domain")
        assert keys()[: len(before)] == before


def test_an_inactive_domain_has_its_state_only() -> None:
    """libvirt's cpu figures for it would be the daemon's own."""
    fake = FakeHost(1)
    fake.add(FakeDomain(5, active=False))
    with host_of(fake) as host:
        domain = by_name(take(host))["vm5"]
    assert not domain.active
    own = {key for key in domain.stats if key.startswith(("event.", "exit."))}
    assert domain.stats.keys() - own == {"state.state", "state.reason"}
    assert domain.missing_groups == ()


def test_groups_that_nobody_asked_for_are_not_asked_of_libvirt() -> None:
    """A disabled group costs nothing."""
    fake = FakeHost(2)
    with host_of(fake) as host:
        sample = take(host, frozenset({"block"}))
    assert frozenset().union(*(groups for _, groups, _ in fake.calls)) == {"state", "block"}
    assert {group.group for group in sample.groups} == {"state", "block"}


def test_iothreads_are_asked_only_where_there_are_any() -> None:
    """Once the XML is known, shards are cut by what a domain has."""
    fake = FakeHost(2)
    fake.add(FakeDomain(5, iothreads=2))
    with host_of(fake) as host:
        take(host)
        fake.calls.clear()
        sample = take(host)
    asked = {name for _, groups, names in fake.calls if "iothread" in groups for name in names}
    assert asked == {"vm5"}
    assert incomplete(sample) == set()


def test_monitors_are_asked_in_shards() -> None:
    """No call asks more domains than a hang may cost."""
    fake = FakeHost(50)
    with host_of(fake) as host:
        sample = take(host)
    sizes = [len(names) for call, groups, names in fake.calls if groups & MONITOR]
    assert sum(sizes) == 50
    assert max(sizes) <= 25
    assert incomplete(sample) == set()


def test_the_backing_chain_is_asked_for_on_request_only() -> None:
    """The flag goes with the block group, and such a sample is not shared with others."""
    flags: list[int] = []

    class Watched(FakeDomain):
        def statistics(self, groups: set[str], given: int) -> dict[str, object]:
            if "block" in groups:
                flags.append(given & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING)
            return super().statistics(groups, given)

    fake = FakeHost(0)
    fake.add(Watched(0))
    with host_of(fake) as host:
        take(host)
        take(host, backing=True)
    assert flags == [0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING]


def test_domains_that_come_and_go_leave_nothing_behind() -> None:
    """A new domain is in the next sample, a vanished one is not."""
    fake = FakeHost(2)
    with host_of(fake) as host:
        take(host)
        del fake.domains[fake[0].uuid]
        fake.add(FakeDomain(9))
        sample = take(host)
    assert set(by_name(sample)) == {"vm1", "vm9"}
    assert incomplete(sample) == set()


def test_the_first_sample_of_a_new_domain_has_its_info() -> None:
    """No event needs to tell of it: its XML is read beside the monitor calls."""
    fake = FakeHost(2)
    with host_of(fake) as host:
        take(host)
        fake.add(FakeDomain(9))
        info = by_name(take(host))["vm9"].info
    assert info is not None
    assert info.name == "vm9"


def test_settings_are_changed_in_place() -> None:
    """A reload forgets neither who is stuck nor how many calls are, and reads the new labels."""
    fake = FakeHost(4)
    with host_of(fake) as host:
        take(host)
        with fake[1].hung():
            take(host)
            settings = replace(
                host.settings, name="renamed", labels=(compile_label("vm", "name", {}),)
            )
            host.apply(settings)
            sample = take(host)
            assert host.settings is settings
            assert list(host.stuck_domains) == [fake[1].uuid]
            assert host.stuck_calls == 1
    assert sample.host is not None
    assert sample.host.name == "renamed"
    infos = [domain.info for domain in sample.domains]
    assert [info.custom_labels for info in infos if info] == [
        (("vm", f"vm{number}"),) for number in range(4)
    ]


def test_a_lower_limit_of_stuck_calls_holds_from_the_next_sample_on() -> None:
    """Limits are among the settings that a reload changes in place."""
    fake = FakeHost(12)
    with contextlib.ExitStack() as hung, host_of(fake) as host:
        take(host)
        host.apply(replace(host.settings, stuck_calls=2))
        for domain in fake.domains.values():
            hung.enter_context(domain.hung())
        take(host)
        assert host.stuck_calls == 2


def test_another_uri_needs_another_host() -> None:
    """What is known of one libvirt is nothing to another."""
    with host_of(FakeHost(1)) as host, pytest.raises(ValueError, match="test:///default"):
        host.apply(replace(host.settings, uri="test:///default"))


def test_a_domain_that_ends_during_the_sample_fails_no_group() -> None:
    """libvirt leaves it out silently; that is nobody's failure."""
    fake = FakeHost(2)

    class Ending(FakeDomain):
        def statistics(self, groups: set[str], flags: int) -> dict[str, object]:
            answer = super().statistics(groups, flags)
            if "state" in groups:
                self.active = False
            return answer

    fake.add(Ending(5))
    with host_of(fake) as host:
        sample = take(host)
    assert failed_groups(sample) == set()
    assert not incomplete(sample) & {"vm0", "vm1"}


# Sharing.


def test_requests_that_overlap_share_one_sample() -> None:
    """A hundred scrapes at once cost one."""
    fake = FakeHost(5)
    recorder = Recorder()
    with host_of(fake, observer=recorder) as host:
        take(host)
        fake.calls.clear()
        with fake[0].hung():
            futures = [host.sample(SampleRequest(DEFAULT), TIMEOUT) for _ in range(100)]
            wait_until(lambda: recorder.shared == 99, "99 requests share a sample")
        samples = [future.result(5) for future in futures]
    assert [call for call, _, _ in fake.calls].count("getAllDomainStats") == 1
    assert len({sample.timestamp for sample in samples}) == 1
    assert recorder.taken == 2


def test_a_narrower_request_shares_and_a_wider_one_waits_for_its_own() -> None:
    """What is in flight answers whatever it covers."""
    fake = FakeHost(2)
    recorder = Recorder()
    with host_of(fake, observer=recorder) as host:
        take(host)
        with fake[0].hung():
            first = host.sample(SampleRequest(frozenset({"block"})), TIMEOUT)
            narrower = host.sample(SampleRequest(frozenset({"state"})), TIMEOUT)
            wider = host.sample(SampleRequest(DEFAULT), TIMEOUT)
            wait_until(lambda: recorder.shared == 1, "one request shares a sample")
        samples = [future.result(5) for future in (first, narrower, wider)]
    assert samples[0].timestamp == samples[1].timestamp < samples[2].timestamp
    assert incomplete(samples[2]) == set()


def test_who_joins_with_more_time_gets_a_whole_sample() -> None:
    """The first one's deadline cuts its own answer, not the sample that others wait for."""
    fake = FakeHost(24)
    for domain in fake.domains.values():
        domain.late = 0.1
    with host_of(fake) as host:
        take(host)
        fake.calls.clear()
        hasty = host.sample(SampleRequest(DEFAULT), 0.5)
        wait_until(lambda: fake.calls, "the sample has begun")
        patient = host.sample(SampleRequest(DEFAULT), 10.0)
        assert incomplete(hasty.result(1)) != set()
        assert incomplete(patient.result(11)) == set()
        assert patient.result().timestamp == hasty.result().timestamp
        assert hasty.result().partial
        assert not patient.result().partial


# Monitors that hang.


def test_a_domain_that_answers_again_is_whole_in_the_next_sample(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has one line for its getting stuck and one for its healing."""
    fake = FakeHost(4)
    with host_of(fake) as host, caplog.at_level(logging.INFO):
        take(host)
        with fake[1].hung():
            for _ in range(3):
                take(host)
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host)) == set()
        assert host.stuck_domains == {}
    lines = [record.getMessage() for record in caplog.records if "vm1" in record.getMessage()]
    assert ["is stuck" in line for line in lines] == [True, False]
    assert "no longer stuck" in lines[1]


def test_a_domain_that_answers_while_it_counts_as_stuck_is_stuck_no_longer() -> None:
    """It went on between the look at it and the call, so its series and its state agree."""

    class Lagging(FakeDomain):
        lags = False

        def control(self) -> list[int]:
            lags, self.lags = self.lags, False
            return [2, 0, 5000] if lags else super().control()

    fake = FakeHost(2)
    domain = Lagging(5)
    fake.add(domain)
    with host_of(fake) as host:
        take(host)
        with domain.hung():
            take(host)
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        domain.lags = True
        sample = take(host)
        assert incomplete(sample) == set()
        assert by_name(sample)["vm5"].stats["monitor.responsive"] is True
        assert host.stuck_domains == {}


def test_a_domain_that_goes_on_during_a_sample_is_whole_in_it() -> None:
    """It was still stuck at the beginning, and answers when the others have been asked."""

    class Waker(FakeDomain):
        sleeper: FakeDomain | None = None

        def statistics(self, groups: set[str], flags: int) -> dict[str, Any]:
            if "block" in groups and (sleeper := self.sleeper) is not None:
                sleeper.answers.set()
                wait_until(lambda: sleeper.job_since is None, "the job is over")
            return super().statistics(groups, flags)

    fake = FakeHost(2)
    waker = Waker(5)
    fake.add(waker)
    with host_of(fake) as host:
        take(host)
        with fake[1].hung():
            assert incomplete(take(host)) == {"vm1"}
            waker.sleeper = fake[1]
            sample = take(host)
        assert incomplete(sample) == set()
        assert by_name(sample)["vm1"].stats["monitor.responsive"] is True
        assert host.stuck_domains == {}


def test_however_many_hang_no_more_calls_get_stuck_than_allowed() -> None:
    """Past the cap the groups that cannot block are still answered for all."""
    fake = FakeHost(20)
    with contextlib.ExitStack() as hung, host_of(fake, stuck_calls=5) as host:
        take(host)
        for domain in fake.domains.values():
            hung.enter_context(domain.hung())
        for _ in range(3):
            sample = take(host)
            assert sample.up
            assert host.stuck_calls <= 5
            assert all(
                {"net.0.rx.bytes", "cpu.time", "vcpu.current"} <= set(domain.stats)
                for domain in sample.domains
            )
        assert "block" in failed_groups(sample)
        hung.close()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host)) == set()


def test_a_sample_after_healing_waits_for_the_calls_that_are_coming_back() -> None:
    """At the limit no call can be made until they are, which takes a moment."""
    fake = FakeHost(6)
    with contextlib.ExitStack() as hung, host_of(fake, stuck_calls=2) as host:
        take(host)
        for domain in fake.domains.values():
            hung.enter_context(domain.hung())
        take(host)
        assert host.stuck_calls == 2
        for domain in fake.domains.values():
            domain.late = 0.05
        hung.close()
        wait_until(
            lambda: all(domain.job_since is None for domain in fake.domains.values()),
            "all jobs are over",
        )
        assert incomplete(take(host)) == set()


def test_with_many_stuck_the_healthy_ones_are_still_served() -> None:
    """Calls in flight shrink to what the cap leaves, not to nothing."""
    fake = FakeHost(30)
    with contextlib.ExitStack() as hung, host_of(fake, stuck_calls=6) as host:
        take(host)
        for number in range(5):
            hung.enter_context(fake[number].hung())
        take(host, timeout=4.0)
        assert incomplete(take(host)) == {f"vm{number}" for number in range(5)}


def test_domains_stuck_since_before_the_start_are_left_alone_and_counted() -> None:
    """Restarting the exporter does not spend another worker of libvirtd on each of them."""
    fake = FakeHost(5)
    for number in (0, 1):
        fake[number].job_since = time.monotonic() - 100
    with host_of(fake) as host:
        sample = take(host)
        assert set(host.stuck_domains) == {fake[0].uuid, fake[1].uuid}
    assert incomplete(sample) == {"vm0", "vm1"}
    assert fake[0].monitor_contacts == fake[1].monitor_contacts == 0


def test_a_slow_call_is_not_taken_to_be_stuck_where_another_client_s_is() -> None:
    """NOWAIT passes by a job that was held before the call began: it waits for nobody."""
    fake = FakeHost(5)
    recorder = Recorder()
    with host_of(fake, observer=recorder) as host:
        take(host)
        fake[1].job_since = time.monotonic() - 0.5
        for number in (0, 2, 3, 4):
            fake[number].late = 0.1
        sample = take(host)
    assert recorder.abandoned == []
    assert incomplete(sample) == {"vm1"}


def test_calls_that_are_only_slow_are_left_to_end_and_not_added_to() -> None:
    """Whoever asks a slow libvirt with little time must not make it slower from time to time."""
    running: list[str] = []
    most: list[int] = []

    class Slow(FakeDomain):
        def statistics(self, groups: set[str], flags: int) -> dict[str, object]:
            if not groups & MONITOR:
                return super().statistics(groups, flags)
            running.append(self.name)
            most.append(len(running))
            try:
                return super().statistics(groups, flags)
            finally:
                running.remove(self.name)

    fake = FakeHost(0)
    for number in range(24):
        fake.add(Slow(number))
        fake[number].late = 0.05
    recorder = Recorder()
    with host_of(fake, observer=recorder) as host:
        take(host)
        for _ in range(5):
            take(host, timeout=0.2)
        assert host.stuck_calls == 0
        assert incomplete(take(host, timeout=10)) == set()
    assert recorder.abandoned == []
    assert max(most) <= 4


# Jobs held by others.


def test_a_domain_whose_job_another_client_held_is_asked_again() -> None:
    """NOWAIT alone would leave a hole in its series."""
    fake = FakeHost(4)
    with host_of(fake) as host:
        take(host)
        fake[2].busy_replies = 2
        sample = take(host)
    assert incomplete(sample) == set()
    assert "block.0.rd.reqs" in by_name(sample)["vm2"].stats


@pytest.mark.parametrize("groups", [{"block", "balloon"}, {"vcpu"}])
def test_a_monitor_that_nothing_shows_to_answer_is_not_called_responsive(groups: set[str]) -> None:
    """A domain that does not get on with its start; a group that is answered without QEMU too."""

    class Starting(FakeDomain):
        def control(self) -> list[int]:
            return [libvirt.VIR_DOMAIN_CONTROL_JOB, 0, 4000]

    fake = FakeHost(1)
    starting = Starting(5)
    starting.busy_replies = 10**6
    fake.add(starting)
    with host_of(fake) as host:
        for _ in range(2):
            sample = take(host, groups=frozenset(groups))
        assert "monitor.responsive" not in by_name(sample)["vm5"].stats
        shown = by_name(sample)["vm0"].stats.get("monitor.responsive")
        assert shown is (None if groups == {"vcpu"} else True)
        assert host.stuck_domains == {}


# Calls that fail as a whole.


def test_a_group_that_fails_for_one_domain_costs_that_group_of_that_domain() -> None:
    """libvirt fails the whole call for it; asking smaller finds out for whom."""
    fake = FakeHost(9)
    fake[4].failing = {"block"}
    with host_of(fake) as host:
        sample = take(host)
    assert {domain.name: domain.missing_groups for domain in sample.domains} == {
        f"vm{number}": ("block",) if number == 4 else () for number in range(9)
    }
    assert "balloon.rss" in by_name(sample)["vm4"].stats


def test_a_group_that_hangs_together_with_no_mark_is_still_told_missing() -> None:
    """Without a key that needs the job, a hung domain must not pass for a whole one."""
    fake = FakeHost(4)
    with host_of(fake) as host:
        take(host)
        with fake[1].hung():
            take(host)
            sample = take(host, frozenset({"vcpu"}))
    assert incomplete(sample) == {"vm1"}


def test_a_source_that_fails_for_one_domain_costs_that_domain_only_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sample goes on; the log tells once that it began and once that it is over.

    A sample without domains, as the host does not answer, tells of neither.
    """
    caplog.set_level(logging.INFO, "libvirt_exporter.hypervisor.sampling.sources")
    monkeypatch.setattr(pool, "LONGEST_RETRY_PAUSE", 0.0)
    fake, recorder = FakeHost(3), Recorder()
    bad = fake[1].uuid
    told = ProcessStats.domain_stats

    def fail(source: ProcessStats, domain: DomainDraft) -> Stats:
        if domain.uuid == bad:
            raise OverflowError("start time")
        return {**told(source, domain), "process.pid": 1}

    with host_of(fake, observer=recorder) as host:
        with monkeypatch.context() as patch:
            patch.setattr(ProcessStats, "domain_stats", fail)
            samples = [take(host)]
            fake.refusal = libvirt_error(libvirt.VIR_ERR_NO_CONNECT)
            fake.drop_connections()
            assert not take(host).up
            fake.refusal = None
            samples += [take(host)]
        healed = take(host)
    for sample in samples:
        assert sample.up
        assert incomplete(sample) == set()
        known = by_name(sample)
        assert {name for name, domain in known.items() if "process.pid" in domain.stats} == {
            "vm0",
            "vm2",
        }
        assert "block.0.rd.reqs" in known["vm1"].stats
    assert healed.up
    assert recorder.failures == 2
    begun, over = (
        record.message for record in caplog.records if record.name.endswith("sampling.sources")
    )
    assert begun.startswith(f"domain vm1 ({bad}): data of ProcessStats is missing")
    assert over == f"domain vm1 ({bad}): ProcessStats no longer fails"


def test_a_mistake_in_reading_a_state_is_told_once_counted_and_ends_no_domain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Domains are visited one by one while a lock is held; libvirt did not say that it is gone."""
    fake, recorder = FakeHost(4), Recorder()
    bad = fake[1].uuid
    read = state.visit_state

    def fail(session: Session, uuid: str) -> tuple[bool, Stats]:
        if uuid == bad:
            raise OverflowError("state")
        return read(session, uuid)

    monkeypatch.setattr(state, "visit_state", fail)
    with host_of(fake, observer=recorder) as host:
        take(host)
        fake[2].unlocked.clear()
        samples = [take(host) for _ in range(2)]
        fake[2].unlocked.set()
    for sample in samples:
        assert sample.up
        assert set(by_name(sample)) == {"vm0", "vm1", "vm2", "vm3"}
    assert recorder.failures == 2
    assert [record.message for record in told_of_failures(caplog)] == [
        f"state of domain {bad}: data of StatePhase is missing until it works again"
    ]


def test_a_mistake_in_looking_at_a_monitor_is_told_once_counted_and_heals_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hung domain stays apart, so that it costs no second call."""
    fake, recorder = FakeHost(4), Recorder()
    bad = fake[1].uuid
    read = control.visit_control

    def fail(session: Session, uuid: str) -> control.Control:
        if uuid == bad:
            raise OverflowError("control")
        return read(session, uuid)

    with host_of(fake, observer=recorder) as host, fake[1].hung():
        take(host)
        assert host.stuck_domains.keys() == {bad}
        monkeypatch.setattr(monitor, "visit_control", fail)
        samples = [take(host) for _ in range(2)]
        assert host.stuck_domains.keys() == {bad}
        assert len(recorder.abandoned) == 1
    for sample in samples:
        assert incomplete(sample) == {"vm1"}
    assert recorder.failures > 1
    assert len(told_of_failures(caplog)) == 1


def told_of_failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log says of mistakes."""
    return [record for record in caplog.records if record.name.endswith("sampling.sources")]


def test_a_failing_interface_call_costs_its_domain_only() -> None:
    """Groups without monitor are narrowed in the same way."""
    fake = FakeHost(5)
    fake[0].failing = {"interface"}
    with host_of(fake) as host:
        sample = take(host)
    assert incomplete(sample) == {"vm0"}
    assert failed_groups(sample) == {"interface"}


# Locks that are held.


def test_a_domain_being_destroyed_holds_up_nobody_else() -> None:
    """Its lock blocks the listing itself; the others are asked one by one."""
    fake = FakeHost(6)
    with host_of(fake) as host:
        take(host)
        with fake[2].locked():
            for _ in range(3):
                sample = take(host)
                assert sample.up
                assert incomplete(sample) == {"vm2"}
            assert host.stuck_calls <= 3
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host)) == set()


@pytest.mark.parametrize(
    ("phase", "lacking"),
    [
        ("state", ""),
        ("interface", ""),
        ("memory", ""),
        ("perf", ""),
        ("block", ""),
        ("jobStats", ""),
        ("state", "cpu-total"),
        ("block", "cpu-total"),
        ("info", "cpu-total"),
    ],
    ids=lambda value: value or "QEMU",
)
def test_a_lock_that_is_taken_in_any_phase_costs_its_domain_only(
    phase: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked when it comes: the others are whole in this sample and in the next ones."""
    monkeypatch.setattr(walking_lane, "PATIENCE", 0.2)
    fake = FakeHost(6, lacking=frozenset({lacking} - {""}))
    for domain in fake.domains.values():
        domain.measured = True
    groups = DEFAULT | {"perf", "memory"}
    request = SampleRequest(groups, lanes=frozenset({"jobs"}))
    doomed = fake[2]

    def take_lock(about: str) -> None:
        if about == phase:
            doomed.unlocked.clear()

    with host_of(fake) as host:
        host.sample(request, TIMEOUT).result(TIMEOUT + 1)
        whole = take(host, groups)
        assert incomplete(whole) == set()
        keys = {name: seen.stats.keys() for name, seen in by_name(whole).items()}
        fake.before = take_lock
        for _ in range(3):
            sample = host.sample(request, TIMEOUT).result(TIMEOUT + 1)
            assert sample.up
            assert not doomed.unlocked.is_set()
            assert incomplete(sample) <= {"vm2"}
            # What is missing of a domain whose lock is held is not the group's failure.
            assert failed_groups(sample) == set()
            for name, seen in by_name(sample).items():
                assert name == "vm2" or seen.stats.keys() >= keys[name]
        assert incomplete(sample) == {"vm2"}
        fake.before = lambda _: None
        doomed.unlocked.set()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host, groups)) == set()


def test_a_call_that_is_only_slow_is_followed_by_shards() -> None:
    """Nobody can be left out of it: the next sample does not wait for it, nor do without."""
    fake, released = FakeHost(30), threading.Event()
    slow = iter([released])

    def hold(about: str) -> None:
        if about == "interface":
            for event in slow:
                event.wait(30)

    def sizes() -> list[int]:
        asked = [len(names) for _, groups, names in fake.calls if "interface" in groups]
        fake.calls.clear()
        return asked

    with host_of(fake) as host:
        take(host)
        fake.before = hold
        sample = take(host, timeout=1.0)
        assert failed_groups(sample) == {"interface"}
        assert host.stuck_calls == 1
        sizes()
        assert incomplete(take(host)) == set()
        assert sorted(sizes()) == [5, 25]
        released.set()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        sizes()
        assert incomplete(take(host)) == set()
        assert sizes() == [30]


def test_domains_beyond_what_may_get_stuck_stay_listed() -> None:
    """Past the cap nobody is asked one by one any more, and nobody disappears for it."""
    fake = FakeHost(8)
    with contextlib.ExitStack() as locked, host_of(fake, stuck_calls=3) as host:
        take(host)
        for number in range(6):
            locked.enter_context(fake[number].locked())
        for _ in range(3):
            sample = take(host)
            assert set(by_name(sample)) == {f"vm{number}" for number in range(8)}
            assert host.stuck_calls <= 1 + 3  # the listing, and one for each that was found out
        locked.close()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert incomplete(take(host)) == set()


def test_a_host_whose_only_domain_is_being_destroyed_is_up() -> None:
    """That nobody is left to ask does not make libvirt silent."""
    fake = FakeHost(1)
    with host_of(fake) as host:
        take(host)
        with fake[0].locked():
            samples = [take(host) for _ in range(2)]
    assert [sample.up for sample in samples] == [True, True]
    assert incomplete(samples[1]) == {"vm0"}


# A libvirt that is away.


def test_a_refused_connection_is_a_sample_that_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception: `up` is false and the words are for a person, as are those of the log."""
    fake = FakeHost()
    fake.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection refused")
    recorder = Recorder()
    with host_of(fake, observer=recorder) as host:
        sample = take(host)
        assert not sample.up
        assert "cannot connect to libvirt at qemu:///system: Connection refused" in sample.error
        assert sample.domains == ()
        assert failed_groups(sample) == DEFAULT
        fake.refusal = None
        wait_until(lambda: take(host).up, "libvirt is up")
    assert (recorder.lost, recorder.regained) == (1, 1)
    (warning,) = (record.getMessage() for record in caplog.records)
    away = "libvirt at qemu:///system does not answer: cannot connect: Connection refused."
    assert warning.startswith(away)
    assert warning.endswith(". The exporter keeps trying")
    assert ("open", ErrorClass.DISCONNECTED) in recorder.errors


def test_secrets_of_the_uri_are_in_no_message(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Neither in the log nor in a sample nor in the state file, whatever libvirt repeats of it."""
    uri = "qemu+ssh://anna:hunter2@node7/system?keyfile=/srv/keys/id"
    fake = FakeHost(1)
    words = f"Cannot recv data for {uri}: anna@node7: Permission denied (/srv/keys/id, hunter2)"
    fake.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, words)
    with (
        caplog.at_level(logging.DEBUG),
        host_of(fake, uri=uri, state_directory=tmp_path) as host,
    ):
        sample = take(host)
        assert "Permission denied" in sample.error
        assert sample.error_code == libvirt.VIR_ERR_SYSTEM_ERROR
        assert sample.outage == "libvirt does not answer (libvirt's error 38)"
        fake.refusal = None
        wait_until(lambda: take(host).up, "libvirt is up")
        fake.drop_connections()
        fake.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, words)
        wait_until(lambda: not take(host).up, "libvirt is down")
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "qemu+ssh://***@node7/system?keyfile=***" in caplog.text
    for secret in ("anna", "hunter2", "/srv/keys"):
        assert secret not in f"{sample.error}{caplog.text}{written}"


def test_a_daemon_restarted_between_two_samples_is_not_noticed_in_the_second() -> None:
    """The sample reconnects and is whole."""
    fake = FakeHost(3)
    with host_of(fake) as host:
        take(host)
        fake.drop_connections()
        sample = take(host)
    assert sample.up
    assert incomplete(sample) == set()


def test_the_first_request_after_a_thaw_gets_a_sample_of_its_own() -> None:
    """A sample whose time is up is not shared any more."""
    fake = FakeHost(3)
    with host_of(fake) as host:
        take(host)
        fake.thawed.clear()
        for _ in range(4):
            assert not take(host, timeout=0.2).up
        fake.thawed.set()
        assert take(host).up


def test_close_ends_a_sample_that_is_being_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A task that is left behind is complained of when it is collected."""
    fake = FakeHost(3)
    with host_of(fake) as host:
        take(host)
        with fake[0].hung():
            host.sample(SampleRequest(DEFAULT), 30)
            wait_until(lambda: fake[0].job_since is not None, "the domain has a job")
    del host
    gc.collect()
    assert "destroyed" not in caplog.text


# Real drivers, and anything at once.


def test_the_test_driver_answers_per_domain_what_it_lacks_in_bulk() -> None:
    """libvirt's own test driver shows cpu, memory, disks and interfaces."""
    host = Host(HostSettings(uri="test:///default", name="demo"))
    host.start()
    sample = take(host)
    host.close()
    (domain,) = sample.domains
    assert sample.up
    assert sample.host is not None
    assert (sample.host.name, sample.host.driver) == ("demo", "TEST")
    assert {"state.state", "cpu.time", "balloon.current", "vcpu.0.time"} <= set(domain.stats)
    assert {"block.0.rd.bytes", "net.0.rx.bytes"} <= set(domain.stats)
    assert domain.missing_groups == ()
    assert failed_groups(sample) == set()


FAULTS = st.sampled_from(["none", "none", "none", "hung", "busy", "failing", "off", "markless"])


@settings(max_examples=settings().max_examples // 8)
@given(faults=st.lists(FAULTS, min_size=1, max_size=12))
def test_whatever_is_wrong_with_some_the_others_are_whole(faults: list[str]) -> None:
    """One bad domain costs one domain, in any mixture of faults."""
    fake = FakeHost(len(faults))
    with contextlib.ExitStack() as hung, host_of(fake) as host:
        take(host)
        for domain, fault in zip(fake.domains.values(), faults, strict=True):
            if fault == "hung":
                hung.enter_context(domain.hung())
            elif fault == "busy":
                domain.busy_replies = 1
            elif fault == "failing":
                domain.failing = {"vcpu"}
            elif fault == "off":
                domain.active = False
            elif fault == "markless":
                domain.markless = True
        for _ in range(2):
            sample = take(host, timeout=4.0)
            assert sample.up
            bad = {f"vm{n}" for n, fault in enumerate(faults) if fault in {"hung", "failing"}}
            assert incomplete(sample) == bad


def test_no_future_is_left_behind() -> None:
    """Requests of every kind of coverage and deadline are all answered."""
    fake = FakeHost(4)
    choices = [frozenset({"state"}), frozenset({"block", "vcpu"}), DEFAULT]
    with host_of(fake) as host, fake[1].hung():
        futures: list[Future[HostSample]] = [
            host.sample(SampleRequest(groups, backing), timeout)
            for groups in choices
            for backing in (False, True)
            for timeout in (0.1, 0.5, 1.5)
        ]
        assert wait(futures, timeout=3).not_done == set()
        assert all(future.exception() is None for future in futures)
