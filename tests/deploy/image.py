"""The container image: built from the checked-out commit, and run beside a real libvirtd.

Takes podman, crun, mmdebstrap and Debian's mirror; `make images-test` runs it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.containers import CONFINED, IMAGE, ROOT, Podman, run_libvirt
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import SOURCE

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman that has the image, on a base made by mmdebstrap."""
    podman = Podman(tmp_path_factory.mktemp("containers"))
    try:
        podman.build("trixie", tmp_path_factory.mktemp("bare"))
        yield podman
    finally:
        podman.remove()


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with two paused domains and its read-only socket in its /run/libvirt."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, 2, disks=1)
        yield daemon


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
        podman.start("--pid=host", *run_libvirt(libvirtd), IMAGE, "scrape", "--log.level=warn")
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
    with_own_pids = podman.start(*run_libvirt(libvirtd), IMAGE, "doctor", check=False)
    assert "`--pid=host`" in with_own_pids

    socket = libvirtd.socket_directory / "libvirt-sock-ro"
    only_socket = f"--volume={socket}:/run/libvirt/libvirt-sock-ro:ro"
    without_files = podman.start("--pid=host", only_socket, IMAGE, "doctor", check=False)
    assert "`--volume=/run/libvirt:/run/libvirt:ro`" in without_files

    nothing = podman.start("--pid=host", IMAGE, "doctor", check=False)
    assert "`--volume=/run/libvirt:/run/libvirt:ro`" in nothing


def test_a_user_whom_the_host_does_not_know_is_refused(
    podman: Podman, libvirtd: PrivateLibvirtd
) -> None:
    """By libvirtd, although the container names it: why the image runs as `nobody`."""
    options = ("--user=59177:59177", "--pid=host", *run_libvirt(libvirtd))
    said = podman.start(*options, IMAGE, "doctor", check=False)
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
    assert podman.start(*shell, tools).split() == ["nobody"]

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit[:7] in podman.start(IMAGE, "--version")
    label = '{{index .Labels "org.opencontainers.image.revision"}}'
    assert commit in podman.run("podman", "inspect", f"--format={label}", IMAGE).stdout
