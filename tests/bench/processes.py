"""Processes that are measured from outside: CPU, memory, and answers over HTTP."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

UNIT = ROOT / "deploy/systemd/libvirt-exporter.service"

AS_A_SERVICE = dict(
    variable.split("=", 1)
    for line in UNIT.read_text().splitlines()
    if line.startswith("Environment=")
    for variable in line.removeprefix("Environment=").split()
)
"""Environment variables that the service's unit sets."""

STARTS_WITHIN = 120.0
"""Seconds until a server must answer; ten thousand domains of the test driver take some."""

SETTLING = 0.02
"""Seconds after an answer that still count: what a server clears up once it has answered."""


class Cost(NamedTuple):
    """What one request took."""

    wall: float
    """Seconds."""
    client_cpu: float
    """CPU seconds of the process that asked libvirt."""
    daemon_cpu: float
    """CPU seconds of libvirtd; 0 without one."""


class Memory(NamedTuple):
    """Resident memory in bytes."""

    now: int
    peak: int
    """The most it ever was."""
    proportional: int
    """With each shared page divided by those who share it (PSS)."""
    unique: int
    """What would be free without the process (USS)."""


class Answer(NamedTuple):
    """What a client brought."""

    sent: int
    """Bytes of the body as it was sent; 0 where nothing is sent."""
    series: Callable[[], int]
    """Counts the series, which is not to be part of what is measured."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, ended threads included: clock_getcpuclockid(3), which Linux lets
    anybody read for any process; /proc/PID/stat has the same in steps of 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)


def memory(pid: int) -> Memory:
    """Resident memory of a process, from /proc/PID/status and smaps_rollup."""
    text = "".join(Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "smaps_rollup"))
    sizes = {
        name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)
    }
    unique = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(sizes["VmRSS"], sizes["VmHWM"], sizes["Pss"], unique)


def series_in(body: bytes, *, compressed: bool = False) -> int:
    """Series of an exposition."""
    lines = (gzip.decompress(body) if compressed else body).splitlines()
    return sum(bool(line) and not line.startswith(b"#") for line in lines)


@contextlib.contextmanager
def measured(client: int, daemon: int | None) -> Iterator[list[Cost]]:
    """Measure the block as one request; what it cost is appended to the list it gets."""
    costs: list[Cost] = []
    cpu_before = cpu_seconds(client)
    daemon_before = cpu_seconds(daemon) if daemon else 0.0
    started = time.perf_counter()
    yield costs
    wall = time.perf_counter() - started
    time.sleep(SETTLING)
    daemon_cpu = cpu_seconds(daemon) - daemon_before if daemon else 0.0
    costs.append(Cost(wall, cpu_seconds(client) - cpu_before, daemon_cpu))


class Server:
    """A process that answers `GET /metrics` on a loopback port; a context manager that ends it."""

    def __init__(self, command: Sequence[str], *, address_flag: str, checkout: Path = ROOT) -> None:
        """Start `command` with a free address and wait until it answers.

        `checkout`: where a Python program finds this project's packages.
        """
        port = _free_port()
        began = time.perf_counter()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [*command, f"{address_flag}=127.0.0.1:{port}"],
            env=os.environ
            | AS_A_SERVICE
            | {"PYTHONPATH": f"{checkout / 'exporter'}{os.pathsep}{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STARTS_WITHIN)
        try:
            self._wait_for_answer(command[0])
        except BaseException:
            self.close()
            raise
        self.started_within = time.perf_counter() - began
        """Seconds from the start of the process to its first answer."""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_answer(self, name: str) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                self.scrape()
            except (ConnectionError, http.client.HTTPException):
                if self._process.poll() is not None:
                    self._log.seek(0)
                    raise RuntimeError(f"{name}: {self._log.read().decode()}") from None
                if time.monotonic() > deadline:
                    raise
                self._connection.close()
                time.sleep(0.05)
            else:
                return

    def scrape(self, *, compressed: bool = False) -> Answer:
        """Ask for the metrics once."""
        headers = {
            "Accept-Encoding": "gzip" if compressed else "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": str(STARTS_WITHIN),
        }
        self._connection.request("GET", "/metrics", headers=headers)
        with self._connection.getresponse() as response:
            body = response.read()
            if response.status != http.client.OK:
                raise RuntimeError(f"/metrics: {response.status} {response.reason}")
            is_gzip = response.headers["Content-Encoding"] == "gzip"
        return Answer(len(body), partial(series_in, body, compressed=is_gzip))

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def exporter(
    uri: str,
    within: Sequence[str] = (),
    *,
    module: str = "libvirt_exporter",
    checkout: Path = ROOT,
) -> Server:
    """The exporter of a checkout, with its defaults; `within`: a prefix of its command.

    `module`: what starts it.
    """
    command = [sys.executable, "-m", module, "serve", f"--libvirt.uri={uri}"]
    return Server([*within, *command], address_flag="--web.listen-address", checkout=checkout)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
