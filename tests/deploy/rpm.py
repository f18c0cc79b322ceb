"""The RPM package: built, judged by rpmlint, unpacked and run with the Python of this system."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.system import ROOT, run

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PRIVATE = "usr/lib64/libvirt-exporter"


@pytest.fixture(scope="module")
def package() -> Path:
    """The package for this Python; rpmlint must like it."""
    return Path(run(ROOT / "deploy/packages/rpm.sh", PYTHON).splitlines()[-1])


@pytest.fixture(scope="module")
def files(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory into which it is unpacked."""
    root = tmp_path_factory.mktemp("rpm")
    run("sh", "-c", f"cd {root} && rpm2cpio {package} | cpio --quiet -idm")
    return root


def test_package_asks_for_this_python_and_the_binding(package: Path) -> None:
    """What its private directory holds is neither asked of others nor offered to them."""
    needed = run("rpm", "--query", "--requires", "--package", package)
    offered = run("rpm", "--query", "--provides", "--package", package)

    assert f"python(abi) = {PYTHON}\n" in needed
    assert "python3-libvirt >= 9.0\n" in needed
    assert "msgspec" not in needed + offered


def test_package_has_unit_configuration_page_and_completion(files: Path) -> None:
    """Everything that an administrator looks for, where EL and Fedora have it."""
    for path in (
        "etc/libvirt-exporter/exporter.yml",
        "usr/bin/libvirt-exporter",
        "usr/lib/systemd/system/libvirt-exporter.service",
        "usr/lib/systemd/system/libvirt-exporter.socket",
        "usr/share/bash-completion/completions/libvirt-exporter",
        "usr/share/libvirt-exporter/deploy/prometheus/rules/libvirt-domains.yml",
        "usr/share/man/man8/libvirt-exporter.8.gz",
        "usr/share/zsh/site-functions/_libvirt-exporter",
    ):
        assert (files / path).is_file(), path
    assert list((files / "usr/share/libvirt-exporter/dashboards").glob("*.json"))


def test_service_is_restarted_by_an_upgrade_and_ended_by_a_removal(package: Path) -> None:
    """The scripts are those of systemd's macros."""
    scripts = run("rpm", "--query", "--scripts", "--package", package)

    assert re.search(r"remove-system-units libvirt-exporter\.service", scripts)
    assert re.search(r"mark-restart-system-units libvirt-exporter\.service", scripts)


def test_program_of_the_package_runs(files: Path) -> None:
    """With its own libraries, and of this environment nothing but libvirt's binding."""
    launcher = (files / "usr/bin/libvirt-exporter").read_text()
    assert f'"/{PRIVATE}"' in launcher
    moved = files / "moved.py"
    moved.write_text(launcher.replace(f"/{PRIVATE}", str(files / PRIVATE)))
    binding = files / "binding"
    binding.mkdir()
    import libvirt

    for module in Path(libvirt.__file__).parent.glob("libvirt*"):
        if not module.name.startswith("libvirt_exporter"):
            copy = shutil.copytree if module.is_dir() else shutil.copy
            copy(module, binding / module.name)
    text = subprocess.run(
        [sys.executable, "-S", moved, "scrape", "--libvirt.uri=test:///default"],
        env={"PYTHONPATH": str(binding), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert text.returncode == 0, text.stderr
    assert 'libvirt_domain_state{domain="test"' in text.stdout
