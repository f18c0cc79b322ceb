"""Several clients that ask the same host in turn, each measured, round after round.

Figures of one round are taken within seconds of each other, so ratios hold on a busy machine too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.figures import Column, Figure, Spread
from tests.bench.processes import Answer, Cost, Server, measured, memory
from tests.bench.raw import RawClient

WARM_UP: Final = 2
"""Rounds that are not counted, by default."""

COLUMNS: Final = (
    Column("client", "client"),
    Column("wall_seconds", "wall ms", 1e3),
    Column("wall_ratio", "of raw"),
    Column("client_cpu_seconds", "CPU ms", 1e3),
    Column("client_cpu_per_series", "µs/series", 1e6),
    Column("memory_bytes", "RSS MiB", 1 / 2**20),
    Column("memory_peak_bytes", "peak MiB", 1 / 2**20),
    Column("memory_proportional_bytes", "PSS MiB", 1 / 2**20),
    Column("memory_unique_bytes", "USS MiB", 1 / 2**20),
    Column("first_seconds", "start s"),
    Column("series", "series"),
    Column("bytes", "kB", 1e-3),
)
DAEMON_COLUMNS: Final = (
    Column("libvirtd_cpu_seconds", "libvirtd CPU ms", 1e3),
    Column("libvirtd_cpu_ratio", "of raw"),
    Column("libvirtd_cpu_per_series", "µs/series", 1e6),
)


@dataclass
class Client:
    """A process that asks libvirt when it is told to, and what that has cost so far."""

    name: str
    pid: int
    ask: Callable[[], Answer]
    started_within: float | None = None
    """Seconds from the start of the process to its first answer."""
    costs: list[Cost] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    sent: int = 0
    """Bytes of the last answer."""


def raw_client(name: str, raw: RawClient) -> Client:
    """The reference, whose series are libvirt's values."""
    return Client(name, raw.pid, raw.call)


def http_client(name: str, server: Server, *, compressed: bool = False) -> Client:
    """An exporter that is scraped."""
    return Client(
        name, server.pid, lambda: server.scrape(compressed=compressed), server.started_within
    )


def take_turns(
    clients: Sequence[Client], rounds: int, daemon: int | None = None, *, warm_up: int = WARM_UP
) -> None:
    """Ask every client once per round; `daemon` is the pid of the libvirtd that they ask.

    The first rounds, `warm_up` of them, are not counted.
    """
    for turn in range(warm_up + rounds):
        for client in clients:
            with measured(client.pid, daemon) as costs:
                answer = client.ask()
            if turn >= warm_up:
                client.costs += costs
                client.series.append(answer.series())
                client.sent = answer.sent


def row(client: Client, raw: Client) -> list[Figure]:
    """The client's figures for COLUMNS, while it still runs."""
    resident = memory(client.pid)
    cpu = [cost.client_cpu for cost in client.costs]
    return [
        client.name,
        Spread.of(cost.wall for cost in client.costs),
        _ratio([cost.wall for cost in client.costs], [cost.wall for cost in raw.costs]),
        Spread.of(cpu),
        statistics.median(cpu) / statistics.median(client.series),
        resident.now,
        resident.peak,
        resident.proportional,
        resident.unique,
        client.started_within,
        Spread.of(client.series),
        client.sent or None,
    ]


def daemon_row(client: Client, raw: Client) -> list[Figure]:
    """The client's figures for DAEMON_COLUMNS."""
    cpu = [cost.daemon_cpu for cost in client.costs]
    return [
        Spread.of(cpu),
        _ratio(cpu, [cost.daemon_cpu for cost in raw.costs]),
        statistics.median(cpu) / statistics.median(client.series),
    ]


def _ratio(measured: Sequence[float], reference: Sequence[float]) -> Spread:
    """Round by round, what was measured over the reference of the same round."""
    return Spread.of(one / other for one, other in zip(measured, reference, strict=True))
