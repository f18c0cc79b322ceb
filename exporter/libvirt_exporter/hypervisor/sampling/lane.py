"""Slow lanes: what a sample asks for beside the statistics and can do without.

A lane has a connection of its own, one reading at a time, and keeps what it read: a sample waits
for the reading for a moment only, then takes what is known, which says how old it is.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from time import time
from typing import Final

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.sources import SourceFailures
from libvirt_exporter.model import Stats

log = logging.getLogger(__name__)

READING_TIME: Final = 10.0
PATIENCE: Final = 0.5
"""Share of the sample's remaining time that it waits for a lane …"""
LONGEST_WAIT: Final = 1.0
"""… and seconds at most."""


class Lane(ABC):
    """One kind of slow reading; lives on the host's asyncio loop."""

    name: str
    """Of the lane and of its connection."""
    knows_domains: bool = False
    """Whether it tells of single domains, not of the host alone."""
    asks_monitors: bool = False
    """Whether its calls may wait for a domain's job or monitor. Then it is read once the sample
    knows whose monitor hangs."""

    reading_time: float = READING_TIME
    """Seconds that one reading may take before its connection is given up."""
    longest_wait: float = LONGEST_WAIT
    """Seconds that a sample waits for a reading at most."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.failures = SourceFailures(connections.observer)
        self.read_at: float | None = None
        """Unix time just before the last reading that succeeded."""
        self._reading: asyncio.Task[None] | None = None
        self._about: frozenset[str] = frozenset()
        """The domains that it is about."""

    @property
    def age(self) -> float | None:
        """Seconds since the last reading that succeeded was begun; None before the first."""
        return None if self.read_at is None else max(time() - self.read_at, 0.0)

    @abstractmethod
    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask libvirt and keep the answers; raises CallError and NoAnswerError.

        `domains`: those of the sample that asks; only who `wants` this lane is asked about.
        """

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """What is known of a domain, under keys in the style of libvirt's."""
        return NOTHING

    def host_stats(self) -> Stats:
        """What is known of the host, likewise."""
        return NOTHING

    async def refresh(self, draft: HostDraft) -> None:
        """Have a reading made, and wait for it for a part of the sample's time."""
        domains = list(draft.domains.values())
        about = frozenset(domain.uuid for domain in domains if domain.wants(self.name))
        loop = asyncio.get_running_loop()
        patience = min(PATIENCE * draft.deadline.rest, self.longest_wait)
        until = loop.time() + max(patience, 0)
        if self._reading is not None and self.knows_domains and not about <= self._about:
            # It was begun for a sample of other domains.
            await asyncio.wait({self._reading}, timeout=max(patience, 0))
        if self._reading is None or self._reading.done():
            self._reading, self._about = asyncio.create_task(self._read(domains)), about
        await asyncio.wait({self._reading}, timeout=max(until - loop.time(), 0))

    async def _read(self, domains: list[DomainDraft]) -> None:
        started = time()
        try:
            await self.read(domains, Deadline.within(self.reading_time))
        except (CallError, NoAnswerError) as error:
            log.debug("lane %s failed: %r", self.name, error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours, which must be seen
            self.failures.failed(self, self.name, f"lane {self.name}", error)
        else:
            self.failures.works(self, (self.name,))
            self.read_at = started

    def close(self) -> None:
        """End a reading in flight."""
        if self._reading is not None:
            self._reading.cancel()
