"""What one Prometheus of this machine's size takes: a real one, on hosts that are made up.

A process of its own answers for many hosts with expositions that the exporter's renderer made, in
which every number of every VM grows from one scrape to the next. Nothing of libvirt is in it.

As a program, `python -m tests.bench.one_prometheus PORT HOSTS DOMAINS`, it is that process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

import yaml
from prometheus_client import CollectorRegistry

from libvirt_exporter.render.exposition import OPENMETRICS, TEXT, expose
from libvirt_exporter.render.selection import Selection, groups_named
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer
from tests.bench.figures import Column, Figure, Table
from tests.bench.processes import ROOT, cpu_seconds, memory, series_in
from tests.bench.synthetic import samples
from tests.lab.servers import free_address, server
from tests.support.waiting import wait_until

BODIES: Final = 12
"""Expositions made beforehand, given one after the other and then again from the first."""
_APPENDED: Final = "prometheus_tsdb_head_samples_appended_total"
EVERY: Final = 10.0
"""Seconds from one scrape of a host to the next."""

COLUMNS: Final = (
    Column("hosts", "hosts"),
    Column("domains", "VMs"),
    Column("series", "series"),
    Column("body_bytes", "kB/scrape", 1e-3),
    Column("compressed_bytes", "gzip kB", 1e-3),
    Column("cpu_per_sample", "CPU µs/sample", 1e6),
    Column("memory_per_series", "RSS kB/series", 1e-3),
    Column("disk_per_sample", "WAL bytes/sample"),
)


def run(hosts: int, domains: int, seconds: float) -> Table:
    """Let a Prometheus scrape so many hosts of so many VMs for so long, once all are known."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with (
            _made_up(hosts, domains) as (address, body, compressed),
            _prometheus(directory, address) as (prometheus, pid),
        ):
            return _measured(prometheus, pid, directory, hosts, domains, seconds, body, compressed)


def _measured(
    prometheus: str,
    pid: int,
    directory: Path,
    hosts: int,
    domains: int,
    seconds: float,
    body: int,
    compressed: int,
) -> Table:
    wait_until(lambda: _up(prometheus) == hosts, "all are scraped", 600)
    # The first samples of a series cost more than all later ones.
    time.sleep(2 * EVERY)
    samples_before, cpu_before = _own(prometheus, _APPENDED), cpu_seconds(pid)
    written_before = _size(directory / "data" / "wal")
    time.sleep(seconds)
    appended = _own(prometheus, _APPENDED) - samples_before
    cpu = cpu_seconds(pid) - cpu_before
    written = _size(directory / "data" / "wal") - written_before
    series = _own(prometheus, "prometheus_tsdb_head_series")
    resident = memory(pid).now
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    row: list[Figure] = [
        hosts,
        hosts * domains,
        series,
        body,
        compressed,
        cpu / appended,
        resident / series,
        written / appended,
    ]
    by_memory = 0.5 * total / (resident / series)
    by_cpu = 0.5 * (os.cpu_count() or 1) * 30 / (cpu / appended)
    return Table(
        "one-prometheus",
        f"A real Prometheus, {seconds:g} s at a scrape interval of {EVERY:g} s",
        COLUMNS,
        [row],
        [
            f"half of this machine's memory holds {by_memory / 1e6:.1f} million series",
            f"half of its CPUs take {by_cpu / 1e6:.1f} million series at an interval of 30 s",
            "queries and rules come on top; blocks on disk are smaller than the WAL",
        ],
    )


@contextlib.contextmanager
def _made_up(hosts: int, domains: int) -> Iterator[tuple[str, int, int]]:
    """Serve the hosts; the address, and the bytes of a scrape, plain and compressed."""
    address = free_address()
    command = [sys.executable, "-m", "tests.bench.one_prometheus"]
    port = address.rpartition(":")[2]
    process = subprocess.Popen(
        [*command, port, str(hosts), str(domains)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "exporter")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        sizes = json.loads(process.stdout.readline())
        yield address, sizes["body"], sizes["compressed"]
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _prometheus(directory: Path, hosts: str) -> Iterator[tuple[str, int]]:
    """A Prometheus that finds the hosts by service discovery; its address and pid."""
    address = free_address()
    job = {
        "job_name": "libvirt",
        "scrape_interval": f"{EVERY:g}s",
        "scrape_timeout": f"{EVERY:g}s",
        "http_sd_configs": [{"url": f"http://{hosts}/api/v1/targets"}],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    flags = [
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    with server(address, "prometheus", *flags, log=directory / "log"):
        yield address, _pid_of(address)


def _pid_of(address: str) -> int:
    """The process that was started with this address to listen on."""
    wanted = f"--web.listen-address={address}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
    raise LookupError(address)


def _up(prometheus: str) -> float:
    """Hosts whose last scrape succeeded."""
    expression = quote('count(up{job="libvirt"} == 1)')
    with urlopen(f"http://{prometheus}/api/v1/query?query={expression}") as answer:
        result = json.load(answer)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def _own(prometheus: str, name: str) -> float:
    """A metric of Prometheus itself, summed over its labels."""
    with urlopen(f"http://{prometheus}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    starts = (f"{name} ", f"{name}{{")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(starts))


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


# The made-up hosts


def _expositions(domains: int, *, as_openmetrics: bool) -> list[bytes]:
    """So many compressed expositions of one host, each with other numbers."""
    renderer = TextRenderer(Selection(groups_named(["default"])), Identity(("domain", "uuid")))
    return [
        expose(
            sample,
            renderer.render(sample.domains, sample.stats),
            CollectorRegistry(),
            as_openmetrics=as_openmetrics,
            compress=True,
        ).body
        for sample in itertools.islice(samples(domains), BODIES)
    ]


async def _serve(port: int, hosts: int, domains: int) -> None:
    text, openmetrics = (_expositions(domains, as_openmetrics=chosen) for chosen in (False, True))
    targets = json.dumps(
        [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {
                    "__metrics_path__": "/probe",
                    "__param_target": f"host{number:05}",
                    "instance": f"host{number:05}",
                },
            }
            for number in range(hosts)
        ]
    ).encode()
    turns: dict[str, int] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                address = urlsplit(head.split(" ")[1])
                if address.path == "/probe":
                    alias = parse_qs(address.query)["target"][0]
                    turn = turns[alias] = turns.get(alias, -1) + 1
                    wants = "openmetrics" in head
                    body = (openmetrics if wants else text)[turn % BODIES]
                    kind = f"{OPENMETRICS if wants else TEXT}\r\nContent-Encoding: gzip"
                else:
                    body, kind = targets, "application/json"
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()

    served = await asyncio.start_server(answer, "127.0.0.1", port)
    plain = gzip.decompress(text[0])
    sizes = {"body": len(plain), "compressed": len(text[0]), "series": series_in(plain)}
    print(json.dumps(sizes), flush=True)
    await served.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(*map(int, sys.argv[1:4])))
