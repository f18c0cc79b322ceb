"""pytest fixtures over the lab, for the conftest of each suite that needs a real libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import HOSTILE_NAMES, kvm_works, paused_domain, shutoff_domain
from tests.lab.guests import start_guest, wait_for_console

__all__ = ["fresh_libvirtd", "guests", "hostile", "libvirtd"]


@pytest.fixture(scope="package")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    """A private libvirtd for the whole lab; not to be stopped, killed or frozen."""
    with PrivateLibvirtd() as daemon:
        yield daemon


@pytest.fixture
def fresh_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A private libvirtd for one test, to do with as it likes."""
    with PrivateLibvirtd() as daemon:
        yield daemon


@pytest.fixture(scope="package")
def guests(libvirtd: PrivateLibvirtd) -> dict[str, libvirt.virDomain]:
    """A host with one domain of each kind on `libvirtd`, by name.

    `running` does disk I/O, reports its memory each second and has an agent; the others are paused,
    `off` is shut off; `kvm` is there where KVM works.
    """
    running = start_guest(
        libvirtd, "running", "diskio", balloon_period=1, agent=True, watchdog="none"
    )
    domains = {
        "running": running,
        "paused": paused_domain(libvirtd, "paused"),
        "bare": paused_domain(libvirtd, "bare", disks=0, nics=0, balloon=False),
        "iothreads": paused_domain(libvirtd, "iothreads", iothreads=2),
        "chain": paused_domain(libvirtd, "chain", disks=1, chain=3, cdrom=True),
        "nics": paused_domain(libvirtd, "nics", nics=3, user_nics=1, persistent=True),
        "off": shutoff_domain(libvirtd, "off"),
    }
    if kvm_works(libvirtd):
        domains["kvm"] = paused_domain(libvirtd, "kvm", kvm=True)
    wait_for_console(libvirtd, "running")
    return domains


@pytest.fixture(scope="package")
def hostile(libvirtd: PrivateLibvirtd) -> list[libvirt.virDomain]:
    """A paused domain of each hostile name on `libvirtd`."""

    def create(name: str) -> libvirt.virDomain:
        return paused_domain(libvirtd, name, vcpus=1, disks=0, nics=0)

    with ThreadPoolExecutor(max_workers=3) as threads:
        return list(threads.map(create, HOSTILE_NAMES))
