"""The keeper of a history: loads it before the first event, saves what has changed."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from typing import Final

from libvirt_exporter.hypervisor.connection.threads import CallThread
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.state_file import StateFile

log = logging.getLogger(__name__)

LOADING_TIME: Final = 5.0
"""Seconds that the file may take; after that nothing is loaded, nor ever saved over it."""
SAVE_INTERVAL: Final = 30.0
"""Seconds between two savings at least."""
SAVING_TIME: Final = 0.3
"""Seconds that the last saving is waited for."""


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
                "%s was not read within %g s: counters of events start at 0 and are not saved",
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
