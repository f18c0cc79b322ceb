"""The demo, run as people run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[3]
WITHIN: Final = 90.0
"""Seconds in which it must be ready, on a busy machine too."""


class Demo:
    """A running demo, and what it has printed."""

    def __init__(self, log: Path, path: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "libvirt_exporter", "demo"],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "exporter"),
                    "PATH": path,
                    # Nobody answers there: what is on the loopback takes no proxy.
                    "http_proxy": "http://127.0.0.1:9",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self._log.read_text()

    def wait(self) -> dict[str, str]:
        """The addresses that it prints once all is ready, by program."""
        wait_until(lambda: "Ctrl-C" in self.text or self.process.poll() is not None, "", WITHIN)
        assert self.process.poll() is None, self.text
        return dict(re.findall(r"^(\w+): +(http://\S+)/$", self.text, re.M))

    def children(self) -> list[int]:
        """The processes that it has started."""
        own = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in own.read_text().split()]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[Demo]]:
    """Those that a test starts; what still runs afterwards is ended."""
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)


def get(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


def test_three_programs_show_an_invented_host_until_ctrl_c(
    demos: list[Demo], tmp_path: Path
) -> None:
    """With rules that are all well, and nothing is left running."""
    demos.append(demo := Demo(tmp_path / "log", os.environ["PATH"]))
    addresses = demo.wait()
    children = demo.children()

    assert addresses.keys() == {"exporter", "Prometheus", "Alertmanager"}
    assert len(children) == 3
    assert "invented" in demo.text
    assert 'domain="build-1"' in get(f"{addresses['exporter']}/metrics")
    query = f"{addresses['Prometheus']}/api/v1/query?query=sum(libvirt_domains)"

    def scraped() -> bool:
        result = json.loads(get(query))["data"]["result"]
        return bool(result) and result[0]["value"][1] == "12"

    wait_until(scraped, "Prometheus has scraped twelve VMs", 30)
    groups = json.loads(get(f"{addresses['Prometheus']}/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 50
    assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []
    assert "LibvirtDomain" in get(f"{addresses['Alertmanager']}/api/v2/status")

    assert demo.end(signal.SIGINT) == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    with pytest.raises(URLError):
        get(addresses["exporter"])


def test_without_prometheus_the_exporter_is_shown_alone(demos: list[Demo], tmp_path: Path) -> None:
    """And what to install is said."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "prometheus").symlink_to(str(shutil.which("true")))
    demos.append(demo := Demo(tmp_path / "log", str(tmp_path / "bin")))

    assert demo.wait().keys() == {"exporter"}
    assert "apt-get install prometheus prometheus-alertmanager" in demo.text
    assert demo.end(signal.SIGTERM) == 0


def test_a_program_that_ends_by_itself_ends_the_demo_and_says_why(
    demos: list[Demo], tmp_path: Path
) -> None:
    """With its last words, and without leaving the others behind."""
    for name in ("prometheus", "alertmanager"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho no such luck\n")
        program.chmod(0o755)
    demos.append(demo := Demo(tmp_path / "log", str(tmp_path / "bin")))

    assert demo.process.wait(timeout=60) == 1
    assert "Alertmanager ended" in demo.text
    assert "no such luck" in demo.text
