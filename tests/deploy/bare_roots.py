"""The Debian package in bare systems: installed, started by systemd, upgraded, purged.

`make packages-test` runs it, as root; it builds the packages and takes some minutes for each suite.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.system import ROOT, System, booted, install, run, with_libvirt
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import paused_domain

OLDER = os.environ.get("OLDER", "HEAD~1")
"""The commit whose package is upgraded."""
NEWER = os.environ.get("NEWER", "HEAD")
"""The commit whose package it is upgraded to."""
SUITES = os.environ.get("SUITES", "bookworm trixie sid").split()
REUSE = "REUSE" in os.environ
"""Whether packages that dist/ has already are not built again."""
SUFFIX = {"bookworm": "~deb12", "trixie": "~deb13", "sid": ""}
"""Suite → the end of its package's version."""
PRIVATE = {"bookworm": True, "trixie": False, "sid": False}
"""Suite → whether the package needs a directory of libraries there."""
SANDBOX = {
    "DynamicUser": "yes",
    "ProtectSystem": "strict",
    "PrivateUsers": "yes",
    "NoNewPrivileges": "yes",
    "MemoryDenyWriteExecute": "yes",
    "WatchdogUSec": "1min",
    "Type": "notify",
}
REVISION = re.compile(r'^libvirt_exporter_build_info\{.*revision="(\w+)"', re.M)


def built(suite: str, commit: str) -> Path:
    """Build the package of a commit for a suite; lintian must like it."""
    time = run(
        *("env", "TZ=UTC", "git", "-C", ROOT, "log", "-1", "--format=%cd"),
        *("--date=format-local:%Y%m%d%H%M%S", commit),
    )
    there = list((ROOT / "dist").glob(f"*git{time.strip()}-1{SUFFIX[suite]}_*.deb"))
    if REUSE and there:
        return there[0]
    package = Path(run(ROOT / "deploy/packages/deb.sh", suite, commit).splitlines()[-1])
    assert package.name.partition("_")[2].partition("_")[0].endswith(f"-1{SUFFIX[suite]}")
    return package


def commit(name: str) -> str:
    """Its 40 hexadecimal digits."""
    return run("git", "-C", ROOT, "rev-parse", name).strip()


@dataclass(frozen=True)
class Trial:
    """A booted system in which the older package was installed, and the packages."""

    suite: str
    system: System
    older: Path
    newer: Path

    def apt(self, *arguments: str) -> None:
        """Run apt-get in the system, in which /packages is dist/ of here.

        dpkg's question about a configuration that both sides have changed gets the default answer.
        """
        answer = ("-o", "DPkg::Options::=--force-confdef", "-o", "DPkg::Options::=--force-confold")
        self.system.run("apt-get", "-q", "--yes", "--no-install-recommends", *answer, *arguments)

    def revision(self) -> str:
        """The commit of the exporter that answers."""
        found = REVISION.search(self.system.get("/metrics"))
        assert found is not None
        return found[1]

    def traces(self) -> list[str]:
        """Every path of the system that has the package's name, logs and apt's lists excepted."""
        found = self.system.run(
            *("find", "/", "-xdev", "-iname", "*libvirt[-_]exporter*"),
            *("-not", "-path", "/var/log/*", "-not", "-path", "/var/cache/apt/*"),
            *("-not", "-path", "/run/*"),
        )
        return found.splitlines()


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """The directory of the sockets of a real libvirtd with a guest."""
    with PrivateLibvirtd(privileged=True) as daemon:
        paused_domain(daemon, "guest-of-the-trial")
        yield daemon.socket_directory


@pytest.fixture(scope="module", params=SUITES)
def trial(
    request: pytest.FixtureRequest, socket: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    """The older package, installed in a bare system by the README's lines, then booted."""
    suite = request.param
    older, newer = built(suite, OLDER), built(suite, NEWER)
    changes = tmp_path_factory.mktemp(suite)
    install(suite, changes, older)
    options = (
        f"--bind-ro={ROOT / 'dist'}:/packages",
        *with_libvirt(socket, tmp_path_factory.mktemp("unit")),
    )
    with booted(suite, changes, *options) as system:
        yield Trial(suite, system, older, newer)


def test_package_has_private_libraries_only_where_it_must(trial: Trial) -> None:
    """Where the distribution has all libraries, those are used, and nothing is compiled."""
    listed = trial.system.run("dpkg", "-L", "libvirt-exporter")

    assert ("/usr/lib/libvirt-exporter/" in listed) is PRIVATE[trial.suite]
    assert not trial.system.run("sh", "-c", "command -v cc gcc pip || :")


def test_unit_serves_a_real_libvirt_from_the_first_boot_on(trial: Trial) -> None:
    """Nobody has to configure or enable anything; the exporter said that it is ready."""
    assert trial.system.unit("ActiveState") == "active"
    assert trial.system.unit("NRestarts") == "0"
    text = trial.system.get("/metrics")

    assert "\nlibvirt_up 1" in text
    assert 'domain="guest-of-the-trial"' in text
    assert trial.revision() == commit(OLDER)


def test_unit_runs_confined_and_without_privilege(trial: Trial) -> None:
    """systemd applied what the unit asks for, and the process has no capability and no group."""
    process = trial.system.unit("MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in trial.system.run("cat", f"/proc/{process}/status").splitlines()
    )

    assert {name: trial.system.unit(name) for name in SANDBOX} == SANDBOX
    assert set(status["Uid"].split()) == {"65534"}
    assert status["Groups"].split() in ([], ["65534"])
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_documentation_is_found(trial: Trial) -> None:
    """The files that come along are where the program says, the rest where others look."""
    files = trial.system.run("libvirt-exporter", "files").splitlines()

    for line in files:
        trial.system.run("test", "-e", line.split()[1])
    listed = trial.system.run("dpkg", "-L", "libvirt-exporter")
    assert "/usr/share/man/man8/libvirt-exporter.8.gz\n" in listed
    assert "/usr/share/bash-completion/completions/libvirt-exporter\n" in listed
    assert "/usr/share/zsh/vendor-completions/_libvirt-exporter\n" in listed
    assert "/etc/libvirt-exporter/exporter.yml\n" in listed
    checked = trial.system.run(
        "libvirt-exporter", "check-config", "/etc/libvirt-exporter/exporter.yml"
    )
    assert "no mistakes" in checked


def test_reload_keeps_the_process(trial: Trial) -> None:
    """`systemctl reload` has the configuration read again."""
    before = trial.system.unit("MainPID")

    trial.system.run("systemctl", "reload", "libvirt-exporter")

    assert trial.system.unit("MainPID") == before
    assert "libvirt_exporter_config_last_reload_successful 1" in trial.system.get("/metrics")


def test_upgrade_starts_the_new_program_and_keeps_the_configuration(trial: Trial) -> None:
    """What an administrator wrote stays; nothing has to be restarted by hand."""
    trial.system.run("sh", "-c", "echo '# of this host' >>/etc/libvirt-exporter/exporter.yml")

    trial.apt("install", f"/packages/{trial.newer.name}")

    assert trial.revision() == commit(NEWER)
    assert "# of this host" in trial.system.run("cat", "/etc/libvirt-exporter/exporter.yml")
    assert trial.system.unit("ActiveState") == "active"


def test_rollback_starts_the_old_program(trial: Trial) -> None:
    """A package that disappoints is replaced by the one before it."""
    trial.apt("install", "--allow-downgrades", f"/packages/{trial.older.name}")

    assert trial.revision() == commit(OLDER)
    assert "# of this host" in trial.system.run("cat", "/etc/libvirt-exporter/exporter.yml")


def test_socket_of_systemd_is_taken(trial: Trial) -> None:
    """With the socket unit and one line of configuration a restart refuses no scrape."""
    run_there = trial.system.run
    run_there("sh", "-c", "printf 'web:\\n  systemd_socket: true\\n' >/tmp/own.yml")
    run_there("cp", "/tmp/own.yml", "/etc/libvirt-exporter/exporter.yml")
    run_there("systemctl", "stop", "libvirt-exporter")
    run_there("systemctl", "start", "libvirt-exporter.socket")

    assert "\nlibvirt_up 1" in trial.system.get("/metrics")

    assert trial.system.unit("ActiveState") == "active"

    # An upgrade leaves the socket open, or the next start finds none.
    trial.apt("install", f"/packages/{trial.newer.name}")
    run_there("systemctl", "is-active", "libvirt-exporter.socket")
    run_there("systemctl", "reset-failed", "libvirt-exporter")  # it was started often by now
    run_there("systemctl", "restart", "libvirt-exporter")
    assert trial.revision() == commit(NEWER)
    run_there("systemctl", "stop", "libvirt-exporter.socket", "libvirt-exporter.service")
    trial.apt("install", "--allow-downgrades", f"/packages/{trial.older.name}")


def test_purge_leaves_no_trace(trial: Trial) -> None:
    """Neither a file, nor a link of systemd's, nor a user."""
    assert trial.traces() != []

    trial.apt("purge", "libvirt-exporter")

    assert trial.traces() == []
    gone = subprocess.run(
        ["nsenter", "--target", str(trial.system.leader), "--all", "id", "libvirt-exporter"],
        capture_output=True,
        check=False,
    )
    assert gone.returncode != 0
