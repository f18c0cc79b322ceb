"""What a host costs an exporter that serves several, beside one that serves it alone.

Each host is a libvirtd of its own with real, paused QEMU domains, reached by its socket.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.bench.figures import Column, Figure, Table
from tests.bench.processes import SETTLING, cpu_seconds, memory
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import Exporter

WARM_UP: Final = 6
"""Rounds before the first that counts."""

COLUMNS: Final = (
    Column("how", ""),
    Column("wall_seconds", "wall ms/round", 1e3),
    Column("cpu_per_host", "CPU ms/host", 1e3),
    Column("ratio", "of one alone"),
    Column("rss", "RSS MiB", 2**-20),
)


def run(hosts: int, domains: int, rounds: int) -> Table:
    """Measure so many hosts with so many domains each."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        daemons = [stack.enter_context(PrivateLibvirtd()) for _ in range(hosts)]
        for daemon in daemons:
            crowd(daemon, domains)
        uris = {f"host{n}": daemon.read_only_uri for n, daemon in enumerate(daemons)}
        alone = stack.enter_context(_exporter(dict([*uris.items()][:1]), directory / "alone"))
        fleet = stack.enter_context(_exporter(uris, directory / "fleet"))
        threads = stack.enter_context(ThreadPoolExecutor(hosts))
        ways = {
            "alone": (alone, lambda: _each(alone, ["host0"])),
            "one after the other": (fleet, lambda: _each(fleet, [*uris])),
            "all at once": (fleet, lambda: _at_once(fleet, [*uris], threads)),
        }
        costs = _in_turn(ways, rounds)
        rows: list[list[Figure]] = []
        least = statistics.median(cpu for _, cpu in costs["alone"])
        for way, (exporter, _) in ways.items():
            asked = 1 if way == "alone" else hosts
            walls, cpus = zip(*costs[way], strict=True)
            per_host = statistics.median(cpus) / asked
            resident = memory(exporter.pid).now
            rows.append([way, statistics.median(walls), per_host, per_host / least, resident])
    return Table(
        "several-hosts",
        f"{hosts} libvirtds with {domains} paused QEMU domains each, {rounds} rounds in turn",
        COLUMNS,
        rows,
        ["goal: all at once cost each host at most 1.3 times as much CPU as one alone"],
    )


def _exporter(uris: dict[str, str], directory: Path) -> Exporter:
    targets = {alias: {"uri": uri} for alias, uri in uris.items()}
    return Exporter("", directory, {"targets": targets, "libvirt": {"timeout": "60s"}})


def _each(exporter: Exporter, aliases: Sequence[str]) -> None:
    for alias in aliases:
        _probe(exporter, alias)


def _at_once(exporter: Exporter, aliases: Sequence[str], threads: ThreadPoolExecutor) -> None:
    for _ in threads.map(lambda alias: _probe(exporter, alias), aliases):
        pass


def _probe(exporter: Exporter, alias: str) -> None:
    answer = exporter.get(f"/probe?target={alias}")
    if "\nlibvirt_up 1.0\n" not in answer.text:
        raise RuntimeError(f"{alias} did not answer: {exporter.log}")


def _in_turn(
    ways: dict[str, tuple[Exporter, Callable[[], None]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of each round, by way."""
    costs: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(WARM_UP + rounds):
        for way, (exporter, ask) in ways.items():
            before, started = cpu_seconds(exporter.pid), time.perf_counter()
            ask()
            wall = time.perf_counter() - started
            time.sleep(SETTLING)
            if number >= WARM_UP:
                costs[way].append((wall, cpu_seconds(exporter.pid) - before))
    return costs
