"""What a scrape of real QEMU domains costs the exporter and libvirtd, beside what others take."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from libvirt_exporter.hypervisor.sampling.stats_groups import bits
from libvirt_exporter.render.selection import Selection, groups_named
from tests.bench.figures import Table
from tests.bench.processes import Server, exporter
from tests.bench.raw import RawClient
from tests.bench.turns import (
    COLUMNS,
    DAEMON_COLUMNS,
    Client,
    daemon_row,
    http_client,
    raw_client,
    row,
    take_turns,
)
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd

DOMAIN_MEMORY: Final = 40 * 2**20
"""Bytes that one paused domain takes of the host."""
RESERVE: Final = 2 * 2**30
"""Bytes of the host's memory that are left alone."""
WARM_UP: Final = 45
"""Rounds until every domain has been looked at for jobs, at the pace of the lane."""
PEER: Final = "prometheus-libvirt-exporter"


def run(wanted: int, rounds: int, *, warm_up: int = WARM_UP, against: Sequence[Path] = ()) -> Table:
    """Measure on as many domains as wanted, or as fit in memory.

    `against`: checkouts of other versions, measured as well.
    """
    size = fitting(wanted)
    notes = [
        "goals: wall ≤ 0.52 and libvirtd CPU ≤ 0.85 of raw; ≤ 1.8 µs per series",
        "goals for 200 domains: RSS ≤ 68 MiB, CPU ≤ 30 ms, ≤ 35 with every value changed",
        "raw: the bulk call for the exporter's default groups; its series are values",
        "lean: without the groups that the exporter leaves out as these domains have nothing there",
    ]
    if size < wanted:
        notes.append(f"{wanted} domains were wanted, {size} fit in memory")
    if shutil.which(PEER) is None:
        notes.append(f"Debian's {PEER} is not installed and was not measured")
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(PrivateLibvirtd())
        crowd(daemon, size)
        clients = _start(stack, daemon, against)
        take_turns(clients, rounds, daemon.pid, warm_up=warm_up)
        raw = clients[0]
        rows = [[*row(client, raw), *daemon_row(client, raw)] for client in clients]
    return Table(
        "real-host",
        f"A real host: {size} paused QEMU domains, a private libvirtd, {rounds} rounds in turn",
        (*COLUMNS, *DAEMON_COLUMNS),
        rows,
        notes,
    )


def _start(
    stack: contextlib.ExitStack, daemon: PrivateLibvirtd, against: Sequence[Path]
) -> list[Client]:
    """Start every client; the first is the raw call that the others are compared with."""
    uri = daemon.read_only_uri
    # Where QEMU's pid files are, as on any host.
    within = daemon.enter if daemon.privileged else []
    groups = Selection(groups_named(["default"])).asks
    raw = stack.enter_context(RawClient(uri, bits(groups)))
    lean = stack.enter_context(RawClient(uri, bits(groups - {"iothread", "memory", "perf"})))
    text, compressed = (stack.enter_context(exporter(uri, within)) for _ in range(2))
    busy = stack.enter_context(exporter(uri, within, module="tests.bench.changing"))
    clients = [
        raw_client("raw bulk call", raw),
        raw_client("raw bulk call, lean", lean),
        http_client("libvirt-exporter", text),
        http_client("libvirt-exporter, gzip", compressed, compressed=True),
        http_client("libvirt-exporter, every value changed", busy),
        *(
            http_client(str(path), stack.enter_context(exporter(uri, within, checkout=path)))
            for path in against
        ),
    ]
    if (program := shutil.which(PEER)) is not None:
        command = [program, f"--libvirt.uri={uri}"]
        peer = stack.enter_context(Server(command, address_flag="--web.listen-address"))
        clients.append(http_client(f"Debian's {PEER}", peer))
    return clients


def fitting(wanted: int, beside: int = 0) -> int:
    """How many paused domains, at least one, fit in memory besides so many bytes."""
    return min(wanted, max(1, (_available_memory() - RESERVE - beside) // DOMAIN_MEMORY))


def _available_memory() -> int:
    """Bytes, from /proc/meminfo."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024
