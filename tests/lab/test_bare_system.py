"""A Debian with nothing in it: the README's first line there, and the container image over it.

What takes longer, packages and other releases, is in tests/deploy and `make packages-test`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.containers import IMAGE, Podman, run_libvirt
from tests.deploy.system import SCRIPT, run
from tests.lab.daemon import PrivateLibvirtd, can_run_privileged
from tests.lab.domains import paused_domain

pytestmark = pytest.mark.skipif(not can_run_privileged(), reason="only root enters another root")

SUITE: Final = os.environ.get("SUITE", "trixie")
GUEST: Final = "guest-of-the-host"
INSTALLED: Final = "/srv/libvirt-exporter/.venv/bin/libvirt-exporter"
COMPILERS: Final = "for tool in cc gcc c++ ld make; do command -v $tool; done; id -un"


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    """The host's libvirtd, with a guest."""
    with PrivateLibvirtd() as daemon:
        paused_domain(daemon, GUEST)
        yield daemon


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `./run` has made of the bare system: its changes, for tests/deploy/system.sh."""
    changes = tmp_path_factory.mktemp("bare")
    apart = ("unshare", "--mount", "--pid", "--fork")
    said = run(*apart, SCRIPT, "clone", SUITE, changes, "--version")
    assert "== System packages" in said
    yield changes
    shutil.rmtree(changes)


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman without any image."""
    podman = Podman(tmp_path_factory.mktemp("containers"))
    yield podman
    podman.remove()


def test_first_line_of_the_readme_installs_what_shows_the_host(
    changes: Path, libvirtd: PrivateLibvirtd
) -> None:
    """As `nobody`, who may nothing and can write nowhere, and without a compiler."""

    def confined(*command: str) -> str:
        within = ("unshare", "--mount", SCRIPT, "confined", SUITE, changes)
        return run(*within, libvirtd.socket_directory, *command)

    shown = confined(INSTALLED, "scrape", "--log.level=warn")

    assert "\nlibvirt_up 1" in shown
    assert f'domain="{GUEST}"' in shown
    assert confined("sh", "-c", COMPILERS).split() == ["nobody"]


def test_image_shows_the_host(changes: Path, libvirtd: PrivateLibvirtd, podman: Podman) -> None:
    """Built on the system above, which has most of what it installs, and run as documented."""
    podman.build(SUITE, changes)

    shown = podman.start("--pid=host", *run_libvirt(libvirtd), IMAGE, "scrape", "--log.level=warn")

    assert "\nlibvirt_up 1" in shown
    assert f'domain="{GUEST}"' in shown
    tools = podman.start("--entrypoint=/bin/sh", IMAGE, "-c", COMPILERS)
    assert tools.split() == ["nobody"]
