"""The TLS section of docs/deployment.md: its commands and files, with a real Prometheus."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.lab.exporter import SOURCE
from tests.lab.prometheus import Prometheus
from tests.lab.servers import free_address, server
from tests.support.waiting import wait_until

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "deployment.md"
DIRECTORIES: Final = (
    *("/etc/libvirt-exporter", "/run/credentials/libvirt-exporter.service", "/etc/prometheus"),
)
"""Where the document has the files of one host and of another."""
HOST: Final = "kvm1.example.com:9177"


def blocks(kind: str) -> list[str]:
    """The code blocks of the section in this language, in order."""
    section = re.split(r"^## ", DOCUMENT.read_text(), flags=re.M)
    [text] = (part for part in section if part.startswith("TLS\n"))
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)


def here(text: str, directory: Path) -> str:
    """A file of the document with its paths in this directory."""
    for each in DIRECTORIES:
        text = text.replace(each, str(directory))
    return text


def curl(directory: Path, address: str, command: str) -> subprocess.CompletedProcess[str]:
    """The outcome of the document's curl, its host being the exporter at this address."""
    [head, rest] = command.split(" ", 1)
    mapped = f"{head} --connect-to {HOST}:{address} {rest}"
    return subprocess.run(
        mapped, shell=True, cwd=directory, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the commands of the document that make certificates were executed."""
    directory = tmp_path_factory.mktemp("tls")
    commands, _ = blocks("sh")
    subprocess.run(["sh", "-euc", commands], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def address(certified: Path) -> Iterator[str]:
    """The address of an exporter with the web configuration of the document."""
    web, _ = blocks("yaml")
    file = certified / "web-config.yml"
    file.write_text(here(web, certified))
    found = free_address()
    with (certified / "exporter.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "libvirt_exporter", "--libvirt.uri=test:///default"),
                *(f"--web.listen-address={found}", f"--web.config.file={file}"),
            ],
            env={"PYTHONPATH": str(SOURCE)},
            stderr=log,
        )
    try:
        _, look = blocks("sh")
        wait_until(lambda: curl(certified, found, look).returncode == 0, "it answers curl", 60)
        yield found
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_the_command_of_the_document_shows_the_metrics(certified: Path, address: str) -> None:
    """And nothing without the certificate of Prometheus."""
    _, look = blocks("sh")
    assert "\nlibvirt_up 1.0\n" in curl(certified, address, look).stdout

    uncertified = look.replace("--cert prometheus.crt --key prometheus.key", "")
    assert uncertified != look
    refused = curl(certified, address, uncertified)
    assert refused.returncode != 0
    assert refused.stdout == ""
    another = look.replace(
        "--cert prometheus.crt --key prometheus.key", "--cert tls.crt --key tls.key"
    )
    assert "libvirt_up" not in curl(certified, address, another).stdout


def test_prometheus_scrapes_with_the_configuration_of_the_document(
    certified: Path, address: str
) -> None:
    """Its target is up; the same without a client certificate is down."""
    _, text = blocks("yaml")
    configuration = yaml.safe_load(here(text, certified).replace(HOST, address))
    [job] = configuration["scrape_configs"]
    without = {**job, "job_name": "without"}
    keep = ("ca_file", "server_name")
    without["tls_config"] = {key: job["tls_config"][key] for key in keep}
    configuration["scrape_configs"].append(without)
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    file = certified / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    listening = free_address()
    with server(
        listening,
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={certified / 'data'}",
        f"--web.listen-address={listening}",
        log=certified / "prometheus.log",
    ):
        prometheus = Prometheus(listening)
        wait_until(lambda: prometheus.value('up{job="libvirt"}') == 1, "it is scraped", 60)
        assert prometheus.value('libvirt_up{job="libvirt"}') == 1
        wait_until(lambda: prometheus.value('up{job="without"}') == 0, "it is refused", 60)
        assert prometheus.target("libvirt")["lastError"] == ""
        assert "certificate" in prometheus.target("without")["lastError"]
