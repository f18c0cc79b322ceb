"""What the renderer costs, in a process that does nothing else.

As a program, `python -m tests.bench.rendering SIZE ROUNDS`, it measures one size and writes JSON.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from libvirt_exporter.model import HostSample
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.scrape import Families
from libvirt_exporter.render.selection import Selection, groups_named
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer
from tests.bench.figures import Column, Spread, Table
from tests.bench.processes import ROOT, memory
from tests.bench.synthetic import samples
from tests.support.collector import domain_families

P = ParamSpec("P")
T = TypeVar("T")

ORACLE_LIMIT: Final = 2000
"""Domains up to which prometheus_client is measured too."""

COLUMNS: Final = (
    Column("domains", "domains"),
    Column("series", "series"),
    Column("first_seconds", "first ms", 1e3),
    Column("unchanged_seconds", "unchanged ms", 1e3),
    Column("steady_seconds", "steady ms", 1e3),
    Column("seconds_per_series", "µs/series", 1e6),
    Column("body_seconds", "body ms", 1e3),
    Column("gzip_seconds", "gzip ms", 1e3),
    Column("bytes", "MB", 1e-6),
    Column("gzip_bytes", "gzip MB", 1e-6),
    Column("memory_bytes", "memory MiB", 1 / 2**20),
    Column("prometheus_client_seconds", "prometheus_client ms", 1e3),
)


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Measure each size in a process of its own."""
    rows = []
    for size in sizes:
        found = subprocess.run(
            [sys.executable, "-m", "tests.bench.rendering", str(size), str(rounds)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT / "exporter")},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        figures = json.loads(found.stdout)
        rows.append(
            [
                Spread(**value) if isinstance(value, dict) else value
                for value in (figures[column.name] for column in COLUMNS)
            ]
        )
    return Table(
        "rendering",
        "Rendering, in process: QEMU-like domains of 65 values, default groups; CPU time",
        COLUMNS,
        rows,
        [
            "goal: steady ≤ 1 µs per series",
            "first compiles the plans; steady: the same domains, every number changed",
            "unchanged: the same domains, no number changed",
            "body: steady, and the complete uncompressed body; gzip: compressing that, level 1",
            "memory: what the peak of rendering, body and gzip adds to the process",
            "prometheus_client: its generate_latest alone, families made beforehand",
        ],
    )


def measure(size: int, rounds: int) -> dict[str, Any]:
    """The figures of one size, by the names of COLUMNS."""
    selection = Selection(groups_named(["default"]))
    renderer = TextRenderer(selection)
    host = samples(size)
    taken = list(islice(host, 3))
    gc.collect()
    before = memory(os.getpid()).now
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    first, _ = _timed(renderer.render, taken[0].domains)
    unchanged, steady, whole, compressing = [], [], [], []
    body = compressed = b""
    for turn in range(rounds):
        sample = taken[(turn + 1) % len(taken)]
        seconds, domains = _timed(renderer.render, sample.domains)
        steady.append(seconds)
        unchanged.append(_timed(renderer.render, sample.domains)[0])
        more, exposition = _timed(expose, sample, domains)
        body = exposition.body
        whole.append(seconds + more)
        seconds, compressed = _timed(gzip.compress, body, 1)
        compressing.append(seconds)
    added = memory(os.getpid()).peak - before
    series = sum(lines.count(b"\n") for _, lines in domains.families)
    return {
        "domains": size,
        "series": series,
        "first_seconds": first,
        "unchanged_seconds": Spread.of(unchanged)._asdict(),
        "steady_seconds": Spread.of(steady)._asdict(),
        "seconds_per_series": Spread.of(seconds / series for seconds in steady)._asdict(),
        "body_seconds": Spread.of(whole)._asdict(),
        "gzip_seconds": Spread.of(compressing)._asdict(),
        "bytes": len(body),
        "gzip_bytes": len(compressed),
        "memory_bytes": added,
        "prometheus_client_seconds": _oracle(taken[0], selection) if size <= ORACLE_LIMIT else None,
    }


def _oracle(sample: HostSample, selection: Selection) -> dict[str, float]:
    families, _ = domain_families(sample.domains, selection, Identity())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(families))
    return Spread.of(_timed(generate_latest, registry)[0] for _ in range(3))._asdict()


def _timed(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> tuple[float, T]:
    """CPU seconds, and the result."""
    started = time.process_time()
    result = work(*arguments, **named)
    return time.process_time() - started, result


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
