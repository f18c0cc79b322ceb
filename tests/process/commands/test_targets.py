"""The commands of an exporter of several hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.commands.test_main import run

CONFIGURATION = """
libvirt: {uri: ""}
targets:
  a.example.com: {uri: "test:///default"}
  gone: {uri: "qemu+unix:///system?socket=/nowhere"}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration of two targets, of which one does not answer."""
    path = tmp_path / "fleet.yml"
    path.write_text(CONFIGURATION)
    return f"--config.file={path}"


def test_a_command_of_one_host_takes_a_target(file: str) -> None:
    """Its metrics and its VMs are those of the test driver's host."""
    scraped = run("scrape", file, "--target=a.example.com")
    assert (scraped.returncode, scraped.stderr) == (0, "")
    assert 'libvirt_domain_state{domain="test",' in scraped.stdout
    shown = run("vms", file, "--target=a.example.com")
    assert shown.stdout.splitlines()[1].split()[:2] == ["test", "running"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "libvirt.uri: is empty; --target names one of a.example.com, gone"),
        (["--target=gnoe"], "--target: there is no target gnoe; did you mean gone?"),
    ],
)
def test_a_target_that_is_not_there_is_a_failure_in_one_line(
    file: str, arguments: list[str], words: str
) -> None:
    """It names those that are."""
    outcome = run("vms", file, *arguments)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr == f"libvirt-exporter: {words}\n"


def test_doctor_examines_all_targets_or_one(file: str) -> None:
    """Each under its alias; one with a problem makes it a failure, and is no other's."""
    every = run("doctor", file)
    assert every.returncode == 1
    first, _, second = every.stdout.partition("gone:\n")
    assert first.startswith("a.example.com:\ntest:///default: TEST")
    assert second.startswith("problem: cannot connect to libvirt at qemu+unix:///system")
    one = run("doctor", file, "--target=a.example.com")
    assert one.returncode == 0
    assert one.stdout.startswith("test:///default: TEST")


def test_check_config_looks_for_the_files_of_targets(tmp_path: Path) -> None:
    """Each that is not there is a mistake at its line."""
    path = tmp_path / "fleet.yml"
    path.write_text(
        "targets:\n  a.example.com:\n    uri: qemu+tls://a/system\n"
        f"    pki_directory: {tmp_path}\n    credentials_file: /nowhere/auth.conf\n"
    )
    outcome = run("check-config", path)
    assert outcome.returncode == 1
    assert outcome.stderr == f"libvirt-exporter: {path}:5: /nowhere/auth.conf does not exist\n"
