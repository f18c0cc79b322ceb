"""What the Debian package is made of: in step with the program, the unit and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.packages import suite
from libvirt_exporter import __version__

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "deploy" / "packages" / "debian"
CONTROL = (DEBIAN / "control").read_text()


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
        package = suite.package_of(requirement.name)
        assert re.search(rf"\b{package}\b", needed), package


@pytest.mark.parametrize("file", ["libvirt-exporter.install", "libvirt-exporter.docs"])
def test_package_takes_files_that_exist(file: str) -> None:
    """What is installed beside the wheel is in the tree, or generated."""
    generated = (ROOT / "deploy/packages/generate.sh").read_text()

    for line in (DEBIAN / file).read_text().splitlines():
        source = line.split()[0]
        made = source.replace("debian/generated/", "$directory/")
        assert list(ROOT.glob(source)) or made in generated, source


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


LOCK = """\
anyio==4.16.0 \\
    --hash=sha256:aa
    # via starlette
h11==0.16.0 \\
    --hash=sha256:bb
    # via
    #   libvirt-exporter (pyproject.toml)
    #   uvicorn
idna==3.20 \\
    --hash=sha256:cc
    # via anyio
msgspec==0.23.0 \\
    --hash=sha256:dd
    # via libvirt-exporter (pyproject.toml)
starlette==1.10.0 \\
    --hash=sha256:ee
    # via libvirt-exporter (pyproject.toml)
uvicorn==0.54.0 \\
    --hash=sha256:ff
    # via libvirt-exporter (pyproject.toml)
"""


@pytest.mark.parametrize(
    ("asked", "version", "met"),
    [
        ("msgspec>=0.19,<1", "0.19.0-2", True),
        ("msgspec>=0.19,<1", "0.18.6-1+b1", False),
        ("msgspec>=0.19,<1", "1:1.0-1", False),
        ("msgspec>=0.19,<1", "(none)", False),
        ("google-re2>=1.1", "20240702-3+b1", True),
        ("prometheus-client>=0.21,<1", "0.21.1+ds1-1", True),
        ("starlette>=0.49.1,<2", "0.46.1-3+deb13u3", True),
        ("starlette>=0.49.1,<2", "0.26.1-1", False),
        ("uvicorn>=0.54,<0.55", "0.55.0-1", False),
    ],
)
def test_package_of_the_distribution_is_taken_where_it_serves(
    asked: str, version: str, met: bool
) -> None:
    """A release's own library goes before one that is brought along, and too old a one does not."""
    name = Requirement(asked).name

    assert suite.lacking([asked], {suite.package_of(name): version}) == ([] if met else [name])


def test_what_no_release_has_is_brought_along() -> None:
    """apt knows no such package."""
    assert suite.lacking(["msgspec>=0.19,<1"], {}) == ["msgspec"]


@pytest.mark.parametrize("library", suite.OLDEST)
def test_older_library_of_a_distribution_is_an_exception(library: str) -> None:
    """The table names libraries of the program, and only for versions that pip may not take."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [bounds] = [
        each.specifier
        for each in map(Requirement, asked)
        if canonicalize_name(each.name) == library
    ]

    assert not bounds.contains(suite.OLDEST[library])


def test_libraries_come_with_what_they_need() -> None:
    """The lock file says what was pinned on whose account; nothing else is brought along."""
    assert list(suite.pinned(LOCK, ["starlette"])) == ["anyio", "idna", "starlette"]
    assert list(suite.pinned(LOCK, ["uvicorn"])) == ["h11", "uvicorn"]
    assert list(suite.pinned(LOCK, [])) == []
    assert suite.pinned(LOCK, ["msgspec"])["msgspec"].startswith("msgspec==0.23.0 \\\n    --hash")


def test_package_of_compiled_libraries_is_for_one_architecture_and_python() -> None:
    """And is not built with the packages in whose place they come."""
    fitted = suite.fitted_control(CONTROL, ["msgspec", "google-re2"], 11)

    assert settings(fitted, "Depends").startswith("python3 (<< 3.12), libnss-systemd,")
    assert "Architecture: any" in fitted
    assert "python3-msgspec" not in fitted
    assert "python3-re2" not in fitted
    assert "python3-h11" in fitted
    assert suite.fitted_control(CONTROL, [], None) == CONTROL


def test_newer_release_has_the_newer_package() -> None:
    """Whoever upgrades the system gets the package of its new release."""
    changelog = (DEBIAN / "changelog").read_text()

    def version(**release: str) -> str:
        first, _, _ = suite.fitted_changelog(changelog, release).partition("\n")
        return first.split()[1]

    assert version(ID="debian", VERSION_ID="12") == f"({__version__}-1~deb12)"
    assert version(ID="ubuntu", VERSION_ID="24.04") == f"({__version__}-1~ubuntu24.04)"
    assert version(ID="debian") == f"({__version__}-1)"


def test_rpm_has_the_version_of_the_program() -> None:
    """The specification's default and its changelog."""
    spec = (ROOT / "deploy/packages/rpm/libvirt-exporter.spec").read_text()

    assert f"%global upstream_version {__version__}}}" in spec
    assert re.search(rf"^\* .* - {re.escape(__version__)}-1$", spec, re.M)
