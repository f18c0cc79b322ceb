"""`./run`: what it tells its user, what it installs, and what it hands to the exporter.

Each test runs the real script in a checkout of its own, whose virtual environment and system
commands are stand-ins.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("cat", "dirname", "env", "sh", "sha256sum", "timeout")


@dataclass(frozen=True)
class Checkout:
    """A checkout in a directory whose name has a space, and the commands it finds."""

    root: Path
    commands: Path

    def script(self, path: Path, text: str) -> None:
        """Writes an executable shell script."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def command(self, name: str, text: str) -> None:
        """Puts a command in reach of `./run`."""
        self.script(self.commands / name, text)

    def prepare(self) -> None:
        """Marks the environment as made from this pyproject.toml with this interpreter."""
        steps = f"root='{self.root}'; . '{self.root}/deploy/setup.sh'; find_python; "
        subprocess.run(["sh", "-c", steps + "mark_prepared runtime"], check=True)

    def python(self, name: str, *, binding: bool) -> None:
        """Puts an interpreter where the distribution's would be, with libvirt's binding or not.

        It makes no environment, but says how it was asked to.
        """
        cases = (
            f'*"import sys, libvirt"*) exit {int(not binding)} ;;',
            "*Python.h*) exit ;;",
            '"-m venv"*) echo "asked: $*" >&2; exit 1 ;;',
        )
        text = "\n".join(['case "$*" in', *cases, "esac", f'exec "{sys.executable}" "$@"'])
        self.command(name, text)

    def libvirt(self, *, answers: bool) -> None:
        """Makes the environment's interpreter find a libvirt that answers, or none."""
        outcome = "exit 0" if answers else "echo no such socket >&2; exit 1"
        self.script(
            self.root / ".venv/bin/python",
            f'case $3 in *openReadOnly*) {outcome} ;; esac\nexec "{sys.executable}" "$@"',
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `./run` from another directory; the exporter prints an argument per line."""
        return subprocess.run(
            [self.root / "run", *arguments],
            cwd="/",
            env={"PATH": str(self.commands)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A prepared checkout on a host without libvirt, used by somebody who is not root."""
    root = tmp_path / "a checkout"
    checkout = Checkout(root=root, commands=tmp_path / "bin")
    (root / "deploy").mkdir(parents=True)
    for name in ("run", "deploy/setup.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    setup = root / "deploy/setup.sh"
    setup.write_text(setup.read_text().replace("/usr/bin/", f"{checkout.commands}/"))
    checkout.python("python3", binding=False)
    checkout.script(root / ".venv/bin/libvirt-exporter", "printf '%s\\n' \"$@\"")
    checkout.libvirt(answers=False)
    checkout.command("id", "echo 1000")
    for name in NEEDED:
        (checkout.commands / name).symlink_to(str(shutil.which(name)))
    checkout.prepare()
    return checkout


def test_demo_host_is_shown_where_no_libvirt_answers(checkout: Checkout) -> None:
    """Without a libvirt the exporter gets the demo host, and the user is told why."""
    outcome = checkout.run("--log.level", "debug")

    assert outcome.stdout.splitlines() == ["--log.level", "debug", "--libvirt.uri=demo:///"]
    assert "figures are invented: qemu:///system does not answer\n" in outcome.stderr
    assert "(no such socket)" in outcome.stderr


def test_libvirt_of_this_host_is_shown_where_it_answers(checkout: Checkout) -> None:
    """A libvirt that answers is preferred to the demo host."""
    checkout.libvirt(answers=True)

    outcome = checkout.run()

    assert outcome.stdout.splitlines() == ["--libvirt.uri=qemu:///system"]
    assert "this host's libvirt" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--libvirt.uri=xen:///system"],
        ["--libvirt.uri", "xen:///system"],
        ["--config.file=my exporter.yml", "--libvirt.uri", "xen:///system"],
        ["--libvirt.uri", "xen:///system", "--config.file=my exporter.yml"],
        ["check-config", "exporter.yml"],
        ["metrics", "--format", "json"],
        ["help", "vms"],
        ["config"],
        ["files", "rules"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_no_host_is_chosen_where_the_user_did_or_none_is_needed(
    checkout: Checkout, arguments: list[str]
) -> None:
    """Arguments that name a host, or ask for none, reach the exporter unchanged."""
    outcome = checkout.run(*arguments)

    assert outcome.stdout.splitlines() == arguments
    assert "Showing" not in outcome.stderr


@pytest.mark.parametrize(
    "arguments", [["--config.file", "my.yml"], ["vms", "--config.file=my.yml"]]
)
def test_configuration_chooses_the_host_and_the_demo_is_offered(
    checkout: Checkout, arguments: list[str]
) -> None:
    """Whoever has no libvirt of that name yet reads how to see the demo host with it."""
    outcome = checkout.run(*arguments)

    assert outcome.stdout.splitlines() == arguments
    assert "--libvirt.uri=demo:///\n" in outcome.stderr


@pytest.mark.parametrize("subcommand", ["scrape", "vms", "doctor"])
def test_host_is_chosen_for_subcommands_that_look_at_one(
    checkout: Checkout, subcommand: str
) -> None:
    """Subcommands that sample a host once get one as the server does."""
    outcome = checkout.run(subcommand)

    assert outcome.stdout.splitlines()[0] == subcommand
    assert "--libvirt.uri=demo:///" in outcome.stdout


def test_demo_goes_on_without_what_cannot_be_installed(checkout: Checkout) -> None:
    """Who may not install Prometheus reads its package's name, and gets to see the rest."""
    checkout.command("apt-get", "echo called")

    outcome = checkout.run("demo")

    assert outcome.stdout.splitlines() == ["demo"]
    assert "apt-get install --no-install-recommends prometheus prometheus-alertmanager" in (
        outcome.stderr
    )


def test_missing_packages_are_named_to_who_may_not_install_them(checkout: Checkout) -> None:
    """Without root and sudo the user reads which command an administrator has to run."""
    (checkout.root / ".venv/runtime.stamp").unlink()
    checkout.command("apt-get", "echo called")

    outcome = checkout.run()

    assert outcome.returncode == 1
    assert (
        "apt-get update && apt-get install --no-install-recommends python3-libvirt\n"
        in outcome.stderr
    )
    assert "called" not in outcome.stdout


def test_missing_packages_are_named_where_there_is_no_apt(checkout: Checkout) -> None:
    """On another distribution the user reads what to look for."""
    (checkout.root / ".venv/runtime.stamp").unlink()

    outcome = checkout.run()

    assert outcome.returncode == 1
    assert "by their Debian names: python3-libvirt\n" in outcome.stderr


def test_missing_packages_are_installed_with_sudo(checkout: Checkout, tmp_path: Path) -> None:
    """With sudo the lists are fetched, then just what is missing is installed."""
    (checkout.root / ".venv/runtime.stamp").unlink()
    calls = tmp_path / "calls"
    checkout.command("sudo", '[ "$1" = -n ] || exec "$@"')
    checkout.command("apt-get", f'echo "$@" >>"{calls}"; exit 100')

    outcome = checkout.run()

    update, install = calls.read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install python3-libvirt")
    assert outcome.returncode == 1
    assert "Could not be installed: python3-libvirt\n" in outcome.stderr


def test_environment_takes_the_binding_of_the_distribution(checkout: Checkout) -> None:
    """Where python3-libvirt is installed nothing is compiled, and nothing is missing."""
    checkout.python("python3", binding=True)
    (checkout.root / ".venv/runtime.stamp").unlink()

    outcome = checkout.run()

    assert "Missing on this system" not in outcome.stderr
    assert "asked: -m venv --clear --system-site-packages " in outcome.stderr


def test_another_python_than_the_distribution_s_own_compiles_the_binding(
    checkout: Checkout,
) -> None:
    """The distribution has the binding for its own Python only."""
    (checkout.commands / "python3").unlink()
    checkout.python("python3.12", binding=False)
    (checkout.root / ".venv/runtime.stamp").unlink()

    assert "by their Debian names: gcc pkg-config libvirt-dev\n" in checkout.run().stderr


def test_environment_is_made_anew_when_pyproject_changed(checkout: Checkout) -> None:
    """Whoever pulls a new version gets an environment that fits it."""
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# another version\n")

    assert "Missing on this system" in checkout.run().stderr
