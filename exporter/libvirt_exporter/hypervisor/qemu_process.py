"""Which QEMU processes of this machine cannot answer now, as /proc shows without any privilege.

A process that was stopped, or that waits for storage that is gone, would keep every call made
for its domain. Here that is seen before its monitor is contacted.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

from libvirt_exporter.hypervisor.calls import CallThread

APART: Final = 0.1
"""Seconds between two readings of a process that waits: ordinary disk I/O does so for a moment."""

_STOPPED: Final = b"T"
_WAITING: Final = (b"D", b"t")
"""Uninterruptible, and stopped by a tracer, which strace does for a moment at every call."""
_LOCAL: Final = re.compile(r"qemu(\+unix)?:///")
_SWITCHES: Final = re.compile(rb"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


def is_local(uri: str) -> bool:
    """Whether the QEMU processes behind a libvirt URI are this machine's."""
    return _LOCAL.match(uri) is not None


@dataclass(frozen=True)
class Halted:
    """Domains whose QEMU does not run, by UUID."""

    frozen: set[str] = field(default_factory=set)
    """Stopped, or waiting without a pause since an earlier reading."""
    unsure: set[str] = field(default_factory=set)
    """Waiting now; a reading APART seconds later tells."""


@dataclass(frozen=True)
class _Process:
    pid: int
    start_time: bytes
    """Clock ticks since boot; another one is another process."""


@dataclass(frozen=True)
class _Wait:
    since: float
    """Time of the first reading that found the process waiting (time.monotonic)."""
    switches: bytes
    """How often it had waited before; another number is another wait."""


class QemuProcesses:
    """The QEMU processes of one libvirt on this machine; used from one asyncio loop.

    Whatever cannot be read is taken to run. Reading is done on a thread: /proc/PID/cmdline may
    block while the process holds its memory map.
    """

    def __init__(self, directory: str) -> None:
        """`directory`: where libvirt keeps `<name>.pid`."""
        self._directory = os.fsencode(directory)
        self._thread = CallThread("qemu-processes", lambda: None)
        self._latest: asyncio.Future[Halted] | None = None
        self._known: dict[str, _Process] = {}
        self._waits: dict[str, _Wait] = {}

    async def look(
        self, names: Mapping[str, str], patience: float, among: Collection[str] | None = None
    ) -> Halted | None:
        """Who is halted of `among`, or else of all; None if that takes `patience` seconds.

        `names`: the active domains, UUID to name; others are forgotten.
        """
        if self._latest is not None and not self._latest.done():
            return None
        uuids = names.keys() if among is None else among
        self._latest = self._thread.run(functools.partial(self._read, dict(names), tuple(uuids)))
        await asyncio.wait({self._latest}, timeout=patience)
        return self._latest.result() if self._latest.done() else None

    def close(self) -> None:
        """End the thread when it can. Never blocks."""
        self._thread.stop()

    def _read(self, names: Mapping[str, str], uuids: Iterable[str]) -> Halted:
        halted = Halted()
        for mapping in (self._known, self._waits):
            for uuid in mapping.keys() - names.keys():
                del mapping[uuid]
        if not os.access(self._directory, os.X_OK):
            return halted
        now = time.monotonic()
        for uuid in uuids:
            state = self._state(uuid, names[uuid])
            if state == _STOPPED:
                halted.frozen.add(uuid)
            elif state in _WAITING:
                switches = _switches(self._known[uuid].pid)
                wait = self._waits.get(uuid)
                if wait is None or wait.switches != switches:
                    wait = self._waits[uuid] = _Wait(now, switches)
                (halted.frozen if now - wait.since >= APART else halted.unsure).add(uuid)
            else:
                self._waits.pop(uuid, None)
        return halted

    def _state(self, uuid: str, name: str) -> bytes:
        """The letter of a domain's process as of proc(5); empty when it cannot be known."""
        process = self._known.get(uuid)
        if process is not None:
            state, start_time = _stat(process.pid)
            if start_time == process.start_time:
                return state
        pid = self._pid(name)
        if pid is None or not _is_qemu_of(pid, uuid):
            self._known.pop(uuid, None)
            return b""
        state, start_time = _stat(pid)
        self._known[uuid] = _Process(pid, start_time)
        return state

    def _pid(self, name: str) -> int | None:
        # libvirt (9.0) escapes the file's name as if it were XML.
        file = escape(name).replace("&#x27;", "&apos;").encode(errors="surrogateescape")
        try:
            return int(_content(b"%b/%b.pid" % (self._directory, file)))
        except ValueError:
            return None


def _content(path: bytes, size: int = 4096) -> bytes:
    """The first `size` bytes of a file; empty when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _stat(pid: int) -> tuple[bytes, bytes]:
    """State and start time of a process; empty when there is none."""
    # The name in parentheses before them may hold anything.
    fields = _content(b"/proc/%d/stat" % pid).rpartition(b") ")[2].split(b" ", 20)
    return (fields[0], fields[19]) if len(fields) > 20 else (b"", b"")


def _switches(pid: int) -> bytes:
    found = _SWITCHES.search(_content(b"/proc/%d/status" % pid))
    return found[1] if found else b""


def _is_qemu_of(pid: int, uuid: str) -> bool:
    # The memory of each NUMA node is named before it.
    return b"\0-uuid\0%b\0" % uuid.encode() in _content(b"/proc/%d/cmdline" % pid, 1 << 17)
