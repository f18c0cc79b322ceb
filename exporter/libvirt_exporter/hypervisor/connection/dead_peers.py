"""Notices that a remote host is gone while libvirt waits for its first word.

libvirt's own keepalive begins once a connection is open, and it sets none on its sockets (9.0). So
an attempt to connect to a host that loses its power in that moment never ends, and neither does the
thread that makes it. The kernel can notice it, if it is told to look.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import Final

_REMOTE: Final = re.compile(
    r"\w+(\+(?P<transport>\w+))?://([^/?#]*@)?(\[[^]]*\]|[^/?#:]+)(:(?P<port>\d+))?([/?#].*)?"
)
_PORTS: Final = {"tls": 16514, "tcp": 16509}
"""libvirt's, where the URI names none."""
_IDLE: Final = 15
"""Seconds of silence after which the kernel asks the peer whether it is there …"""
_EVERY: Final = 5
"""… again after so many …"""
_TIMES: Final = 3
"""… so often, until it ends the connection."""
_UNACKNOWLEDGED: Final = 30_000
"""Milliseconds until it does if the peer does not confirm what was sent."""


def tcp_port(uri: str) -> int | None:
    """The port at which libvirt connects to the host of a URI by TCP or TLS; None for others."""
    found = _REMOTE.fullmatch(uri)
    if found is None:
        return None
    # Of a host that is named without a transport, libvirt takes TLS.
    default = _PORTS.get(found["transport"] or "tls")
    return int(found["port"] or default) if default else None


def watch_peers(port: int) -> None:
    """Let the kernel end this process's connections to that port of hosts that are gone."""
    for name in os.listdir("/proc/self/fd"):
        # Others may close it at any moment.
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                _watch(int(name), port)


def _watch(descriptor: int, port: int) -> None:
    own = os.dup(descriptor)
    try:
        same = socket.socket(fileno=own)
    except OSError:
        # It has become something else meanwhile.
        os.close(own)
        raise
    with same:
        if same.family not in (socket.AF_INET, socket.AF_INET6) or same.getpeername()[1] != port:
            return
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, _IDLE),
            (socket.TCP_KEEPINTVL, _EVERY),
            (socket.TCP_KEEPCNT, _TIMES),
            (socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED),
        ):
            same.setsockopt(socket.IPPROTO_TCP, option, value)
