"""A `libvirt-exporter serve` on a host of the lab, and what it says and does."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import wait_until

SOURCE = Path(__file__).parents[2] / "exporter"

EVERYTHING: Final = {
    "groups": {"include": ["all"]},
    "fields": {"include": ["libvirt_domain_*"]},
}
"""The configuration that shows all there is."""

Series = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and its labels."""


def series(name: str, /, **labels: str) -> Series:
    """A series by its name and labels."""
    return name, frozenset(labels.items())


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Message
    text: str

    @property
    def samples(self) -> dict[Series, float]:
        """The samples of an exposition in the text format, by series."""
        return {
            series(sample.name, **sample.labels): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    @property
    def domain_samples(self) -> dict[Series, float]:
        """Those samples that are about a domain."""
        return {
            key: value
            for key, value in self.samples.items()
            if key[0].startswith("libvirt_domain_")
        }

    @property
    def domains(self) -> set[str]:
        """The names of the domains that it shows."""
        return {dict(labels)["domain"] for _, labels in self.domain_samples}


@dataclass(frozen=True)
class Call:
    """A call of libvirt's API, as libvirt's own debug log tells it."""

    function: str
    arguments: str

    def number(self, name: str) -> int:
        """The value of a numeric argument."""
        found = re.search(rf"\b{name}=(0x[0-9a-f]+|\d+)", self.arguments)
        assert found, self
        return int(found[1], 0)


class Exporter:
    """A running exporter, started by the constructor; a context manager that ends it."""

    def __init__(
        self,
        uri: str,
        directory: Path,
        configuration: Mapping[str, Any] | None = None,
        *,
        within: Sequence[str] = (),
        traced: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`directory`, of nobody else, takes its files; `within` is a prefix of the command.

        `traced`: keep a log of the calls of libvirt's API, for `calls`. `tls`: what a client
        needs where the configuration has it listen with TLS.
        """
        directory.mkdir(exist_ok=True)
        self.tls = tls
        self._log = directory / "exporter.log"
        self._trace = directory / "libvirt.log"
        self._configuration = directory / "exporter.yml"
        self.configure(configuration or {})
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "LC_ALL": "C.UTF-8"}
        if traced:
            environment["LIBVIRT_LOG_FILTERS"] = "1:libvirt"
            environment["LIBVIRT_LOG_OUTPUTS"] = f"1:file:{self._trace}"
        command = [*within, sys.executable, "-m", "libvirt_exporter", f"--libvirt.uri={uri}"]
        if configuration is not None:
            command.append(f"--config.file={self._configuration}")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--web.listen-address=127.0.0.1:0"],
                cwd="/",
                env=environment,
                stderr=log,
            )
        try:
            wait_until(lambda: bool(self._addresses()), "the exporter listens", 30)
            self.address = self._addresses()[0]
            wait_until(lambda: self.get("/-/ready").status == 200, "the exporter is ready", 30)
        except BaseException:
            self.close()
            raise

    def _addresses(self) -> list[str]:
        assert self._process.poll() is None, self.log
        return re.findall(r" on https?://(\S+?)/", self.log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """End it with SIGTERM and return its exit status; may be called twice."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        """The exporter's process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text(errors="replace")

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write the configuration file, which a reload then reads."""
        self._configuration.write_text(yaml.safe_dump(dict(configuration)))

    def hang_up(self) -> None:
        """Send SIGHUP: read the configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Ask it something over HTTP."""
        url = f"{'http' if self.tls is None else 'https'}://{self.address}{path}"
        request = Request(url, headers=dict(headers or {}), method=method)
        try:
            with urlopen(request, timeout=30, context=self.tls) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def scrape(self, **parameters: str | Sequence[str]) -> Answer:
        """Scrape it; `collect="state"` asks for `collect[]=state`."""
        query = urlencode({f"{key}[]": value for key, value in parameters.items()}, doseq=True)
        return self.get(f"/metrics?{query}")

    def calls(self, *functions: str) -> list[Call]:
        """The calls of these libvirt functions so far, or of all; needs `traced`."""
        found = re.finditer(r": debug : (vir\w+):\d+ : (.*)", self._trace.read_text())
        calls: Iterator[Call] = (Call(match[1], match[2]) for match in found)
        return [call for call in calls if not functions or call.function in functions]
