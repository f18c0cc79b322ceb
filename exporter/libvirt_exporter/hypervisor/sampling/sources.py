"""Who knows something of a domain beside its statistics, and what becomes of their failures.

A failure is a mistake of this exporter: one domain must not cost the sample of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence
from time import monotonic
from typing import Final, Protocol

from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.model import Stats, VanishedDomain

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


FORGOTTEN_AFTER: Final = 3600.0
"""Seconds after which a failure that has not been heard of again counts as a new one."""


class SourceFailures:
    """Which sources and lanes fail, and for what; logs each once when it comes and when it goes."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._failing: dict[tuple[object, str], tuple[str, float]] = {}

    def failed(self, source: object, thing: str, words: str, error: BaseException) -> None:
        """A source, or a kind of them, failed for a thing, which these words describe."""
        self._observer.source_failed()
        now = monotonic()
        if (source, thing) not in self._failing:
            told = "%s: data of %s is missing until it works again"
            log.error(told, words, _name(source), exc_info=error)
            self._failing = {
                key: failing
                for key, failing in self._failing.items()
                if now - failing[1] < FORGOTTEN_AFTER
            }
        self._failing[source, thing] = words, now

    def works(self, source: object, things: Iterable[str]) -> None:
        """A source told of these."""
        for thing in things if self._failing else ():
            words, _ = self._failing.pop((source, thing), ("", 0.0))
            if words:
                log.info("%s: %s no longer fails", words, _name(source))

    def conclude(self, sources: Sequence[object], listed: Container[str], since: float) -> None:
        """These sources were asked of all listed domains, from `since` (time.monotonic) on."""
        for (source, uuid), (_, at) in [*self._failing.items()]:
            if source in sources and at < since:
                if uuid in listed:
                    self.works(source, (uuid,))
                else:
                    del self._failing[source, uuid]


def _name(source: object) -> str:
    return source.__name__ if isinstance(source, type) else type(source).__name__
