"""A host that is gone while libvirt waits for its first word is noticed by the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection import pool
from libvirt_exporter.hypervisor.connection.dead_peers import tcp_port, watch_peers
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("qemu+tcp://host/system", 16509),
        ("qemu+tls://host/system", 16514),
        ("qemu://host/system", 16514),
        ("qemu+tcp://user@[::1]:1234/system?no_verify=1", 1234),
        ("qemu+tls://10.0.0.1:1", 1),
        ("qemu+ssh://host:22/system", None),
        ("qemu+unix:///system?socket=/x", None),
        ("qemu:///system", None),
        ("test:///default", None),
    ],
)
def test_the_port_is_that_of_tcp_and_tls(uri: str, port: int | None) -> None:
    """libvirt's own where none is named; ssh has a process and a configuration of its own."""
    assert tcp_port(uri) == port


def test_connections_to_the_port_are_watched_and_no_others() -> None:
    """They end in half a minute at the latest, whether something is on its way or not."""
    with (
        socket.create_server(("127.0.0.1", 0)) as watched,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(watched.getsockname()) as remote,
        socket.create_connection(other.getsockname()) as stranger,
    ):
        watch_peers(watched.getsockname()[1])
        assert remote.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, times = (
            remote.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * times == 30
        assert remote.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert stranger.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_looking_leaves_nothing_open() -> None:
    """Whatever this process has open: files, pipes, sockets of other families."""
    with (
        socket.socket(socket.AF_UNIX),
        socket.socket(),
        open(os.devnull, "rb"),
        socket.create_server(("127.0.0.1", 0)) as watched,
        socket.create_connection(watched.getsockname()),
    ):
        before = os.listdir("/proc/self/fd")
        watch_peers(watched.getsockname()[1])
        assert os.listdir("/proc/self/fd") == before


def test_an_attempt_to_connect_that_takes_too_long_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not given up, as a daemon that is only slow would get one after the other."""
    watched: list[int] = []
    monkeypatch.setattr(pool, "watch_peers", watched.append)
    begun, come_back = threading.Event(), threading.Event()

    def connect(_uri: str) -> libvirt.virConnect:
        begun.set()
        come_back.wait()
        raise libvirt.libvirtError("gone")

    async def ask() -> None:
        connections = Connections("qemu+tcp://host:1234/system", Observer(), connect)
        connection = connections.of("state")
        connection.call("call", lambda session: session)
        await asyncio.to_thread(begun.wait)
        connections.give_up(connection, "call")
        assert connections.budget.stuck == 0
        come_back.set()
        connections.close()

    asyncio.run(ask())
    assert watched == [1234]
