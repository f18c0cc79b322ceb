"""What must be asked of libvirt for an answer, and for what a sample was taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

_NOTHING: frozenset[str] = frozenset()
MOST_IDS: Final = 1000
"""VMs that are sampled one by one; for who needs more of them all VMs are. Comparing who needs what
takes time that scrapes wait for."""


class Need(Struct, frozen=True, kw_only=True):
    """What one answer takes beside the state of all VMs, their XML and events, which are free."""

    groups: frozenset[str] = _NOTHING
    """libvirt's statistics groups."""
    lanes: frozenset[str] = _NOTHING
    """Slow lanes, and `processes` for a fresh look at QEMU's processes."""
    vm_ids: frozenset[str] | None = None
    """UUIDs of the only VMs; None: all."""


Scope = frozenset[Need]
"""All that a sample was taken for."""


def merged(needs: Iterable[Need]) -> Scope:
    """The same needs, one for all VMs of which the same is wanted; more than MOST_IDS are all."""
    vm_ids: dict[tuple[frozenset[str], frozenset[str]], set[str] | None] = {}
    for need in needs:
        what = need.groups, need.lanes
        found = vm_ids.setdefault(what, set())
        if found is None:
            continue
        if need.vm_ids is not None:
            found |= need.vm_ids
        if need.vm_ids is None or len(found) > MOST_IDS:
            vm_ids[what] = None
    return frozenset(
        Need(groups=groups, lanes=lanes, vm_ids=None if found is None else frozenset(found))
        for (groups, lanes), found in vm_ids.items()
    )


def covers(scope: Scope, need: Need) -> bool:
    """Whether a sample that was taken for this scope has all that is needed."""
    found = [
        other
        for other in scope
        if other.vm_ids is None or (need.vm_ids is not None and need.vm_ids <= other.vm_ids)
    ]
    return (
        bool(found)
        and _NOTHING.union(*(other.groups for other in found)) >= need.groups
        and _NOTHING.union(*(other.lanes for other in found)) >= need.lanes
    )


def covers_all(scope: Scope, needs: Scope) -> bool:
    """Whether a sample that was taken for this scope has all of another one."""
    return scope == needs or all(covers(scope, need) for need in needs)
