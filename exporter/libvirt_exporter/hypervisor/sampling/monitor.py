"""The part of a sample that needs the domains' QEMU monitors, any of which may hang.

libvirt visits the domains of a call one after the other, 5 to 7 ms each, and the first call that
reaches a hung QEMU blocks for ever, with NOWAIT too; later NOWAIT calls pass it by. So domains
are asked in shards, several at a time and each on its own connection; a shard that takes long
is looked at with `controlInfo`, which never waits for a monitor and names the culprit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from time import time
from typing import Final, TypeVar

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.connection.walk import Walk
from libvirt_exporter.hypervisor.sampling.bulk import excuse_absent
from libvirt_exporter.hypervisor.sampling.control import Control, visit_control
from libvirt_exporter.hypervisor.sampling.draft import STUCK_AFTER
from libvirt_exporter.hypervisor.sampling.phase import Phase
from libvirt_exporter.hypervisor.sampling.qemu_process import APART, QemuProcesses
from libvirt_exporter.hypervisor.sampling.request import PROCESSES
from libvirt_exporter.hypervisor.sampling.retries import RETRIES, Again, Retries
from libvirt_exporter.hypervisor.sampling.shards import Call, CallMemory, Shard, Shards
from libvirt_exporter.hypervisor.sampling.standing import Standing, StandingMemory
from libvirt_exporter.hypervisor.sampling.without_job import GROUPS as WITHOUT_JOB
from libvirt_exporter.hypervisor.sampling.without_job import stats_without_job

T = TypeVar("T")

OUTLIER: Final = 10
"""Times what a domain usually takes that one answer must take to be suspicious."""


class MonitorMemory:
    """What one sample learns about monitors for the next one."""

    def __init__(self) -> None:
        self.standing = StandingMemory()
        self.calls = CallMemory()


@dataclass(eq=False)
class MonitorPhase(Phase):
    """Asks all active domains of one sample for the groups that need a monitor.

    The states of a domain, and what leads from one to another:

        unsure <-- QEMU waits -----+   +-- its call is late --> held -- not back in time --+
          | it still waits         |   |                          |                        v
          v                        |   |                          |                   quarantined
        frozen <-- QEMU is stopped -- healthy <-- it answers -----+------------------------+
                                   |   |   |
                                   |   |   +-- no answer again, its job is free ----> markless
            locked <-- a call waits    |
                       for its lock    +-- no answer again, its job is held ----> reluctant

    A domain gets back to healthy from frozen when its QEMU runs, from locked when the call has
    come back, from markless and reluctant with an answer that has the marks of a job. Unsure and
    held last for one sample, the others until then. A frozen domain is quarantined as well, and a
    quarantined one held: these are asked in shards of their own, which come back at once without
    what needs the monitor. Frozen, unsure and locked ones are asked nothing, unless a call is
    in the frozen one already. A reluctant one is asked again but once, and what a markless one
    answers is all it has.
    """

    groups: frozenset[str]
    settings: HostSettings
    processes: QemuProcesses | None
    """Tell whose QEMU does not run; None where that cannot be seen from here."""
    memory: MonitorMemory

    def __post_init__(self) -> None:
        standing = Standing(self.draft, self.groups, self.locked, self.memory.standing)
        self._standing = standing
        self._shards = Shards(
            self.connections, self.draft, self.settings, standing, self.memory.calls
        )
        self._retries = Retries()
        self._sure_at = 0.0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Ask until everything is answered, or nothing more can be expected in time."""
        standing = self._standing
        concerned = [uuid for uuid in standing.domains if standing.unanswered(uuid)]
        if not concerned:
            return
        looked_at = {uuid for uuid, domain in standing.domains.items() if domain.wants(PROCESSES)}
        await self._find_halted(looked_at.union(concerned))
        standing.unsure.intersection_update(concerned)
        await self._find_stuck()
        await self._ask(concerned)
        if healed := await self._find_healed():
            await self._ask(healed)
        await self._ask_without_job()
        self._shards.conclude()

    async def _ask(self, uuids: Iterable[str]) -> None:
        """Ask domains, and what comes of it."""
        self._shards.cut(uuids)
        while True:
            self._shards.start()
            moments = [*self._shards.moments()]
            if (again_at := self._retries.at) is not None:
                moments.append(again_at)
            if self._standing.unsure:
                moments.append(self._sure_at)
            rest = self.draft.deadline.rest
            if not moments or rest <= 0:
                break
            timeout = min(max(min(moments) - self._loop.time(), 0.0), rest)
            answers = [call.answer for call in self._shards.calls]
            if answers:
                await asyncio.wait(answers, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(timeout)
            for call in self._shards.returned():
                self._take(call)
            await self._look_into()

    @property
    def _too_long(self) -> float:
        """Seconds for which nobody waits for a monitor of this host, if it answers at all."""
        usual = OUTLIER * self.memory.calls.pace
        patience = self.draft.patience
        return min(max(self.draft.look / 2, usual), patience)

    # What comes back.

    def _take(self, call: Call) -> None:
        shard, standing = call.shard, self._standing
        try:
            rows = call.answer.result()
        except CallError as error:
            if not (call.abandoned or call.late):
                self._shards.narrow(shard, error)
            return
        seconds = self._loop.time() - call.started
        usual = call.late or standing.held.isdisjoint(shard.uuids)
        if usual and shard.uuids and not call.abandoned:
            self.memory.calls.learn_pace(seconds, len(shard.uuids))
        if call.late:
            return
        self.draft.spent(shard.groups, seconds)
        if not call.abandoned:
            excuse_absent(standing.domains, shard.uuids, rows)
        for uuid, stats in rows:
            domain = standing.domains.get(uuid)
            if domain is None or domain.missing.isdisjoint(shard.groups):
                continue
            if standing.take(uuid, shard.groups, stats, call.timestamp, abandoned=call.abandoned):
                self._ask_again(uuid, shard)

    def _ask_again(self, uuid: str, shard: Shard) -> None:
        """Somebody held this domain's job; try a little later."""
        if shard.attempt < (1 if uuid in self._standing.reluctant else RETRIES):
            self._retries.add(uuid, shard.groups, shard.attempt + 1)
        else:
            self._standing.refused(uuid, shard.groups)

    async def _ask_without_job(self) -> None:
        """What can be told of those whose monitor was not asked, or not with success."""
        groups = self.groups & WITHOUT_JOB
        domains = self._standing.domains
        uuids = [
            uuid
            for uuid, domain in domains.items()
            if domain.missing & groups and domain.state and not domain.monitor
        ]
        timestamp = time()
        result = await self._visit(
            "per-domain statistics",
            uuids,
            lambda session, uuid: stats_without_job(session.domain(uuid), groups),
        )
        for uuid, stats in result.answers.items():
            domains[uuid].monitor = stats
            domains[uuid].timestamp = timestamp

    # What does not come back.

    async def _visit(
        self, call: str, uuids: Iterable[str], visit: Callable[[Session, str], T]
    ) -> Walk[T]:
        """Make a call that waits for neither job nor monitor."""
        deadline = Deadline.within(min(self.draft.deadline.rest, STUCK_AFTER))
        return await self.walk_around("control", call, uuids, visit, deadline)

    async def _read_control(self, uuids: Iterable[str]) -> Walk[Control]:
        return await self._visit("controlInfo", uuids, visit_control)

    async def _find_halted(self, uuids: Collection[str]) -> None:
        """Whose QEMU does not run, of these: it is not to be asked at all."""
        if self.processes is None:
            return
        names = {uuid: domain.name for uuid, domain in self._standing.domains.items()}
        halted = await self.processes.look(names, self.draft.look, uuids)
        if halted is not None:
            self._standing.halted(set(uuids), halted.frozen, halted.unsure)
            self._sure_at = self._loop.time() + APART

    async def _find_stuck(self) -> None:
        """Who of the stuck domains still is; the first time, who of all is stuck already."""
        standing, memory = self._standing, self.memory.standing
        uuids = list(standing.quarantine) if memory.surveyed else list(standing.domains)
        uuids = [uuid for uuid in uuids if uuid not in standing.locked]
        result = await self._read_control(uuids)
        memory.surveyed = True
        for uuid in uuids:
            control = result.answers.get(uuid)
            if uuid in standing.frozen:
                # With a call in it already, one more is answered at once, without its monitor.
                if control is not None and control.occupied:
                    standing.frozen.discard(uuid)
                continue
            quarantined = uuid in standing.quarantine
            enough = self.draft.look / 2 if quarantined else STUCK_AFTER
            if control is not None and control.seconds >= enough:
                standing.stuck(uuid, control.seconds)
            elif control is not None or isinstance(result.failures.get(uuid), CallError):
                standing.answers(uuid)
        for uuid in standing.quarantine:
            standing.hold(uuid)

    async def _find_healed(self) -> list[str]:
        """Who did not answer and does by now: after a hang of many some take a little longer."""
        standing = self._standing
        silent = [
            uuid
            for uuid in standing.held
            if uuid not in standing.frozen and standing.unanswered(uuid)
        ]
        if not silent or self.draft.deadline.rest <= 0:
            return []
        result = await self._read_control(silent)
        healed = [uuid for uuid, control in result.answers.items() if control.ok]
        for uuid in healed:
            standing.answers(uuid)
        return healed

    async def _look_into(self) -> None:
        """Look at the calls that take long and at the domains to be asked again."""
        standing = self._standing
        if standing.unsure and self._loop.time() >= self._sure_at:
            waited = standing.unsure
            await self._find_halted(waited)
            standing.unsure = set()
            self._shards.cut(waited)
        overdue, again = self._shards.overdue(), self._retries.due()
        if not overdue and not again:
            return
        suspects = dict.fromkeys(uuid for call in overdue for uuid in call.shard.uuids)
        suspects.update(dict.fromkeys(uuid for uuid, _ in again))
        result = await self._read_control(suspects)
        occupied = {uuid: control.seconds for uuid, control in result.answers.items()}
        standing.busy.update(uuid for uuid, control in result.answers.items() if not control.ok)
        self._retry(again, occupied)
        for call in overdue:
            self._shards.look_again(call)
            if not call.answer.done():
                self._judge(call, occupied)

    def _retry(self, again: Again, occupied: Mapping[str, float]) -> None:
        """Ask those again whose job is not held for long."""
        alike: dict[tuple[frozenset[str], int], list[str]] = {}
        for (uuid, groups), attempt in again.items():
            seconds = occupied.get(uuid, 0.0)
            if seconds >= self.draft.patience:
                self._standing.hold(uuid)
                self._standing.stuck(uuid, seconds)
            elif uuid not in self._standing.locked:
                alike.setdefault((groups, attempt), []).append(uuid)
        self._shards.waiting.extend(
            Shard(uuids, groups, attempt) for (groups, attempt), uuids in alike.items()
        )

    def _judge(self, call: Call, occupied: Mapping[str, float]) -> None:
        """Abandon a call that waits for a stuck domain.

        `occupied`: for how many seconds somebody has been waiting for whose monitor.
        """
        # A job that was held before the call began is somebody else's: NOWAIT passes it by.
        own = self._loop.time() - call.started
        culprits = [
            uuid
            for uuid in call.shard.uuids
            if self._too_long <= occupied.get(uuid, inf) <= own or uuid in self._standing.locked
        ]
        if culprits:
            self._shards.abandon(call, culprits)
