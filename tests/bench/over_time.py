"""What exporters take of a host all the time, each scraped every 15 seconds as by Prometheus.

Some guests work, the others are paused: reading XML, looks for jobs, keepalive and events count.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import time
from itertools import pairwise
from typing import Final

from tests.bench import collectd
from tests.bench.figures import Column, Figure, Spread, Table
from tests.bench.processes import Server, cpu_seconds, exporter, memory
from tests.bench.real_host import PEER, fitting
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.traffic import busy_guest

INTERVAL: Final = 15.0
"""Seconds between two scrapes: Prometheus' usual choice."""
GUEST_MEMORY: Final = 300 * 2**20
"""Bytes that a guest at work takes of the host."""
WARM_UP: Final = 22
"""Intervals until every domain has been looked at for jobs."""

COLUMNS: Final = (
    Column("client", "client"),
    Column("cpu_seconds_per_interval", "CPU ms per 15 s", 1e3),
    Column("cpu_share", "% of a CPU", 100),
    Column("cpu_per_series", "µs/series", 1e6),
    Column("wall_seconds", "scrape ms", 1e3),
    Column("memory_bytes", "RSS MiB", 1 / 2**20),
    Column("series", "series"),
)


class Watched:
    """A server that is scraped now and then, and what its process has taken by each scrape."""

    def __init__(self, name: str, server: Server) -> None:
        self._name, self._server = name, server
        self._cpu: list[float] = []
        self._walls: list[float] = []
        self._series = 0

    def scrape(self) -> None:
        """One more scrape."""
        self._cpu.append(cpu_seconds(self._server.pid))
        began = time.perf_counter()
        answer = self._server.scrape()
        self._walls.append(time.perf_counter() - began)
        self._series = answer.series()

    def row(self, warm_up: int) -> list[Figure]:
        """The figures of all intervals but the first so many, while it still runs."""
        spent = [after - before for before, after in pairwise(self._cpu[warm_up:])]
        return [
            self._name,
            Spread.of(spent),
            statistics.mean(spent) / INTERVAL,
            statistics.mean(spent) / self._series,
            Spread.of(self._walls[warm_up:]),
            memory(self._server.pid).now,
            self._series,
        ]


def run(paused: int, at_work: int, intervals: int, *, warm_up: int = WARM_UP) -> Table:
    """Measure every client for so many intervals, the scrapes of one between those of others.

    `paused`: domains at most, as many as fit in memory.
    """
    paused = fitting(paused, at_work * GUEST_MEMORY)
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(PrivateLibvirtd())
        crowd(daemon, paused)
        for number in range(at_work):
            stack.enter_context(busy_guest(daemon, f"busy{number:03}"))
        watched, absent = _start(stack, daemon)
        begins = time.monotonic()
        for number in range(warm_up + intervals + 1):
            for place, client in enumerate(watched):
                at = begins + INTERVAL * (number + place / len(watched))
                time.sleep(max(at - time.monotonic(), 0))
                client.scrape()
        rows = [client.row(warm_up) for client in watched]
    return Table(
        "over-time",
        f"Scraped every {INTERVAL:g} s: {paused} paused QEMU domains and {at_work} at work, "
        f"{intervals} intervals",
        COLUMNS,
        rows,
        [
            "CPU: all that the process takes from one scrape to the next",
            f"collectd reads every {collectd.INTERVAL} s by itself; a scrape shows what it has",
            *absent,
        ],
    )


def _start(stack: contextlib.ExitStack, daemon: PrivateLibvirtd) -> tuple[list[Watched], list[str]]:
    """What can be started, and a note on each program that is not installed."""
    uri, within = daemon.read_only_uri, daemon.enter if daemon.privileged else []
    watched = [Watched("libvirt-exporter", stack.enter_context(exporter(uri, within)))]
    absent = []
    for name, program, command in (
        (f"Debian's {PEER}", PEER, [PEER]),
        ("collectd, virt", collectd.PROGRAM, [sys.executable, "-m", "tests.bench.collectd"]),
    ):
        if shutil.which(program) is None:
            absent.append(f"{program} is not installed and was not measured")
            continue
        server = Server(
            [*within, *command, f"--libvirt.uri={uri}"], address_flag="--web.listen-address"
        )
        watched.append(Watched(name, stack.enter_context(server)))
    return watched, absent
