"""The sockets that the server listens on: addresses, and paths in the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
UNIX: Final = "unix:"
"""What the address of a Unix socket begins with; its path follows."""

_REASONS: Final = {
    errno.EADDRINUSE: "in use; stop the other program (ss -ltnp shows it) or choose another port",
    errno.EACCES: "permission denied; ports below 1024 require CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface of this host has this address",
    errno.EAFNOSUPPORT: "this host has no IPv6",
}
_UNIX_REASONS: Final = {
    errno.EADDRINUSE: "in use; stop the other program, or remove the file if it is not a socket",
    errno.EACCES: "permission denied: the exporter's user cannot write to the directory",
    errno.ENOENT: "the directory does not exist",
}


class ListenError(Exception):
    """An address that cannot be listened on: which one, why, and what to do."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")


def listen(addresses: Sequence[str], mode: int = 0o660) -> list[socket.socket]:
    """Sockets for all of the addresses, or none at all.

    An address is `host:port`, `[IPv6]:port`, `:port` (every interface) or `unix:/path`; port 0
    takes a free one, `mode` has the permissions of Unix sockets. `ListenError` for the first
    address that fails.
    """
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_listen(address, mode)) for address in addresses]
        opened.pop_all()
    return sockets


def remove(addresses: Sequence[str]) -> None:
    """Remove the files of the Unix sockets among the addresses, once nobody listens on them."""
    for address in addresses:
        if address.startswith(UNIX):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix(UNIX))


def _listen(address: str, mode: int) -> socket.socket:
    if address.startswith(UNIX):
        return _listen_unix(address, mode)
    host, separator, port = address.rpartition(":")
    if not (separator and port.isdecimal() and int(port) < 65536):
        raise ListenError(
            address,
            "not an address; write HOST:PORT, for example :9177, 127.0.0.1:9177 or [::1]:9177",
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ListenError(address, f"an IPv6 address requires brackets: [{host}]:{port}")
    try:
        if not host and socket.has_dualstack_ipv6():
            return _prompt(
                socket.create_server(
                    ("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
                )
            )
        found = socket.getaddrinfo(
            host.strip("[]") or "0.0.0.0", int(port), type=socket.SOCK_STREAM
        )
        # A name often means 127.0.0.1 and ::1; one socket is wanted, and IPv4 is what is expected.
        family, *_, name = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return _prompt(socket.create_server(name, family=family, backlog=BACKLOG))
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(address, f"the host name cannot be resolved ({error})") from None
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ListenError(address, reason) from None


def _prompt(listening: socket.socket) -> socket.socket:
    """Have the connections of a socket send what is written at once.

    asyncio does so for sockets that name their protocol, which those of `create_server` do not.
    Otherwise the kernel keeps the body of an answer for the client's acknowledgement of its head:
    40 ms for each request but the first of a connection.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _listen_unix(address: str, mode: int) -> socket.socket:
    path = Path(address.removeprefix(UNIX))
    if not path.is_absolute():
        raise ListenError(address, "the path of a Unix socket must start with /")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nobody may connect in the moment before a chmod. No other thread makes files yet.
    mask = os.umask(0o777 & ~mode)
    try:
        if _is_left_over(path):
            path.unlink()
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        reason = _UNIX_REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ListenError(address, reason) from None
    finally:
        os.umask(mask)
    return listening


def _is_left_over(path: Path) -> bool:
    """Whether the path is a socket on which nobody listens any more. Raises OSError."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.setblocking(False)
            client.connect(str(path))
    except (FileNotFoundError, BlockingIOError):
        return False
    except ConnectionRefusedError:
        return True
    return False


def urls(sockets: Sequence[socket.socket], *, tls: bool) -> list[str]:
    """The address of each socket for a browser on this host, or its path."""
    found = []
    for listening in sockets:
        if listening.family == socket.AF_UNIX:
            found.append(f"{UNIX}{listening.getsockname()}")
            continue
        host, port = listening.getsockname()[:2]
        if host in {"::", "0.0.0.0"}:
            host = "localhost"
        elif ":" in host:
            host = f"[{host}]"
        found.append(f"{'https' if tls else 'http'}://{host}:{port}/")
    return found


def on_every_interface(sockets: Sequence[socket.socket]) -> bool:
    """Whether one of the sockets listens on all addresses of this host."""
    return any(listening.getsockname()[:1] in {("::",), ("0.0.0.0",)} for listening in sockets)
