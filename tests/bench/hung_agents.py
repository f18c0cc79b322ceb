"""What a scrape costs beside guest agents that do not answer, with their lane and without it.

Real domains, all with an agent's channel. Most are paused, so that nobody opens the channel; in
the others the guest has opened it, and who listens there says that it lives and then nothing more.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import libvirt

from tests.bench.figures import Column, Figure, Spread, Table
from tests.bench.processes import Cost, measured
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import Exporter
from tests.lab.fake_agent import fake_agent
from tests.lab.guests import start_guest
from tests.support.waiting import wait_until

CONFIGURATION: Final = {
    "guest_agent": {"enabled": True, "response_timeout": "5s"},
    "libvirt": {"timeout": "60s"},
}
PAUSE: Final = 1.0
"""Seconds between two rounds, in which agents are asked."""
COLUMNS: Final = (
    Column("lane", "guest agents"),
    Column("wall_seconds", "wall ms", 1e3),
    Column("wall_ratio", "of not queried"),
    Column("client_cpu_seconds", "CPU ms", 1e3),
    Column("libvirtd_cpu_seconds", "libvirtd CPU ms", 1e3),
    Column("stuck_calls", "stuck calls at most"),
)


def run(paused: int, hung: int, rounds: int, *, warm_up: int = 10) -> Table:
    """Measure so many domains, in turn with the lane and without it."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        daemon = stack.enter_context(PrivateLibvirtd())
        crowd(daemon, paused, agent=True)
        for number in range(hung):
            agent = stack.enter_context(fake_agent(daemon.root / f"agent{number}"))
            agent.answer = lambda _command: None
            start_guest(
                daemon, f"hung{number}", "no-agent", agent=True, agent_socket=agent.socket, disks=0
            )
        for number in range(hung):
            domain = daemon.connection.lookupByName(f"hung{number}")
            wait_until(partial(_connected, domain), f"the agent of hung{number} is connected", 240)
        exporters = {
            "not queried": _exporter(stack, daemon, directory / "without", {}),
            "queried": _exporter(stack, daemon, directory / "with", CONFIGURATION),
        }
        costs, stuck = _in_turn(exporters, rounds, warm_up, daemon.pid)
    walls = {name: [cost.wall for cost in costs[name]] for name in exporters}
    rows: list[list[Figure]] = [
        [
            name,
            Spread.of(walls[name]),
            Spread.of(a / b for a, b in zip(walls[name], walls["not queried"], strict=True)),
            Spread.of(cost.client_cpu for cost in costs[name]),
            Spread.of(cost.daemon_cpu for cost in costs[name]),
            stuck[name],
        ]
        for name in exporters
    ]
    return Table(
        "hung-agents",
        f"Guest agents that hang: {paused} paused domains with a channel, {hung} whose agent never "
        f"answers, {rounds} rounds in turn",
        COLUMNS,
        rows,
        [
            "goal: a scrape takes what it takes where no agent is queried",
            "stuck calls: the most of all rounds, as the exporter counts them",
        ],
    )


def _connected(domain: libvirt.virDomain) -> bool:
    return "state='connected'" in domain.XMLDesc()


def _exporter(
    stack: contextlib.ExitStack,
    daemon: PrivateLibvirtd,
    directory: Path,
    configuration: dict[str, object],
) -> Exporter:
    within = daemon.enter if daemon.privileged else ()
    return stack.enter_context(
        Exporter(daemon.read_only_uri, directory, configuration, within=within)
    )


def _in_turn(
    exporters: dict[str, Exporter], rounds: int, warm_up: int, daemon: int
) -> tuple[dict[str, list[Cost]], dict[str, float]]:
    """What each round cost, and the most calls that were stuck, by name."""
    costs: dict[str, list[Cost]] = {name: [] for name in exporters}
    stuck = dict.fromkeys(exporters, 0.0)
    for turn in range(warm_up + rounds):
        for name, exporter in exporters.items():
            time.sleep(PAUSE)
            with measured(exporter.pid, daemon) as cost:
                text = exporter.get("/metrics").text
            if turn >= warm_up:
                costs[name] += cost
            calls = re.search(r"^libvirt_exporter_stuck_calls (\S+)$", text, re.MULTILINE)
            assert calls is not None
            stuck[name] = max(stuck[name], float(calls[1]))
    return costs, stuck
