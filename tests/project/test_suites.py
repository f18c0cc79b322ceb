"""What the command `./test` runs, and what the quick round leaves to it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


def test_no_folder_of_tests_is_forgotten() -> None:
    """pytest without arguments, as `./test` runs it, reaches each folder that holds a test."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reached = set(project["tool"]["pytest"]["ini_options"]["testpaths"])
    holding = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    assert reached == {f"tests/{folder}" for folder in holding}, "add it to pyproject's testpaths"


def test_no_unit_test_sleeps() -> None:
    """Nor therefore depends on what a machine does meanwhile."""
    sleeping = [
        path for path in (TESTS / "unit").rglob("*.py") if "time.sleep(" in path.read_text()
    ]
    assert not sleeping, (
        "wait for the thing itself (tests.support.waiting), set the clock "
        "(tests.support.virtual_time), or move the test to tests/process"
    )
