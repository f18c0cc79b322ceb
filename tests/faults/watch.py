"""An exporter under faults: what it answers, how fast, and what it takes of the machine."""

from __future__ import annotations

import os
import re
import socket
import statistics
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.exporter import Answer, Exporter, Series, series

ENDS_WITHIN: Final = 2.0
"""Seconds after SIGTERM in which the exporter ends, whatever is stuck."""


@dataclass(frozen=True)
class Scrape:
    """One answered scrape."""

    seconds: float
    answer: Answer

    @cached_property
    def samples(self) -> dict[Series, float]:
        """All samples by series."""
        return self.answer.samples

    @cached_property
    def by_domain(self) -> dict[str, set[Series]]:
        """The series of each domain, by its name."""
        found: dict[str, set[Series]] = {}
        for key in self.samples:
            if key[0].startswith("libvirt_domain_"):
                found.setdefault(dict(key[1])["domain"], set()).add(key)
        return found

    def value(self, name: str, **labels: str) -> float:
        """The value of a series with exactly these labels."""
        return self.samples[series(name, **labels)]

    def values(self, name: str) -> dict[str, float]:
        """The values of a metric of one series for each domain, by the domain's name."""
        return {
            dict(labels)["domain"]: value
            for (found, labels), value in self.samples.items()
            if found == name
        }

    @property
    def up(self) -> bool:
        """Whether libvirt answered."""
        return self.value("libvirt_up") == 1

    def lacks(self, whole: Scrape, besides: Collection[str] = ()) -> set[Series]:
        """What the whole one shows of domains, other than these, and this one does not."""
        return {
            key
            for name, keys in whole.by_domain.items()
            if name not in besides
            for key in keys - self.by_domain.get(name, set())
        }


@dataclass(frozen=True)
class Resources:
    """What a process takes of the machine."""

    memory: int
    """Resident bytes."""
    peak_memory: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Resources:
        """Those of a running process."""
        status = Path(f"/proc/{pid}/status").read_text()

        def figure(name: str) -> int:
            found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
            assert found is not None, name
            return int(found[1])

        return cls(
            memory=figure("VmRSS") * 1024,
            peak_memory=figure("VmHWM") * 1024,
            threads=figure("Threads"),
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        )


class WatchedExporter(Exporter):
    """An exporter of which scrapes are timed."""

    def __init__(
        self,
        daemon: PrivateLibvirtd,
        directory: Path,
        *,
        timeout: float = 5.0,
        sees_processes: bool = False,
    ) -> None:
        """`timeout`: seconds for one scrape; `sees_processes`: whether it finds QEMU's pids."""
        super().__init__(
            daemon.read_only_uri,
            directory,
            {"libvirt": {"timeout": f"{timeout:g}s"}, "web": {"max_requests": 200}},
            within=daemon.enter if sees_processes else (),
        )
        self.timeout = timeout

    @property
    def resources(self) -> Resources:
        """What it takes of the machine now."""
        return Resources.of(self.pid)

    def timed(self) -> Scrape:
        """Scrape it once; fails when it is not answered by its deadline."""
        started = time.monotonic()
        answer = self.get("/metrics")
        seconds = time.monotonic() - started
        assert answer.status == 200, answer.text
        # Half a second for a machine that is busy with the tests themselves.
        assert seconds < self.timeout + 0.5, f"answered after {seconds:.2f} s"
        return Scrape(seconds, answer)

    def several(self, number: int) -> list[Scrape]:
        """Scrape it so often, one after the other."""
        return [self.timed() for _ in range(number)]

    def at_once(self, number: int) -> list[bytes]:
        """Have so many clients ask at the same moment; returns the status lines.

        Nothing stands for an answer that the exporter's end cut short.
        """
        host, _, port = self.address.rpartition(":")
        clients: list[socket.socket] = []
        with suppress(ConnectionRefusedError):
            while len(clients) < number:
                clients.append(socket.create_connection((host, int(port)), 30))
        for client in clients:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = []
        for client in clients:
            with client, client.makefile("rb") as answer, suppress(ConnectionResetError):
                answers.append(answer.read().partition(b"\r\n")[0])
        return answers

    def end(self) -> float:
        """SIGTERM: fails unless it ends in time, with status 0; returns the seconds it took."""
        started = time.monotonic()
        assert self.close() == 0, self.log
        seconds = time.monotonic() - started
        assert seconds < ENDS_WITHIN, f"ended after {seconds:.2f} s"
        return seconds


def usual(scrapes: Sequence[Scrape]) -> float:
    """The median of their durations in seconds."""
    return statistics.median(scrape.seconds for scrape in scrapes)
