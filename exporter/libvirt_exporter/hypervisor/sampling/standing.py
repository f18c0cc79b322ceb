"""How the active domains of a sample stand with their monitors."""

from __future__ import annotations

import asyncio

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.sampling.domain_draft import merged
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.quarantine import Quarantine
from libvirt_exporter.hypervisor.sampling.stats_groups import job_marks
from libvirt_exporter.model import Stats


class StandingMemory:
    """What is known of domains from sample to sample."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.frozen: set[str] = set()
        self.markless: set[str] = set()
        self.reluctant: set[str] = set()
        self.surveyed = False
        """Whether the domains are known that were stuck before this process could see it."""


class Standing:
    """The states of the domains in one sample; `MonitorPhase` draws how they follow each other."""

    def __init__(
        self, draft: HostDraft, groups: frozenset[str], locked: Blocked, memory: StandingMemory
    ) -> None:
        """`groups`: those that need a monitor."""
        self.domains = {domain.uuid: domain for domain in draft.active()}
        self.groups = groups
        self.locked = locked
        self.quarantine = memory.quarantine
        self.frozen = memory.frozen
        self.markless = memory.markless
        self.reluctant = memory.reluctant
        self.held: set[str] = set()
        self.unsure: set[str] = set()
        self.busy: set[str] = set()
        """Domains whose job somebody was seen to hold in this sample."""
        self._loop = asyncio.get_running_loop()
        self.quarantine.keep_only(self.domains.keys(), self._loop.time())
        for uuids in (self.markless, self.reluctant, self.frozen):
            uuids.intersection_update(self.domains)

    def unanswered(self, uuid: str) -> frozenset[str]:
        """The groups that a domain has not answered yet."""
        return self.domains[uuid].missing & self.groups

    def askable(self, uuid: str) -> bool:
        """Whether a call for this domain is known to come back."""
        return bool(self.domains[uuid].state) and not (
            uuid in self.locked or uuid in self.frozen or uuid in self.unsure
        )

    def hold(self, uuid: str) -> None:
        """Its monitor does not answer in this sample."""
        self.held.add(uuid)
        self.domains[uuid].excused = bool(self.unanswered(uuid))

    def stuck(self, uuid: str, seconds: float) -> None:
        """Its monitor has not answered for so many seconds; it is in quarantine from then on."""
        self.quarantine.hold(uuid, self.domains[uuid].name, self._loop.time() - seconds)

    def answers(self, uuid: str) -> None:
        """Its monitor is there to be asked."""
        self.held.discard(uuid)
        self.quarantine.release(uuid, self._loop.time())

    def halted(self, among: set[str], frozen: set[str], unsure: set[str]) -> None:
        """Whose QEMU was seen not to run, of these; and of whom the next look will tell."""
        self.frozen -= among
        self.frozen |= frozen
        self.unsure = unsure
        for uuid in frozen:
            self.domains[uuid].excused = True
            self.stuck(uuid, 0.0)

    def take(
        self,
        uuid: str,
        groups: frozenset[str],
        stats: Stats,
        timestamp: float,
        *,
        abandoned: bool,
    ) -> bool:
        """Take a domain's answer; whether it has to be asked again, as its job was not free.

        `abandoned`: whether the call was given up before, for this domain or another one.
        """
        domain = self.domains[uuid]
        marks = job_marks(groups)
        held = uuid in self.held
        marked = not marks.isdisjoint(stats)
        if marked:
            self.quarantine.release(uuid, self._loop.time())
            self.reluctant.discard(uuid)
            self.markless.discard(uuid)
        if marked or (not held and (not marks or uuid in self.markless)):
            domain.monitor = merged(domain.monitor, stats)
            domain.missing -= groups
            domain.excused = False
            domain.timestamp = timestamp
            return False
        if abandoned:
            return False
        if not domain.monitor:
            domain.timestamp = timestamp
        domain.monitor = merged(stats, domain.monitor)
        return not held

    def refused(self, uuid: str, groups: frozenset[str]) -> None:
        """It was asked again often enough: somebody holds its job, or it has no more to say."""
        if uuid in self.reluctant or uuid in self.busy:
            self.reluctant.add(uuid)
            self.domains[uuid].excused = True
        else:
            self.markless.add(uuid)
            self.domains[uuid].missing -= groups
