"""The exporter as a child of systemd: sockets handed over, states told, on real descriptors."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from libvirt_exporter.commands.service_manager import ServiceManager, inherited_sockets
from libvirt_exporter.web.listening import ListenError, listen
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
LAUNCHER = """
import os, sys
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
for number, descriptor in enumerate(map(int, os.environ.pop("DESCRIPTORS").split()), 3):
    os.dup2(descriptor, number)
os.execv(sys.executable, [sys.executable, "-m", "libvirt_exporter", *sys.argv[1:]])
"""
"""Hands over descriptors as systemd does: from 3 on, in the process that becomes the service."""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts exporters as systemd would; what still runs afterwards is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(
        *flags: str, sockets: list[socket.socket], **variables: str
    ) -> subprocess.Popen[bytes]:
        # High numbers, which the launcher does not overwrite before it has handed them over.
        high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 50) for each in sockets]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "exporter"),
            "DESCRIPTORS": " ".join(map(str, high)),
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, "--libvirt.uri=test:///default", *flags],
            env=environment,
            pass_fds=high,
            stderr=subprocess.PIPE,
        )
        for descriptor in high:
            os.close(descriptor)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket `notify` in the temporary directory, on which systemd hears of states."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        yield listening


def states(told: socket.socket, until: str) -> list[str]:
    """What is told, up to the first message that begins with `until`."""
    messages: list[str] = []
    while not messages or not messages[-1].startswith(until):
        messages.append(told.recv(4096).decode())
    return messages


def test_sockets_of_systemd_are_served(start: Start, tmp_path: Path) -> None:
    """Both a TCP and a Unix socket that were handed over answer; no address is listened on."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "web.sock"))
        unix.listen()
        flags = ["--web.systemd-socket", "--web.listen-address=192.0.2.1:1"]
        names = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:local"}
        process = start(*flags, sockets=[tcp, unix], **names)

        # What connects before the exporter runs waits for it.
        address = f"http://127.0.0.1:{tcp.getsockname()[1]}/-/healthy"
        assert httpx.get(address, timeout=PATIENCE).status_code == 200
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "web.sock"))) as client:
            assert client.get("http://localhost/-/healthy", timeout=PATIENCE).status_code == 200

        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert (tmp_path / "web.sock").exists()


@pytest.mark.parametrize("count", ["", "0"])
def test_no_socket_of_systemd_is_an_error_in_words(start: Start, count: str) -> None:
    """Started by hand with the flag, the exporter says what is missing, and ends with 1."""
    process = start("--web.systemd-socket", sockets=[], LISTEN_FDS=count)

    assert process.stderr is not None
    assert b"systemd passed no socket" in process.stderr.read()
    assert process.wait(PATIENCE) == 1


def test_sockets_of_another_process_are_left_alone() -> None:
    """LISTEN_PID says for whom they are; the variables are gone for children all the same."""
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "web", "HOME": "/"}

    with pytest.raises(ListenError, match="systemd passed no socket"):
        inherited_sockets(environment, 2)
    assert environment == {"HOME": "/"}


def test_datagram_socket_of_systemd_is_refused(start: Start) -> None:
    """A socket unit with ListenDatagram= is refused, by the name of the socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        process = start(
            "--web.systemd-socket", sockets=[datagrams], LISTEN_FDS="1", LISTEN_FDNAMES="web"
        )

        assert process.stderr is not None
        text = process.stderr.read().decode()
    assert "descriptor 3 of systemd (web): not a listening stream socket" in text
    assert process.wait(PATIENCE) == 1


def test_states_are_told_from_the_first_sample_to_the_end(
    start: Start, told: socket.socket, tmp_path: Path
) -> None:
    """READY with the first sample, RELOADING and READY around a reload, STOPPING at the end."""
    process = start(
        "--web.listen-address=127.0.0.1:0", sockets=[], NOTIFY_SOCKET=str(tmp_path / "notify")
    )

    [ready] = states(told, "READY=1")
    assert ready.startswith("READY=1\nSTATUS=Serving on http://127.0.0.1:")
    process.send_signal(signal.SIGHUP)
    reloading, ready_again = states(told, "READY=1")
    kind, _, moment = reloading.partition("\nMONOTONIC_USEC=")
    assert kind == "RELOADING=1"
    assert 0 < int(moment) < 2**63
    assert ready_again == ready
    process.send_signal(signal.SIGTERM)
    assert states(told, "STOPPING=1") == ["STOPPING=1"]
    assert process.wait(PATIENCE) == 0


def test_ready_is_told_where_libvirt_is_away(
    start: Start, told: socket.socket, tmp_path: Path
) -> None:
    """A host whose libvirt is down has to be scraped, so the service counts as started."""
    start(
        "--web.listen-address=127.0.0.1:0",
        "--libvirt.uri=qemu+unix:///system?socket=/nonexistent/socket",
        sockets=[],
        NOTIFY_SOCKET=str(tmp_path / "notify"),
    )

    assert len(states(told, "READY=1")) == 1


def test_watchdog_is_fed_by_the_event_loop(
    start: Start, told: socket.socket, tmp_path: Path
) -> None:
    """With a watchdog, signs of life go on by themselves."""
    start(
        "--web.listen-address=127.0.0.1:0",
        sockets=[],
        NOTIFY_SOCKET=str(tmp_path / "notify"),
        WATCHDOG_USEC="200000",
    )

    states(told, "READY=1")
    assert [told.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3


def test_nothing_is_told_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Without systemd nothing happens; a socket that is gone costs a line of the log only."""
    ServiceManager({}, 1).ready("here")
    assert not caplog.records

    ServiceManager({"NOTIFY_SOCKET": "/nonexistent/notify"}, 1).stopping()
    assert "cannot notify systemd of STOPPING=1" in caplog.text


@pytest.mark.parametrize(("mode", "permissions"), [("0660", 0o660), ("600", 0o600)])
def test_unix_socket_has_its_mode_while_it_is_there(
    start: Start, told: socket.socket, tmp_path: Path, mode: str, permissions: int
) -> None:
    """The socket answers requests, is open to whom the mode says, and is removed at the end."""
    path, file = tmp_path / "web.sock", tmp_path / "exporter.yml"
    file.write_text(f'web: {{listen: ["unix:{path}"], socket_mode: "{mode}"}}\n')

    process = start(f"--config.file={file}", sockets=[], NOTIFY_SOCKET=str(tmp_path / "notify"))
    assert states(told, "READY=1") == [f"READY=1\nSTATUS=Serving on unix:{path}"]
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        text = client.get("http://localhost/metrics", timeout=PATIENCE).text

    assert "\nlibvirt_up 1" in text
    assert path.stat().st_mode & 0o777 == permissions
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert not path.exists()


def test_unix_socket_that_was_left_over_is_replaced(tmp_path: Path) -> None:
    """After a crash the file of the socket is still there, and nobody listens on it."""
    path = tmp_path / "web.sock"
    [crashed] = listen([f"unix:{path}"])
    crashed.close()

    [listening] = listen([f"unix:{path}"])

    with listening, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_unix_socket_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A socket on which somebody listens is theirs; so is a file that is no socket."""
    path, file = tmp_path / "web.sock", tmp_path / "file"
    file.write_text("kept")
    [listening] = listen([f"unix:{path}"])

    with listening:
        for taken in (path, file):
            with pytest.raises(ListenError, match="in use"):
                listen([f"unix:{taken}"])

    assert file.read_text() == "kept"


@pytest.mark.parametrize(
    ("address", "reason"),
    [("unix:web.sock", "must start with /"), ("unix:/nonexistent/web.sock", "does not exist")],
)
def test_unix_socket_that_cannot_be_made_says_why(address: str, reason: str) -> None:
    """A relative path and a directory that is not there are named."""
    with pytest.raises(ListenError, match=reason):
        listen([address])
