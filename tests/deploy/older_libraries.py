"""The oldest libraries of a distribution that a package takes pass the tests of their users."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy.packages.suite import OLDEST

ROOT = Path(__file__).parents[2]
USERS = ("tests/unit/config", "tests/unit/web", "tests/process/web")


def test_program_works_with_the_oldest_libraries(tmp_path: Path) -> None:
    """They go before those of the environment."""
    pins = [f"{name}=={version}" for name, version in OLDEST.items() if name != "pyyaml"]
    install = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    )
    subprocess.run([*install, "--target", tmp_path, *pins], check=True)
    path = os.pathsep.join((str(tmp_path), "exporter", "."))

    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *USERS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert tests.returncode == 0, tests.stdout
