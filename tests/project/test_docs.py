"""The generated documents: what is checked in is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from docs import build

ROOT = Path(__file__).parents[2]
RECORDED: Final = ROOT / "tests/contract/goldens/libvirt-9.0-qemu-7.2.default.prom"


def parts(name: str) -> Counter[str]:
    """The series of a recorded VM with two disks, by what they are of, each part counted once."""
    found: Counter[str] = Counter()
    devices = {"vda": "each disk", "device-4": "each NIC", "device-5": "each NIC"}
    for family in text_string_to_metric_families(RECORDED.read_text()):
        for labels in (sample.labels for sample in family.samples):
            if labels.get("domain") != name or labels.get("vcpu", "0") != "0":
                continue
            if "vcpu" in labels:
                found["each vCPU"] += 1
            elif "device" not in labels:
                found["the VM itself"] += 1
            elif labels["device"] in devices:
                found[devices[labels["device"]]] += 1
    return found


def test_the_documented_cost_of_a_vm_is_that_of_recorded_ones() -> None:
    """Series of the VM itself, a disk, a NIC and a vCPU, running and shut off."""
    text = (ROOT / "docs/operations.md").read_text()
    running, off = parts("name-20"), parts("name-22")
    for part in ("the VM itself", "each disk", "each NIC", "each vCPU"):
        row = re.search(rf"^\| (?:\+ )?{part} \| (\d+)[^|]*\| (\d*)", text, re.MULTILINE)
        assert row, part
        assert (running[part], off[part]) == (int(row[1]), int(row[2] or 0)), part
    both = sum(running.values()) + sum(running[part] for part in ("each disk", "each vCPU"))
    assert f"with 2 vCPUs, 2 disks and 1 NIC has {both} series" in text


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
