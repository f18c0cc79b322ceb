"""Cases for `promtool test rules`: Prometheus' own engine, and a clock that takes no time."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Cases = dict[str, Any]
"""A file of cases, as promtool reads it."""


def promtool(*files: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of files of cases."""
    return subprocess.run(
        ["promtool", "test", "rules", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def read(file: Path) -> Cases:
    """The cases, which may be written to anywhere else.

    As text: Python reads 0x40, promtool's forty zeros, as a number.
    """
    cases: Cases = yaml.load(file.read_text(), yaml.BaseLoader)
    cases["rule_files"] = [str((file.parent / path).resolve()) for path in cases["rule_files"]]
    return cases


def write(file: Path, cases: Mapping[str, Any]) -> Path:
    """Write the cases; returns the file."""
    file.write_text(yaml.safe_dump(dict(cases), allow_unicode=True))
    return file
