"""Where the files beside the package are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_exporter.commands import shipped

MODULE = Path("libvirt_exporter/commands/shipped.py")


@pytest.mark.parametrize(
    ("packages", "share"),
    [
        ("lib/python3.13/site-packages", "share/libvirt-exporter"),
        ("lib/python3/dist-packages", "share/libvirt-exporter"),
        ("lib/libvirt-exporter", "share/libvirt-exporter"),
        (".", "share/libvirt-exporter"),
    ],
    ids=["environment", "distribution", "private directory", "pip --target"],
)
def test_files_are_found_below_the_prefix_of_the_package(
    tmp_path: Path, packages: str, share: str
) -> None:
    """Wherever the package is installed, `share` of the same prefix has its files."""
    (tmp_path / share).mkdir(parents=True)

    assert shipped.find(tmp_path / packages / MODULE) == tmp_path / share


def test_checkout_comes_before_what_is_installed(tmp_path: Path) -> None:
    """A checkout has the newest files itself, even one below a prefix."""
    (tmp_path / "share/libvirt-exporter").mkdir(parents=True)
    checkout = tmp_path / "src"
    checkout.mkdir()
    (checkout / "hatch_build.py").touch()

    assert shipped.find(checkout / "exporter" / MODULE) == checkout


def test_package_without_its_files_says_so(tmp_path: Path) -> None:
    """Where nobody installed the files, none are found."""
    assert shipped.find(tmp_path / "lib/python3.13/site-packages" / MODULE) is None
