"""The locked libraries are those that pyproject.toml asks for, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
DEVELOPMENT: list[str] = GROUPS["dev"] + GROUPS["packages"]
TOOLS = "deploy/packages/tools.lock"
"""What makes the manual page and completion."""


def locked(file: str) -> list[tuple[str, str]]:
    """Each library that the file pins with hashes, and its version; others for other Pythons."""
    text = (ROOT / file).read_text()
    pins = re.findall(
        r"^([\w.-]+)==(\S+)[^\n]*(?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+", text, re.M
    )
    return [(canonicalize_name(name), version) for name, version in pins]


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("requirements.lock", RUNTIME),
        ("requirements-dev.lock", RUNTIME + DEVELOPMENT),
        (TOOLS, GROUPS["packages"]),
    ],
)
def test_locked_libraries_fit_what_the_project_asks_for(file: str, asked: list[str]) -> None:
    """Every library that is asked for is pinned to a version in its range; else: make lock."""
    pins = locked(file)

    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        versions = [version for library, version in pins if library == name]
        assert versions, requirement
        assert all(map(requirement.specifier.contains, versions)), requirement


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock", TOOLS])
def test_nothing_is_locked_without_its_hashes(file: str) -> None:
    """pip refuses a file of which one library has no hash."""
    pinned = re.findall(r"^[\w.-]+==", (ROOT / file).read_text(), re.M)

    assert len(pinned) == len(locked(file)) > 1
