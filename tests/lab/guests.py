"""Guests that run: a real kernel under TCG, told by its command line what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, Machine, create
from tests.lab.guest_image import READY, SCENARIOS, guest_image
from tests.support.waiting import wait_until

BOOTS_WITHIN = 180.0
"""Seconds until a guest must be ready; it takes 4 to 6 where the processor is free."""


def console(libvirtd: PrivateLibvirtd, name: str) -> Path:
    """The file with what the guest has written to its serial port."""
    return libvirtd.images / f"{name}.console"


def start_guest(
    libvirtd: PrivateLibvirtd,
    name: str,
    scenario: str = "idle",
    *,
    parameters: str = "",
    **shape: Any,
) -> libvirt.virDomain:
    """Start a transient guest and return while it boots.

    `scenario` is one of `guest_image.SCENARIOS`, `parameters` more of the kernel command line,
    `shape` fields of `domains.Machine`.
    """
    assert scenario in SCENARIOS, scenario
    image = guest_image()
    boot = f"console=ttyS0 quiet mitigations=off lab={scenario} {parameters}"
    defaults: dict[str, Any] = {
        "vcpus": 1,
        "memory": 192 * MIB,
        "disks": 1,
        "console": console(libvirtd, name),
    }
    machine = Machine(
        name=name,
        kernel=image.kernel,
        initrd=image.initrd,
        cmdline=boot.rstrip(),
        **(defaults | shape),
    )
    return create(libvirtd, machine, paused=False)


def wait_for_console(
    libvirtd: PrivateLibvirtd, name: str, text: str = READY, within: float = BOOTS_WITHIN
) -> None:
    """Wait until the guest has written `text` to its console; by default, until it is ready."""
    path = console(libvirtd, name)
    wait_until(
        lambda: path.exists() and text in path.read_text(errors="replace"),
        f"{text!r} on the console of {name}, see {path}",
        within,
    )


def running_guest(
    libvirtd: PrivateLibvirtd, name: str, scenario: str = "idle", **options: Any
) -> libvirt.virDomain:
    """`start_guest`, and wait until it is ready."""
    domain = start_guest(libvirtd, name, scenario, **options)
    wait_for_console(libvirtd, name)
    return domain
