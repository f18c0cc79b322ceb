"""Connections: opened, kept, replaced and closed."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import traceback
import types
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection import pool
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import (
    CallError,
    ErrorClass,
    NoAnswerError,
    OpenError,
    classify,
    explain_open_failure,
)
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import FORGOTTEN_LIMIT, Connection, Connections
from libvirt_exporter.hypervisor.connection.session import (
    BACKOFF_LIMIT,
    Session,
    backoff,
    open_read_only,
)
from tests.support.fake_libvirt import FakeHandle, FakeHost, libvirt_error
from tests.support.virtual_time import Clock, run_virtually
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

URI = "qemu:///system"


def soon(seconds: float = 20.0) -> Deadline:
    """A deadline that a working call never meets."""
    return Deadline.within(seconds)


def hypervisor_type(session: Session) -> str:
    return session.conn.getType()


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, ErrorClass.GONE),
        (libvirt.VIR_ERR_OPERATION_INVALID, ErrorClass.NOT_RUNNING),
        (libvirt.VIR_ERR_NO_SUPPORT, ErrorClass.UNSUPPORTED),
        (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, ErrorClass.UNSUPPORTED),
        (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, ErrorClass.UNSUPPORTED),
        (libvirt.VIR_ERR_OPERATION_DENIED, ErrorClass.DENIED),
        (libvirt.VIR_ERR_ACCESS_DENIED, ErrorClass.DENIED),
        (libvirt.VIR_ERR_AUTH_FAILED, ErrorClass.DENIED),
        (libvirt.VIR_ERR_INVALID_CONN, ErrorClass.DISCONNECTED),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, ErrorClass.TIMEOUT),
        (libvirt.VIR_ERR_INTERNAL_ERROR, ErrorClass.OTHER),
    ],
)
def test_errors_are_sorted_by_what_they_mean(code: int, error_class: ErrorClass) -> None:
    """libvirt's numbers become the few classes that a sample distinguishes."""
    assert classify(libvirt_error(code)) is error_class


def test_an_error_without_details_is_other() -> None:
    """libvirt-python raises some errors itself, without a number."""
    assert classify(libvirt.libvirtError("domain list contains non-domain elements")) is (
        ErrorClass.OTHER
    )


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        (
            "qemu+unix:///system?socket=/nonexistent/libvirt-sock",
            "Check that libvirt is installed and running there (systemctl status libvirtd",
        ),
        (
            "qemu+tcp://127.0.0.1:1/system",
            "Check that libvirt is installed and running there (systemctl status libvirtd",
        ),
        ("::bad", "Check the URI"),
        ("bogus+unix:///system?socket=/nonexistent/socket", "no driver 'bogus'"),
        ("lxc+unix:///system?socket=/nonexistent/socket", "virtlxcd"),
        ("esx://127.0.0.1:1/", "virsh -r -c"),
    ],
)
def test_a_failed_open_says_what_where_and_what_to_do(uri: str, advice: str) -> None:
    """The words of a real failure name the URI, libvirt's reason and a remedy."""
    with pytest.raises(libvirt.libvirtError) as raised:
        open_read_only(uri)
    words = explain_open_failure(uri, raised.value)
    assert words.startswith(f"cannot connect to libvirt at {uri}: ")
    assert advice in words
    assert "\n" not in words


@pytest.mark.parametrize(
    ("uri", "text", "advice"),
    [
        ("qemu+ssh://u@kvm1/system", "u@kvm1: Permission denied (publickey)", "`ssh` to that"),
        ("qemu+libssh2://kvm1/system", "failed to connect: Connection refused", "`ssh` to that"),
        (
            "qemu+ssh://kvm1/system",
            "ssh: connect to host kvm1 port 22: Connection refused: Connection reset by peer",
            "`ssh` to that",
        ),
        (
            "qemu+tls://kvm1/system",
            "unable to connect to server at 'kvm1:16514': Connection refused",
            "libvirtd-tls.socket or virtproxyd-tls.socket",
        ),
        (
            "qemu+tls://kvm1/system",
            "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
            "Check the exporter's certificates",
        ),
        (
            "qemu://kvm1/system",
            "unable to connect to server at 'kvm1:16514': Connection refused",
            "libvirtd-tls.socket or virtproxyd-tls.socket",
        ),
        ("xen://kvm1/system", "authentication failed: Permission denied", "auth.conf"),
        ("qemu+tcp://kvm1/system", "authentication failed: Permission denied", "auth.conf"),
    ],
)
def test_the_advice_for_a_remote_host_is_about_the_way_there(
    uri: str, text: str, advice: str
) -> None:
    """The local socket has nothing to do with it."""
    words = explain_open_failure(uri, libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, text))
    assert advice in words
    assert "read-only socket" not in words


def test_an_unknown_driver_gets_one_advice_with_and_without_a_daemon() -> None:
    """A daemon refuses it; without one libvirt finds no socket to ask."""
    refused, absent = (
        explain_open_failure("bogus:///system", libvirt_error(code, text)).partition(f"{text}. ")[2]
        for code, text in (
            (libvirt.VIR_ERR_NO_CONNECT, "no connection driver available for bogus:///system"),
            (
                libvirt.VIR_ERR_SYSTEM_ERROR,
                "Failed to connect socket to '/x/libvirt-sock-ro': No such file or directory",
            ),
        )
    )
    assert refused == absent
    assert "no driver 'bogus'" in refused


@pytest.mark.parametrize(
    "uri", ["test:///nonexistent.xml", "test:///nonexistent%20name", "test:///", "test:///default"]
)
async def test_a_missing_file_of_the_test_driver_is_noticed_before_libvirt_is_asked(
    uri: str,
) -> None:
    """libxml2 would write to stderr about it; the built-in host needs no file."""
    asked: list[str] = []

    def refuse(uri: str) -> Any:
        asked.append(uri)
        raise libvirt_error(libvirt.VIR_ERR_NO_CONNECT)

    connections = Connections(uri, Observer(), refuse)
    with pytest.raises(OpenError, match=r"there is no file|Check the URI") as raised:
        await connections.ask("state", "getType", hypervisor_type, soon())
    assert asked == ([] if "nonexistent" in uri else [uri])
    assert ("Check the file" in str(raised.value)) == ("nonexistent" in uri)


def test_a_denied_socket_names_the_permission() -> None:
    """Whoever lacks the right learns which one."""
    error = libvirt_error(
        libvirt.VIR_ERR_SYSTEM_ERROR, "Failed to connect socket to '/x': Permission denied"
    )
    assert "org.libvirt.unix.monitor" in explain_open_failure(URI, error)


def test_open_is_read_only_and_tolerates_a_driver_without_keepalive() -> None:
    """The test driver opens, and refuses to change anything."""
    conn = open_read_only("test:///default")
    with pytest.raises(libvirt.libvirtError) as raised:
        conn.lookupByName("test").suspend()
    assert classify(raised.value) is ErrorClass.DENIED


def test_backoff_doubles_up_to_its_limit() -> None:
    """Waiting grows from about a second to about half a minute and stays there."""
    delays = list(itertools.islice(backoff(), 10))
    assert 0.75 <= delays[0] <= 1.25
    assert delays[4] > delays[0] * 4
    assert all(delay <= BACKOFF_LIMIT * 1.25 for delay in delays)
    assert delays[-1] >= BACKOFF_LIMIT * 0.75


async def test_a_connection_is_opened_once_and_kept() -> None:
    """Calls on one purpose share one connection."""
    fake = FakeHost()
    connections = Connections(URI, Observer(), fake.connect)
    for _ in range(3):
        assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"
    assert fake.attempts == 1


async def test_a_lost_connection_fails_its_call_and_is_reopened_by_the_next() -> None:
    """After a daemon's restart one call fails at most, as disconnected."""
    fake = FakeHost()
    connections = Connections(URI, Observer(), fake.connect)
    await connections.ask("state", "getType", hypervisor_type, soon())

    def restart_inside_the_call(session: Session) -> str:
        fake.drop_connections()
        return session.conn.getType()

    with pytest.raises(CallError) as raised:
        await connections.ask("state", "getType", restart_inside_the_call, soon())
    assert raised.value.error_class is ErrorClass.DISCONNECTED
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"
    fake.drop_connections()
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"


async def test_attempts_right_after_a_failed_one_share_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow refusal is not repeated by every purpose, and is forgotten after a second."""
    fake, clock = FakeHost(), Clock()
    monkeypatch.setattr(pool, "time", clock)

    def refuse_slowly(uri: str) -> Any:
        clock.now += 0.1
        return fake.connect(uri)

    fake.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection refused")
    connections = Connections(URI, Observer(), refuse_slowly)
    for purpose in ("state", "control"):
        with pytest.raises(OpenError, match="Connection refused"):
            await connections.ask(purpose, "getType", hypervisor_type, soon())
    assert fake.attempts == 1
    fake.refusal = None
    clock.now += pool.LONGEST_RETRY_PAUSE - 0.01
    with pytest.raises(OpenError, match="Connection refused"):
        await connections.ask("state", "getType", hypervisor_type, soon())
    clock.now += 0.02
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"


def test_a_deadline_that_is_put_off_is_followed_by_who_already_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody with more time has joined: the call is not given up at the first one's end."""

    async def work() -> None:
        connections = Connections(URI, Observer(), FakeHost().connect)
        answer = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(Connection, "call", lambda *_: answer)
        deadline = soon(0.5)
        waiting = asyncio.create_task(connections.ask("state", "block", hypervisor_type, deadline))
        await asyncio.sleep(0.1)
        deadline.put_off(soon(5.0).at)
        deadline.put_off(0.0)
        await asyncio.sleep(4.0)
        assert not waiting.done()
        answer.set_result("QEMU")
        assert await waiting == "QEMU"
        assert connections.budget.stuck == 0

    run_virtually(work(), 20.0)


async def test_a_stuck_call_costs_its_connection_only() -> None:
    """The purpose goes on with a fresh one; the call counts as stuck until it comes back."""
    fake = FakeHost()
    connections = Connections(URI, Observer(), fake.connect)
    gate = threading.Event()
    await connections.ask("state", "getType", hypervisor_type, soon())
    with pytest.raises(NoAnswerError):
        await connections.ask("state", "stuck", lambda _: gate.wait(), soon(0.05))
    assert connections.budget.stuck == 1
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"
    stuck_connection = fake.connections[0]
    assert not stuck_connection.closed
    gate.set()
    await eventually(lambda: connections.budget.stuck == 0, "no call is stuck")
    assert stuck_connection.closed


async def test_a_frozen_daemon_gets_one_attempt_for_each_purpose() -> None:
    """However often somebody asks, nobody else is sent to wait beside the first."""
    fake = FakeHost()
    fake.thawed.clear()
    connections = Connections(URI, Observer(), fake.connect)
    connections.of("state").call("getType", hypervisor_type)
    await eventually(lambda: fake.attempts > 0, "an attempt to connect")
    for _ in range(5):
        with pytest.raises(NoAnswerError):
            await connections.ask("state", "getType", hypervisor_type, soon(0.02))
    assert (fake.attempts, connections.budget.stuck) == (1, 0)
    fake.thawed.set()
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"


async def test_callbacks_and_handles_are_let_go_before_the_connection_is_closed() -> None:
    """Either would keep the connection open behind our back."""
    fake = FakeHost()
    connections = Connections(URI, Observer(), fake.connect)

    def fill(session: Session) -> Session:
        session.domains(fake.domains)
        register = session.conn.domainEventRegisterAny
        session.event_callbacks.append(register(None, 0, lambda *_: None, None))
        session.conn.registerCloseCallback(lambda *_: None, None)
        session.has_close_callback = True
        return session

    session = await connections.ask("events", "fill", fill, soon())
    connections.close()
    await eventually(lambda: fake.connections[0].closed, "the connection is closed")
    assert fake.connections[0].callbacks == {}
    assert fake.connections[0].close_callback is None
    assert session.handles == {}


async def test_handles_of_domains_that_are_gone_are_dropped() -> None:
    """Handles do not pile up while domains come and go."""
    fake = FakeHost(2)
    connections = Connections(URI, Observer(), fake.connect)
    first, second = fake.domains
    await connections.ask("state", "domains", lambda s: len(s.domains(fake.domains)), soon())
    connections.forget([first])
    assert await connections.ask("state", "handles", lambda s: list(s.handles), soon()) == [second]


async def test_a_connection_without_calls_remembers_only_so_many_that_are_gone() -> None:
    """That of the events is asked nothing for weeks; the next call drops all of its handles."""
    fake = FakeHost(2)
    connections = Connections(URI, Observer(), fake.connect)
    await connections.ask("events", "domains", lambda s: len(s.domains(fake.domains)), soon())
    for number in range(10 * FORGOTTEN_LIMIT):
        connections.forget([str(number)])
    assert len(connections.of("events")._forgotten) == FORGOTTEN_LIMIT
    assert await connections.ask("events", "handles", lambda s: list(s.handles), soon()) == []


async def test_a_domain_that_does_not_exist_has_no_handle() -> None:
    """Asking for several domains yields those that are there."""
    fake = FakeHost(1)
    connections = Connections(URI, Observer(), fake.connect)
    uuids = [*fake.domains, "00000000-0000-0000-0000-00000000ffff"]
    assert await connections.ask("state", "domains", lambda s: len(s.domains(uuids)), soon()) == 1


async def test_the_test_driver_has_one_connection_for_all_purposes() -> None:
    """What lives in this process is not opened again for each purpose."""
    fake = FakeHost()
    connections = Connections("test:///default", Observer(), fake.connect)
    for purpose in ("state", "control", "xml"):
        await connections.ask(purpose, "getType", hypervisor_type, soon())
    assert fake.attempts == 1


async def test_text_that_is_not_utf8_fails_the_call_and_not_the_connection() -> None:
    """libvirt-python decodes strictly; that must not look like a lost connection."""
    fake = FakeHost()
    connections = Connections(URI, Observer(), fake.connect)
    with pytest.raises(CallError) as raised:
        await connections.ask("state", "name", lambda _: b"\xff".decode(), soon())
    assert raised.value.error_class is ErrorClass.OTHER
    await connections.ask("state", "getType", hypervisor_type, soon())
    assert fake.attempts == 1


async def test_connections_that_nobody_uses_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that are kept or have a call; the next call opens another one."""
    fake, release = FakeHost(), threading.Event()
    connections = Connections(URI, Observer(), fake.connect)
    for purpose in ("state", "events"):
        await connections.ask(purpose, "getType", hypervisor_type, soon())
    busy = connections.of("monitor").call("wait", lambda _: release.wait())
    kept = [connections.of(purpose) for purpose in ("state", "events", "monitor")]
    connections.close_idle("events")
    assert [connections.of(each.purpose) for each in kept] == kept

    monkeypatch.setattr(pool, "IDLE_FOR", -1.0)
    connections.close_idle("events")
    assert [connections.of(each.purpose) is each for each in kept] == [False, True, True]
    assert await connections.ask("state", "getType", hypervisor_type, soon()) == "QEMU"
    assert fake.attempts == 4
    release.set()
    await busy
    connections.close()


def live_frames() -> int:
    """Tracebacks and frames that something keeps."""
    gc.collect()
    kinds = (types.TracebackType, types.FrameType)
    return sum(issubclass(type(one), kinds) for one in gc.get_objects())


@pytest.mark.parametrize("reachable", [False, True])
async def test_errors_leave_nothing_behind(
    *, reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A libvirt that is away for weeks costs no memory: no error keeps the one before it."""
    monkeypatch.setattr(pool, "RETRY_PAUSE", 0)
    fake = FakeHost()

    def connect(uri: str) -> Any:
        if not reachable:  # each time another error: one that is raised again grows by itself
            fake.refusal = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection refused")
        return fake.connect(uri)

    connections = Connections(URI, Observer(), connect)

    def fail(_session: Session) -> None:
        raise libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR)

    async def live_after(times: int) -> int:
        for _ in range(times):
            with pytest.raises(CallError):
                await connections.ask("state", "fail", fail, soon())
        return live_frames()

    before = await live_after(5)
    await live_after(100)
    # Threads of earlier tests come and go meanwhile; what a leak keeps stays.
    await eventually(lambda: live_frames() <= before + 5, "nothing is kept")
    assert fake.attempts == (1 if reachable else 105)


async def test_the_error_of_a_call_brings_no_libvirt_object_to_another_thread() -> None:
    """Whoever lets go of the last one would close the connection, which may block."""
    fake = FakeHost(1)
    connections = Connections(URI, Observer(), fake.connect)

    def fail(session: Session) -> None:
        domain = session.domain(fake[0].uuid)
        raise ZeroDivisionError(domain.name())

    with pytest.raises(ZeroDivisionError) as raised:
        await connections.ask("state", "fail", fail, soon())
    frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    assert "fail" in {frame.f_code.co_name for frame in frames}
    held = [value for frame in frames for value in frame.f_locals.values()]
    assert not any(isinstance(value, FakeHandle | Session) for value in held)
