"""What is known about each domain from its XML: read once, again on change, never per scrape.

Reading has its own connection and runs beside the samples: since libvirt 11.0 XMLDesc waits for
the domain's job, so it may take long for a domain that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import random
import time
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any, Final, NamedTuple

import libvirt
from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, Walk, walk
from libvirt_exporter.hypervisor.domains.clock_zone import zone_offset
from libvirt_exporter.hypervisor.domains.cpu_settings import cpu_mode, cpu_tune
from libvirt_exporter.hypervisor.domains.deprecations import deprecations
from libvirt_exporter.hypervisor.domains.domain_xml import DomainXmlError, parse_domain
from libvirt_exporter.hypervisor.domains.snapshots import snapshot_facts
from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.labels import Label

log = logging.getLogger(__name__)

PURPOSE: Final = "xml"
PATIENCE: Final = 1.0
"""Seconds without an answer after which a domain's XML is put off."""
READING_TIME: Final = 10.0
"""Seconds that one round of reading may take."""
RETRY: Final = 30.0
"""Seconds until a domain is read again whose XML could not be read."""
MARKED: Final = 0.0
"""The time at which a domain is due whose XML may have changed: before any loop time."""
SPREAD: Final = (0.75, 1.0)
"""Shares of the refresh time after which a domain is read again: by and by each at its own time,
although all are read at the start."""
SHORTEST_PAUSE: Final = 1.0
"""Seconds between two rounds that only the timer asked for."""
GATHERED: Final = 0.1
"""Share of the refresh time by which a reading may come early, to be in one round with others."""
BREATH: Final = 0.05
"""Seconds between any two rounds: a guest may open and close its CD drive without end."""


class _Parsed(NamedTuple):
    """An XML that was read, so that the same text need not be parsed again."""

    digest: bytes
    labels: tuple[Label, ...]
    info: DomainInfo
    """Of the text alone."""


class _Reading(NamedTuple):
    info: DomainInfo
    parsed: _Parsed


class Inventory:
    """DomainInfo by UUID; lives on the host's asyncio loop."""

    def __init__(
        self,
        connections: Connections,
        settings: HostSettings,
        *,
        stuck: Callable[[], Container[str]] = tuple,
    ) -> None:
        """`stuck`: UUIDs of the domains whose monitor does not answer."""
        self._connections = connections
        self._settings = settings
        self._stuck = stuck
        self._infos: dict[str, DomainInfo] = {}
        self._parsed: dict[str, _Parsed] = {}
        self._unparsable: set[str] = set()
        self._due: dict[str, float] = {}
        self._marked: set[str] = set()
        self._outdated: set[str] = set()
        self._blocked = Blocked(connections)
        self._names: Mapping[str, str] = {}
        self._hidden: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._round_over = asyncio.Event()

    @property
    def unread(self) -> set[str]:
        """Domains about to be read of which nothing is known, or not under the present labels."""
        return {uuid for uuid in self._marked if uuid not in self._infos or uuid in self._outdated}

    @property
    def unparsable(self) -> tuple[str, ...]:
        """UUIDs of the domains whose XML cannot be used."""
        return tuple(self._unparsable)

    def get(self, uuid: str) -> DomainInfo | None:
        """What is known; None while the XML has not been read or cannot be parsed."""
        return self._infos.get(uuid)

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings; other labels have everything read again."""
        before, self._settings = self._settings, settings
        if settings.labels != before.labels:
            self._outdated.update(self._infos)
            self.mark_all()

    def reconcile(self, names: Mapping[str, str], hidden: Collection[str] = ()) -> None:
        """Take over a listing, UUID to name: read the new and the renamed, forget the gone.

        `hidden`: domains that are there too and of which nothing is to be read.
        """
        before, self._names = self._names, names
        self._hidden = frozenset(hidden)
        if before == names:
            return
        for uuid in before.keys() - names.keys():
            self._forget(uuid)
        for uuid, name in names.items():
            info = self._infos.get(uuid)
            if before.get(uuid) != name and (info is None or info.name != name):
                self.mark(uuid)

    def mark(self, uuid: str) -> None:
        """Have a domain's XML read again soon, unless it is hidden."""
        if uuid in self._hidden:
            return
        self._due[uuid] = MARKED
        self._marked.add(uuid)
        self._changed.set()

    def mark_all(self) -> None:
        """Have every domain's XML read again: events may have been missed."""
        for uuid in self._names:
            self.mark(uuid)

    async def settled(self, uuids: Collection[str], until: float) -> None:
        """Wait until those of the domains that are marked have been read, or `until` (loop time).

        A domain that blocks or fails counts as read: nobody waits for a second attempt.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not self._marked.isdisjoint(uuids):
                    await self._round_over.wait()

    async def run(self) -> None:
        """Read what is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            now = loop.time()
            is_time = any(MARKED < moment <= now for moment in self._due.values())
            until = now + (GATHERED * self._settings.info_refresh if is_time else 0.0)
            self._put_off_blocked(until)
            self._put_off_stuck(until)
            due = [uuid for uuid, moment in self._due.items() if moment <= until]
            if due:
                await self._read(due)
            self._round_over.set()
            self._round_over = asyncio.Event()
            if due:
                await asyncio.sleep(BREATH)
                continue
            pause = max(min(self._due.values(), default=now + RETRY) - now, SHORTEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    def _put_off_blocked(self, now: float) -> None:
        """Leave those alone at which a connection is stuck; everybody, when several are."""
        self._blocked.renew()
        put_off = self._due if len(self._blocked) >= BLOCKED_LIMIT else self._blocked
        for uuid in put_off:
            if self._due.get(uuid, now) <= now:
                self._due[uuid] = now + RETRY
                self._marked.discard(uuid)

    def _put_off_stuck(self, now: float) -> None:
        """Leave those alone that only the timer asks for, and that would hold the call.

        Since libvirt 11.0 XMLDesc waits for the job, which whoever waits for the monitor holds.
        """
        stuck = self._stuck()
        for uuid in self._infos:
            if uuid in stuck and MARKED < self._due.get(uuid, MARKED) <= now:
                self._due[uuid] = now + RETRY

    async def _read(self, uuids: list[str]) -> None:
        for uuid in uuids:
            del self._due[uuid]
        settings = self._settings
        result: Walk[_Reading] = Walk()
        try:
            result = await walk(
                self._connections,
                PURPOSE,
                "XMLDesc",
                uuids,
                functools.partial(
                    _read_info,
                    settings=settings,
                    known={uuid: self._infos.get(uuid) for uuid in uuids},
                    parsed=dict(self._parsed),
                ),
                deadline=Deadline.within(READING_TIME),
                patience=PATIENCE,
            )
        except (CallError, NoAnswerError) as error:
            log.debug("cannot read the domain XML: %s", error)
        for uuid, (info, parsed) in result.answers.items():
            self._parsed[uuid] = parsed
            # An equal one stays the same object: rendering plans are kept for it.
            if self._infos.get(uuid) != info:
                self._infos[uuid] = info
            if settings.labels == self._settings.labels:
                self._outdated.discard(uuid)
            self._unparsable.discard(uuid)
            self._again(uuid, self._settings.info_refresh * random.uniform(*SPREAD))
        for uuid, failure in result.failures.items():
            self._failed(uuid, failure)
        self._blocked.add(result.blocked)
        full = self._connections.budget.full  # then nobody waits for what cannot be asked
        for uuid in uuids:
            reached = uuid in result.answers or uuid in result.failures or uuid in result.blocked
            if not reached or uuid in result.blocked:
                self._again(uuid, RETRY if reached else SHORTEST_PAUSE)
            if (reached or full) and self._due.get(uuid) != MARKED:
                self._marked.discard(uuid)

    def _again(self, uuid: str, seconds: float) -> None:
        # A mark that came during the reading stands: the XML may have been read before it.
        self._due.setdefault(uuid, asyncio.get_running_loop().time() + seconds)

    def _failed(self, uuid: str, failure: Exception) -> None:
        if isinstance(failure, CallError):
            if failure.error_class is ErrorClass.GONE:
                self._forget(uuid)
                return
            log.debug("cannot read the XML of domain %s: %s", uuid, failure)
        else:
            self._infos.pop(uuid, None)
            self._parsed.pop(uuid, None)
            if uuid not in self._unparsable:
                self._unparsable.add(uuid)
                log.warning(
                    "the XML of domain %s cannot be parsed; its info series are missing: %s",
                    uuid,
                    failure,
                    # Of a mistake in reading it, the text alone would tell little.
                    exc_info=None if isinstance(failure, ValueError) else failure,
                )
        self._again(uuid, RETRY)

    def _forget(self, uuid: str) -> None:
        self._infos.pop(uuid, None)
        self._parsed.pop(uuid, None)
        self._due.pop(uuid, None)
        self._marked.discard(uuid)
        self._outdated.discard(uuid)
        self._unparsable.discard(uuid)


def _read_info(
    session: Session,
    uuid: str,
    settings: HostSettings,
    known: Mapping[str, DomainInfo | None],
    parsed: Mapping[str, _Parsed],
) -> _Reading:
    before = known.get(uuid)
    # After a restart of the host another run of the domain may have the same number.
    same_run = before if uuid in session.handles else None
    domain = session.domain(uuid)
    read = _parse(domain.XMLDesc(0), settings.labels, parsed.get(uuid))
    info = replace(
        read.info, autostart=_flag(domain.autostart), persistent=_flag(domain.isPersistent)
    )
    facts: dict[str, Any] = {
        "clock_zone_offset": zone_offset(info, time.time(), local=settings.is_local)
    }
    readings: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "CPU shares": lambda: {"cpu_tune": cpu_tune(session, domain, info)},
        "CPU mode": lambda: {"cpu_mode": cpu_mode(domain, info, before)},
        "snapshots": lambda: snapshot_facts(session, domain),
        "deprecations": lambda: {"deprecated": deprecations(session, domain, info, same_run)},
    }
    for what, ask in readings.items():
        try:
            facts |= ask()
        except (libvirt.libvirtError, DomainXmlError) as error:
            # A snapshot may be deleted, or the domain undefined, since they were listed.
            if not session.alive:
                raise
            log.debug("cannot read %s of domain %s: %s", what, uuid, error)
    return _Reading(replace(info, **facts), read)


def _parse(xml: str, labels: tuple[Label, ...], before: _Parsed | None) -> _Parsed:
    """What an XML says; `before` where it says the same. Raises DomainXmlError.

    Parsing is most of what a reading costs this process, and mostly nothing has changed.
    """
    digest = hashlib.blake2b(xml.encode("utf-8", "replace"), digest_size=16).digest()
    if before is not None and (before.digest, before.labels) == (digest, labels):
        return before
    return _Parsed(digest, labels, parse_domain(xml, labels=labels))


def _flag(call: Callable[[], int]) -> bool | None:
    """A yes or no of libvirt; None where this domain or driver has no answer."""
    try:
        return bool(call())
    except libvirt.libvirtError:
        return None
