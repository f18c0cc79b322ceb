"""`python -m tests.bench`: what a scrape costs, in process, on real domains, on many made-up ones.

It prints tables and judges nothing: what is aimed at stands below the figures. Figures are the
median and, in parentheses, the least and the most of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import libvirt

from libvirt_exporter.hypervisor.connection.pool import IDLE_FOR
from libvirt_exporter.hypervisor.host import TIDY_EVERY
from tests.bench import (
    applications,
    hung_agents,
    idle,
    one_prometheus,
    over_time,
    queries,
    real_host,
    rendering,
    several_hosts,
    synthetic_hosts,
)
from tests.bench.figures import Table


def parts(
    domains: int, *, quick: bool, against: Sequence[Path] = ()
) -> Mapping[str, Callable[[], Table]]:
    """What can be measured, by name."""
    if quick:
        return {
            "rendering": lambda: rendering.run((200, 1000), rounds=10),
            "real-host": lambda: real_host.run(
                min(domains, 20), rounds=5, warm_up=2, against=against
            ),
            "over-time": lambda: over_time.run(min(domains, 20), 1, intervals=1, warm_up=1),
            "idle": lambda: idle.run(seconds=10, after=1),
            "synthetic-hosts": lambda: synthetic_hosts.run((200, 1000), rounds=3),
            "query-savings": lambda: queries.savings(100, polls=60),
            "query-cost": lambda: queries.costs(200, rounds=20),
            "applications": lambda: applications.run(200, 900),
            "hung-agents": lambda: hung_agents.run(10, 2, rounds=5, warm_up=2),
        }
    return {
        "rendering": lambda: rendering.run((200, 2000, 10_000), rounds=8),
        "real-host": lambda: real_host.run(domains, rounds=8, against=against),
        "over-time": lambda: over_time.run(domains, 10, intervals=12),
        "idle": lambda: idle.run(seconds=60, after=IDLE_FOR + 2 * TIDY_EVERY),
        "synthetic-hosts": lambda: synthetic_hosts.run((2000, 10_000), rounds=3),
        "several-hosts": lambda: several_hosts.run(10, 10, rounds=15),
        "one-prometheus": lambda: one_prometheus.run(60, 50, seconds=120),
        "query-savings": lambda: queries.savings(100, polls=300),
        "query-cost": lambda: queries.costs(200, rounds=100),
        "applications": lambda: applications.run(1000, 900),
        "hung-agents": lambda: hung_agents.run(190, 10, rounds=20),
    }


def machine() -> str:
    """What the figures depend on, in one line."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    version = libvirt.getVersion()
    return ", ".join(
        (
            f"{os.cpu_count()} × {model[1] if model else platform.machine()}",
            f"{total:.0f} GiB",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            f"libvirt {version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}",
            f"load average {os.getloadavg()[0]:.1f}",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--domains", type=int, default=200, help="real domains, memory allowing (default: 200)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller and shorter, some two minutes"
    )
    parser.add_argument(
        "--only", choices=list(parts(1, quick=False)), action="append", help="repeatable"
    )
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="CHECKOUT",
        help="another version, measured on the same real host in turn; repeatable",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    document = {"machine": machine(), "time": time.time()}
    print(document["machine"], end="\n\n", flush=True)
    tables = []
    chosen = parts(arguments.domains, quick=arguments.quick, against=arguments.against)
    for name, measure in chosen.items():
        if arguments.only is None or name in arguments.only:
            table = measure()
            tables.append(table.document())
            print(table.text(), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document | {"tables": tables}, indent=2) + "\n")


if __name__ == "__main__":
    main()
