"""What is asked of a host: which groups and lanes, and of which domains.

The state of all domains is in every sample: it is cheap, and no QEMU can hold it up. Whatever else
a sample has costs a call of each domain's QEMU, so it is asked for those only who need it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Final

from libvirt_exporter.hypervisor.connection.settings import ShownDomains
from libvirt_exporter.model import DomainInfo, Stats, state_name

STATE: Final = frozenset({"state"})
"""What is asked of every domain."""
PROCESSES: Final = "processes"
"""Beside the lanes: a fresh look at the domains' QEMU processes."""
_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class SampleRequest:
    """What somebody wants to know."""

    groups: frozenset[str]
    """libvirt's statistics groups by name; `state` is always sampled."""
    backing: bool = False
    """Whether block statistics cover the lower layers of backing chains."""
    lanes: frozenset[str] = _NOTHING
    """Slow lanes by name, and PROCESSES."""
    domains: frozenset[str] | None = None
    """Names or UUIDs of the only domains that are asked for more than their state; None: all."""
    beside: frozenset[SampleRequest] = frozenset()
    """What is to be in the same sample for somebody else."""

    @property
    def parts(self) -> frozenset[SampleRequest]:
        """This request and those beside it."""
        return self.beside | {self}


@dataclass(frozen=True)
class Wanted:
    """What is asked of one domain."""

    groups: frozenset[str]
    """libvirt's statistics groups; none at all of a domain that is not shown."""
    lanes: frozenset[str]
    """Slow lanes, and PROCESSES."""
    named: bool
    """Whether any request is about it."""


_HIDDEN: Final = Wanted(_NOTHING, _NOTHING, named=False)
_UNNAMED: Final = Wanted(STATE, _NOTHING, named=False)


class Wishes:
    """All that one sample is taken for."""

    def __init__(
        self, requests: Iterable[SampleRequest], shown: ShownDomains | None = None
    ) -> None:
        """`shown`: decides which domains exist for those who ask; None: all."""
        self._parts = frozenset(part for request in requests for part in request.parts)
        self.shown = shown
        self.groups = STATE.union(*(part.groups for part in self._parts))
        self.lanes = _NOTHING.union(*(part.lanes for part in self._parts))
        self.backing = any(part.backing and "block" in part.groups for part in self._parts)
        self._wanted: dict[frozenset[SampleRequest], Wanted] = {}
        everywhere = [part for part in self._parts if part.domains is None]
        self._alike = len(everywhere) == len(self._parts)
        self._everywhere = self._together(everywhere)

    def covers(self, request: SampleRequest) -> bool:
        """Whether a sample for these holds what this request asks for."""
        return all(map(self._covers, request.parts))

    def _covers(self, part: SampleRequest) -> bool:
        if "block" in part.groups and part.backing != self.backing:
            return False
        wanted = self._together(
            other
            for other in self._parts
            if other.domains is None or (part.domains is not None and part.domains <= other.domains)
        )
        return wanted.groups >= part.groups and wanted.lanes >= part.lanes

    def may_exist(self, uuid: str, name: str, state: Stats) -> bool | None:
        """Whether a domain is shown, as far as its XML does not matter; None when that decides."""
        return self.shown is None or self.shown.matches(name, uuid, state_name(state), None)

    def of(self, uuid: str, name: str, state: Stats, info: DomainInfo | None) -> Wanted:
        """What is asked of a domain; nothing as long as it is not known to be shown."""
        shown = self.shown is None or self.shown.matches(name, uuid, state_name(state), info)
        if not shown:
            return _HIDDEN
        if self._alike:
            return self._everywhere
        return self._together(
            part
            for part in self._parts
            if part.domains is None or name in part.domains or uuid in part.domains
        )

    def _together(self, parts: Iterable[SampleRequest]) -> Wanted:
        together = frozenset(parts)
        if not together:
            return _UNNAMED
        wanted = self._wanted.get(together)
        if wanted is None:
            groups = reduce(frozenset.union, (part.groups for part in together), STATE)
            lanes = reduce(frozenset.union, (part.lanes for part in together), _NOTHING)
            wanted = self._wanted[together] = Wanted(groups, lanes, named=True)
        return wanted
