"""The connection that may change things: what guest agents are asked on, and nothing else.

libvirt refuses every call to a guest agent on a read-only connection, so this one is not. It is
opened only where `guest_agent.enabled` is set, in a pool of its own.
"""

from __future__ import annotations

import re

import libvirt

from libvirt_exporter.hypervisor.connection.session import kept_alive, start_event_loop
from libvirt_exporter.hypervisor.invented import SCHEME


def open_read_write(uri: str) -> libvirt.virConnect:
    """Open `uri` read-write, with keepalive where the driver has it.

    May block for ever when the daemon is frozen. Raises libvirt.libvirtError.
    """
    start_event_loop()
    if uri.startswith(SCHEME):
        from libvirt_exporter.hypervisor.invented import connection

        raise connection.refused(uri)
    return kept_alive(libvirt.open(read_write_uri(uri)))


def read_write_uri(uri: str) -> str:
    """The URI with the daemon's read-write socket in the place of its read-only one, if named."""
    return re.sub("-sock-ro(?=&|$)", "-sock", uri)
