"""How long the dashboards' queries take over 10,000 invented VMs: `make bench-dashboards`.

A Prometheus is given an hour of series, a sample a minute, of 50 hosts with 200 VMs each; promtool
computes what the recording rules would have recorded. Every query of every panel, variable and
annotation is then asked as Grafana asks it, and each recorded figure of VMs beside its expression.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from libvirt_exporter.model import STATES
from tests.grafana import Query, interpolated, other_queries, panel_queries
from tests.lab.prometheus import Prometheus
from tests.lab.servers import free_address, server
from tests.promql import RULES, recorded_rules

STEP: Final = 60
"""Seconds between samples, and between the points of a graph."""
LIMIT: Final = 1.0
"""Seconds that a query may take."""

GIB: Final = 2**30


class Series(NamedTuple):
    """A series, and by how much it grows in a step; 0 for a gauge that only wavers."""

    name: str
    labels: str
    value: float
    growth: float


def of_host(host: int) -> Iterator[Series]:
    """The series of a host without its VMs."""
    target = f'job="libvirt",instance="host{host}:9177"'
    yield Series("up", target, 1, 0)
    yield Series("libvirt_up", target, 1, 0)
    yield Series("libvirt_node_cpus", target, 128, 0)
    yield Series("libvirt_scrape_duration_seconds", target, 1.5, 0)
    for name, gibibytes in (("", 1024), ("_free", 200), ("_buffers", 2), ("_cached", 60)):
        yield Series(f"libvirt_node_memory{name}_bytes", target, gibibytes * GIB, 0)
    for mode in ("user", "kernel", "idle", "iowait"):
        yield Series("libvirt_node_cpu_seconds_total", f'{target},mode="{mode}"', 1e6, 1000)
    for state in STATES:
        count = 200 if state == "running" else 0
        yield Series("libvirt_domains", f'{target},state="{state}"', count, 0)
    pool = f'{target},pool="default"'
    yield Series("libvirt_storage_pool_info", f'{pool},pool_type="dir"', 1, 0)
    for what, gibibytes in (("capacity", 9000), ("available", 2000), ("allocation", 7000)):
        yield Series(f"libvirt_storage_pool_{what}_bytes", pool, gibibytes * GIB, 0)
    for what in ("size", "available"):
        yield Series(f"libvirt_storage_pool_filesystem_{what}_bytes", pool, 5000 * GIB, 0)


def of_vm(host: int, vm: int) -> Iterator[Series]:
    """The series of a VM that the dashboards ask for."""
    chance = random.Random(host * 1000 + vm)
    uuid = f"{host:08x}-0000-4000-8000-{vm:012x}"
    own = (
        f'job="libvirt",instance="host{host}:9177",domain="instance-{host:04x}{vm:04x}",'
        f'uuid="{uuid}"'
    )

    def counter(name: str, each_second: float, labels: str = "") -> Series:
        growth = each_second * STEP * chance.random() ** 3
        return Series(f"libvirt_domain_{name}_total", own + labels, 1e6, growth)

    def gauge(name: str, value: float, labels: str = "") -> Series:
        return Series(f"libvirt_domain_{name}", own + labels, value, 0)

    project = chance.randrange(300)
    yield gauge(
        "openstack_info",
        1,
        f',instance_name="vm-{host}-{vm}",flavor="m1",project_id="p{project}",'
        f'project_name="project {project}"',
    )
    for state in STATES:
        yield gauge("state", int(state == "running"), f',state="{state}"')
    yield gauge("state_reason", 1, ',state="running",reason="booted"')
    yield gauge("info", 1, ',type="kvm",os_type="hvm",machine="q35"')
    yield gauge("vcpus_current", 4)
    yield counter("cpu_seconds", 4)
    for vcpu in range(4):
        yield counter("vcpu_seconds", 1, f',vcpu="{vcpu}"')
        yield counter("vcpu_delay_seconds", 0.2, f',vcpu="{vcpu}"')
    for what in ("maximum", "current", "available", "usable", "unused", "disk_caches", "rss"):
        yield gauge(f"balloon_{what}_bytes", 8 * GIB * chance.random())
    yield gauge("monitor_responsive", 1)
    yield gauge("last_event_timestamp_seconds", time.time() - 300, ',event="started"')
    for device in (',device="vda"', ',device="vdb"'):
        for name in ("reads_completed", "writes_completed", "flushes_completed"):
            yield counter(f"block_{name}", 100, device)
        for name in ("read_time_seconds", "write_time_seconds", "flush_time_seconds"):
            yield counter(f"block_{name}", 1, device)
        for name in ("read_bytes", "written_bytes"):
            yield counter(f"block_{name}", 1e6, device)
        for name in ("allocation_bytes", "physical_bytes", "capacity_bytes"):
            yield gauge(f"block_{name}", 100 * GIB * chance.random(), device)
        yield gauge("block_backing_chain_depth", 1 + chance.randrange(4), device)
    for way in ("receive", "transmit"):
        for name in ("bytes", "packets", "drop", "errors"):
            yield counter(f"interface_{way}_{name}", 1e5, ',device="tap0"')


def write(file: Path, hosts: int, vms: int, until: int, steps: int) -> int:
    """Write the samples as OpenMetrics text; returns how many series there are."""
    count = 0
    with file.open("w") as text:
        for host in range(hosts):
            every = [*of_host(host), *(series for vm in range(vms) for series in of_vm(host, vm))]
            count += len(every)
            for name, labels, value, growth in every:
                start = until - (steps - 1) * STEP
                text.write(
                    "".join(
                        f"{name}{{{labels}}} {value + growth * step:.6g} {start + step * STEP}\n"
                        for step in range(steps)
                    )
                )
        text.write("# EOF\n")
    return count


@contextlib.contextmanager
def prometheus(directory: Path) -> Iterator[tuple[Prometheus, str]]:
    """A Prometheus over the blocks of the directory, which scrapes nothing, and its address."""
    address = free_address()
    (directory / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": []}))
    with server(
        address,
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
        "--storage.tsdb.retention.time=10y",
        log=directory / "prometheus.log",
    ):
        yield Prometheus(address), address


def promtool(*arguments: object) -> None:
    """Run promtool; raises CalledProcessError."""
    subprocess.run(["promtool", "tsdb", *map(str, arguments)], check=True, capture_output=True)


class Clock:
    """Tells the processor time of a Prometheus, which other programs do not lengthen."""

    def __init__(self, address: str) -> None:
        port = address.rpartition(":")[2]
        [self._pid] = (
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if f"--web.listen-address=127.0.0.1:{port}\0".encode() in _read(path)
        )

    def __call__(self) -> float:
        """Seconds so far, in all threads."""
        fields = _read(Path(f"/proc/{self._pid}/stat")).rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def took(
    asked: Prometheus, clock: Clock, query: str, until: int, seconds: int, *, instant: bool
) -> float:
    """Seconds of the quicker of two answers, by the lesser of wall and processor time; infinite
    without an answer."""
    parameters: dict[str, Any] = {"query": query}
    if instant:
        path, parameters["time"] = "query", str(until)
    else:
        path = "query_range"
        parameters |= {"start": str(until - seconds), "end": str(until), "step": str(STEP)}
    times = []
    for _ in range(2):
        began, used = time.perf_counter(), clock()
        try:
            asked.get(path, **parameters)
        except TimeoutError:
            return math.inf
        times += [time.perf_counter() - began, clock() - used]
    return min(times)


def as_asked(query: Query, vm: str, host: str, minutes: int) -> str:
    """The query with the page of one VM or host, else with all of them."""
    values = {}
    if query.dashboard == "libvirt-vm.json":
        values = {"uuid": vm}
    if query.dashboard == "libvirt-host.json":
        values = {"instance": host}
    return interpolated(query.expression, time_range=f"{minutes}m", values=values)


def unrecorded(expression: str) -> str:
    """The expression with all that is recorded in its place."""
    for record, recorded in recorded_rules().items():
        expression = expression.replace(record, f"({recorded})")
    return expression if ":" not in re.sub(r"\[.*?\]", "", expression) else unrecorded(expression)


def report(rows: Iterable[tuple[float, str]], title: str, most: int = 15) -> None:
    """Print the slowest."""
    print(f"\n{title}")
    for seconds, what in sorted(rows, reverse=True)[:most]:
        print(f"{seconds:8.3f} s  {what}")


def main() -> int:
    """Measure; 1 when a query takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--vms", type=int, default=200, help="of each host")
    parser.add_argument("--minutes", type=int, default=60, help="of the time range")
    arguments = parser.parse_args()
    minutes = arguments.minutes
    steps = minutes + 6
    until = int(time.time()) // 7200 * 7200 - STEP

    with tempfile.TemporaryDirectory(prefix="dashboards-", dir="/var/tmp") as name:
        directory = Path(name)
        (directory / "data").mkdir()
        began = time.monotonic()
        text = directory / "samples.txt"
        count = write(text, arguments.hosts, arguments.vms, until, steps)
        promtool("create-blocks-from", "openmetrics", text, directory / "data")
        text.unlink()
        print(f"{count} series, {count * steps} samples: {time.monotonic() - began:.0f} s")

        began = time.monotonic()
        with prometheus(directory) as (_, address):
            promtool(
                *(
                    "create-blocks-from",
                    "rules",
                    f"--start={until - 60 * minutes}",
                    f"--end={until}",
                ),
                *(f"--eval-interval={STEP}s", f"--output-dir={directory / 'data'}"),
                f"--url=http://{address}",
                RULES / "libvirt-recording.yml",
            )
        print(f"recorded: {time.monotonic() - began:.0f} s")

        with prometheus(directory) as (asked, address):
            clock = Clock(address)
            vm = "00000001-0000-4000-8000-000000000001"
            rows = [
                (
                    took(
                        asked,
                        clock,
                        as_asked(query, vm, "host1:9177", minutes),
                        until,
                        60 * minutes,
                        instant=query.instant or query.place.startswith("variable"),
                    ),
                    f"{query.dashboard}: {query.place}",
                )
                for query in (*panel_queries(), *other_queries())
            ]
            report(rows, "queries")
            ratios = []
            for record, expression in recorded_rules().items():
                if record.startswith(("domain:", "device:")) and not record.endswith(":info"):
                    recorded, raw = (
                        took(asked, clock, f"topk(10, {each})", until, 60 * minutes, instant=False)
                        for each in (record, f"({unrecorded(expression)})")
                    )
                    ratios.append(
                        (
                            raw / max(recorded, 0.001),
                            f"{record}: {recorded:.3f} s, without {raw:.3f} s",
                        )
                    )
            print("\nwithout the recording rules, times as long")
            for ratio, what in sorted(ratios, reverse=True):
                print(f"{ratio:8.1f}    {what}")
    slow = [row for row in rows if row[0] > LIMIT]
    print(f"\n{len(rows)} queries, {len(slow)} over {LIMIT:g} s")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
