"""A guest that reads, writes, receives and sends at rates far apart, and what those rates are."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import libvirt

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.guests import start_guest, wait_for_console

FRAME: Final = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(60)
"""To all, of a protocol for experiments: nobody answers."""
FRAMES_PER_SECOND: Final = 20

WINDOW: Final = 300.0
"""Seconds of the recorded rates: Prometheus divides by all of it, however little is known."""


@contextlib.contextmanager
def busy_guest(libvirtd: PrivateLibvirtd, name: str) -> Iterator[libvirt.virDomain]:
    """A guest of the scenario `traffic`, with an agent, that is sent frames all the time."""
    domain = start_guest(libvirtd, name, "traffic", disks=2, balloon_period=1, agent=True)
    ended = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((interface(domain), 0))
            while not ended.wait(1 / FRAMES_PER_SECOND):
                sender.send(FRAME)

    sending = threading.Thread(target=send)
    try:
        wait_for_console(libvirtd, name)
        sending.start()
        yield domain
    finally:
        ended.set()
        if sending.is_alive():
            sending.join()
        domain.destroy()


def interface(domain: libvirt.virDomain) -> str:
    """The host's device of its first interface."""
    found = re.search(r"<interface .*?<target dev='(.*?)'", domain.XMLDesc(), re.DOTALL)
    assert found
    return found[1]


def counters(connection: libvirt.virConnect, domain: libvirt.virDomain) -> dict[str, float]:
    """What libvirt counts of all its disks and its interface, by direction and thing."""
    bulk: Mapping[str, Any] = connection.domainListGetStats([domain])[0][1]
    names = {
        "read bytes": "block.{}.rd.bytes",
        "written bytes": "block.{}.wr.bytes",
        "reads": "block.{}.rd.reqs",
        "writes": "block.{}.wr.reqs",
        "flushes": "block.{}.fl.reqs",
        "received bytes": "net.{}.rx.bytes",
        "transmitted bytes": "net.{}.tx.bytes",
        "received packets": "net.{}.rx.pkts",
        "transmitted packets": "net.{}.tx.pkts",
    }
    return {
        name: float(sum(bulk.get(key.format(number), 0) for number in range(2)))
        for name, key in names.items()
    }


class Counted:
    """What a guest has done since this was made."""

    def __init__(self, connection: libvirt.virConnect, name: str) -> None:
        self._connection, self._domain = connection, connection.lookupByName(name)
        self._began, self._before = time.monotonic(), counters(connection, self._domain)

    def rates(self) -> dict[str, float]:
        """The rate of each counter over the last WINDOW, before which nothing is known."""
        now = counters(self._connection, self._domain)
        seconds = max(WINDOW, time.monotonic() - self._began)
        return {name: (now[name] - before) / seconds for name, before in self._before.items()}
