"""One sample of a host: what is asked, on which connection, and what happens when it hangs.

In short (docs/architecture.md has the whole): the state of all domains first, then, at the same
time, the groups that need no monitor and the shards of those that do; then what the driver does
not answer in bulk. Requests that come while a sample is in flight share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.blocked import Blocked
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.facts import DriverFacts, HostIdentity
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.bulk import BulkMemory, BulkPhase
from libvirt_exporter.hypervisor.sampling.definition_signs import DefinitionSigns
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.fallback import FallbackMemory, FallbackPhase
from libvirt_exporter.hypervisor.sampling.lane import Lane
from libvirt_exporter.hypervisor.sampling.monitor import MonitorMemory, MonitorPhase
from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcesses
from libvirt_exporter.hypervisor.sampling.request import PROCESSES, SampleRequest, Wishes
from libvirt_exporter.hypervisor.sampling.sources import DomainRecords, DomainSource, SourceFailures
from libvirt_exporter.hypervisor.sampling.state import StateMemory, StatePhase
from libvirt_exporter.hypervisor.sampling.stats_groups import (
    WITH_MONITOR,
    WITHOUT_MONITOR,
    idle_groups,
)
from libvirt_exporter.model import HostInfo, HostSample, StatValue

USABLE_SHARE: Final = 0.9
"""Share of a request's time after which it gets what there is; the rest is for the answer."""


@dataclass(eq=False)
class _Waiter:
    request: SampleRequest
    until: float
    future: Future[HostSample]
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Sampler:
    """Takes one sample at a time for everybody who asks; lives on the host's asyncio loop."""

    def __init__(
        self,
        connections: Connections,
        inventory: Inventory,
        settings: HostSettings,
        *,
        processes: QemuProcesses | None,
        observer: Observer,
        reached: Callable[[str], None],
        lanes: Sequence[Lane] = (),
        sources: Sequence[DomainSource] = (),
        records: DomainRecords | None = None,
    ) -> None:
        """`processes`: the host's QEMU processes, None where they cannot be seen from here.

        `sources`: who knows something of domains in every sample; lanes do when they are asked.
        `records`: who knows what has happened to them.
        `reached` is told after every sample why the host did not answer, '' when it did.
        """
        self._connections = connections
        self._inventory = inventory
        self._settings = settings
        self._processes = processes
        self._observer = observer
        self._reached = reached
        self._lanes = lanes
        self._sources = (*sources, *(() if records is None else (records,)))
        self._records = records
        self._failures = SourceFailures(observer)
        self.identity: HostIdentity | None = None
        """Told by the host once it is known."""
        self._facts: DriverFacts | None = None
        self._locked = Blocked(connections)
        self._states = StateMemory()
        self._bulk = BulkMemory()
        self._monitors = MonitorMemory()
        self._fallback = FallbackMemory(connections)
        self._signs = DefinitionSigns()
        self._draft: HostDraft | None = None
        self._sharing: list[_Waiter] = []
        self._pending: list[_Waiter] = []

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings, from the next sample on."""
        self._settings = settings

    @property
    def stuck_domains(self) -> dict[str, float]:
        """Domains whose monitor does not answer: UUID to seconds for which it has not."""
        return self._monitors.standing.quarantine.seconds(monotonic())

    def request(self, request: SampleRequest, timeout: float, future: Future[HostSample]) -> None:
        """Have `future` completed with a sample within `timeout` seconds, whatever happens."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(request, loop.time() + USABLE_SHARE * timeout, future)
        if self._draft is not None and self._covers(self._draft, request):
            self._draft.deadline.put_off(waiter.until)
            self._sharing.append(waiter)
            self._observer.sample_shared()
        else:
            self._pending.append(waiter)
            self._start()
        waiter.timer = loop.call_at(waiter.until, self._expire, waiter)

    def close(self) -> None:
        """Answer everybody who still waits."""
        for waiter in [*self._sharing, *self._pending]:
            self._answer(waiter, self._no_sample("the exporter is being stopped", waiter))
        if self._processes is not None:
            self._processes.close()
        for lane in self._lanes:
            lane.close()

    def _start(self) -> None:
        """Take the next sample, for all pending requests that it can answer."""
        if self._draft is not None or not self._pending:
            return
        backing = Wishes([self._pending[0].request]).backing

        def share(waiter: _Waiter) -> bool:
            return all(
                part.backing == backing or "block" not in part.groups
                for part in waiter.request.parts
            )

        sharing = [waiter for waiter in self._pending if share(waiter)]
        self._pending = [waiter for waiter in self._pending if not share(waiter)]
        for _ in sharing[1:]:
            self._observer.sample_shared()
        self._sharing = sharing
        self._draft = HostDraft(
            Wishes((waiter.request for waiter in sharing), self._settings.shown),
            Deadline(max(waiter.until for waiter in sharing)),
        )
        task = asyncio.get_running_loop().create_task(self._take(self._draft))
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        draft, self._draft = self._draft, None
        sharing, self._sharing = self._sharing, []
        if task.cancelled() or draft is None:
            return
        if (error := task.exception()) is not None:
            self._failures.failed(self, "sample", "a sample", error)
            draft.up, draft.error = False, f"internal error: {error!r}"
        else:
            self._failures.works(self, ("sample",))
        frozen = {
            request: self._freeze(draft, request)
            for request in {waiter.request for waiter in sharing}
        }
        self._observer.sample_taken(draft.duration)
        for waiter in sharing:
            self._answer(waiter, frozen[waiter.request])
        for uuid in self._signs.changed(draft):
            self._inventory.mark(uuid)
        for domain in draft.domains.values():
            domain.let_go()
        self._reached(draft.error)
        self._start()

    def _expire(self, waiter: _Waiter) -> None:
        """A waiter's time is up: it gets what the sample in flight knows so far."""
        if waiter in self._sharing:
            self._sharing.remove(waiter)
        else:
            self._pending.remove(waiter)
        if self._draft is None:
            self._answer(waiter, self._no_sample("no sample was taken in time", waiter))
        else:
            sample = self._freeze(self._draft, waiter.request)
            self._answer(waiter, replace(sample, partial=True))

    def _answer(self, waiter: _Waiter, sample: HostSample) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        if not waiter.future.done():
            waiter.future.set_result(sample)

    def _freeze(self, draft: HostDraft, request: SampleRequest) -> HostSample:
        wishes = Wishes([request])
        lanes = [lane for lane in self._lanes if lane.name in draft.lanes & wishes.lanes]
        host_stats: dict[str, StatValue] = {}
        for lane in lanes:
            if draft.up:
                host_stats.update(lane.host_stats())
        if self._records is not None:
            self._records.take()
        return draft.freeze(
            self._inventory,
            wishes.groups,
            self._host(),
            self.stuck_domains,
            (*self._sources, *(lane for lane in lanes if lane.knows_domains)),
            self._failures,
            host_stats,
            {lane.name: age for lane in lanes if (age := lane.age) is not None},
            self._records.vanished if self._records is not None else (),
        )

    def _no_sample(self, error: str, waiter: _Waiter) -> HostSample:
        draft = HostDraft(Wishes([waiter.request]), Deadline(waiter.until))
        draft.error = error
        return self._freeze(draft, waiter.request)

    def _host(self) -> HostInfo | None:
        if self._facts is None:
            return None
        identity = self.identity
        return HostInfo(
            name=self._settings.name,
            driver=self._facts.driver,
            hypervisor_version=None if identity is None else identity.hypervisor_version,
            hostname="" if identity is None else identity.hostname,
            uuid="" if identity is None else identity.uuid,
            libvirt_version=self._facts.libvirt_version,
        )

    async def _take(self, draft: HostDraft) -> None:
        common = self._connections, draft, self._locked, self._failures
        await StatePhase(*common, self._states).timed("state")
        if not draft.up or draft.facts is None:
            self._monitors.standing.surveyed = False
            return
        self._facts = facts = draft.facts
        self._note_domains(draft)
        await self._choose(draft)
        fallback = facts.fallback
        wanted = draft.groups - fallback.groups - {"state"} - facts.unsupported
        if "state" in fallback.groups:  # the driver has no bulk call at all
            wanted = frozenset()
        expected = wanted | (draft.groups & fallback.groups) - {"state"}
        for domain in draft.active():
            idle = idle_groups(self._inventory.get(domain.uuid))
            domain.missing = expected.intersection(domain.groups) - idle
        draft.asks_monitors = facts.has_monitors and any(
            not domain.missing.isdisjoint(WITH_MONITOR) for domain in draft.active()
        )
        async with asyncio.TaskGroup() as tasks:
            if facts.has_monitors:
                each = [frozenset({group}) for group in sorted(wanted & WITHOUT_MONITOR)]
                bulk = BulkPhase(*common, "state", each, facts, self._bulk)
                monitor = MonitorPhase(
                    *common, wanted & WITH_MONITOR, self._settings, self._processes, self._monitors
                )
                tasks.create_task(bulk.timed("no_monitor"))
                tasks.create_task(monitor.timed("monitor"))
            elif wanted:
                bulk = BulkPhase(*common, "bulk", [wanted], facts, self._bulk)
                tasks.create_task(bulk.timed("bulk"))
            if self._processes is not None and not draft.asks_monitors:
                # Otherwise they are looked at before the monitors are asked.
                names = {domain.uuid: domain.name for domain in draft.active()}
                looked_at = [domain.uuid for domain in draft.active() if domain.wants(PROCESSES)]
                if looked_at:
                    tasks.create_task(self._processes.look(names, draft.look, looked_at))
            unread = self._inventory.unread
            if (
                unread := {domain.uuid for domain in draft.domains.values() if domain.named}
                & unread
            ):
                tasks.create_task(self._read_info(draft, unread))
            self._refresh_lanes(draft, tasks, asking_monitors=False)
        # Only now is known which domains would cost one more call each.
        async with asyncio.TaskGroup() as tasks:
            self._refresh_lanes(draft, tasks, asking_monitors=True)
        if fallback.groups & draft.groups:
            phase = FallbackPhase(*common, fallback, self._inventory, self._fallback)
            await phase.timed("fallback")

    def _note_domains(self, draft: HostDraft) -> None:
        before = self._states.names
        names = self._states.names = {uuid: domain.name for uuid, domain in draft.domains.items()}
        if self._records is not None:
            self._records.listed(draft.domains.values(), draft.timestamp, complete=draft.listed)
        if gone := before.keys() - names.keys():
            self._connections.forget(gone)
            self._fallback.forget(gone)
        # Of whom nobody will ever be shown anything, nothing is read either.
        shown = {
            domain.uuid: domain.name
            for domain in draft.domains.values()
            if draft.wishes.may_exist(domain.uuid, domain.name, domain.state) is not False
        }
        self._inventory.reconcile(shown, hidden=names.keys() - shown.keys())

    async def _choose(self, draft: HostDraft) -> None:
        """Decide what is asked of each domain, once the XML is read of those where it decides."""
        wishes = draft.wishes
        undecided = {
            uuid
            for uuid in self._inventory.unread & draft.domains.keys()
            if wishes.may_exist(uuid, draft.domains[uuid].name, draft.domains[uuid].state) is None
        }
        if undecided:
            await self._read_info(draft, undecided)
        for uuid, domain in draft.domains.items():
            wanted = wishes.of(uuid, domain.name, domain.state, self._inventory.get(uuid))
            domain.groups, domain.lanes = wanted.groups, wanted.lanes
            domain.named = wanted.named

    def _covers(self, draft: HostDraft, request: SampleRequest) -> bool:
        return (
            draft.deadline.rest > 0
            and draft.wishes.shown is self._settings.shown
            and draft.wishes.covers(request)
        )

    def _refresh_lanes(
        self, draft: HostDraft, tasks: asyncio.TaskGroup, *, asking_monitors: bool
    ) -> None:
        for lane in self._lanes:
            if lane.name in draft.lanes and lane.asks_monitors == asking_monitors:
                tasks.create_task(lane.refresh(draft))

    async def _read_info(self, draft: HostDraft, uuids: set[str]) -> None:
        """Wait for the XML of new domains, for no more than half of the time that is left."""
        with draft.phase("info"):
            until = asyncio.get_running_loop().time() + draft.deadline.rest / 2
            await self._inventory.settled(uuids, until)
