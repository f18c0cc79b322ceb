"""The stream of events: nothing lost, nothing counted twice, nobody held up."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.events import stream as events
from libvirt_exporter.hypervisor.events.domain_history import Record
from libvirt_exporter.hypervisor.events.history import Memory
from libvirt_exporter.hypervisor.events.kinds import KINDS
from libvirt_exporter.hypervisor.events.state_file import StateFile
from libvirt_exporter.hypervisor.events.stream import QUEUE_LIMIT, EventQueue
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample, Stats
from tests.support.fake_libvirt import FakeConnection, FakeDomain, FakeHost, libvirt_error
from tests.support.hosts import following_host_of
from tests.support.waiting import wait_until

STATE = SampleRequest(frozenset({"state"}))
WATCHDOG = libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG
LIFECYCLE = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
NOT_REGISTERED = {"IO_ERROR", "BLOCK_JOB", "CHANNEL_LIFECYCLE", "LAST"}
PATIENCE = 20.0


class Recorder(Observer):
    """Keeps what a host reports of its events."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.dropped = 0
        self.failures = 0

    def source_failed(self) -> None:
        self.failures += 1

    def events_received(self, event: str, count: int) -> None:
        self.received[event] += count

    def events_dropped(self, count: int) -> None:
        self.dropped += count


def take(host: Host) -> HostSample:
    """A sample of the states."""
    return host.sample(STATE, PATIENCE).result(PATIENCE + 1)


def stats_of(host: Host, uuid: str) -> Stats:
    """A domain's keys in a sample taken now."""
    (stats,) = (domain.stats for domain in take(host).domains if domain.uuid == uuid)
    return stats


def record(number: int) -> Record:
    """One of many records."""
    return Record("watchdog", "uuid", "web", number, (1,))


# The queue.


def test_what_is_put_is_taken_in_order() -> None:
    """Once."""
    queue = EventQueue(lambda: None)
    for number in range(3):
        queue.put(record(number))
    assert [taken.time for taken in queue.take()] == [0, 1, 2]
    assert queue.take() == []


def test_the_consumer_is_woken_once_for_what_it_has_not_taken() -> None:
    """A burst of events costs one wake-up."""
    woken: list[None] = []
    queue = EventQueue(lambda: woken.append(None))
    for number in range(1000):
        queue.put(record(number))
    assert len(woken) == 1
    queue.take()
    queue.put(record(0))
    assert len(woken) == 2


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """The oldest stay: they are the first to be counted."""
    queue = EventQueue(lambda: None, limit=3)
    for number in range(5):
        queue.put(record(number))
    assert (len(queue.take()), queue.dropped) == (3, 2)


def test_no_wake_up_is_lost_between_two_threads() -> None:
    """Whatever is put is taken without anybody asking again."""
    total = 20_000
    awake = threading.Semaphore(0)
    queue = EventQueue(awake.release, limit=total)
    taken: list[Record] = []

    def consume() -> None:
        while len(taken) < total and awake.acquire(timeout=PATIENCE):
            taken.extend(queue.take())

    consumer = threading.Thread(target=consume)
    consumer.start()
    for number in range(total):
        queue.put(record(number))
    consumer.join()
    assert [item.time for item in taken] == list(range(total))


def test_a_callback_notes_time_and_domain_and_leaves_out_the_opaque_value() -> None:
    """As libvirt-python calls it."""
    fake = FakeHost(1)
    queue = EventQueue(lambda: None)
    before = time.time_ns()
    connection: Any = FakeConnection(fake)
    domain: Any = connection.lookupByUUIDString(fake[0].uuid)
    queue.callback("graphics")(connection, domain, 1, {}, {"node": "::1"}, "none", [], None)
    (taken,) = queue.take()
    assert before <= taken.time <= time.time_ns()
    assert taken[:3] == ("graphics", fake[0].uuid, "vm0")
    assert taken.details == (1, {}, {"node": "::1"}, "none", [])


# Registration.


def test_every_event_of_the_binding_is_registered_but_for_those_left_out() -> None:
    """A new libvirt-python must be looked at."""
    prefix = "VIR_DOMAIN_EVENT_ID_"
    known = {name.removeprefix(prefix) for name in dir(libvirt) if name.startswith(prefix)}
    registered = {event.upper() for event in KINDS}
    unknown = known - NOT_REGISTERED - registered
    assert not unknown, (
        f"give {sorted(unknown)} a record in KINDS of "
        "exporter/libvirt_exporter/hypervisor/events/kinds.py, or name it in NOT_REGISTERED here "
        "and say there why"
    )
    assert not NOT_REGISTERED & registered


def test_all_events_are_registered_on_one_connection() -> None:
    """By their numbers, each once."""
    fake = FakeHost(1)
    with following_host_of(fake):
        registered = [
            event_id
            for connection in fake.connections
            for event_id, _ in connection.callbacks.values()
        ]
    expected = [getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{event.upper()}", None) for event in KINDS]
    assert registered == [event_id for event_id in expected if event_id is not None]


def test_events_that_libvirt_lacks_are_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the binding has no number for one or the library refuses it; one line tells."""
    register = FakeConnection.domainEventRegisterAny

    def refuse(self: FakeConnection, domain: None, event_id: int, *rest: Any) -> int:
        if event_id == libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE:
            raise libvirt_error(libvirt.VIR_ERR_INVALID_ARG)
        return register(self, domain, event_id, *rest)

    monkeypatch.setattr(FakeConnection, "domainEventRegisterAny", refuse)
    monkeypatch.delattr(libvirt, "VIR_DOMAIN_EVENT_ID_TUNABLE")
    fake = FakeHost(1)
    with caplog.at_level(logging.DEBUG), following_host_of(fake) as host:
        fake.emit(fake[0], WATCHDOG, 1)
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 1
    lines = [
        line.message for line in caplog.records if "does not support the events" in line.message
    ]
    assert len(lines) == 1
    assert {"TUNABLE", "MEMORY_FAILURE"} <= set(lines[0].replace(",", "").split())


def identity_of(host: Host) -> str | None:
    """The version that a sample gives the hypervisor."""
    known = take(host).host
    return None if known is None else known.hypervisor_version


def test_a_host_that_gives_no_events_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without lifecycle events nothing is claimed to be counted."""
    register = FakeConnection.domainEventRegisterAny
    allowed = threading.Event()

    def refuse(self: FakeConnection, *arguments: Any) -> int:
        if not allowed.is_set():
            raise libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED)
        return register(self, *arguments)

    monkeypatch.setattr(FakeConnection, "domainEventRegisterAny", refuse)
    monkeypatch.setattr(events, "backoff", lambda: iter([0.01] * 1000))
    fake = FakeHost(1)
    host = Host(HostSettings(uri="qemu:///system", pid_directory=None), connect=fake.connect)
    host.start()
    try:
        assert "event.watchdog.pause" not in stats_of(host, fake[0].uuid)
        assert not host.events_connected
        wait_until(lambda: identity_of(host) == "7.2.22", "who the host is is known all the same")
        allowed.set()
        wait_until(lambda: host.events_connected, "events are followed")
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 0
    finally:
        host.close()


# Delivery.


def test_a_sample_shows_every_event_that_was_delivered_before_it() -> None:
    """Without waiting for anything."""
    fake = FakeHost(2)
    with following_host_of(fake) as host:
        for number in range(1, 30):
            fake.emit(fake[0], WATCHDOG, 1)
            assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == number
        assert stats_of(host, fake[1].uuid)["event.watchdog.pause"] == 0


def test_events_before_the_first_sample_and_of_unlisted_domains_count() -> None:
    """The domain appears in the listing later."""
    fake = FakeHost(1)
    late = FakeDomain(7)
    with following_host_of(fake) as host:
        fake.emit(fake[0], WATCHDOG, 1)
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 1
        fake.emit(late, WATCHDOG, 2)
        fake.add(late)
        assert stats_of(host, late.uuid)["event.watchdog.reset"] == 1


def test_a_burst_of_5000_events_is_counted_whole_beside_samples() -> None:
    """Samples taken meanwhile are whole, and the last one has them all."""
    fake = FakeHost(5)
    observer = Recorder()
    with following_host_of(fake, observer=observer) as host:
        take(host)

        def burst() -> None:
            for number in range(5000):
                fake.emit(fake[number % 5], WATCHDOG, number % 7)

        sender = threading.Thread(target=burst)
        sender.start()
        samples = [take(host)]
        while sender.is_alive():
            samples.append(take(host))
        sender.join()
        final = take(host)
    assert all(sample.up and len(sample.domains) == 5 for sample in samples)
    counts = [
        sum(
            int(value)
            for domain in sample.domains
            for key, value in domain.stats.items()
            if key.startswith("event.watchdog.") and ".last." not in key
        )
        for sample in (*samples, final)
    ]
    assert counts == sorted(counts)
    assert counts[-1] == observer.received["watchdog"] == 5000
    assert observer.dropped == 0


def test_a_blocked_consumer_drops_events_and_never_holds_up_libvirt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What does not fit is counted; libvirt's thread gets back at once."""
    fake = FakeHost(1)
    observer = Recorder()
    with following_host_of(fake, observer=observer) as host:
        take(host)
        released, blocked = threading.Event(), threading.Event()

        def block() -> None:
            blocked.set()
            released.wait(PATIENCE)

        host._hand_over(block)
        assert blocked.wait(PATIENCE)

        def flood() -> None:
            for _ in range(QUEUE_LIMIT + 123):
                fake.emit(fake[0], WATCHDOG, 1)

        sender = threading.Thread(target=flood)
        sender.start()
        sender.join(PATIENCE)
        assert not sender.is_alive()
        reads = fake[0].xml_reads
        released.set()
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == QUEUE_LIMIT
        # What was dropped may have told of a change.
        wait_until(lambda: fake[0].xml_reads > reads, "the XML is read again")
        fake.emit(fake[0], WATCHDOG, 1)
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == QUEUE_LIMIT + 1
    assert observer.dropped == 123
    assert len([line for line in caplog.records if "dropped" in line.message]) == 1


@pytest.mark.parametrize(
    ("event", "details"),
    [
        (WATCHDOG, ("pause",)),
        (WATCHDOG, ()),
        (LIFECYCLE, ()),
        (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, (1, {}, None, "none", [])),
        (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, (["operation", 3],)),
    ],
)
def test_an_event_that_is_not_understood_is_warned_of_once_and_counted(
    event: int, details: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """With its values; what comes after it is taken as ever, and the XML is read again."""
    fake = FakeHost(1)
    observer = Recorder()
    with following_host_of(fake, observer=observer) as host:
        take(host)
        reads = fake[0].xml_reads
        for _ in range(3):
            fake.emit(fake[0], event, *details)
        fake.emit(fake[0], libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
        wait_until(lambda: observer.received["reboot"], "the events are taken")
        assert stats_of(host, fake[0].uuid)["event.reboot"] == 1
        wait_until(lambda: fake[0].xml_reads > reads, "the XML is read again")
    assert observer.failures == 3
    (line,) = [line for line in caplog.records if "not understood" in line.message]
    assert line.levelno == logging.WARNING
    assert repr(details) in line.message
    assert f"vm0 ({fake[0].uuid})" in line.message


def test_real_events_of_the_test_driver_are_all_counted() -> None:
    """A thousand suspends and resumes of a real libvirt, through its event loop."""
    host = Host(HostSettings(uri="test:///default"))
    host.start()
    try:
        wait_until(lambda: host.events_connected, "events are followed")
        domain = libvirt.open("test:///default").lookupByName("test")
        uuid = domain.UUIDString()
        before = stats_of(host, uuid)
        for _ in range(500):
            domain.suspend()
            domain.resume()
        keys = ("event.lifecycle.suspended.paused", "event.lifecycle.resumed.unpaused")

        def counted() -> tuple[int, ...]:
            after = stats_of(host, uuid)
            return tuple(int(after.get(key, 0)) - int(before.get(key, 0)) for key in keys)

        wait_until(lambda: counted() == (500, 500), "all events are counted")
        after = stats_of(host, uuid)
        assert abs(time.time_ns() - int(after["event.last.resumed"])) < PATIENCE * 1e9
        assert after["state.change.time"] == after["event.last.resumed"]
    finally:
        host.close()


def test_whoever_waits_is_told_after_each_batch() -> None:
    """On the host's thread, and after the events have been counted."""
    fake = FakeHost(1)
    told: list[str] = []
    with following_host_of(
        fake, on_event=lambda: told.append(threading.current_thread().name)
    ) as host:
        fake.emit(fake[0], WATCHDOG, 1)
        wait_until(lambda: bool(told), "the observer is told")
        assert set(told) == {"host-default"}
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 1


# The life of the stream.


@pytest.mark.parametrize("process_ends", [True, False])
def test_events_are_taken_back_unless_the_process_ends(*, process_ends: bool) -> None:
    """libvirtd (9.0) can crash when a client ends while it takes back its callbacks."""
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        (connection,) = (item for item in fake.connections if item.callbacks)
        followed = dict(connection.callbacks)
        host.close(process_ends=process_ends)
        if process_ends:
            assert (connection.callbacks, connection.closed) == (followed, False)
        else:
            wait_until(lambda: connection.closed, "the connection is closed")
            assert connection.callbacks == {}


def test_after_a_reconnect_nothing_is_counted_twice() -> None:
    """The callbacks of the old connection are gone, and the XML is read again."""
    fake = FakeHost(1)
    observer = Recorder()
    with following_host_of(fake, observer=observer) as host:
        fake.emit(fake[0], WATCHDOG, 1)
        take(host)
        (old,) = (connection for connection in fake.connections if connection.callbacks)
        wait_until(lambda: fake[0].xml_reads > 0, "the XML is read")
        take(host)  # waits for the XML, should it be due again
        reads = fake[0].xml_reads
        fake.drop_connections()
        wait_until(
            lambda: host.events_connected and any(c.callbacks for c in fake.connections),
            "events are followed",
        )
        assert (old.callbacks, old.close_callback) == ({}, None)
        fake.emit(fake[0], WATCHDOG, 1)
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 2
        wait_until(lambda: fake[0].xml_reads > reads, "the XML is read again")
    assert observer.received["watchdog"] == 2


def test_a_connection_that_a_call_finds_dead_is_not_waited_upon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever closes it first takes the close callback with it; events flow again all the same."""
    fake = FakeHost(1)
    answer = FakeConnection.getVersion

    def die_once(connection: FakeConnection) -> int:
        monkeypatch.setattr(FakeConnection, "getVersion", answer)
        connection.alive = False  # and nobody has told yet
        connection.check()
        raise AssertionError("check() raises")

    monkeypatch.setattr(FakeConnection, "getVersion", die_once)
    with following_host_of(fake) as host:
        wait_until(
            lambda: any(known.alive and known.callbacks for known in fake.connections),
            "events are registered for",
        )
        wait_until(lambda: host.events_connected, "events are followed")
        fake.emit(fake[0], WATCHDOG, 1)
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 1


def test_the_stream_tells_whether_it_is_connected() -> None:
    """And stops to be alive with the connection."""
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        fake.refusal = libvirt_error(libvirt.VIR_ERR_NO_CONNECT)
        fake.drop_connections()
        wait_until(lambda: not host.events_connected, "the stream is down")
        age = host.events_alive_age
        wait_until(lambda: host.events_alive_age > age + 0.1, "its last sign of life is older")
        fake.refusal = None
        take(host)
        wait_until(lambda: host.events_connected, "events are followed")


def test_the_stream_proves_to_be_alive_on_libvirts_own_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As long as that loop runs and the connection is open."""
    monkeypatch.setattr(events, "HEARTBEAT", 0.02)
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        (connection,) = (item for item in fake.connections if item.callbacks)
        ages = [host.events_alive_age]

        def renewed() -> bool:
            ages.append(host.events_alive_age)
            return ages[-1] < ages[-2]

        for _ in range(3):
            wait_until(renewed, "a sign of life")
        connection.alive = False
        wait_until(lambda: host.events_alive_age > 0.6, "no sign of life")


def test_the_timer_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would keep the connection, and run for ever."""
    added: list[int] = []
    removed: list[int] = []
    add, remove = libvirt.virEventAddTimeout, libvirt.virEventRemoveTimeout

    def adding(*arguments: Any) -> int:
        added.append(add(*arguments))
        return added[-1]

    def removing(timer: int) -> None:
        removed.append(timer)
        remove(timer)

    monkeypatch.setattr(libvirt, "virEventAddTimeout", adding)
    monkeypatch.setattr(libvirt, "virEventRemoveTimeout", removing)
    fake = FakeHost(1)
    with following_host_of(fake):
        wait_until(lambda: bool(added), "a timer is added")
    # A host of another test may be ending at the same time.
    wait_until(lambda: {*added} <= {*removed}, "all timers are removed")


def test_a_domain_that_is_gone_is_told_of_with_its_end() -> None:
    """In the sample that misses it, and in the ones after."""
    fake = FakeHost(2)
    gone = fake[0]
    with following_host_of(fake) as host:
        assert take(host).vanished == ()
        fake.emit(gone, LIFECYCLE, libvirt.VIR_DOMAIN_EVENT_STOPPED, 1)
        del fake.domains[gone.uuid]
        for _ in range(2):
            (vanished,) = take(host).vanished
            assert (vanished.uuid, vanished.name) == (gone.uuid, "vm0")
            assert vanished.stats["exit.code"] == 0


def test_a_domain_that_comes_while_another_is_locked_keeps_its_counts() -> None:
    """Nobody can list it then, and nobody says that it is gone."""
    fake = FakeHost(2)
    late = FakeDomain(7)
    with following_host_of(fake) as host:
        take(host)
        with fake[0].locked():
            fake.add(late)
            fake.emit(late, WATCHDOG, 1)
            for _ in range(2):
                sample = take(host)
                assert sample.up
                assert sample.vanished == ()
        wait_until(lambda: host.stuck_calls == 0, "no call is stuck")
        assert stats_of(host, late.uuid)["event.watchdog.pause"] == 1


def test_counts_outlive_the_host(tmp_path: Path) -> None:
    """With a state directory; without one they start again."""
    fake = FakeHost(1)
    for expected in (1, 2):
        with following_host_of(fake, state_directory=tmp_path) as host:
            fake.emit(fake[0], WATCHDOG, 1)
            assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == expected
        wait_until(
            lambda: any(path.suffix == ".json" for path in tmp_path.iterdir()),
            "the counts are saved",
        )
    with following_host_of(fake) as host:
        assert stats_of(host, fake[0].uuid)["event.watchdog.pause"] == 0


def test_no_count_is_shown_before_the_earlier_ones_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that went from 0 to what it was would look like so many events."""
    answers = threading.Event()

    def load(_file: StateFile) -> Memory:
        answers.wait(PATIENCE)
        return Memory()

    monkeypatch.setattr(StateFile, "load", load)
    fake = FakeHost(1)
    settings = HostSettings(uri="qemu:///system", pid_directory=None, state_directory=str(tmp_path))
    host = Host(settings, connect=fake.connect)
    host.start()
    try:
        assert "event.watchdog.pause" not in stats_of(host, fake[0].uuid)
        answers.set()
        wait_until(
            lambda: "event.watchdog.pause" in stats_of(host, fake[0].uuid), "the event is counted"
        )
    finally:
        host.close()


def test_settings_that_need_another_host_are_refused(tmp_path: Path) -> None:
    """The others are taken over in place."""
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        assert not host.takes(HostSettings(uri="qemu:///system", state_directory=str(tmp_path)))
        more = HostSettings(uri="qemu:///system", pid_directory=None, all_counters=True)
        host.apply(more)
        assert stats_of(host, fake[0].uuid)["event.reboot"] == 0
