"""What `check-config` finds in files, and how it says so."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from libvirt_exporter.commands.check_config import STDIN, as_json, as_text, is_no_directory, judge


def messages(file: Path) -> list[tuple[int, str]]:
    """Line and message of each mistake."""
    return [(mistake.line, mistake.message) for mistake in judge(file).mistakes]


def write(directory: Path, text: str, name: str = "exporter.yml") -> Path:
    """A file with this text."""
    file = directory / name
    file.write_text(text)
    return file


def test_the_web_configuration_is_checked_beside_a_faulty_file(tmp_path: Path) -> None:
    """And the state directory: one run finds the mistakes of all that a file names."""
    web = write(tmp_path, "basic_auth_user: {}\n", "web.yml")
    file = write(
        tmp_path,
        "web:\n  config_file: web.yml\n  listen: 9177\n"
        f"events:\n  state_directory: {web}\nlog: 7\n",
    )
    found = messages(file)
    assert [line for line, _ in found] == [2, 3, 5, 6]
    assert found[0][1].startswith(f"web.config_file: {web}:1: unknown key 'basic_auth_user'")
    assert found[2][1] == f"{web} is not a directory"


@pytest.mark.parametrize(
    "text", ["web: {config_file: [a]}", "web: 7", "events: {state_directory: 7}"]
)
def test_an_option_of_another_type_names_no_file(tmp_path: Path, text: str) -> None:
    """It is reported once, for its type."""
    assert len(messages(write(tmp_path, text))) == 1


@pytest.mark.parametrize("text", ["web: [", "a: 1\n---\nb: 2\n", "{[a]: 1}"])
def test_what_is_no_yaml_is_reported_once(tmp_path: Path, text: str) -> None:
    """With its line."""
    ((line, _),) = messages(write(tmp_path, text))
    assert line > 0


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is what a pipe writes; problems call it <stdin>."""
    monkeypatch.setattr("sys.stdin", io.StringIO("log: {level: loud}"))
    verdict = judge(STDIN)
    assert verdict.file == "<stdin>"
    assert str(verdict.mistakes[0]).startswith("<stdin>:1: log.level must be one of")


def test_standard_input_that_is_no_text_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an exception."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xe9"), encoding="utf-8"))
    assert [mistake.message for mistake in judge(STDIN).mistakes] == ["not UTF-8 text"]


def test_a_file_that_is_not_there_is_a_mistake_of_that_file(tmp_path: Path) -> None:
    """The other files are still checked by whoever asks for several."""
    (mistake,) = judge(tmp_path / "absent.yml").mistakes
    assert str(mistake) == f"{tmp_path}/absent.yml: cannot be read: No such file or directory"


def test_notes_are_for_files_without_mistakes(tmp_path: Path) -> None:
    """Each with its line; a faulty file has none."""
    file = write(tmp_path, "groups:\n  include: [job]\n")
    note, *blinded, verdict = as_text([judge(file)])
    assert all(f"{file}:2: note: groups.include causes " in each for each in blinded)
    assert any("\n    vcpu: LibvirtDomainStealHigh" in each for each in blinded)
    assert max(len(line) for each in blinded for line in each.splitlines()[1:]) <= 100
    assert note.startswith(f"{file}:2: note: groups.include shows job instead of ")
    assert verdict == f"{file}: no mistakes"
    assert not [*as_text([judge(write(tmp_path, "groups: {include: [job]}\nlog: 7\n"))])]


def test_notes_on_the_web_configuration_are_those_of_the_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the place in that file, and not in the log as well."""
    web = write(tmp_path, "", "web.yml")
    verdict = judge(write(tmp_path, "web: {config_file: web.yml}\n"))
    (note, _) = as_text([verdict])
    assert note == f"{web}:1: note: the file is empty: TLS is off and no password is required"
    assert not caplog.text


def test_json_has_all_that_the_text_has(tmp_path: Path) -> None:
    """An object a file, in the order of the command line."""
    good = write(tmp_path, "groups:\n  include: [job]\n", "good.yml")
    bad = write(tmp_path, "log:\n  level: loud\n", "bad.yml")
    first, second = json.loads(as_json([judge(good), judge(bad)]))
    assert (first["file"], first["mistakes"]) == (str(good), [])
    assert first["notes"][0]["line"] == 2
    assert "vcpu: LibvirtDomainStealHigh" in first["notes"][1]["details"]
    assert second == {
        "file": str(bad),
        "mistakes": [
            {
                "file": str(bad),
                "line": 2,
                "message": "log.level must be one of debug, info, warn, error, not 'loud'",
                "hint": "",
                "details": [],
            }
        ],
        "notes": [],
    }


def test_what_is_no_directory_is_told_from_what_may_become_one(tmp_path: Path) -> None:
    """A file, or a place below a file."""
    file = write(tmp_path, "")
    assert is_no_directory(str(file))
    assert is_no_directory(str(file / "below"))
    assert not any(map(is_no_directory, ("", str(tmp_path), str(tmp_path / "not made yet"))))
