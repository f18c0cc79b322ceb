"""One exporter of many hosts, of which some are dead or frozen: `python -m tests.faults.fleet`.

Hosts that answer are real: sockets of private libvirtds, several aliases to each by paths of their
own, and libvirt's test driver in the process for the rest. Those that do not are a libvirtd under
SIGSTOP, a TLS port that falls silent in the middle of the handshake, a TCP port whose queue of new
connections is full, an ssh that says nothing, and a path without a socket.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tests.bench.synthetic import write_host
from tests.faults.watch import Resources, Scrape
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import Exporter
from tests.support.authority import Authority

TIMEOUT: Final = 2.0
"""Seconds that a probe has."""
SILENT: Final = ("frozen", "tls", "unreachable", "ssh", "dead")
"""The hosts that do not answer, one of each kind."""


@dataclass(frozen=True)
class Probe:
    """One answered probe."""

    alias: str
    scrape: Scrape


class Fleet(Exporter):
    """An exporter of many hosts."""

    def __init__(self, targets: Mapping[str, Any], directory: Path) -> None:
        configuration = {"libvirt": {"timeout": f"{TIMEOUT:g}s"}, "targets": dict(targets)}
        super().__init__("", directory, configuration)

    def probe(self, alias: str, parameters: str = "") -> Probe:
        """Probe a target; fails when it is not answered by its deadline."""
        started = time.monotonic()
        answer = self.get(f"/probe?target={alias}{parameters}")
        seconds = time.monotonic() - started
        assert answer.status == 200, answer.text
        # Two seconds for a machine that is busy with the tests themselves.
        assert seconds < TIMEOUT + 2.0, f"{alias} answered after {seconds:.2f} s"
        return Probe(alias, Scrape(seconds, answer))

    def rounds(self, aliases: Sequence[str], number: int, every: float) -> list[Probe]:
        """Probe all as Prometheus does: each every so many seconds, at a moment of its own."""
        begin = time.monotonic()

        def follow(position: int) -> list[Probe]:
            probes = []
            for turn in range(number):
                due = begin + every * (turn + position / len(aliases))
                time.sleep(max(0.0, due - time.monotonic()))
                probes.append(self.probe(aliases[position]))
            return probes

        with ThreadPoolExecutor(len(aliases)) as threads:
            each = threads.map(follow, range(len(aliases)))
            return [probe for probes in each for probe in probes]

    @property
    def resources(self) -> Resources:
        """What it takes of the machine now."""
        return Resources.of(self.pid)


@contextlib.contextmanager
def silent_tls(directory: Path) -> Iterator[str]:
    """The URI of a host that begins a handshake and never ends it."""
    pki = directory / "pki"
    pki.mkdir()
    authority = Authority(pki)
    certificate, key = authority.issue("client", "DNS:client")
    for name, file in (("cacert", pki / "ca.crt"), ("clientcert", certificate), ("clientkey", key)):
        shutil.copy(file, pki / f"{name}.pem")
    clients: list[socket.socket] = []

    def begin() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                clients.append(client)
                # The head of a record of 64 bytes, which never come.
                client.sendall(b"\x16\x03\x03\x00\x40")

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        threading.Thread(target=begin, daemon=True).start()
        try:
            port = listening.getsockname()[1]
            yield f"qemu+tls://127.0.0.1:{port}/system?pkipath={pki}"
        finally:
            for client in clients:
                client.close()


@contextlib.contextmanager
def unreachable_port() -> Iterator[str]:
    """The URI of a host whose packets go nowhere: no attempt to connect is answered."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listening.getsockname()[1]
        # The kernel drops what comes to a full queue, and what is sent again.
        for _ in range(4):
            filling = held.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.1", port))
        yield f"qemu+tcp://127.0.0.1:{port}/system"


def silent_ssh(directory: Path) -> str:
    """The URI of a host whose ssh connects to nothing and does not give up."""
    program = directory / "ssh"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    return f"qemu+ssh://nowhere.invalid/system?command={program}"


@dataclass(frozen=True)
class Hosts:
    """The targets of a fleet by alias, and those of the daemon that can be frozen."""

    answering: Mapping[str, str]
    silent: Mapping[str, str]
    frozen: PrivateLibvirtd

    def targets(self) -> dict[str, Any]:
        """As the configuration has them."""
        return {alias: {"uri": uri} for alias, uri in {**self.answering, **self.silent}.items()}


@contextlib.contextmanager
def hosts(directory: Path, answering: int, silent: int, *, domains: int) -> Iterator[Hosts]:
    """So many hosts that answer, every second one real, and so many that do not."""
    with contextlib.ExitStack() as held:
        daemons = [held.enter_context(PrivateLibvirtd()) for _ in range(2)]
        crowd(daemons[0], domains)
        node = directory / "node.xml"
        write_host(node, domains)
        uris = {}
        for number in range(answering):
            alias = f"host{number:02}"
            if number % 2:
                other = directory / f"{alias}.xml"
                os.link(node, other)
                uris[alias] = f"test://{other}"
            else:
                uris[alias] = by_another_path(daemons[0], directory / alias)
        kinds = {
            "frozen": by_another_path(daemons[1], directory / "frozen"),
            "tls": held.enter_context(silent_tls(directory)),
            "unreachable": held.enter_context(unreachable_port()),
            "ssh": silent_ssh(directory),
            "dead": "qemu+unix:///system?socket=/nowhere/libvirt-sock",
        }
        yield Hosts(uris, {name: kinds[name] for name in SILENT[:silent]}, daemons[1])


def by_another_path(daemon: PrivateLibvirtd, path: Path) -> str:
    """The URI of a daemon's read-only socket by a path of its own, as of another host."""
    path.symlink_to(daemon.socket_directory / "libvirt-sock-ro")
    return f"qemu+unix:///system?socket={quote(str(path))}"


def isolated(directory: Path, hosts: Hosts, *, rounds: int, every: float) -> str:
    """Fail unless the hosts that answer are as quick and whole beside silent ones as without.

    Returns the figures.
    """
    answering = [*hosts.answering]
    alone = Fleet({alias: {"uri": hosts.answering[alias]} for alias in answering}, directory / "a")
    with alone:
        alone.rounds(answering, 1, every)
        before = alone.rounds(answering, rounds, every)
    with Fleet(hosts.targets(), directory / "b") as fleet, hosts.frozen.frozen():
        whole = {probe.alias: probe.scrape for probe in fleet.rounds(answering, 1, every)}
        probes = fleet.rounds([*answering, *hosts.silent], rounds, every)
        resources = fleet.resources
    beside = [probe for probe in probes if probe.alias in hosts.answering]
    for probe in beside:
        scrape = probe.scrape
        assert scrape.up, probe.alias
        assert scrape.lacks(whole[probe.alias]) == set(), probe.alias
        if not hosts.answering[probe.alias].startswith("test:"):
            # libvirt's event loop is one for all: it has to go on.
            assert scrape.value("libvirt_exporter_event_stream_connected") == 1
            assert scrape.value("libvirt_exporter_event_stream_alive_age_seconds") < 8, probe.alias
    for probe in probes:
        if probe.alias in hosts.silent:
            assert not probe.scrape.up, probe.alias
    usual, now = (sorted(one.scrape.seconds for one in several) for several in (before, beside))
    figures = (
        f"{len(answering)} hosts that answer, {len(hosts.silent)} that do not: "
        f"median {statistics.median(usual):.3f} s alone, {statistics.median(now):.3f} s beside "
        f"them; longest {usual[-1]:.3f} and {now[-1]:.3f} s; {resources}"
    )
    assert resources.descriptors < 40 + 20 * (len(answering) + len(hosts.silent)), figures
    # One that waits for a silent host takes its whole time; the rest is for a busy machine.
    assert statistics.median(now) < 1.5 * statistics.median(usual) + TIMEOUT / 8, figures
    assert now[-1] < max(TIMEOUT, 2 * usual[-1]), figures
    return figures


def flooded(fleet: Fleet, silent: str, other: str, clients: int) -> None:
    """Many ask for different parts of a silent host; those who ask for parts of another get them.

    Whoever finds no place is told at once.
    """
    stop = threading.Event()

    def ask(number: int) -> set[int]:
        statuses = set()
        while not stop.is_set():
            path = f"/probe?target={silent}&domain[]=vm{number}-{time.monotonic_ns()}"
            status = fleet.get(path).status
            statuses.add(status)
            if status == 503:
                # The clients are not to be what keeps the machine busy.
                time.sleep(0.2)
        return statuses

    with ThreadPoolExecutor(clients) as threads:
        flood = [threads.submit(ask, number) for number in range(clients)]
        try:
            for number in range(3):
                probe = fleet.probe(other, f"&domain[]=vm{number:03}")
                assert probe.scrape.up
                assert fleet.probe(other).scrape.up
        finally:
            stop.set()
        assert set().union(*(one.result() for one in flood)) <= {200, 503}


def report(run: Callable[[], str]) -> None:
    """Print what was seen and how long it took."""
    started = time.monotonic()
    print(run(), f"({time.monotonic() - started:.0f} s)", flush=True)


def main() -> None:
    """Run the long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, default=50, help="5 of them silent (default: 50)")
    parser.add_argument("--domains", type=int, default=10, help="of each host that answers")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        directory = Path(name)
        with hosts(
            directory, arguments.hosts - len(SILENT), len(SILENT), domains=arguments.domains
        ) as made:
            report(lambda: isolated(directory, made, rounds=arguments.rounds, every=15.0))


if __name__ == "__main__":
    main()
