"""How much a sample asks of the host at once, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libvirt_exporter.hypervisor.sampling.draft import HostDraft

STUCK_AFTER: Final = 1.0
"""Seconds without an answer after which a monitor counts as stuck, budget allowing."""


@dataclass(frozen=True)
class Limits:
    """How much a sample may ask of the host at once, and how long it waits for it."""

    parallel_calls: int = 4
    """Monitor calls in flight at once."""

    def look(self, draft: HostDraft) -> float:
        """Seconds after which a call that has not come back is looked at."""
        return min(max(0.05 * draft.budget, 0.1), 0.25)

    def patience(self, draft: HostDraft) -> float:
        """Seconds after which an abandoned call is no longer waited for."""
        return min(max(0.25 * draft.budget, 0.1), STUCK_AFTER)
