"""A sample while it is being taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.facts import DriverFacts
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING, DomainDraft
from libvirt_exporter.hypervisor.sampling.job_targets import without_job_targets
from libvirt_exporter.hypervisor.sampling.memory_report import drop_old_report
from libvirt_exporter.hypervisor.sampling.request import Wishes
from libvirt_exporter.hypervisor.sampling.sources import DomainSource, SourceFailures
from libvirt_exporter.hypervisor.sampling.stats_groups import job_marks
from libvirt_exporter.model import (
    DomainSample,
    GroupOutcome,
    HostInfo,
    HostSample,
    Stats,
    StatValue,
    VanishedDomain,
)

STUCK_AFTER: Final = 1.0
"""Seconds without an answer after which a monitor counts as stuck, budget allowing."""


class HostDraft:
    """One sample in the making; lives on the host's asyncio loop."""

    def __init__(
        self,
        wishes: Wishes,
        deadline: Deadline,
    ) -> None:
        """`deadline`: when the sample is handed over as it is; put off by who joins later."""
        self.wishes = wishes
        self.groups = groups = wishes.groups
        self.lanes = wishes.lanes
        self._marks = job_marks(groups)
        self.backing = wishes.backing
        self.deadline = deadline
        self.up = False
        self.error = ""
        self.error_code = 0
        self.facts: DriverFacts | None = None
        self.asks_monitors = False
        """Whether active domains are asked for groups that need their monitor."""
        self.domains: dict[str, DomainDraft] = {}
        self.listed = True
        """Whether `domains` are all that libvirt has, not those known before."""
        self.failed: set[str] = set()
        """Groups that failed for more than single domains."""
        self.seconds = dict.fromkeys(sorted(groups), 0.0)
        self.phases: dict[str, float] = {}
        self.timestamp = time.time()
        self._started = asyncio.get_running_loop().time()

    @property
    def budget(self) -> float:
        """Seconds that the sample may take."""
        return self.deadline.at - self._started

    @property
    def look(self) -> float:
        """Seconds after which a call that has not come back is looked at."""
        return min(max(0.05 * self.budget, 0.1), 0.25)

    @property
    def patience(self) -> float:
        """Seconds after which an abandoned call is no longer waited for."""
        return min(max(0.25 * self.budget, 0.1), STUCK_AFTER)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase of sampling."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started

    @property
    def duration(self) -> float:
        """Seconds since the sample was begun."""
        return asyncio.get_running_loop().time() - self._started

    def spent(self, groups: Iterable[str], seconds: float) -> None:
        """Book one call's time on each of its groups."""
        for group in groups:
            self.seconds[group] += seconds

    def active(self) -> list[DomainDraft]:
        """The domains that run."""
        return [domain for domain in self.domains.values() if domain.active]

    def freeze(
        self,
        inventory: Inventory,
        groups: frozenset[str],
        host: HostInfo | None,
        stuck: Mapping[str, float],
        sources: Sequence[DomainSource],
        failures: SourceFailures,
        host_stats: Stats = NOTHING,
        lanes: Mapping[str, float] | None = None,
        vanished: tuple[VanishedDomain, ...] = (),
    ) -> HostSample:
        """The sample as it stands; `groups` are those of the request that it answers.

        `stuck`: for how many seconds the monitor of which domain has not answered.
        `sources`, `host_stats`: what else is known of the domains and the host. A source that
        fails is left out for the domain that it fails for, and told to `failures`.
        `lanes`: how old in seconds what is known from each lane is. `vanished`: domains that are
        gone.
        """
        error = self.error
        if not (self.up or error):
            error = f"libvirt did not answer within {self.duration:.1f} s"
        order = sorted(groups | self.groups)
        failed = self.failed | (groups - self.groups)
        domains = []
        asked: dict[frozenset[str], tuple[str, ...]] = {}
        began = time.monotonic()
        for domain in self.domains.values():
            if domain.missing and not domain.excused:
                failed |= domain.missing
            info = inventory.get(domain.uuid)
            # What comes and goes comes last: the places of the others then stay as they are, which
            # spares the renderer work.
            stats = {**domain.state}
            for answer in (domain.no_monitor, domain.monitor, domain.fallback):
                stats.update(without_job_targets(answer, info) if self.backing else answer)
            drop_old_report(stats, info, domain.timestamp)
            for source in sources:
                try:
                    stats.update(source.domain_stats(domain))
                except Exception as failure:  # noqa: BLE001 - one domain must cost only itself
                    words = f"domain {domain.name} ({domain.uuid})"
                    failures.failed(source, domain.uuid, words, failure)
            stats.update(self._observed(domain, stuck.get(domain.uuid)))
            domains.append(
                DomainSample(
                    uuid=domain.uuid,
                    name=domain.name,
                    active=domain.active,
                    stats=stats,
                    timestamp=domain.timestamp,
                    without_monitor_at=domain.without_monitor_at,
                    info=info,
                    asked=asked.setdefault(domain.groups, tuple(sorted(domain.groups))),
                    missing_groups=tuple(sorted(domain.missing)) if domain.missing else (),
                )
            )
        # Of a host that does not answer there are no domains to ask for.
        failures.conclude(sources if self.up else (), self.domains, began)
        return HostSample(
            timestamp=self.timestamp,
            began=self._started,
            duration=self.duration,
            up=self.up,
            host=host,
            domains=tuple(domains),
            groups=tuple(
                GroupOutcome(
                    group=group,
                    success=self.up and group not in failed,
                    duration=self.seconds.get(group, 0.0),
                )
                for group in order
            ),
            phases=dict(self.phases),
            error=error,
            error_code=self.error_code,
            unparsable=inventory.unparsable,
            stats=host_stats,
            lanes=lanes or {},
            vanished=vanished,
        )

    def _observed(self, domain: DomainDraft, stuck: float | None) -> dict[str, StatValue]:
        """What was observed of the domain in the making of this sample."""
        stats: dict[str, StatValue] = {}
        if domain.active:
            for group in sorted(domain.missing):
                stats[f"sample.missing.{group}"] = True
            # What no answer shows is not known: QEMU may not have been reached.
            answered = not self._marks.isdisjoint(domain.monitor)
            if self.asks_monitors and (answered or stuck is not None):
                stats["monitor.responsive"] = stuck is None
            if stuck is not None:
                stats["monitor.stuck.time"] = int(stuck * 1e9)
        return stats
