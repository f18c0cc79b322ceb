"""The Ansible role: judged by ansible-lint, and run on a Debian root file system, then booted.

Takes mmdebstrap, Debian's mirror and some minutes; `make ansible-test` runs it as root.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest
import yaml

from tests.deploy.containers import AUTHORITIES
from tests.deploy.system import System, archive_to, booted, run, with_libvirt
from tests.lab.daemon import PrivateLibvirtd

ROOT: Final = Path(__file__).parents[2]
ANSIBLE: Final = ROOT / "deploy" / "ansible"
TOOLS: Final[tuple[str, ...]] = (
    *("uv", "run", "--quiet", "--no-project"),
    *("--with", "ansible-core>=2.19", "--with", "ansible-lint>=26,<27"),
)
CONFIG: Final = {"groups": {"exclude": ["perf"]}}
CONFIG_FILE: Final = "/etc/libvirt-exporter/exporter.yml"
SETTINGS: Final = "/etc/systemd/system/libvirt-exporter.service.d/settings.conf"
SOCKET: Final = "libvirt-exporter.socket"
UNIT_OF_THE_WHEEL: Final = (
    "/opt/libvirt-exporter/share/libvirt-exporter/deploy/systemd/libvirt-exporter.service"
)
NEEDED: Final = ("python3", "python3-apt", "systemd-sysv")
"""What Ansible itself needs of a target, and something to boot it with."""
COMMAND: Final = "/usr/bin/libvirt-exporter"
HASH: Final = bcrypt.hashpw(b"of the trial", bcrypt.gensalt(4)).decode()


def ansible(*command: str) -> subprocess.CompletedProcess[str]:
    """The outcome of a command of Ansible, its errors among its output."""
    return subprocess.run(
        [*TOOLS, *command],
        cwd=ANSIBLE,
        env={
            **os.environ,
            "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).with_name("connection")),
            "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_NOCOLOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class Target:
    """A Debian root file system, and what the playbook does to it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        unpack = ("tar", "-x", "-C", self.root, "--exclude=./proc")
        run(*archive_to("trixie", directory / "bare", *unpack))
        for file in ("/etc/resolv.conf", "/etc/hosts"):
            shutil.copy(file, f"{self.root}{file}")
        shutil.copy(AUTHORITIES, self.root / "etc" / "authorities.crt")
        self.run("apt-get", "update", "--quiet=2")
        self.run("apt-get", "install", "--yes", "--quiet=2", *NEEDED)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        [wheel] = directory.glob("*.whl")
        shutil.copy(wheel, self.root / "srv")
        self.wheel = f"/srv/{wheel.name}"

    def run(self, *command: str) -> str:
        """What a command says inside."""
        done = subprocess.run(
            ["chroot", self.root, *command],
            env={"PATH": os.environ["PATH"], "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def text(self, path: str) -> str:
        """What a file says inside."""
        return (self.root / path.lstrip("/")).read_text()

    def play(
        self, *arguments: str, system: System | None = None, **variables: Any
    ) -> dict[str, int]:
        """Run the playbook, in the `system` if one is booted; returns how many tasks changed …"""
        given: Mapping[str, Any] = {
            "ansible_host": str(system.leader if system else self.root),
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            "libvirt_exporter_source": self.wheel,
            "libvirt_exporter_pip_arguments": "--cert=/etc/authorities.crt",
            "libvirt_exporter_config": CONFIG,
            **variables,
        }
        command = ["ansible-playbook", "--inventory=target,", "--connection=root", *arguments]
        done = ansible(*command, f"--extra-vars={json.dumps(given)}", "playbook.yml")
        assert done.returncode == 0, done.stdout
        recap = done.stdout.partition("PLAY RECAP")[2]
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", recap)}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A root on which the role has not run yet."""
    directory = tmp_path_factory.mktemp("role")
    processes = directory / "root" / "proc"
    processes.mkdir(parents=True)
    subprocess.run(["mount", "-t", "proc", "proc", processes], check=True)
    try:
        yield Target(directory)
    finally:
        subprocess.run(["umount", processes], check=True)


def test_ansible_lint_finds_nothing() -> None:
    """At its strictest profile."""
    verdict = ansible("ansible-lint", "--offline", "--strict", "playbook.yml", "roles")
    assert verdict.returncode == 0, verdict.stdout


def test_arguments_and_defaults_agree() -> None:
    """Every argument that may be left out has the default that its specification says."""
    role = ANSIBLE / "roles" / "libvirt_exporter"
    specified = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    arguments = specified["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    assert defaults == {
        name: argument["default"]
        for name, argument in arguments.items()
        if not argument.get("required")
    }
    unit = (ROOT / "deploy" / "systemd" / "libvirt-exporter.service").read_text()
    assert f"MemoryMax={defaults['libvirt_exporter_memory_max']}\n" in unit


def test_check_mode_says_what_would_be_done_and_does_nothing(target: Target) -> None:
    """All tasks of an installation, on a root on which the role has never run."""
    foreseen = target.play("--check")
    assert foreseen["changed"] > 0
    assert not (target.root / "opt" / "libvirt-exporter").exists()


def test_an_argument_that_the_role_does_not_take_is_refused(target: Target) -> None:
    """By the specification, before anything is done."""
    with pytest.raises(AssertionError, match="value of libvirt_exporter_state must be one of"):
        target.play("--check", libvirt_exporter_state="gone")


def test_it_installs_what_the_unit_starts(target: Target) -> None:
    """The command of the unit works with the configuration that the unit names."""
    outcome = target.play()

    assert outcome["failed"] == 0
    assert yaml.safe_load(target.text(CONFIG_FILE)) == CONFIG
    assert "no mistakes" in target.run(COMMAND, "check-config", CONFIG_FILE)
    unit = (ROOT / "deploy" / "systemd" / "libvirt-exporter.service").read_text()
    assert target.text("/etc/systemd/system/libvirt-exporter.service") == unit
    assert f"ExecStart={COMMAND} --config.file={CONFIG_FILE}\n" in unit
    shown = target.run(COMMAND, "scrape", "--libvirt.uri=test:///default")
    assert "\nlibvirt_up 1" in shown
    assert target.run("sh", "-c", "command -v cc gcc || :") == ""


def test_a_second_run_changes_nothing(target: Target) -> None:
    """Whatever is there already stays as it is."""
    assert target.play()["changed"] == 0


def test_a_configuration_with_a_mistake_does_not_replace_the_old_one(target: Target) -> None:
    """The exporter on the target judges it."""
    before = target.text(CONFIG_FILE)

    with pytest.raises(AssertionError, match="unknown group"):
        target.play(libvirt_exporter_config={"groups": {"exclude": ["pref"]}})

    assert target.text(CONFIG_FILE) == before


def test_tls_is_for_root_alone_and_goes_again(target: Target) -> None:
    """The service gets it as a credential."""
    target.play(libvirt_exporter_web_config={"basic_auth_users": {"prometheus": HASH}})
    web = target.root / "etc/libvirt-exporter/web-config.yml"

    assert stat.S_IMODE(web.stat().st_mode) == 0o600
    assert "\nLoadCredential=web-config.yml:" in target.text(SETTINGS)

    target.play()

    assert not web.exists()
    assert "LoadCredential" not in target.text(SETTINGS)


@pytest.fixture
def system(target: Target, tmp_path: Path) -> Iterator[System]:
    """A system booted from the root, whose changes are gone at the end; the exporter is stopped."""
    with PrivateLibvirtd(privileged=True) as daemon:
        options = with_libvirt(daemon.socket_directory, tmp_path)
        with booted(target.root, tmp_path, *options) as running:
            yield running


def test_systemd_starts_it_with_what_it_was_given(target: Target, system: System) -> None:
    """Started, given passwords, and removed; check mode works after that, too."""
    target.play(system=system)
    assert system.unit("ActiveState") == "active"
    assert system.unit("UnitFileState") == "enabled"
    assert "\nlibvirt_up 1" in system.get("/metrics")
    assert target.play(system=system)["changed"] == 0

    web = {"basic_auth_users": {"prometheus": HASH}}
    target.play(system=system, libvirt_exporter_web_config=web)
    with pytest.raises(AssertionError, match="401: Unauthorized"):
        system.get("/metrics")

    target.play(system=system, libvirt_exporter_state="absent")
    assert system.unit("LoadState") == "not-found"
    assert target.play("--check", system=system)["changed"] > 0


def test_a_change_of_web_restarts_and_others_reload(target: Target, system: System) -> None:
    """What is in the configuration is in force at the end of the play."""
    target.play(system=system)
    process = system.unit("MainPID")

    target.play(system=system, libvirt_exporter_config={"groups": {"exclude": ["vcpu"]}})
    assert system.unit("MainPID") == process
    assert "\nlibvirt_exporter_config_last_reload_successful 1" in system.get("/metrics")

    elsewhere = {"groups": {"exclude": ["vcpu"]}, "web": {"listen": [":9178"]}}
    target.play(system=system, libvirt_exporter_config=elsewhere)
    assert "\nlibvirt_up 1" in system.get("/metrics", 9178)
    assert target.play(system=system, libvirt_exporter_config=elsewhere)["changed"] == 0


def test_socket_activation_is_switched_on_and_off(target: Target, system: System) -> None:
    """On a host whose exporter runs, with nothing but the argument."""
    target.play(system=system)

    for on in (True, False):
        target.play("--check", system=system, libvirt_exporter_socket_activation=on)
        target.play(system=system, libvirt_exporter_socket_activation=on)

        assert (system.unit("ActiveState", SOCKET) == "active") is on
        assert (system.unit("UnitFileState", SOCKET) == "enabled") is on
        assert system.unit("ActiveState") == "active"
        assert "\nlibvirt_up 1" in system.get("/metrics")
        again = target.play(system=system, libvirt_exporter_socket_activation=on)
        assert again["changed"] == 0


def test_the_next_run_applies_what_a_failed_one_has_written(target: Target, system: System) -> None:
    """Its handlers were lost, and the files are as they should be."""
    target.play(system=system)
    elsewhere = {**CONFIG, "web": {"listen": [":9178"]}}
    system.run("mv", UNIT_OF_THE_WHEEL, "/srv/unit")
    with pytest.raises(AssertionError, match=re.escape(f"Source {UNIT_OF_THE_WHEEL} not found")):
        target.play(system=system, libvirt_exporter_config=elsewhere)
    assert "\nlibvirt_up 1" in system.get("/metrics")
    system.run("mv", "/srv/unit", UNIT_OF_THE_WHEEL)

    target.play(system=system, libvirt_exporter_config=elsewhere)

    assert "\nlibvirt_up 1" in system.get("/metrics", 9178)
    assert target.play(system=system, libvirt_exporter_config=elsewhere)["changed"] == 0


def test_a_socket_that_failed_to_start_starts_in_the_next_run(
    target: Target, system: System
) -> None:
    """The files are as they should be, the socket is not."""
    target.play(system=system)
    switched_on = {"libvirt_exporter_socket_activation": True}
    obstacle = f"/run/systemd/system/{SOCKET}.d"
    system.run("mkdir", "-p", obstacle)
    system.run("sh", "-c", f"printf '[Socket]\nListenStream=/proc/none\n' >{obstacle}/bad.conf")
    with pytest.raises(AssertionError, match=f"Unable to start service {SOCKET}"):
        target.play(system=system, **switched_on)
    system.run("rm", "-r", obstacle)

    target.play(system=system, **switched_on)

    assert system.unit("ActiveState", SOCKET) == "active"
    assert "\nlibvirt_up 1" in system.get("/metrics")
    assert target.play(system=system, **switched_on)["changed"] == 0


def test_nothing_is_left_of_it(target: Target) -> None:
    """`absent` takes away what `present` brought."""
    target.play(libvirt_exporter_state="absent")

    listed = target.run("find", "/", "-xdev", "-iname", "*libvirt[-_]exporter*")
    assert set(listed.split()) == {target.wheel}
