"""What the Debian package is made of: in step with the program, the unit and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from libvirt_exporter import __version__

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "deploy" / "packages" / "debian"
CONTROL = (DEBIAN / "control").read_text()
PACKAGES = {
    "PyYAML": "python3-yaml",
    "google-re2": "python3-re2",
    "libvirt-python": "python3-libvirt",
}
"""Library → Debian's package of it, where that has another name."""


def settings(text: str, name: str) -> str:
    """The value of a field of the control file, in one line."""
    found = re.search(rf"^{name}:((?:.*\n)(?: .*\n)*)", text, re.M)
    assert found is not None, name
    return " ".join(found[1].split())


def test_package_has_the_version_of_the_program() -> None:
    """The newest entry of the package's changelog is this version, with a date."""
    text = (DEBIAN / "changelog").read_text()

    assert text.startswith(f"libvirt-exporter ({__version__}-")
    last = re.search(r"^ -- .+ <.+>  (.+)$", text, re.M)
    assert last is not None
    parsedate_to_datetime(last[1])


def test_package_is_built_with_every_library_of_the_program() -> None:
    """Man page and completion are made by the program, whose imports must not fail."""
    asked: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    needed = settings(CONTROL, "Build-Depends")

    for requirement in map(Requirement, asked):
        package = PACKAGES.get(requirement.name, f"python3-{requirement.name.lower()}")
        assert re.search(rf"\b{package}\b", needed), package


@pytest.mark.parametrize("file", ["libvirt-exporter.install", "libvirt-exporter.docs"])
def test_package_takes_files_that_exist(file: str) -> None:
    """What is installed beside the wheel is in the tree, or made by the rules."""
    rules = (DEBIAN / "rules").read_text()

    for line in (DEBIAN / file).read_text().splitlines():
        source = line.split()[0]
        assert list(ROOT.glob(source)) or source in rules, source


def test_unit_finds_what_the_package_installs() -> None:
    """Program and configuration lie where the unit looks for them."""
    installed = dict(
        line.split() for line in (DEBIAN / "libvirt-exporter.install").read_text().splitlines()
    )
    unit = (ROOT / "deploy/systemd/libvirt-exporter.service").read_text()

    assert installed["config/exporter.yml"] == "etc/libvirt-exporter"
    assert (
        "ExecStart=/usr/bin/libvirt-exporter --config.file=/etc/libvirt-exporter/exporter.yml"
        in unit
    )
    assert "libnss-systemd" in settings(CONTROL, "Depends")


def test_purge_takes_the_state_of_the_unit_away() -> None:
    """The directory that the unit makes does not outlive the package."""
    unit = (ROOT / "deploy/systemd/libvirt-exporter.service").read_text()
    state = re.search(r"^StateDirectory=(.+)$", unit, re.M)
    assert state is not None

    script = (DEBIAN / "libvirt-exporter.postrm").read_text()
    assert f"rm -rf /var/lib/{state[1]} /var/lib/private/{state[1]}\n" in script
