"""What is gathered about one domain while a sample is being made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from libvirt_exporter.model import Stats

NOTHING: Final[Stats] = {}


class DomainDraft:
    """One domain's answers, kept apart by where they came from.

    `HostDraft.freeze` merges them in the same order in every sample, whichever came first, because
    the order of keys belongs to the shape that a rendering plan is made for.
    """

    __slots__ = (
        "active",
        "answered",
        "excused",
        "fallback",
        "groups",
        "lanes",
        "missing",
        "monitor",
        "name",
        "named",
        "no_monitor",
        "state",
        "timestamp",
        "uuid",
        "without_monitor_at",
    )

    def __init__(self, uuid: str, name: str, *, active: bool, state: Stats, timestamp: float):
        self.uuid = uuid
        self.name = name
        self.active = active
        self.timestamp = self.without_monitor_at = timestamp
        self.state = state
        self.no_monitor = NOTHING
        self.monitor = NOTHING
        self.fallback = NOTHING
        self.missing: frozenset[str] = frozenset()
        self.answered: frozenset[str] = frozenset()
        """Groups that it was asked for without its monitor, and answered."""
        self.groups: frozenset[str] = frozenset()
        """libvirt's groups that are wanted of it; none of a domain that is not shown."""
        self.lanes: frozenset[str] | None = None
        """Slow lanes that are to tell of it; None: all."""
        self.named = True
        """Whether anybody wants more of it than its state."""
        self.excused = False
        """What is missing is the domain's own doing: it hangs, is busy for long, or is gone."""

    def wants(self, lane: str) -> bool:
        """Whether a slow lane is to tell of it."""
        return self.lanes is None or lane in self.lanes

    def let_go(self) -> None:
        """Drop the answers, which a sample has; lanes remember the draft until they read again."""
        self.no_monitor = self.monitor = self.fallback = NOTHING


def merged(old: Stats, new: Mapping[str, int | float | bool | str]) -> Stats:
    """Two answers for the same domain, the newer one winning."""
    return {**old, **new} if old else new
