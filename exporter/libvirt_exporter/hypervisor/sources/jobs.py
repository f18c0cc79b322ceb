"""The lane `jobs`: how far migrations, saves, dumps, backups and block jobs have got.

`jobStats` waits for the domain's own lock on jobs (up to 30 s in libvirt 9.0) and, during a job,
for its monitor. So it is asked of the domains that seem to have a job, not of all. Nothing that
never waits tells who has one: `controlInfo` (9.0) shows a migration, a backup or a dump as idle,
and the start of a backup or block job has no event. Therefore every domain gets a look from time
to time: a job without any sign is seen within five minutes, or, at a scrape
every 15 seconds, 1.5 seconds for each domain of the host if that is more. The copy of a disk, which
the XML shows, is seen once that is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from math import inf
from time import monotonic
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass, classify
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.events.names import BLOCK_JOB_TYPES, name_of
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from libvirt_exporter.model import Disk, DomainInfo, Stats, StatValue

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.75
"""Seconds for each look at a domain without a sign of a job, however often the lane is read."""
LOOKS: Final = 10
"""Such looks of one reading at most."""
LOOK_AGAIN: Final = 300.0
"""Seconds after which such a domain is looked at again."""
DOUBT: Final = 60.0
"""Seconds for which the answer that there is no job stands against the same signs of one. Some stay
for long: after a cancelled migration no event says that it is over, and the destination of one
never tells of it."""
STALE: Final = 60.0
"""Seconds after which what was read of a job is not shown any more."""

_JOB_REASONS: Final[Mapping[StatValue | None, frozenset[int]]] = {
    libvirt.VIR_DOMAIN_RUNNING: frozenset(
        {libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED}
    ),
    libvirt.VIR_DOMAIN_PAUSED: frozenset(
        {
            # A live dump of the memory alone (9.0).
            libvirt.VIR_DOMAIN_PAUSED_UNKNOWN,
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            libvirt.VIR_DOMAIN_PAUSED_SAVE,
            libvirt.VIR_DOMAIN_PAUSED_DUMP,
            libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
            libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
        }
    ),
}
"""Reasons by state that come with a job."""


_OVER: Final = frozenset({ErrorClass.GONE, ErrorClass.NOT_RUNNING})

Signs = frozenset[str]
"""Why a domain may have a job."""


@dataclass(frozen=True)
class _Reading:
    """What a domain said of its jobs, and when."""

    at: float
    stats: Stats
    has_job: bool
    signs: Signs
    """Those that were the reason to ask."""


class JobsLane(WalkingLane):
    """Asks `jobStats` and `blockJobInfo` of the domains that have a job or may have one.

    Gives `job.*`, libvirt's own keys and units, and `blockjob.<num>.{name,type,bandwidth,cur,end}`
    with the type's name under `blockjob.<num>.type.name`; `blockjob.count` is 0 where there is
    none, as of the last look.
    """

    name = "jobs"
    knows_domains = True
    asks_monitors = True

    def __init__(
        self,
        connections: Connections,
        *,
        info: Callable[[str], DomainInfo | None],
        suspected: Callable[[str], bool],
        stuck: Callable[[], Container[str]],
    ) -> None:
        """`info`: what is known of the XML of a UUID.

        `suspected`: whether events say that it has a job. `stuck`: the domains whose monitor does
        not answer.
        """
        super().__init__(connections)
        self._info = info
        self._suspected = suspected
        self._stuck_domains = stuck
        self._readings: dict[str, _Reading] = {}
        self._looked: dict[str, float] = {}
        self._looks = float(LOOKS)
        """Looks that may be taken at once."""
        self._chosen_at = -inf
        self._before: Mapping[str, DomainDraft] = {}

    def look_again(self) -> None:
        """Have every domain looked at soon: events may have been missed."""
        self._looked.clear()
        self._looks = float(LOOKS)

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        """Ask the domains with a sign of a job, then a few others."""
        present = {domain.uuid: domain for domain in domains if domain.active}
        self._readings = {uuid: old for uuid, old in self._readings.items() if uuid in present}
        self._looked = {uuid: at for uuid, at in self._looked.items() if uuid in present}
        chosen = self._choose(present)
        self._before = present
        if not chosen:
            return
        disks = {uuid: _disks(self._info(uuid)) for uuid in chosen}
        suspects = {uuid for uuid, signs in chosen.items() if signs or self._has_job(uuid)}

        def visit(session: Session, uuid: str) -> tuple[Stats, bool]:
            suspected = uuid in suspects
            return read_jobs(session, session.domain(uuid), disks[uuid], suspected=suspected)

        result = await self.visit("jobStats", chosen, visit, deadline)
        now = monotonic()
        for uuid, (stats, has_job) in result.answers.items():
            self._readings[uuid] = _Reading(now, stats, has_job, chosen[uuid])
        for uuid, failure in result.failures.items():
            if isinstance(failure, CallError) and failure.error_class in _OVER:
                self._readings.pop(uuid, None)
        for uuid in (*result.answers, *result.failures, *result.blocked):
            self._looked[uuid] = now

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """The figures of the jobs that are going on; none where they are too old."""
        reading = self._readings.get(domain.uuid)
        if reading is None or not domain.active:
            return NOTHING
        if reading.has_job and monotonic() - reading.at > STALE:
            return NOTHING
        return reading.stats

    def _choose(self, domains: Mapping[str, DomainDraft]) -> dict[str, Signs]:
        """Whom to ask, and the signs that each has; the most urgent first."""
        stuck, now = self._stuck_domains(), monotonic()
        chosen: dict[str, Signs] = {}
        others: list[tuple[float, str]] = []
        for uuid, domain in domains.items():
            if not domain.wants(self.name):
                continue
            before = self._before.get(uuid)
            if domain.excused or uuid in stuck or (before is not None and before.excused):
                continue
            signs = self._signs(domain, before)
            reading = self._readings.get(uuid)
            if self._has_job(uuid):
                chosen[uuid] = signs
            elif signs:
                if reading is None or reading.signs != signs or now - reading.at > DOUBT:
                    chosen[uuid] = signs
            elif before is not None and now - (at := self._looked.get(uuid, -inf)) > LOOK_AGAIN:
                others.append((at, uuid))
        self._looks = min(self._looks + (now - self._chosen_at) / LOOK_EVERY, LOOKS)
        self._chosen_at = now
        looks = nsmallest(int(self._looks), others)
        self._looks -= len(looks)
        chosen.update((uuid, frozenset()) for _, uuid in looks)
        return chosen

    def _has_job(self, uuid: str) -> bool:
        """Whether a domain had a job when it was last asked."""
        reading = self._readings.get(uuid)
        return reading is not None and reading.has_job

    def _signs(self, domain: DomainDraft, before: DomainDraft | None) -> Signs:
        """`before`: the domain's share of the last sample, which has ended by now."""
        signs = set()
        state, reason = domain.state.get("state.state"), domain.state.get("state.reason")
        if reason in _JOB_REASONS.get(state, ()):
            signs.add(f"state {state} {reason}")
        if self._suspected(domain.uuid):
            signs.add("event")
        if (info := self._info(domain.uuid)) is not None:
            signs.update(f"mirror {disk.device}" for disk in info.disks if disk.mirror_job)
        if before is not None and before.missing:
            signs.add("busy")
        return frozenset(signs)


def read_jobs(
    session: Session, domain: libvirt.virDomain, disks: Iterable[Disk], *, suspected: bool
) -> tuple[Stats, bool]:
    """What is known of a domain's jobs, `job.*` and `blockjob.*`, and whether it has one.

    `suspected`: whether there is a sign of one. Else, unless the domain has a job, a disk without
    an image below its own is not asked about: it has nothing to pull or commit, a copy would be
    such a sign, and a backup is a job of the domain too.
    Runs on the connection's thread. Raises libvirt.libvirtError.
    """
    stats: dict[str, StatValue] = {}
    # Without flags: COMPLETED alone would take the figures from whoever started the job.
    # The destination of a migration has none (9.0).
    job: Any = session.if_supported("jobStats", domain.jobStats, differs=True)
    has_job = bool(job) and job["type"] != libvirt.VIR_DOMAIN_JOB_NONE
    if has_job:
        stats.update((f"job.{key}", value) for key, value in job.items())
        # Xen's driver does not say what kind it is: libvirt's own number for that is 0.
        stats.setdefault("job.operation", 0)
    number, all_told, every_disk = 0, True, suspected or has_job
    for disk in disks:
        if disk.chain_depth == 1 and not every_disk:
            continue
        block_job = _block_job(domain, disk.device)
        if not block_job:
            continue
        has_job = True
        if block_job["end"] == 1:  # libvirt cannot tell yet how much there is to do
            all_told = False
            continue
        prefix = f"blockjob.{number}"
        stats[f"{prefix}.name"] = disk.device
        stats[f"{prefix}.type.name"] = name_of(BLOCK_JOB_TYPES, block_job["type"])
        stats.update((f"{prefix}.{key}", value) for key, value in block_job.items())
        number += 1
    if all_told:
        stats["blockjob.count"] = number
    return stats, has_job


def _block_job(domain: libvirt.virDomain, device: str) -> dict[str, int] | None:
    """`type`, `bandwidth` in bytes/s, `cur` and `end` of a disk's job; nothing without one."""
    flags = libvirt.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES
    try:
        answer: Any = domain.blockJobInfo(device, flags)
    except libvirt.libvirtError as error:
        if classify(error) not in (ErrorClass.UNSUPPORTED, ErrorClass.OTHER):
            raise
        log.debug("cannot read the block job of %s on domain %s: %s", device, domain.name(), error)
        return None
    return answer or None


def _disks(info: DomainInfo | None) -> list[Disk]:
    """The disks that may have a block job: those with an image."""
    return [disk for disk in info.disks if disk.source] if info is not None else []
