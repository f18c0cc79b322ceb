"""The fault cases in full length: `python -m tests.faults.soak [CASE …]`, about an hour for all.

Each case has an exporter of its own and, but for `abused` and `away`, a libvirtd. A case that fails
says why, the others still run, and the exit status is 1.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.synthetic import write_host
from tests.faults.abuse import FLOODS, Abused, ended, flooded, hoarded, silent, unfinished
from tests.faults.away import WAYS, away
from tests.faults.cases import churned, endured, frozen, polled, reopened, restarted
from tests.faults.watch import ENDS_WITHIN, WatchedExporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.support.authority import Authority


class Case(NamedTuple):
    """One case: what is done, and the host it is done to."""

    run: Callable[[PrivateLibvirtd, WatchedExporter], None]
    domains: int
    timeout: float = 5.0
    """Seconds that a scrape may take."""


CASES: Final = {
    "polled": Case(lambda daemon, exporter: polled(daemon, exporter, scrapes=200), 40),
    "restarted": Case(lambda daemon, exporter: restarted(daemon, exporter, times=20), 10),
    "reopened": Case(lambda daemon, exporter: reopened(daemon, exporter, times=3000), 5),
    "frozen": Case(lambda daemon, exporter: frozen(daemon, exporter, scrapes=200), 10, 1.0),
    "churned": Case(lambda daemon, exporter: churned(daemon, exporter, seconds=300), 10),
    "endured": Case(lambda _, exporter: endured(exporter, scrapes=10_000), 20),
}


def abused() -> None:
    """Hostile clients at 2,000 domains of the test driver, for minutes."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        node = Path(directory, "node.xml")
        write_host(node, 2000)
        uri = f"test://{node}"
        with Abused(uri, Path(directory, "exporter")) as exporter:
            for name in FLOODS:
                asyncio.run(flooded(exporter, name, 60.0))
            asyncio.run(unfinished(exporter))
            asyncio.run(hoarded(exporter, batches=8, clients=70))
        for name in FLOODS:
            with Abused(uri, Path(directory, "ended")) as exporter:
                seconds = asyncio.run(ended(exporter, name))
                print(f"{name}: ended after {seconds:.2f} s")
                assert seconds < ENDS_WITHIN
        with Abused(uri, Path(directory, "tls"), Authority(Path(directory))) as exporter:
            asyncio.run(silent(exporter))


def libvirt_away() -> None:
    """libvirt is away in each way that it can be."""
    for way in WAYS:
        with tempfile.TemporaryDirectory(prefix="soak-") as directory:
            away(way, Path(directory), scrapes=10_000)


def run(case: Case) -> None:
    """Run one case; raises what it finds wrong."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        PrivateLibvirtd() as daemon,
    ):
        crowd(daemon, case.domains)
        # Inside of the daemon's namespace, as on a host, where QEMU's pid files are seen too.
        with WatchedExporter(
            daemon,
            Path(directory, "exporter"),
            timeout=case.timeout,
            sees_processes=daemon.privileged,
        ) as exporter:
            case.run(daemon, exporter)
            print("  at the end:", exporter.resources)
            exporter.end()


def main(names: Sequence[str]) -> int:
    """Run the named cases, or all."""
    cases: dict[str, Callable[[], None]] = {
        "abused": abused,
        "away": libvirt_away,
        **{name: partial(run, case) for name, case in CASES.items()},
    }
    if unknown := set(names) - cases.keys():
        print(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
        return 2
    failed = 0
    for name in names or cases:
        print(f"{name} …", flush=True)
        started = time.monotonic()
        try:
            cases[name]()
        except Exception:  # noqa: BLE001 - the other cases still run
            traceback.print_exc()
            failed += 1
            continue
        print(f"{name}: well, after {time.monotonic() - started:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
