"""libvirt's statistics groups by name: their bits, and what it takes to answer them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from typing import Final

import libvirt

from libvirt_exporter.model import DomainInfo

BITS: Final = {
    name: getattr(libvirt, f"VIR_DOMAIN_STATS_{name.upper().replace('-', '_')}", 1 << position)
    for position, name in enumerate(
        (
            "state",
            "cpu-total",
            "balloon",
            "vcpu",
            "interface",
            "block",
            "perf",
            "iothread",
            "memory",
            "dirtyrate",
            "vm",
        )
    )
}
"""Bit of each group of the bulk call; a daemon that does not know a bit ignores it."""

WITHOUT_MONITOR: Final = frozenset({"interface", "perf", "memory"})
"""Groups that the QEMU driver answers without asking QEMU; `state` is asked on its own."""
WITH_MONITOR: Final = frozenset(BITS) - WITHOUT_MONITOR - {"state"}

# Keys that the QEMU driver (9.0) gives only when it got the domain's job.
_JOB_MARKS: Final = (
    ("balloon", "balloon.rss"),
    ("block", "block.0.rd.reqs"),
    ("iothread", "iothread.count"),
    ("dirtyrate", "dirtyrate.calc_status"),
)


def bits(groups: Iterable[str]) -> int:
    """The groups as the `stats` argument of the bulk calls."""
    return reduce(or_, (BITS[group] for group in groups), 0)


def idle_groups(info: DomainInfo | None) -> frozenset[str]:
    """Groups that hold nothing for this domain; none while its XML is unknown."""
    if info is None:
        return frozenset()
    return _idle_groups(
        info.iothreads == 0,
        not info.resctrl_monitors,
        not info.perf_events,
        info.type not in {"", "kvm"},
    )


@cache
def _idle_groups(
    no_iothreads: bool, no_monitors: bool, no_events: bool, not_kvm: bool
) -> frozenset[str]:
    idle = {"iothread": no_iothreads, "memory": no_monitors, "perf": no_events, "vm": not_kvm}
    return frozenset(group for group, is_idle in idle.items() if is_idle)


@cache
def job_marks(groups: frozenset[str]) -> frozenset[str]:
    """Keys of which at least one is there when libvirt got the job of an active domain.

    Empty when the groups have no such key: then a reply without the job cannot be told.
    """
    return frozenset(key for group, key in _JOB_MARKS if group in groups)


def narrower(
    uuids: list[str], groups: frozenset[str], *, groups_first: bool
) -> list[tuple[list[str], frozenset[str]]]:
    """A question that failed as a whole, cut into smaller ones; empty when it cannot be cut."""
    by_group = [(uuids, frozenset({group})) for group in sorted(groups)] if len(groups) > 1 else []
    if groups_first and by_group:
        return by_group
    if len(uuids) > 1:
        middle = len(uuids) // 2
        return [(uuids[:middle], groups), (uuids[middle:], groups)]
    return by_group
