"""What must outlive the exporter, as one JSON file per host in a directory of its own.

The file is replaced as a whole, so whoever reads it sees the old or the new one. One that cannot
be understood is set aside under another name, with a warning, and costs nothing but its content.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from libvirt_exporter.hypervisor.connection.threads import CallThread
from libvirt_exporter.hypervisor.domain_history import DomainHistory
from libvirt_exporter.hypervisor.event_history import EventHistory, Memory
from libvirt_exporter.model import VanishedDomain

log = logging.getLogger(__name__)

VERSION: Final = 1
LOADING_TIME: Final = 5.0
"""Seconds that the file may take; after that nothing is loaded, nor ever saved over it."""
SAVE_INTERVAL: Final = 30.0
"""Seconds between two savings at least."""
SAVING_TIME: Final = 0.3
"""Seconds that the last saving is waited for."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    uri: str
    domains: dict[str, DomainHistory]
    vanished: list[VanishedDomain] = []


class StateFile:
    """The file of one host. `load` and `write` block as long as the disk does."""

    def __init__(self, directory: str, uri: str) -> None:
        self.path = Path(directory, f"events-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json")
        self._uri = uri
        self._failing = False

    def load(self) -> Memory:
        """What was saved; nothing where there is no usable file."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            log.warning("%s cannot be read, counters of events start at 0: %s", self.path, error)
            return Memory()
        try:
            content = msgspec.json.decode(data, type=_Content)
            if (content.version, content.uri) != (VERSION, self._uri):
                raise ValueError(f"version {content.version} of {content.uri}")
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
            return Memory()
        return Memory(content.domains, content.vanished)

    def encode(self, memory: Memory) -> bytes:
        """The content of the file; quick, and a picture of this moment."""
        return msgspec.json.encode(_Content(VERSION, self._uri, memory.domains, memory.vanished))

    def write(self, content: bytes) -> bool:
        """Replace the file, readable by its owner only; whether that succeeded.

        A failure is logged once, until one has succeeded again.
        """
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not through a link or into a file that somebody put there.
            part.unlink(missing_ok=True)
            with open(part, "xb", opener=_private) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            if not self._failing:
                log.warning("counters of events cannot be saved: %s", error)
            self._failing = True
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        else:
            self._failing = False
        return not self._failing

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
        log.warning("%s is damaged (%s), set aside as %s", self.path, error, aside.name)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


class HistoryKeeper:
    """Loads a history before its first event and saves what has changed, on a thread of its own."""

    def __init__(self, history: EventHistory, file: StateFile | None) -> None:
        """Without a file nothing is kept."""
        self._history = history
        self._file = file
        self._finished = threading.Event()
        self._thread = CallThread("state-file", self._finished.set)
        self.loaded = file is None
        """Whether the history is what it will be built upon."""

    async def load(self) -> None:
        """Have the history adopt what was saved."""
        if self._file is None:
            return
        loading = self._thread.run(self._file.load)
        done, _ = await asyncio.wait({loading}, timeout=LOADING_TIME)
        if done:
            memory = loading.result()
            self._history.adopt(memory)
            if not memory.domains:
                # A directory that cannot be used is complained of now, not at the first event.
                self._thread.run(functools.partial(self._file.write, self._file.encode(memory)))
        else:
            log.warning(
                "%s is not read within %g s: counters of events start at 0 and are not saved",
                self._file.path,
                LOADING_TIME,
            )
            self._file = None
        self.loaded = True

    async def run(self) -> None:
        """Save what has changed, now and then, for ever."""
        while True:
            await asyncio.sleep(SAVE_INTERVAL)
            if (saving := self._save()) and not await saving:
                self._history.changed = True  # still to be saved

    def finish(self) -> None:
        """Begin to save for the last time."""
        self._save()
        if self._file is None or not self.loaded:
            self._finished.set()  # nothing will be saved, however long the thread may take
        self._thread.stop()

    def finished(self) -> bool:
        """Wait until the last saving is done, for SAVING_TIME at most; from another thread."""
        return self._finished.wait(SAVING_TIME)

    def _save(self) -> asyncio.Future[bool] | None:
        if self._file is None or not (self.loaded and self._history.changed):
            return None
        self._history.changed = False
        content = self._file.encode(self._history.memory)
        return self._thread.run(functools.partial(self._file.write, content))
