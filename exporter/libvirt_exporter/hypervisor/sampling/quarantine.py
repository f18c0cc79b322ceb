"""Domains whose QEMU monitor does not answer."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

log = logging.getLogger(__name__)


class Quarantine:
    """The stuck domains by UUID; logs each once when it comes and once when it goes."""

    def __init__(self) -> None:
        self._stuck: dict[str, tuple[str, float]] = {}

    def __contains__(self, uuid: object) -> bool:
        return uuid in self._stuck

    def __len__(self) -> int:
        return len(self._stuck)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._stuck))

    def seconds(self, now: float) -> dict[str, float]:
        """For how long each has been stuck at loop time `now`; may be called from any thread."""
        return {uuid: now - since for uuid, (_, since) in tuple(self._stuck.items())}

    def hold(self, uuid: str, name: str, since: float) -> None:
        """The domain does not answer since `since` (loop time)."""
        if uuid in self._stuck:
            return
        self._stuck[uuid] = name, since
        log.warning(
            "domain %s (%s) is stuck: its QEMU monitor does not respond; until it does, only "
            "data that does not require the monitor is sampled",
            name,
            uuid,
        )

    def release(self, uuid: str, now: float) -> None:
        """The domain answers again, or is not there to be asked."""
        entry = self._stuck.pop(uuid, None)
        if entry is None:
            return
        name, since = entry
        log.info("domain %s (%s) is no longer stuck, after %.0f s", name, uuid, now - since)

    def keep_only(self, active: Collection[str], now: float) -> None:
        """Release every domain that is not among the active ones."""
        for uuid in self:
            if uuid not in active:
                self.release(uuid, now)
