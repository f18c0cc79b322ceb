"""Lanes over libvirt's objects beside domains: those of one kind are listed, and each is asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from xml.etree.ElementTree import Element, ParseError, fromstring

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import Stats, StatValue


class Handle(Protocol):
    """What libvirt's objects have in common."""

    def name(self) -> str: ...

    def UUIDString(self) -> str: ...  # noqa: N802

    def autostart(self) -> int: ...

    def isPersistent(self) -> int: ...  # noqa: N802


class ObjectLane(WalkingLane):
    """Knows objects under the keys `<prefix>.<num>.*`, numbered in the order of their names.

    `name` is always there; `responsive` is False for an object whose call has not come back, of
    which nothing else is known then.
    """

    prefix: str

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self._names: dict[str, str] = {}
        self._stats: Stats = {}

    @abstractmethod
    def list_all(self, session: Session) -> Sequence[Handle]:
        """All objects. Runs on the connection's thread; raises libvirt.libvirtError."""

    @abstractmethod
    def figures(self, session: Session, uuid: str) -> Stats:
        """What is known of one object, keys without their prefix. Likewise; or CallError."""

    def host_stats(self) -> Stats:
        return self._stats

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask the objects known, then those that are new.

        In this order, because listing waits for the lock of every object (libvirt 9.0, seen with
        a pool in a refresh that hangs): while one is stuck, there is no listing.
        """
        known = await self._ask_each(self._names, deadline)
        if not self.stuck:
            listed = await self.ask(f"list of {self.prefix}s", self._listed, deadline)
            new = listed.keys() - self._names.keys()
            self._names = listed
            known |= await self._ask_each(new, deadline)
        self._stats = self._merged(await self.complete(known, deadline))

    async def complete(self, known: Mapping[str, Stats], deadline: Deadline) -> Mapping[str, Stats]:
        """What is known, by UUID, with what more there is to find out beside libvirt's figures."""
        return known

    def _listed(self, session: Session) -> dict[str, str]:
        """Names by UUID; none where the driver has no such objects."""
        return {
            handle.UUIDString(): handle.name()
            for handle in session.if_supported(self.prefix, lambda: self.list_all(session)) or ()
        }

    async def _ask_each(self, uuids: Iterable[str], deadline: Deadline) -> dict[str, Stats]:
        result = await self.visit(f"per-{self.prefix} figures", uuids, self.figures, deadline)
        known: dict[str, Stats] = {}
        for uuid, figures in result.answers.items():
            known[uuid] = {"responsive": True, **figures}
        for uuid, failure in result.failures.items():
            if isinstance(failure, CallError) and failure.error_class is ErrorClass.GONE:
                del self._names[uuid]
            else:
                known[uuid] = {"responsive": True}
        return known

    def _merged(self, known: Mapping[str, Stats]) -> Stats:
        stuck = self.stuck
        stats: dict[str, StatValue] = {}
        for number, uuid in enumerate(sorted(self._names, key=self._names.__getitem__)):
            figures = {"responsive": False} if uuid in stuck else known.get(uuid, {})
            stats[f"{self.prefix}.{number}.name"] = self._names[uuid]
            stats |= {f"{self.prefix}.{number}.{key}": value for key, value in figures.items()}
        return stats


def xml_root(xml: str) -> Element:
    """The root of an object's XML. Raises CallError."""
    try:
        return fromstring(xml)
    except ParseError as error:
        raise CallError(str(error), ErrorClass.OTHER) from None


def flags(session: Session, handle: Handle) -> dict[str, StatValue]:
    """`persistent` and `autostart`, where the driver knows them. Raises libvirt.libvirtError."""
    calls = {"persistent": handle.isPersistent, "autostart": handle.autostart}
    kind = type(handle).__name__
    asked = {
        name: session.if_supported(f"{kind} {name}", call, differs=True)
        for name, call in calls.items()
    }
    return {name: bool(flag) for name, flag in asked.items() if flag is not None}
