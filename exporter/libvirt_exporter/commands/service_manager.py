"""What systemd hands to the process and hears from it: sockets, readiness, signs of life.

The protocols of sd_listen_fds(3) and sd_notify(3); without systemd nothing happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

from libvirt_exporter.web.listening import ListenError

log = logging.getLogger(__name__)

_FIRST: Final = 3
"""The first file descriptor that is handed over."""


def inherited_sockets(environment: MutableMapping[str, str], process: int) -> list[socket.socket]:
    """Take the listening sockets that systemd opened for `process`, and tell no child of them.

    ListenError where there is none, or one is no listening stream socket.
    """
    count, owner, names = (
        environment.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    )
    if not (count.isdecimal() and int(count) and owner == str(process)):
        raise ListenError("systemd's sockets", "systemd passed no socket; start the .socket unit")
    return [
        _inherited(_FIRST + index, name)
        for index, name in zip(
            range(int(count)), names.split(":") + [""] * int(count), strict=False
        )
    ]


def _inherited(descriptor: int, name: str) -> socket.socket:
    called = f"descriptor {descriptor} of systemd{f' ({name})' if name else ''}"
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError(called, error.strerror or str(error)) from None
    if found.type != socket.SOCK_STREAM or not found.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        raise ListenError(called, "not a listening stream socket; write ListenStream=, Accept=no")
    return found


class ServiceManager:
    """Tells systemd the state of this process, where it asked to be told."""

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
        asked = microseconds.isdecimal() and owner in (None, str(process))
        self._watchdog = int(microseconds) / 1e6 if asked else 0.0

    def ready(self, status: str) -> None:
        """The first sample is there, or a reload has ended."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The process is about to end."""
        self._tell("STOPPING=1")

    async def live(self) -> None:
        """Say twice in each interval of the watchdog that the event loop goes round."""
        while self._address and self._watchdog:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("cannot notify systemd of %s: %s", state.partition("\n")[0], error.strerror)
