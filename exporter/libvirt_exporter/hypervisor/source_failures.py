"""Failures of those who know something of a domain beside its statistics.

They are mistakes of this exporter, so nothing is known of them but that one domain must not cost
the sample of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence

from libvirt_exporter.hypervisor.connection.observer import Observer

log = logging.getLogger(__name__)


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
