"""What an exporter costs that nobody asks: CPU time and wake-ups, its own and libvirtd's."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from tests.bench.figures import Column, Figure, Table
from tests.bench.processes import Server, cpu_seconds, exporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd

DOMAINS: Final = 2
SCRAPES: Final = 3

COLUMNS: Final = (
    Column("since", "since the last scrape"),
    Column("client_cpu_seconds_per_minute", "CPU ms/min", 1e3),
    Column("wake_ups_per_minute", "wake-ups/min"),
    Column("libvirtd_cpu_seconds_per_minute", "libvirtd CPU ms/min", 1e3),
    Column("threads", "threads"),
)


def run(seconds: float, after: float) -> Table:
    """Measure for so many seconds right after a few scrapes, and again `after` seconds later."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, DOMAINS)
        with exporter(daemon.read_only_uri) as server:
            for _ in range(SCRAPES):
                server.scrape()
            rows = [["soon", *_measure(server, daemon.pid, seconds)]]
            time.sleep(after)
            rows.append([f"{after:g} s", *_measure(server, daemon.pid, seconds)])
    return Table(
        "idle",
        f"An exporter that nobody asks: {DOMAINS} domains, a private libvirtd, {seconds:g} s each",
        COLUMNS,
        rows,
        [
            "goal: CPU ≤ 20 ms a minute",
            "wake-ups: voluntary context switches of all threads",
            "connections that nobody uses are closed after a while, but for that of the events",
        ],
    )


def _measure(server: Server, daemon: int, seconds: float) -> list[Figure]:
    before = cpu_seconds(server.pid), cpu_seconds(daemon), _switches(server.pid)
    time.sleep(seconds)
    after = cpu_seconds(server.pid), cpu_seconds(daemon), _switches(server.pid)
    each = 60 / seconds
    # Of threads that were there all the time.
    switches = sum(
        after[2][thread] - before[2][thread] for thread in before[2].keys() & after[2].keys()
    )
    own, others = after[0] - before[0], after[1] - before[1]
    return [own * each, switches * each, others * each, len(after[2])]


def _switches(pid: int) -> dict[str, int]:
    """Voluntary context switches of each thread."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        status = (thread / "status").read_text()
        match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.M)
        assert match is not None
        found[thread.name] = int(match[1])
    return found
