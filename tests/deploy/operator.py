"""The resources of the Prometheus operator, read by the operator's own types.

Takes a minute; `make kubernetes-test` runs it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
TYPES: Final = "cloudcoil-models-prometheus-operator==0.80.1.0"


def mistakes(file: Path) -> str:
    """What the types of the operator do not take of a file, in an environment of their own."""
    command = ["uv", "run", "--quiet", "--no-project", "--with", TYPES, "--with", "PyYAML"]
    command += ["python", str(Path(__file__).with_name("operator_types.py")), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "file", ["deploy/kubernetes/podmonitor.yaml", "deploy/prometheus/prometheus-rule.yml"]
)
def test_the_operator_takes_it(file: str) -> None:
    """Every field, with its type."""
    assert mistakes(ROOT / file) == ""


def test_a_field_that_the_operator_does_not_know_is_seen(tmp_path: Path) -> None:
    """The check above can fail."""
    text = (ROOT / "deploy/kubernetes/podmonitor.yaml").read_text()
    slip = tmp_path / "podmonitor.yaml"
    slip.write_text(text.replace("interval:", "intervall:"))
    assert mistakes(slip) == "PodMonitor.spec.podMetricsEndpoints[0].intervall"
