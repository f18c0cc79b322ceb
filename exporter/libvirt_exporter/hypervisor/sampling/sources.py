"""Who knows something of a domain beside its statistics, and what becomes of their failures.

A failure is a mistake of this exporter: one domain must not cost the sample of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence
from typing import Protocol

from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.model import (
    Stats,
    VanishedDomain,
)

log = logging.getLogger(__name__)


class DomainSource(Protocol):
    """Something that knows more of a domain than its statistics say."""

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """What it knows, under keys in the style of libvirt's; must be quick."""
        ...


class DomainRecords(DomainSource, Protocol):
    """A source that remembers domains from sample to sample."""

    def listed(self, domains: Iterable[DomainDraft], timestamp: float, *, complete: bool) -> None:
        """Take note of a listing begun at `timestamp` (Unix time), of all if `complete`."""
        ...

    def take(self) -> None:
        """Take in what has happened since."""
        ...

    @property
    def vanished(self) -> tuple[VanishedDomain, ...]:
        """Domains that are no longer listed, for a while; the oldest first."""
        ...


class SourceFailures:
    """Whose source fails, from sample to sample; logs each once when it comes and when it goes."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._failing: dict[tuple[object, str], str] = {}
        self._now: set[tuple[object, str]] = set()

    def failed(self, source: object, uuid: str, name: str, error: Exception) -> None:
        """A source could not tell of a domain in the sample that is being made."""
        self._observer.source_failed()
        self._now.add((source, uuid))
        if (source, uuid) not in self._failing:
            self._failing[source, uuid] = name
            log.error(
                "domain %s (%s): what %s knows of it is left out until that works again",
                name,
                uuid,
                type(source).__name__,
                exc_info=error,
            )

    def conclude(self, sources: Sequence[object], listed: Container[str]) -> None:
        """The sample is made; these sources were asked for it, of all domains there are."""
        if not self._failing:
            return
        for source, uuid in [*self._failing]:
            if source in sources and (source, uuid) not in self._now:
                name = self._failing.pop((source, uuid))
                if uuid not in listed:
                    continue
                log.info("domain %s (%s): %s no longer fails", name, uuid, type(source).__name__)
        self._now.clear()
