"""The QEMU processes of this machine, as /proc shows them without any privilege.

A process that was stopped, or that waits for storage that is gone, would keep every call made
for its domain. Here that is seen before its monitor is contacted. The same reading tells since
when a process runs, and for how long it ran its guest.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

from libvirt_exporter.hypervisor.connection.threads import CallThread
from libvirt_exporter.model import UnseenReason

log = logging.getLogger(__name__)

APART: Final = 0.1
"""Seconds between two readings of a process that waits: ordinary disk I/O does so for a moment."""

_TICK: Final = 10**9 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of the unit of times in /proc/PID/stat."""
_STOPPED: Final = b"T"
_WAITING: Final = (b"D", b"t")
"""Uninterruptible, and stopped by a tracer, which strace does for a moment at every call."""
BLIND_AFTER: Final = 5.0
"""Seconds for which no process is seen before the log says so: one that starts is not seen yet."""
KEPT_OPEN: Final = 500
"""Processes whose /proc/PID/stat stays open, which halves what a reading costs."""
_CMDLINE: Final = 1 << 17
"""Bytes of a command line that are looked at."""
_HUGE_PAGES: Final = b"/sys/kernel/mm/transparent_hugepage/enabled"
_HUGE_PAGES_ALLOWED: Final = re.compile(rb"^THP_enabled:\s*([01])$", re.MULTILINE)
_SWITCHES: Final = re.compile(rb"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Halted:
    """Domains whose QEMU does not run, by UUID."""

    frozen: set[str] = field(default_factory=set)
    """Stopped, or waiting without a pause since an earlier reading."""
    unsure: set[str] = field(default_factory=set)
    """Waiting now; a reading APART seconds later tells."""


@dataclass(eq=False)
class QemuProcess:
    """One process of a domain, for as long as it is the same."""

    pid: int
    start_time: bytes
    """Clock ticks since boot; another one is another process."""
    started: int
    """Unix time in ns, to the second."""
    incoming: bool
    """Started to go on with a guest that ran before: by migration, or from a file."""
    guest_time: int = 0
    """For how many ns its threads ran the guest (KVM), at `read_at`."""
    read_at: float = 0.0
    """Unix time."""
    may_have_huge_pages: bool | None = None
    """Whether transparent huge pages are not forbidden to it; None where the kernel (before 5.0)
    does not say."""
    stat_file: int | None = None
    """An open /proc/PID/stat: of this process, whoever gets its number afterwards."""


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
        self._thread = CallThread("qemu-processes", self._forget_all)
        self._latest: asyncio.Future[Halted] | None = None
        self._known: dict[str, QemuProcess] = {}
        self._waits: dict[str, _Wait] = {}
        self._unseen: dict[str, UnseenReason] = {}
        self._blind_since: float | None = None
        self._blindness_logged = False
        self.huge_pages: bool | None = None
        """Whether the kernel gives transparent huge pages to processes that ask for them, as QEMU
        does for its guest's memory; None before the first look, and where there are none."""

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

    def process(self, uuid: str) -> QemuProcess | None:
        """The process of a domain that was active when it was last looked for."""
        return self._known.get(uuid)

    def unseen(self, uuid: str) -> UnseenReason | None:
        """Why its process was not found; None where it was, or was not looked for."""
        return self._unseen.get(uuid)

    def close(self) -> None:
        """End the thread when it can. Never blocks."""
        self._thread.stop()

    def _read(self, names: Mapping[str, str], uuids: Iterable[str]) -> Halted:
        halted = Halted()
        for uuid in (self._known.keys() | self._waits.keys() | self._unseen.keys()) - names.keys():
            self._forget(uuid)
        if not os.access(self._directory, os.X_OK):
            self._unseen.update(dict.fromkeys(uuids, "no_pid_file"))
            self._note_blindness()
            return halted
        setting = _content(_HUGE_PAGES)  # 10 µs of CPU
        self.huge_pages = b"[never]" not in setting if setting else None
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
        self._note_blindness()
        return halted

    def _note_blindness(self) -> None:
        """Log once when no process has been seen for a while, and once when one is again."""
        if self._known or not self._unseen:
            self._blind_since = None
            if self._known and self._blindness_logged:
                self._blindness_logged = False
                log.info("QEMU processes are visible again")
            return
        now = time.monotonic()
        self._blind_since = now if self._blind_since is None else self._blind_since
        if now - self._blind_since >= BLIND_AFTER and not self._blindness_logged:
            self._blindness_logged = True
            log.warning(
                "the QEMU processes of all %d active domains are invisible to the exporter (%s): "
                "start times are missing, and a hanging QEMU is found only when it delays a "
                "call; `libvirt-exporter doctor` reports the fix",
                len(self._unseen),
                ", ".join(sorted(set(self._unseen.values()))),
            )

    def _state(self, uuid: str, name: str) -> bytes:
        """The letter of a domain's process as of proc(5); empty when it cannot be known."""
        process = self._known.get(uuid)
        if process is not None:
            state, start_time, guest_time = _stat(process.pid, process.stat_file)
            if start_time == process.start_time:
                process.read_at, process.guest_time = time.time(), guest_time
                return state
        self._forget(uuid)
        pid = self._pid(name)
        if pid is None or not _is_qemu_of(pid, uuid):
            self._unseen[uuid] = _reason(pid)
            return b""
        stat_file = _open(b"/proc/%d/stat" % pid) if len(self._known) < KEPT_OPEN else None
        state, start_time, guest_time = _stat(pid, stat_file)
        if not start_time:  # It has ended since.
            if stat_file is not None:
                os.close(stat_file)
            self._unseen[uuid] = _reason(pid)
            return b""
        self._known[uuid] = QemuProcess(
            pid,
            start_time,
            _unix_time(start_time),
            _is_incoming(pid),
            guest_time,
            time.time(),
            _may_have_huge_pages(pid),
            stat_file,
        )
        return state

    def _forget(self, uuid: str) -> None:
        self._waits.pop(uuid, None)
        self._unseen.pop(uuid, None)
        process = self._known.pop(uuid, None)
        if process is not None and process.stat_file is not None:
            os.close(process.stat_file)

    def _forget_all(self) -> None:
        for uuid in tuple(self._known):
            self._forget(uuid)

    def _pid(self, name: str) -> int | None:
        # libvirt (9.0) escapes the file's name as if it were XML.
        file = escape(name).replace("&#x27;", "&apos;").encode(errors="surrogateescape")
        try:
            return int(_content(b"%b/%b.pid" % (self._directory, file)))
        except ValueError:
            return None


def _open(path: bytes) -> int | None:
    """A file open for reading; None when it cannot be."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None


def _content(path: bytes, size: int = 4096) -> bytes:
    """The first `size` bytes of a file; empty when it cannot be read."""
    descriptor = _open(path)
    if descriptor is None:
        return b""
    try:
        return _read(descriptor, size)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int = 4096) -> bytes:
    """The first `size` bytes of an open file; empty when its process has ended."""
    try:
        return os.pread(descriptor, size, 0)
    except OSError:
        return b""


def _stat(pid: int, descriptor: int | None) -> tuple[bytes, bytes, int]:
    """State, start time and guest's time (ns) of a process; empty and 0 when there is none."""
    content = _content(b"/proc/%d/stat" % pid) if descriptor is None else _read(descriptor)
    # The name in parentheses before them may hold anything.
    fields = content.rpartition(b") ")[2].split(b" ", 41)
    if len(fields) <= 40:
        return b"", b"", 0
    return fields[0], fields[19], int(fields[40]) * _TICK


def _unix_time(start_time: bytes) -> int:
    """Unix time, to the second, of a start time as /proc has it; 0 of an empty one."""
    if not start_time:
        return 0
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return round((booted + int(start_time) * _TICK) / 10**9) * 10**9


def _switches(pid: int) -> bytes:
    found = _SWITCHES.search(_content(b"/proc/%d/status" % pid))
    return found[1] if found else b""


def _may_have_huge_pages(pid: int) -> bool | None:
    found = _HUGE_PAGES_ALLOWED.search(_content(b"/proc/%d/status" % pid))
    return found[1] == b"1" if found else None


def _is_qemu_of(pid: int, uuid: str) -> bool:
    # The memory of each NUMA node is named before it.
    return b"\0-uuid\0%b\0" % uuid.encode() in _content(b"/proc/%d/cmdline" % pid, _CMDLINE)


def _reason(pid: int | None) -> UnseenReason:
    """Why the process that a pid file names, if there is one, is not seen."""
    if pid is None:
        return "no_pid_file"
    # Every PID namespace has a process 1; who may not look at it sees no other user's either.
    return "no_process" if _content(b"/proc/1/stat") else "proc_hidden"


def _is_incoming(pid: int) -> bool:
    return b"\0-incoming\0" in _content(b"/proc/%d/cmdline" % pid, _CMDLINE)
