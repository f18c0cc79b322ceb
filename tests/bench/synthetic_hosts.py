"""What a scrape of thousands of domains costs, on hosts that libvirt's test driver makes up.

The driver runs inside the process that asks, so its CPU time and memory count as the client's. In
bulk it gives the state alone; the exporter asks it per domain for the rest. What can be compared
is one size with another, not the exporter with the raw call.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import libvirt

from tests.bench.figures import Column, Figure, Table
from tests.bench.processes import exporter
from tests.bench.raw import RawClient
from tests.bench.synthetic import write_host
from tests.bench.turns import COLUMNS, http_client, raw_client, row, take_turns

HOST_COLUMNS: Final = (
    Column("domains", "domains"),
    *COLUMNS,
    Column("client_cpu_per_domain", "CPU µs/domain", 1e6),
)


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Measure hosts of these sizes, one after the other."""
    rows = [measured for size in sizes for measured in _measure(size, rounds)]
    return Table(
        "synthetic-hosts",
        f"Synthetic hosts: libvirt's test driver, 2 disks and 1 NIC each, {rounds} rounds",
        HOST_COLUMNS,
        rows,
        [
            "goal: linear growth, so the same µs/domain in each size",
            "the driver runs in the client's process: its CPU and memory are the client's",
            "start: from the start of the process to its first answer",
            "raw: the state, all that this driver gives in bulk; its series are values",
        ],
    )


def _measure(size: int, rounds: int) -> list[list[Figure]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        node = Path(directory, "node.xml")
        write_host(node, size)
        uri = f"test://{node}"
        with exporter(uri) as server, RawClient(uri, libvirt.VIR_DOMAIN_STATS_STATE) as raw:
            clients = [raw_client("raw", raw), http_client("libvirt-exporter", server)]
            take_turns(clients, rounds)
            return [
                [
                    size,
                    *row(client, clients[0]),
                    statistics.median(cost.client_cpu for cost in client.costs) / size,
                ]
                for client in clients
            ]
