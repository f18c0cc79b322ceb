"""The container image: built from the checked-out commit, and run beside a real libvirtd.

Takes podman, crun, mmdebstrap and Debian's mirror; `make images-test` runs it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libvirt_exporter import __version__
from tests.deploy.containers import AUTHORITIES, Podman, root_file_system
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import SOURCE

ROOT = Path(__file__).parents[2]
IMAGE: Final = f"localhost/libvirt-exporter:{__version__}"
CONFINED: Final = (
    *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=1g"),
)
"""Options of docs/deployment.md, but for what it shows of the host."""

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman that has the image, on a base made by mmdebstrap."""
    podman = Podman(tmp_path_factory.mktemp("containers"))
    try:
        podman.run("podman", "import", str(root_file_system("trixie")), "localhost/debian:13")
        podman.run(
            str(ROOT / "deploy" / "container" / "build.sh"),
            "--build-arg=BASE=localhost/debian:13",
            "--network=host",
            # Those who vouch for the package index here.
            f"--volume={AUTHORITIES}:/etc/authorities.crt:ro",
            "--build-arg=PIP_CERT=/etc/authorities.crt",
        )
        yield podman
    finally:
        podman.remove()


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with two paused domains and its read-only socket in its /run/libvirt."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, 2, disks=1)
        (daemon.root / "run" / "libvirt-sock-ro").touch()
        yield daemon


def run_libvirt(daemon: PrivateLibvirtd) -> list[str]:
    """Options that give a container the /run/libvirt of this daemon."""
    directory, socket = daemon.root / "run", daemon.socket_directory / "libvirt-sock-ro"
    return [
        f"--volume={directory}:/run/libvirt:ro",
        f"--volume={socket}:/run/libvirt/libvirt-sock-ro:ro",
    ]


def run(podman: Podman, *arguments: str, check: bool = True) -> str:
    """What a container says that ends by itself: options of podman, the image, its arguments."""
    return podman.run("podman", "run", "--rm", *CONFINED, *arguments, check=check).stdout


def parsed(exposition: str) -> Values:
    """Samples of a text exposition by name and labels."""
    lines = exposition[exposition.index("# HELP") :]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
    }


def unseen(values: Values) -> dict[str, float]:
    """Processes that are not seen, by reason."""
    return {
        dict(labels)["reason"]: value
        for (name, labels), value in values.items()
        if name == "libvirt_scrape_unseen_processes"
    }


def test_it_shows_what_root_sees_on_the_host(podman: Podman, libvirtd: PrivateLibvirtd) -> None:
    """As `nobody`, without capabilities, its root read-only, by the default URI."""
    inside = parsed(
        run(podman, "--pid=host", *run_libvirt(libvirtd), IMAGE, "scrape", "--log.level=warn")
    )
    command = [*libvirtd.enter, "env", f"PYTHONPATH={SOURCE}", sys.executable]
    command += ["-m", "libvirt_exporter", "scrape", f"--libvirt.uri={libvirtd.read_only_uri}"]
    outside = parsed(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def of_domains(values: Values) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return {key for key in values if key[0].startswith("libvirt_domain_")}

    assert inside["libvirt_up", frozenset()] == 1
    assert of_domains(inside) == of_domains(outside)
    assert any(name == "libvirt_domain_start_time_seconds" for name, _ in inside)
    assert set(unseen(inside).values()) == {0}


def test_what_a_container_is_not_given_is_said_inside(
    podman: Podman, libvirtd: PrivateLibvirtd
) -> None:
    """The doctor names the option of podman that is missing."""
    with_own_pids = run(podman, *run_libvirt(libvirtd), IMAGE, "doctor", check=False)
    assert "`--pid=host`" in with_own_pids

    socket = libvirtd.socket_directory / "libvirt-sock-ro"
    only_socket = f"--volume={socket}:/run/libvirt/libvirt-sock-ro:ro"
    without_files = run(podman, "--pid=host", only_socket, IMAGE, "doctor", check=False)
    assert "`--volume=/run/libvirt:/run/libvirt:ro`" in without_files

    nothing = run(podman, "--pid=host", IMAGE, "doctor", check=False)
    assert "`--volume=/run/libvirt:/run/libvirt:ro`" in nothing


def test_a_user_whom_the_host_does_not_know_is_refused(
    podman: Podman, libvirtd: PrivateLibvirtd
) -> None:
    """By libvirtd, although the container names it: why the image runs as `nobody`."""
    options = ("--user=59177:59177", "--pid=host", *run_libvirt(libvirtd))
    said = run(podman, *options, IMAGE, "doctor", check=False)
    assert "nobody (65534)" in said
    assert "59177" in libvirtd.log_text()


def test_it_serves_and_ends_when_it_is_told(podman: Podman, libvirtd: PrivateLibvirtd) -> None:
    """As process 1, for which SIGTERM does nothing by default, before podman's patience ends."""
    options = ("--detach", "--name=served", *run_libvirt(libvirtd))
    address = "--web.listen-address=127.0.0.1:0"
    podman.run("podman", "run", *CONFINED, *options, IMAGE, address)
    podman.run("podman", "stop", "served")
    status = podman.run("podman", "inspect", "--format={{.State.ExitCode}}", "served").stdout
    log = podman.run("podman", "logs", "served").stdout
    podman.run("podman", "rm", "served")
    assert status.strip().endswith("0"), log


def test_it_holds_what_it_runs_and_no_more(podman: Podman) -> None:
    """No compiler, no package installer of Python, and it names the commit that it is made of."""
    shell = ("--entrypoint=/bin/sh", IMAGE, "-c")
    tools = "for tool in cc gcc c++ ld make pip pip3 git; do command -v $tool; done; id -un"
    assert run(podman, *shell, tools).split() == ["nobody"]

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit[:7] in run(podman, IMAGE, "--version")
    label = '{{index .Labels "org.opencontainers.image.revision"}}'
    assert commit in podman.run("podman", "inspect", f"--format={label}", IMAGE).stdout
