"""What has happened to each domain: records of events → counts, last times, last states.

Nothing here waits, asks libvirt or knows of threads. What is known comes out as flat keys in the
style of libvirt's statistics; times are integers, in ns since 1970:

- `event.<what>…`: how often something happened; a disk's own under `event.disk.<num>.…`;
- `event.last.<event>`: when it last happened;
- `event.watchdog.last.{time,action}`, `lastjob.<operation>.*`, `graphics.*`, `state.change.time`,
  `exit.*`: what is known of the last of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import libvirt
from msgspec import Struct

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.events import exits
from libvirt_exporter.hypervisor.events.domain_history import (
    DomainHistory,
    FollowedDomain,
    Record,
    Stop,
    take_state,
)
from libvirt_exporter.hypervisor.events.kinds import (
    AGENT_COUNTED,
    DISK_COUNTED,
    LAST_JOB_KEYS,
    born_with,
    take_event,
    tells_of_io_errors,
)
from libvirt_exporter.hypervisor.sampling.domain_draft import NOTHING
from libvirt_exporter.model import DomainInfo, Stats, StatValue, VanishedDomain

VANISHED_FOR: Final = 900 * 10**9
"""ns for which a domain that is gone is still told of …"""
VANISHED_LIMIT: Final = 1000
"""… and how many of them at most, the latest."""
UNLISTED_LIMIT: Final = 1000
"""Domains known only by their events, while nobody takes a sample."""


class ListedDomain(Protocol):
    """What a listing says of a domain."""

    @property
    def uuid(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def active(self) -> bool: ...

    @property
    def state(self) -> Stats:
        """`state.*`; empty when it could not be asked."""
        ...


class Memory(Struct):
    """What an exporter leaves to the next one."""

    domains: dict[str, DomainHistory] = {}
    """By UUID."""
    vanished: list[VanishedDomain] = []
    """The oldest first."""


class EventHistory:
    """The histories of a host's domains by UUID; for one thread."""

    def __init__(self) -> None:
        self._all_counters = False
        self._domains: dict[str, FollowedDomain] = {}
        self._counting = False
        self._listed: frozenset[str] | None = None
        self._adopted = frozenset[str]()
        self._vanished: dict[str, VanishedDomain] = {}
        self.changed = False
        """Whether there is something new to save; whoever saves resets it."""

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings."""
        if settings.all_counters != self._all_counters:
            self._all_counters = settings.all_counters
            for domain in self._domains.values():
                domain.stats = None

    def begin(self) -> None:
        """Events are delivered from now on: what has not happened yet has happened 0 times."""
        self._counting = True
        for domain in self._domains.values():
            domain.info = domain.stats = None

    # What comes in.

    def record(self, record: Record, info: DomainInfo | None) -> Exception | None:
        """Take in one event; return why it is not understood.

        `info` is what is known of the domain's devices.
        """
        domain = self._domain(record.uuid, record.name)
        self._drop_unlisted()
        domain.latest = record.time
        domain.stats = None
        self._take_info(domain, info)
        self.changed = True
        return take_event(domain, record)

    def listed(self, domains: Iterable[ListedDomain], time: int, *, complete: bool = True) -> None:
        """Compare with a listing that was begun at `time`: who is there, in which state.

        Domains that are gone become `vanished`; those that were loaded and are not there are
        forgotten. A listing that is not `complete` tells nothing of who is not in it.
        """
        found = set()
        for listed in domains:
            found.add(listed.uuid)
            domain = self._domain(listed.uuid, listed.name)
            self._vanished.pop(listed.uuid, None)
            state = listed.state.get("state.state")
            reason = listed.state.get("state.reason", 0)
            if not (isinstance(state, int) and isinstance(reason, int) and domain.latest < time):
                continue  # Not known, or the event is newer.
            if domain.history.seen != (state, reason):
                self.changed = True
                take_state(domain, state, reason, time)
            domain.seen_at = time
        if not complete:
            return
        for uuid, domain in [*self._domains.items()]:
            if uuid in found:
                continue
            if domain.latest >= time and not _is_over(domain.history):
                continue  # It may have come after the listing.
            del self._domains[uuid]
            self.changed = True
            if self._listed is not None or domain.latest:
                self._vanish(uuid, domain, time)
        self._listed = frozenset(found)
        self._forget_vanished(time)

    def adopt(self, memory: Memory) -> None:
        """Take over what an earlier exporter knew, before the first event."""
        histories = memory.domains
        self._domains |= {uuid: FollowedDomain(history) for uuid, history in histories.items()}
        self._vanished |= {domain.uuid: domain for domain in memory.vanished}
        self._listed, self._adopted = None, frozenset(histories)

    # What comes out.

    @property
    def memory(self) -> Memory:
        """What is worth keeping."""
        histories = {uuid: domain.history for uuid, domain in self._domains.items()}
        return Memory(histories, list(self._vanished.values()))

    @property
    def vanished(self) -> tuple[VanishedDomain, ...]:
        """Domains that are gone, the oldest first, as of the last listing."""
        return tuple(self._vanished.values())

    def stats(self, listed: ListedDomain, info: DomainInfo | None) -> Stats:
        """All keys of one domain; the same object as before while nothing has changed."""
        domain = self._domains.get(listed.uuid) or self._domain(listed.uuid, listed.name)
        if info is not domain.info:
            self._take_info(domain, info)
        answer = listed.state
        state = listed.active, answer.get("state.state"), answer.get("state.reason")
        if domain.stats is None or domain.stats_for != state:
            domain.stats = self._stats(domain, *state)
            domain.stats_for = state
        return domain.stats

    def io_error_reason(self, uuid: str) -> str | None:
        """Why the domain was last paused by an I/O error since it ran: `enospc`, `other` …

        None when no such event was seen.
        """
        domain = self._domains.get(uuid)
        return None if domain is None else domain.history.io_error

    def job_suspected(self, uuid: str) -> bool:
        """Whether a migration has sent memory since the domain's start and no job has ended."""
        domain = self._domains.get(uuid)
        last = {} if domain is None else domain.history.last
        iterated = last.get("migration_iteration", 0)
        return iterated > max(last.get("job_completed", 0), last.get("started", 0))

    # Domains.

    def _domain(self, uuid: str, name: str) -> FollowedDomain:
        domain = self._domains.get(uuid)
        if domain is None:
            domain = self._domains[uuid] = FollowedDomain(DomainHistory(name))
        domain.history.name = name
        return domain

    def _drop_unlisted(self) -> None:
        """Forget the oldest domains that no listing has shown, when there are many."""
        listed = self._adopted if self._listed is None else self._listed
        if len(self._domains) <= len(listed) + 2 * UNLISTED_LIMIT:
            return
        unlisted = [uuid for uuid in self._domains if uuid not in listed]
        for uuid in unlisted[:-UNLISTED_LIMIT]:
            del self._domains[uuid]

    def _take_info(self, domain: FollowedDomain, info: DomainInfo | None) -> None:
        """Create what starts at 0 with the domain, once its XML is known."""
        if info is None or info is domain.info:
            return
        domain.info = info
        domain.stats = None
        if info.agent_channel and self._counting:
            # For good: the XML of a domain that is not active does not tell.
            for key in AGENT_COUNTED:
                domain.history.counts.setdefault(key, 0)
        # Events that came before the XML was known have the alias for a name.
        disks = domain.history.disks
        for disk in info.disks:
            if disk.alias and disk.alias in disks:
                own = disks.setdefault(disk.device, {})
                for key, count in disks.pop(disk.alias).items():
                    own[key] = own.get(key, 0) + count

    def _vanish(self, uuid: str, domain: FollowedDomain, time: int) -> None:
        history, seen = domain.history, domain.history.seen
        stop = history.stop
        if stop is not None:
            was_seen = seen is not None and _tells_of(stop, *seen)
            stats = _exit(history, *seen) if seen and was_seen else stop.exit.stats(stop.time)
        elif seen is not None and seen[0] == libvirt.VIR_DOMAIN_SHUTOFF:
            end = exits.of_state(*seen)
            stats = NOTHING if end is None else end.stats(None)
        elif uuid in self._vanished:
            return  # Its last event came after the listing that told its end.
        else:
            stats = exits.GONE.stats(None)
        crash = history.last.get("crash")
        if crash is not None and stop is not None and stop.time == crash:
            stats = {**stats, "event.last.crash": crash}
        self._vanished.pop(uuid, None)  # The latest comes last, also of one that came again.
        self._vanished[uuid] = VanishedDomain(
            uuid=uuid, name=history.name, timestamp=time / 1e9, stats=stats
        )

    def _forget_vanished(self, time: int) -> None:
        oldest = (time - VANISHED_FOR) / 1e9
        for uuid, gone in [*self._vanished.items()]:
            if gone.timestamp >= oldest and len(self._vanished) <= VANISHED_LIMIT:
                break
            del self._vanished[uuid]

    # Flat keys.

    def _stats(
        self,
        domain: FollowedDomain,
        active: bool,
        state: StatValue | None,
        reason: StatValue | None,
    ) -> Stats:
        history = domain.history
        counts: dict[str, int] = {}
        if self._counting:
            counts |= dict.fromkeys(born_with(domain.info, everything=self._all_counters), 0)
        counts |= history.counts
        stats: dict[str, StatValue] = {f"event.{key}": count for key, count in counts.items()}
        for number, (device, own) in enumerate(self._disks(domain).items()):
            stats[f"event.disk.{number}.name"] = device
            stats.update((f"event.disk.{number}.{key}", count) for key, count in own.items())
        stats.update((f"event.last.{event}", time) for event, time in history.last.items())
        if history.watchdog is not None and "watchdog" in history.last:
            stats["event.watchdog.last.time"] = history.last["watchdog"]
            stats["event.watchdog.last.action"] = history.watchdog
        for operation, job in history.jobs.items():
            # An older exporter may have left others.
            kept = (key for key in ("time", *LAST_JOB_KEYS) if key in job)
            stats.update((f"lastjob.{operation}.{key}", job[key]) for key in kept)
        if domain.clients is not None:
            stats["graphics.clients"] = sum(domain.clients.values())
            stats["graphics.client.address"] = next(reversed(domain.clients), ("", ""))[0]
        if history.state_time is not None:
            stats["state.change.time"] = history.state_time
        if isinstance(state, int) and (not active or state == libvirt.VIR_DOMAIN_CRASHED):
            stats.update(_exit(history, state, reason if isinstance(reason, int) else 0))
        return stats

    def _disks(self, domain: FollowedDomain) -> dict[str, dict[str, int]]:
        """Counts by device: the disks of the XML in its order, then what else had events."""
        disks = domain.info.disks if domain.info is not None else ()
        zeros = {
            disk.device: dict.fromkeys(DISK_COUNTED, 0)
            for disk in disks
            if self._counting and tells_of_io_errors(disk)
        }
        for device, counts in domain.history.disks.items():
            zeros[device] = {**zeros.get(device, {}), **counts}
        return zeros


def _exit(history: DomainHistory, state: int, reason: int) -> Stats:
    """The last end of a domain that is still listed, as its state tells it: so it is the same
    after a restart of the exporter, when the events are forgotten. The event adds the time, unless
    the state tells of a later end.
    """
    stop, end = history.stop, exits.of_state(state, reason)
    if stop is not None and _tells_of(stop, state, reason):
        return (end or exits.as_a_state_tells(stop.exit)).stats(stop.time)
    return NOTHING if end is None else end.stats(None)


def _tells_of(stop: Stop, state: int, reason: int) -> bool:
    return state == libvirt.VIR_DOMAIN_SHUTOFF and exits.agree(stop.detail, reason)


def _is_over(history: DomainHistory) -> bool:
    """Whether the last event of a domain that is not listed was its last one."""
    last = history.last
    return history.stop is not None or last.get("undefined", 0) > last.get("defined", 0)
