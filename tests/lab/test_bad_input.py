"""What operators and hosts get wrong: it says what, where and what to do; nothing else is lost."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import libvirt
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.render.selection import Selection, groups_named
from tests.lab.daemon import SESSION_USER, PrivateLibvirtd
from tests.lab.domains import paused_domain
from tests.lab.exporter import SOURCE, Exporter, series
from tests.support.collector import SampleCollector
from tests.support.waiting import wait_until

MISTAKES: Final = """\
libvirt:
  url: qemu:///system
  timeout: soon
group:
  include: [default]
groups:
  include: [default, ballon]
fields:
  exclude: [libvirt_domain_cpu_second_total]
"""

AS_SOMEBODY_ELSE: Final = (
    [
        "setpriv",
        f"--reuid={SESSION_USER}",
        f"--regid={SESSION_USER}",
        "--clear-groups",
    ]
    if os.geteuid() == 0
    else []
)
"""Root would be let in everywhere; everybody else is kept out by the mode alone."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The exporter's command until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "libvirt_exporter", *arguments],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config.file"]])
def test_every_mistake_of_a_configuration_is_named_at_once(
    tmp_path: Path, command: list[str]
) -> None:
    """File, line and the nearest valid name of each, exit status 1, and nothing is started."""
    file = tmp_path / "exporter.yml"
    file.write_text(MISTAKES)
    ended = run(*command, str(file))
    assert ended.returncode == 1
    assert ended.stdout == ""
    for line, wrong, right in (
        (2, "url", "uri"),
        (3, "timeout", "such as 9s"),
        (4, "group", "groups"),
        (7, "ballon", "balloon"),
        (9, "libvirt_domain_cpu_second_total", "libvirt_domain_cpu_seconds_total"),
    ):
        (message,) = (text for text in ended.stderr.splitlines() if f"{file}:{line}" in text)
        assert wrong in message
        assert right in message.split(wrong, 1)[1]


def test_a_port_in_use_ends_it(tmp_path: Path) -> None:
    """The address, why, and what to do; exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("--libvirt.uri=test:///default", f"--web.listen-address={address}")
    assert ended.returncode == 1
    (message,) = ended.stderr.splitlines()
    assert address in message
    assert "in use" in message
    assert "choose another port" in message


def away(exporter: Exporter) -> str:
    """What the exporter logs of a libvirt that is away, after it was seen to say so."""
    answer = exporter.scrape()
    assert answer.status == 200
    assert answer.samples[series("libvirt_up")] == 0
    assert answer.domains == set()
    assert any(name == "libvirt_exporter_build_info" for name, _ in answer.samples)
    assert exporter.get("/-/healthy").status == 200
    (message,) = (line for line in exporter.log.splitlines() if "level=warn" in line)
    return message


def test_an_unreachable_libvirt_is_explained(tmp_path: Path) -> None:
    """`serve` goes on and says up 0; `scrape` says the same and fails; both say why, once."""
    missing = tmp_path / "nobody-here"
    uri = f"qemu+unix:///system?socket={missing}"
    with Exporter(uri, tmp_path / "exporter") as exporter:
        away(exporter)
        message = away(exporter)
    ended = run("scrape", f"--libvirt.uri={uri}")
    assert ended.returncode == 1
    assert "libvirt_up 0.0\n" in ended.stdout
    for text in (message, ended.stderr):
        assert str(missing) in text
        assert "No such file or directory" in text
        assert "systemctl status libvirtd virtqemud" in text
        assert "Traceback" not in text


def test_a_uri_of_no_driver_is_explained(libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """A URI that the daemon has no driver for is said to be wrong, with one that is right."""
    uri = libvirtd.read_only_uri.replace("qemu", "novel", 1)
    with Exporter(uri, tmp_path / "exporter") as exporter:
        message = away(exporter)
    assert uri in message
    assert "for example qemu:///system" in message


def test_a_denied_socket_is_explained(fresh_libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """A directory that nobody may enter: what is denied, and what ought to be open."""
    fresh_libvirtd.socket_directory.chmod(0)
    with Exporter(
        fresh_libvirtd.read_only_uri, tmp_path / "exporter", within=AS_SOMEBODY_ELSE
    ) as exporter:
        message = away(exporter)
        fresh_libvirtd.socket_directory.chmod(0o755)
        wait_until(
            lambda: exporter.scrape().samples[series("libvirt_up")] == 1, "it is let in again"
        )
    assert str(fresh_libvirtd.socket_directory) in message
    assert "Permission denied" in message
    assert "check its mode, its directory" in message


@pytest.fixture(scope="module")
def stateless(
    libvirtd: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    """An exporter that was configured without the balloon group."""
    configuration = {"groups": {"exclude": ["balloon"]}}
    directory = tmp_path_factory.mktemp("exporter")
    with Exporter(libvirtd.read_only_uri, directory, configuration) as exporter:
        yield exporter


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"collect": "blok"}, "collect[]: unknown group blok"),
        ({"exclude": "blok"}, "exclude[]: unknown group blok"),
        ({"collect": "balloon"}, "add it to groups.include"),
        ({"collect": "block", "exclude": "vcpu"}, "collect[] and exclude[]"),
    ],
)
def test_a_bad_request_is_explained(
    stateless: Exporter, parameters: dict[str, str], message: str
) -> None:
    """400 with what is wrong and what is possible; the next scrape is as good as ever."""
    answer = stateless.scrape(**parameters)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert message in answer.text
    assert len(answer.text.splitlines()) == 2
    assert stateless.scrape().samples[series("libvirt_up")] == 1


def test_xml_that_cannot_be_parsed_costs_its_own_domain_its_info_only(
    fresh_libvirtd: PrivateLibvirtd, caplog: pytest.LogCaptureFixture
) -> None:
    """Its statistics stay, so does everything of the others; one line in the log says so.

    libvirt itself cannot be made to write such XML, so the binding is made to return it.
    """
    bad, good = (paused_domain(fresh_libvirtd, name) for name in ("bad", "good"))

    def connect(uri: str) -> libvirt.virConnect:
        connection = libvirt.openReadOnly(uri)
        look_up = connection.lookupByUUIDString

        def looked_up(uuid: str) -> libvirt.virDomain:
            domain: Any = look_up(uuid)
            if uuid == bad.UUIDString():
                domain.XMLDesc = lambda _flags=0: "<domain><name>bad</name>"
            return domain  # type: ignore[no-any-return]

        connection.lookupByUUIDString = looked_up  # type: ignore[assignment]
        return connection

    selection = Selection(groups_named(["default"]))
    settings = HostSettings(uri=fresh_libvirtd.read_only_uri, info_refresh=1.0)
    with (
        caplog.at_level(logging.WARNING),
        closing(Host(settings, connect=connect)) as host,
    ):
        host.start()
        for _ in range(3):
            future: Future[HostSample] = host.sample(SampleRequest(selection.asks), timeout=10)
            sample = future.result(timeout=20)
    assert sample.up
    assert sample.unparsable == (bad.UUIDString(),)
    registry = CollectorRegistry()
    registry.register(SampleCollector(lambda: sample, selection))
    lines = generate_latest(registry).decode().splitlines()
    assert "libvirt_scrape_unparsable_domain_xml 1.0" in lines
    uuids = {"bad": bad.UUIDString(), "good": good.UUIDString()}
    names = {
        which: {line.partition("{")[0] for line in lines if uuid in line}
        for which, uuid in uuids.items()
    }
    assert "libvirt_domain_block_read_bytes_total" in names["bad"]
    assert {"libvirt_domain_info", "libvirt_domain_block_info"} <= names["good"] - names["bad"]
    (warning,) = caplog.messages
    assert bad.UUIDString() in warning
    assert "not well-formed" in warning
