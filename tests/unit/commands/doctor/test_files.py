"""The doctor on files and directories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libvirt_exporter.commands.doctor import files
from libvirt_exporter.commands.doctor.files import file_findings, state_directory_findings
from libvirt_exporter.commands.doctor.finding import Finding


def not_root() -> int:
    """The id of a user who is not root: that of the tests, or nobody's."""
    return os.geteuid() or 65534


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory that an ordinary user owns and reaches."""
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, not_root(), -1)
        yield Path(place)


def of_state_directory(directory: Path | str, *, user: int | None = None) -> list[Finding]:
    """The findings, where the process runs as this user: not root if it is not told."""
    before = os.geteuid()
    os.seteuid(not_root() if user is None else user)
    try:
        return list(state_directory_findings(str(directory)))
    finally:
        os.seteuid(before)


def test_state_directory_that_can_be_used_is_left_as_it_was(state: Path) -> None:
    """It is tried, but nothing stays in it, and none is made; none at all is nothing to try."""
    for directory in (state, state / "not/made/yet", ""):
        assert of_state_directory(directory) == []
    assert list(state.iterdir()) == []


def test_state_directory_that_cannot_be_written_to_is_a_problem(state: Path) -> None:
    """So is one that cannot be made; the user, the reason and the remedy are named."""
    state.chmod(0o500)

    for directory, reason in (
        (state, "Permission denied"),
        (state / "new", f"{state} is not writable"),
    ):
        (finding,) = of_state_directory(directory)
        assert finding.severity == "problem"
        assert f"in {directory} by uid {not_root()}: " in finding.what
        assert reason in finding.what
        assert f"install -d -m 700 -o USER {directory}" in finding.remedy


def test_what_is_to_be_kept_is_named(state: Path) -> None:
    """There are two things that are."""
    (state / "file").touch()
    (finding,) = state_directory_findings(f"{state}/file", "lists of applications")
    assert finding.what.startswith("lists of applications cannot be saved in ")


def test_state_directory_of_a_dynamic_user_is_known_to_its_unit_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd lets nobody else through, whoever owns it."""
    private = state / "private"
    (private / "exporter").mkdir(parents=True)
    private.chmod(0o700)
    monkeypatch.setattr(files, "PRIVATE", f"{private}/")
    link = state / "exporter"
    link.symlink_to(private / "exporter")
    os.chown(private / "exporter", not_root(), -1)

    (finding,) = of_state_directory(link)

    assert finding.severity == "hint"
    assert "its systemd unit alone" in finding.what
    (private / "file").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (finding,) = state_directory_findings(str(private / "file"))
    assert finding.severity == "problem"


def test_state_directory_that_is_a_file_is_a_problem(state: Path) -> None:
    """Or is below one."""
    file = state / "file"
    file.touch()

    for place in (file, file / "below"):
        (finding,) = of_state_directory(place)
        assert finding.what.endswith("Not a directory")


def test_counts_that_cannot_be_read_are_a_problem(state: Path) -> None:
    """As after somebody else's exporter had been started once."""
    kept = state / "events-0123456789abcdef.json"
    kept.touch(0o000)

    (finding,) = of_state_directory(state)

    assert finding.what.endswith("Permission denied")


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for what only root can do")
def test_state_directory_that_only_root_can_use_is_a_hint_for_root(state: Path) -> None:
    """To root every directory is writable, which says nothing about the exporter's user."""
    os.chown(state, 0, -1)

    (finding,) = of_state_directory(state / "new", user=0)

    assert finding.severity == "hint"
    assert "only root can write" in finding.what


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for what only root can do")
def test_state_directory_that_a_group_can_use_is_no_hint(state: Path) -> None:
    """It is root's, and the exporter's user may be one of the group."""
    os.chown(state, 0, not_root())
    state.chmod(0o770)

    assert of_state_directory(state, user=0) == []


def test_files_of_a_target_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    """Each by its option; what can be read is none."""
    (tmp_path / "key").write_text("")
    files = {"key_file": str(tmp_path / "key"), "credentials_file": str(tmp_path / "auth.conf")}
    (found,) = file_findings(files)
    assert found.severity == "problem"
    assert found.what == f"credentials_file: {tmp_path}/auth.conf does not exist"
