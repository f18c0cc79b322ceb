"""The samples that rates are taken against."""

from __future__ import annotations

from typing import Final

from libvirt_exporter.model import HostSample

RATE_TIME: Final = 5.0
"""Seconds that a rate covers at least."""


class History:
    """Two samples, which is enough to have one of the right age whenever one is taken."""

    def __init__(self) -> None:
        self._older: HostSample | None = None
        self._newer: HostSample | None = None

    def add(self, sample: HostSample) -> None:
        """Keep a sample if it will be of use; they come in the order of time."""
        newest = self._newer
        if newest is None or sample.timestamp < newest.timestamp:
            # The first one, or the clock was set back.
            self._older, self._newer = None, sample
        elif sample.timestamp >= newest.timestamp + RATE_TIME:
            self._older, self._newer = newest, sample

    def before(self, sample: HostSample) -> HostSample | None:
        """The youngest sample kept that is at least RATE_TIME older."""
        for kept in (self._newer, self._older):
            if kept is not None and kept.timestamp <= sample.timestamp - RATE_TIME:
                return kept
        return None
