"""Daemons that close connections at once, and those that do not."""

from __future__ import annotations

import socket
from pathlib import Path

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection import closing_peers, pool
from libvirt_exporter.hypervisor.connection.closing_peers import closes_at_once
from libvirt_exporter.hypervisor.connection.errors import OpenError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from tests.faults.away import WAYS
from tests.support.fake_libvirt import libvirt_error


def at(path: Path) -> str:
    return f"qemu+unix:///system?socket={path}"


@pytest.mark.parametrize("way", WAYS)
def test_only_who_closes_before_it_is_asked_is_left_alone(way: str, tmp_path: Path) -> None:
    """Of all other ways to be away libvirt tells what is wrong, and loses nothing."""
    path = tmp_path / "socket"
    with WAYS[way](path):
        assert closes_at_once(at(path)) == (way == "closed")


def test_one_socket_that_stays_open_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt chooses among the daemon's sockets, by what is installed."""
    monkeypatch.setattr(closing_peers, "SYSTEM", str(tmp_path))
    directory = tmp_path / "libvirt"
    directory.mkdir()
    with WAYS["closed"](directory / "libvirt-sock"):
        assert closes_at_once("qemu:///system")
        with socket.socket(socket.AF_UNIX) as libvirtd:
            libvirtd.bind(str(directory / "virtqemud-sock"))
            libvirtd.listen()
            assert not closes_at_once("qemu:///system")


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+tls://kvm1/system",
        "qemu+ssh://kvm1/system?socket=/x",
        "test:///default",
        "qemu:///session",
        "x",
    ],
)
def test_what_has_no_local_socket_is_left_to_libvirt(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked: not the system's daemon either, which would close the connection."""
    monkeypatch.setattr(closing_peers, "SYSTEM", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    (tmp_path / "libvirt").mkdir()
    with WAYS["closed"](tmp_path / "libvirt" / "libvirt-sock"):
        assert not closes_at_once(uri)


def test_a_session_has_its_sockets_where_its_user_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below XDG_RUNTIME_DIR, whatever the system's daemon does."""
    system, user = tmp_path / "system", tmp_path / "user"
    for directory in (system, user):
        (directory / "libvirt").mkdir(parents=True)
    monkeypatch.setattr(closing_peers, "SYSTEM", str(system))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(user))
    with WAYS["closed"](system / "libvirt" / "libvirt-sock"):
        assert not closes_at_once("qemu:///session")
    with WAYS["closed"](user / "libvirt" / "libvirt-sock"):
        assert closes_at_once("qemu:///session")


def test_libvirt_is_asked_once_while_connections_are_closed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words stay those of its first attempt; it is asked again when they stay open."""
    monkeypatch.setattr(pool, "RETRY_PAUSE", 0)
    attempts: list[str] = []

    def connect(uri: str) -> libvirt.virConnect:
        attempts.append(uri)
        raise libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection reset by peer")

    path = tmp_path / "socket"
    connections = Connections(at(path), Observer(), connect)
    with WAYS["closed"](path):
        for _ in range(3):
            with pytest.raises(OpenError, match="reset by peer"):
                connections.open()
    assert len(attempts) == 1
    path.unlink()
    with pytest.raises(OpenError):
        connections.open()
    assert len(attempts) == 2
