"""Notices that a daemon closes connections at once, as libvirtd does at its limit of clients.

libvirt's client (9.0) then loses a descriptor and some memory now and then, if its event loop runs:
some 4 of 100 attempts. So once an attempt has failed, the next one is tried without libvirt first.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

PATIENCE: Final = 0.05
"""Seconds in which a connection must stay open; libvirtd itself says nothing before it is asked."""
SYSTEM: Final = "/run"
"""Directory in which system daemons have their sockets."""
_LOCAL: Final = re.compile(r"\w+(\+unix)?:///(system|session)(\?.*)?", re.DOTALL)


def closes_at_once(uri: str) -> bool:
    """Whether all local sockets that libvirt may take for `uri` close a connection at once."""
    paths = [path for path in _sockets(uri) if path.is_socket()]
    return bool(paths) and all(map(_closes, paths))


def _sockets(uri: str) -> list[Path]:
    """Those that libvirt may take; none of a remote host, or of a driver without a daemon."""
    if not _LOCAL.fullmatch(uri):
        return []
    parts = urlsplit(uri)
    if named := parse_qs(parts.query).get("socket"):
        return [Path(named[0])]
    run = SYSTEM if parts.path == "/system" else os.environ.get("XDG_RUNTIME_DIR")
    if not run:
        return []
    driver = parts.scheme.partition("+")[0]
    names = ("libvirt-sock-ro", "libvirt-sock", f"virt{driver}d-sock-ro", f"virt{driver}d-sock")
    return [Path(run, "libvirt", name) for name in names]


def _closes(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(path))
            return not connection.recv(1)
        except ConnectionResetError:
            return True
        except OSError:
            # Frozen, refused, or not allowed: libvirt says it better.
            return False
