"""How full file systems of this machine are, by the kernel: no daemon is asked.

statvfs of a network file system whose server is dead may never return. Such a path is left alone
until its call has come back, and costs one thread.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from libvirt_exporter.hypervisor.connection.threads import CallThread

PATIENCE: Final = 1.0
"""Seconds without an answer after which a path is left alone."""
STUCK_LIMIT: Final = 3
"""Calls that may be stuck before nothing is asked any more."""


class Usage(NamedTuple):
    """How full the file system at a path is."""

    size: int
    """Bytes."""
    available: int
    """Bytes that programs of ordinary users may still take."""
    device: int
    """Number of the file system, which is another one when something else is mounted there."""
    has_entry: bool
    """Whether one of the names that were asked for is in the directory."""


class FileSystems:
    """Asks for one path after the other, on a thread of its own; lives on one asyncio loop."""

    def __init__(self) -> None:
        self._thread = _thread()
        self._stuck: dict[str, asyncio.Future[Usage]] = {}

    async def usage(self, path: str, names: Iterable[str] = ()) -> Usage:
        """How full the file system of a directory is, and whether one of `names` is in there.

        Raises OSError; TimeoutError when there is no answer, or none to an earlier call yet.
        """
        self._stuck = {path: call for path, call in self._stuck.items() if not call.done()}
        if path in self._stuck or len(self._stuck) >= STUCK_LIMIT:
            raise TimeoutError("it does not answer")
        call = self._thread.run(functools.partial(_usage, path, tuple(names)))
        await asyncio.wait({call}, timeout=PATIENCE)
        if not call.done():
            self._stuck[path] = call
            self._thread.stop()
            self._thread = _thread()
            raise TimeoutError("it does not answer")
        return call.result()

    def close(self) -> None:
        """Ask nothing more. Never blocks."""
        self._thread.stop()


def _thread() -> CallThread:
    return CallThread("file-systems", lambda: None)


def _usage(path: str, names: Iterable[str]) -> Usage:
    figures = os.statvfs(path)
    return Usage(
        size=figures.f_frsize * figures.f_blocks,
        available=figures.f_frsize * figures.f_bavail,
        device=os.stat(path).st_dev,
        has_entry=any(os.path.lexists(os.path.join(path, name)) for name in names),
    )
