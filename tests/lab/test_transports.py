"""Targets reached over TCP, TLS and ssh: a real libvirtd, real certificates, a real sshd."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.daemon import PrivateLibvirtd, can_run_privileged
from tests.lab.domains import crowd, paused_domain
from tests.lab.exporter import Exporter, series
from tests.support.authority import Authority
from tests.support.waiting import wait_until

DOMAINS = {"vm000", "vm001"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def pki(directory: Path, authority: Authority, name: str) -> Path:
    """A directory as libvirt's client wants it, with a certificate of that name."""
    directory.mkdir()
    certificate, key = authority.issue(name, f"DNS:{name}", cn=name)
    shutil.copy(authority.directory / "ca.crt", directory / "cacert.pem")
    shutil.copy(certificate, directory / "clientcert.pem")
    shutil.copy(key, directory / "clientkey.pem")
    return directory


@dataclass(frozen=True)
class Remote:
    """A libvirtd that listens on the loopback."""

    daemon: PrivateLibvirtd
    tcp: str
    """URI."""
    tls: str
    """URI; needs a client's certificate."""
    pki: Path
    """With one that the daemon accepts."""
    foreign: Path
    """With one of an authority that it does not know."""


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """It has two paused domains."""
    directory = tmp_path_factory.mktemp("pki")
    for name in ("own", "other"):
        (directory / name).mkdir()
    own, other = (Authority(directory / name) for name in ("own", "other"))
    certificate, key = own.issue("server", "DNS:localhost,IP:127.0.0.1", cn="localhost")
    tcp, tls = free_port(), free_port()
    listens = f"""
listen_addr = "127.0.0.1"
listen_tcp = 1
tcp_port = "{tcp}"
auth_tcp = "none"
listen_tls = 1
tls_port = "{tls}"
auth_tls = "none"
ca_file = "{own.directory / "ca.crt"}"
cert_file = "{certificate}"
key_file = "{key}"
"""
    with PrivateLibvirtd(listens=listens) as daemon:
        crowd(daemon, len(DOMAINS))
        path = "system" if daemon.privileged else "session"
        yield Remote(
            daemon,
            f"qemu+tcp://127.0.0.1:{tcp}/{path}",
            f"qemu+tls://localhost:{tls}/{path}",
            pki(directory / "client", own, "exporter"),
            pki(directory / "foreign", other, "exporter"),
        )


@pytest.fixture(scope="module")
def ssh(remote: Remote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A target over ssh, by an sshd that lets in one key."""
    if not can_run_privileged():
        pytest.fail("needs root: the sshd has files of its own in a mount namespace")
    directory = tmp_path_factory.mktemp("ssh")
    keys = directory / "home"
    keys.mkdir(mode=0o700)
    for command in (
        f"dropbearkey -t ed25519 -f {directory}/host_key",
        f"ssh-keygen -q -t ed25519 -N  -f {keys}/id",
    ):
        subprocess.run(command.split(" "), check=True, capture_output=True)
    # Whatever a client asks for, this is what it gets.
    only = 'command="virt-ssh-helper -r qemu:///system",no-pty,no-port-forwarding'
    (keys / "authorized_keys").write_text(f"{only} {(keys / 'id.pub').read_text()}")
    port = free_port()
    # In that namespace the key and the daemon's socket are in their usual places.
    places = {
        Path("~root/.ssh").expanduser(): keys,
        Path("/run/libvirt"): remote.daemon.socket_directory,
    }
    steps = [f"mkdir -p {place} && mount --bind {own} {place}" for place, own in places.items()]
    steps.append(
        f"exec dropbear -F -s -p 127.0.0.1:{port} -r {directory}/host_key -P {directory}/pid"
    )
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", " && ".join(steps)], stderr=log
        )
    try:
        wait_until(lambda: listens(port), "sshd listens", 10)
        yield {
            "uri": f"qemu+ssh://root@127.0.0.1:{port}/system?no_verify=1",
            "key_file": str(keys / "id"),
        }
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    """Whether somebody does on that port of the loopback."""
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def exporter(
    remote: Remote, ssh: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    """An exporter that reaches the daemon in all these ways."""
    targets = {
        "tcp": {"uri": remote.tcp},
        "tls": {"uri": remote.tls, "pki_directory": str(remote.pki)},
        "ssh": ssh,
        # Another address for the same host, as no two targets may have the same.
        "stranger": {
            "uri": remote.tls.replace("localhost", "127.0.0.1"),
            "pki_directory": str(remote.foreign),
        },
        "keyless": {**ssh, "key_file": "/dev/null"},
    }
    configuration = {"libvirt": {"timeout": "5s"}, "targets": targets}
    directory = tmp_path_factory.mktemp("exporter")
    with Exporter("", directory / "exporter", configuration) as exporter:
        yield exporter


@pytest.mark.parametrize("transport", ["tcp", "tls", "ssh"])
def test_a_remote_target_shows_its_domains(exporter: Exporter, transport: str) -> None:
    """As over a socket, by TLS with a certificate of each side, by ssh with a key of its own."""
    answer = exporter.get(f"/probe?target={transport}")
    assert answer.domains == DOMAINS, exporter.log


def test_events_arrive_from_a_remote_target(exporter: Exporter, remote: Remote) -> None:
    """A domain that ends shows at once, as its connection is kept alive and listened to."""
    for transport in ("tcp", "tls", "ssh"):
        answer = exporter.get(f"/probe?target={transport}")
        assert answer.samples[series("libvirt_exporter_event_stream_connected")] == 1
    name = remote.daemon.unused_name("event")
    paused_domain(remote.daemon, name, disks=0, nics=0).destroy()
    received = series("libvirt_exporter_events_received_total", event="lifecycle")

    def waiting() -> set[str]:
        """Those whose events have not arrived."""
        return {
            transport
            for transport in ("tcp", "tls", "ssh")
            if exporter.get(f"/probe?target={transport}").samples.get(received, 0) < 2
        }

    wait_until(lambda: not waiting(), "events arrive over each transport")


@pytest.mark.parametrize(
    ("alias", "reason"), [("stranger", "certificate"), ("keyless", "Permission denied")]
)
def test_who_cannot_prove_who_it_is_sees_nothing(
    exporter: Exporter, alias: str, reason: str
) -> None:
    """At once, as nobody is asked for a password; the log says why, clients learn that it fails."""
    answer = exporter.get(f"/probe?target={alias}")
    assert answer.samples[series("libvirt_up")] == 0
    assert reason in exporter.log
    assert reason not in answer.text
