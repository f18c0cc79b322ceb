"""`python -m tests.contract.record_lab [--containers] FILE`: records a host that the tests build.

Its domains: a guest that runs and reports its memory, a paused one with a backing chain and an
empty drive, one under KVM where KVM works, and one that is shut off. Beside them are a storage pool
that runs, one that does not, and a network that is not active. With `--containers` it is a host of
LXC with one container.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import libvirt

from tests.contract.record import record
from tests.lab.containers import start_container
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import kvm_works, paused_domain, shutoff_domain, statistics
from tests.lab.guests import running_guest
from tests.support.waiting import wait_until

MIB = 1024**2


def populate(libvirtd: PrivateLibvirtd) -> None:
    """Create the domains and wait until each shows what it is there for."""
    running = running_guest(
        libvirtd,
        "running",
        "diskio",
        vcpus=2,
        disks=2,
        iothreads=2,
        balloon_period=1,
        agent=True,
        watchdog="none",
        measured=True,
    )
    running.setBlockThreshold("vda", 512 * MIB)
    for event in ("cpu_clock", "task_clock", "page_faults", "context_switches", "cpu_migrations"):
        # A container may not be allowed to count.
        with contextlib.suppress(libvirt.libvirtError):
            running.setPerfEvents({event: True})
    running.startDirtyRateCalc(1)
    paused_domain(libvirtd, "chain", disks=1, chain=3, cdrom=True, user_nics=1)
    if kvm_works(libvirtd):
        paused_domain(libvirtd, "kvm", kvm=True)
    shutoff_domain(libvirtd, "off")
    images, _spare = [
        libvirtd.connection.storagePoolDefineXML(
            f"<pool type='dir'><name>{name}</name>"
            f"<target><path>{libvirtd.root / name}</path></target></pool>"
        )
        for name in ("images", "spare")
    ]
    images.create()
    libvirtd.connection.networkDefineXML("<network><name>inner</name></network>")
    wait_until(lambda: statistics(running).get("dirtyrate.calc_status") == 2, "a dirty rate")
    wait_until(lambda: statistics(running).get("balloon.last-update", 0) > 0, "memory figures")
    time.sleep(2)


def main() -> None:
    """Record the lab into the file that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.contract.record_lab", description=__doc__
    )
    parser.add_argument("path", metavar="FILE", type=Path)
    parser.add_argument("--containers", action="store_true")
    arguments = parser.parse_args()
    path = arguments.path
    with PrivateLibvirtd(containers=arguments.containers) as libvirtd:
        if arguments.containers:
            start_container(libvirtd)
            time.sleep(2)
        else:
            populate(libvirtd)
        record(libvirtd.read_only_uri, path, pid_files=str(libvirtd.pid_files))


if __name__ == "__main__":
    main()
