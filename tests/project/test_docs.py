"""The generated documents: what is checked in is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs import build

ROOT = Path(__file__).parents[2]


def test_documents_in_the_tree_are_up_to_date() -> None:
    """`python -m docs.build --check` has nothing to say about this checkout."""
    checked = subprocess.run(
        [sys.executable, "-m", "docs.build", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": "exporter:."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (checked.stdout, checked.stderr) == ("", "")


def test_check_names_what_differs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stale file and absent ones are named, and the exit status is 1."""
    stale = tmp_path / "docs" / "metrics.md"
    stale.parent.mkdir()
    stale.write_text("old")

    assert build.main(["--check"], tmp_path) == 1

    output = capsys.readouterr().out
    assert all(path in output for path in build.documents())
    assert stale.read_text() == "old"


def test_build_writes_what_check_then_accepts(tmp_path: Path) -> None:
    """After a build nothing differs."""
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    assert {path for path in build.documents() if (tmp_path / path).is_file()} == set(
        build.documents()
    )
