"""Files that are generated are what their generators write now."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREE = ("config", "dashboards", "deploy", "docs", "exporter", "tests")


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the tree by its name, without what the interpreter leaves behind."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for directory in TREE
        for path in (root / directory).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("target", "generator"),
    [
        ("docs", ["-m", "docs.build"]),
        ("dashboards", ["-m", "dashboards.build"]),
        ("rules", ["-m", "deploy.prometheus.build"]),
        ("golden", ["-m", "tests.contract.golden"]),
        ("dashboards", ["-m", "deploy.needs"]),
    ],
    ids=["docs", "dashboards", "rules", "golden", "needs"],
)
def test_generator_changes_nothing(target: str, generator: list[str], tmp_path: Path) -> None:
    """In a copy of the tree, running the generator leaves every file as it was."""
    for directory in TREE:
        shutil.copytree(ROOT / directory, tmp_path / directory)
    shutil.copy(ROOT / "README.md", tmp_path)
    before = contents(tmp_path)

    subprocess.run(
        [sys.executable, *generator], cwd=tmp_path, env={"PYTHONPATH": "exporter:."}, check=True
    )

    after = contents(tmp_path)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert not changed, f"{sorted(changed)} are not as generated: run `make {target}`"
