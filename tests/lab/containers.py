"""Containers of libvirt's LXC driver."""

from __future__ import annotations

import shutil
from typing import Final
from xml.sax.saxutils import escape

import libvirt

from tests.lab.daemon import PrivateLibvirtd

MIB: Final = 1024**2
NAME: Final = "box"
MEMORY: Final = 256 * MIB
WORK: Final = (
    "while :; do head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null; sleep 0.4; done"
)
"""Takes 60 MB and gives them back, again and again."""


def container_xml(libvirtd: PrivateLibvirtd) -> str:
    """A container with a root of its own that has busybox in it and nothing else."""
    root = libvirtd.images / "root"
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "head", "tail", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    return f"""
<domain type='lxc'>
  <name>{NAME}</name>
  <memory unit='b'>{MEMORY}</memory>
  <vcpu>1</vcpu>
  <os>
    <type>exe</type>
    <init>/bin/sh</init><initarg>-c</initarg><initarg>{escape(WORK)}</initarg>
    <initenv name='PATH'>/bin</initenv>
  </os>
  <devices>
    <emulator>/usr/lib/libvirt/libvirt_lxc</emulator>
    <filesystem type='mount'><source dir='{root}'/><target dir='/'/></filesystem>
    <interface type='ethernet'><target dev='{libvirtd.unused_name("t")}'/></interface>
    <console type='pty'/>
  </devices>
</domain>"""


def start_container(libvirtd: PrivateLibvirtd) -> libvirt.virDomain:
    """Start a container that works; RuntimeError where this machine cannot run any."""
    try:
        return libvirtd.connection.createXML(container_xml(libvirtd), 0)
    except libvirt.libvirtError as error:
        raise RuntimeError(
            f"libvirt cannot start an LXC container on this machine: {error}\n"
            "It needs the control groups cpuacct, memory and devices below /sys/fs/cgroup, and "
            "namespaces, which a container that the tests run in may forbid."
        ) from error
