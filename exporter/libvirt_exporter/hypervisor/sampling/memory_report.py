"""What the guest reports of its memory, for as long as it can pass for the present."""

from __future__ import annotations

from typing import Final

from libvirt_exporter.model import SHORTEST_REPORT_LIFE, DomainInfo, StatValue

_WITHOUT_GUEST: Final = frozenset(
    f"balloon.{key}" for key in ("current", "maximum", "rss", "last-update")
)
"""The keys of the balloon that are no guest's report."""


def drop_old_report(stats: dict[str, StatValue], info: DomainInfo | None, timestamp: float) -> None:
    """Remove the figures of a guest that has stopped reporting; libvirt goes on giving its last.

    `timestamp`: Unix time at which they were asked for; the time of the last report is the host's.
    """
    reported = stats.get("balloon.last-update")
    if not reported or isinstance(reported, str):
        return
    life = SHORTEST_REPORT_LIFE if info is None else info.memory_report_life
    if timestamp - reported > life:
        for key in [key for key in stats if key.startswith("balloon.")]:
            if key not in _WITHOUT_GUEST:
                del stats[key]
