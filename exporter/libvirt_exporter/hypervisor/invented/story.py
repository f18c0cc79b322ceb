"""What happens to an invented VM, again and again: its states, its jobs, its events.

Everything is a function of Unix time, so it needs no memory: any process that looks sees the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import libvirt

from libvirt_exporter.hypervisor.invented.load import DAY, Load

CYCLE: Final = 720.0
"""Seconds after which a story begins anew; a day is a whole number of them."""
MONTH: Final = 30 * DAY
"""Seconds for which a VM runs to which nothing happens."""
_WORKED: Final = 3600.0
"""Seconds that a VM had worked before it was paused for good."""

Details = tuple[Any, ...]


class Happening(NamedTuple):
    """An event that libvirt would deliver."""

    event: str
    """As in `events.kinds`."""
    details: Details | Callable[[int], Details] = ()
    """Its arguments, or what gives them by the number of the cycle."""


class Episode(NamedTuple):
    """A part of a story."""

    begins: float
    """Seconds after the beginning of the cycle."""
    state: int
    reason: int
    happens: tuple[Happening, ...] = ()
    """What its beginning brings."""
    activity: float = 1.0
    """How much is done, as a multiple of the usual load."""
    boots: bool = False
    """Whether QEMU is started at its beginning, so that counters begin at 0."""
    job: str = ""
    """backup or migration_out, from its beginning to its end."""
    agent: bool = True
    """Whether a guest agent that there is answers."""


Story = tuple[Episode, ...]
"""The first one begins with the cycle."""


class Moment(NamedTuple):
    """Where a story has come to."""

    episode: Episode
    since: float
    """Unix time at which the episode began."""
    until: float
    """Unix time at which it ends."""


def moment(story: Story, now: float) -> Moment:
    """What is going on at a moment."""
    start = now - now % CYCLE
    ends = [*(episode.begins for episode in story[1:]), CYCLE]
    episode, end = next(
        (episode, end) for episode, end in zip(story, ends, strict=True) if now % CYCLE < end
    )
    return Moment(episode, start + episode.begins, start + end)


def run_began(story: Story, now: float) -> float:
    """Unix time at which the QEMU that runs, or ran last, was started."""
    if len(story) == 1:
        return now - now % MONTH
    starts = [episode.begins for episode in story if episode.boots]
    if not starts:
        return now - now % DAY
    this = now - now % CYCLE
    return max(
        start + begins
        for start in (this - CYCLE, this)
        for begins in starts
        if start + begins <= now
    )


def done(story: Story, load: Load, now: float) -> float:
    """What the load has come to in this run: nothing while the VM does not run."""
    began = run_began(story, now)
    if len(story) == 1:
        # Whoever is paused has worked before.
        return load.done(began, now if story[0].activity else began + _WORKED)
    total, at = 0.0, began
    while at < now:
        episode, _, until = moment(story, at)
        if episode.activity:
            total += episode.activity * load.done(at, min(until, now))
        at = until
    return total


def happenings(story: Story, since: float, until: float) -> Iterator[tuple[float, str, Details]]:
    """Unix time, event and details of what happens after `since`, up to `until`, in order."""
    cycle = int(since // CYCLE)
    while cycle * CYCLE <= until:
        for episode in story:
            at = cycle * CYCLE + episode.begins
            if since < at <= until:
                for event, details in episode.happens:
                    yield at, event, details if isinstance(details, tuple) else details(cycle)
        cycle += 1


# The stories.

_RUNNING: Final = libvirt.VIR_DOMAIN_RUNNING
_PAUSED: Final = libvirt.VIR_DOMAIN_PAUSED
_SHUTOFF: Final = libvirt.VIR_DOMAIN_SHUTOFF


def _lifecycle(event: int, detail: int) -> Happening:
    return Happening("lifecycle", (event, detail))


UNEVENTFUL: Final[Story] = (Episode(0, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED),)
PAUSED: Final[Story] = (Episode(0, _PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, activity=0),)
OFF: Final[Story] = (Episode(0, _SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, activity=0),)

WORKS_NOW_AND_THEN: Final[Story] = (
    Episode(
        0,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_BOOTED,
        (
            _lifecycle(libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED),
            _lifecycle(libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED),
        ),
        boots=True,
    ),
    Episode(
        430,
        _SHUTOFF,
        libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
        (_lifecycle(libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN),),
        activity=0,
    ),
)
"""A machine for builds, on for seven minutes of twelve."""


def _backed_up(cycle: int) -> Details:
    """Every fifth backup fails."""
    return (
        {
            "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP,
            "success": cycle % 5 != 0,
            "time_elapsed": 400_000,
        },
    )


BACKED_UP: Final[Story] = (
    Episode(0, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, activity=1.3, job="backup"),
    Episode(
        400,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_BOOTED,
        (Happening("job_completed", _backed_up),),
    ),
)

_MIGRATED: Final = (
    {
        "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        "success": True,
        "time_elapsed": 180_000,
        "downtime": 84,
        "data_total": 9 * 2**30,
        "memory_total": 9 * 2**30,
    },
)

MIGRATES: Final[Story] = (
    Episode(0, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED),
    Episode(
        200,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_MIGRATED,
        (Happening("migration_iteration", (1,)),),
        job="migration_out",
    ),
    Episode(
        300,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_MIGRATED,
        (Happening("migration_iteration", (2,)),),
        job="migration_out",
    ),
    Episode(
        380,
        _SHUTOFF,
        libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED,
        (
            _lifecycle(
                libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED
            ),
            Happening("job_completed", _MIGRATED),
            _lifecycle(libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED),
        ),
        activity=0,
    ),
    Episode(
        560,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_MIGRATED,
        (
            _lifecycle(libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED),
            _lifecycle(libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED),
        ),
        boots=True,
    ),
)
"""It moves to another host, and comes back three minutes later."""

FULL_DISK_SINCE: Final = 240.0
FULL_DISK_UNTIL: Final = 500.0
"""Seconds of the cycle."""


def fills_its_disk(path: str, alias: str) -> Story:
    """The story of a VM that finds no space for what it writes to this disk."""
    return (
        Episode(0, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED),
        Episode(
            FULL_DISK_SINCE,
            _PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_IOERROR,
            (
                Happening(
                    "io_error_reason",
                    (path, alias, libvirt.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE, "enospc"),
                ),
                _lifecycle(
                    libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR
                ),
            ),
            activity=0,
        ),
        Episode(
            FULL_DISK_UNTIL,
            _RUNNING,
            libvirt.VIR_DOMAIN_RUNNING_UNPAUSED,
            (
                _lifecycle(
                    libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED
                ),
            ),
        ),
    )


def _agent(state: int) -> Happening:
    reason = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL
    return Happening("agent_lifecycle", (state, reason))


HANGS: Final[Story] = (
    Episode(0, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED),
    Episode(540, _RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, activity=2.2),
    Episode(
        600,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_BOOTED,
        (
            Happening("watchdog", (libvirt.VIR_DOMAIN_EVENT_WATCHDOG_RESET,)),
            Happening("reboot"),
            _agent(libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED),
        ),
        agent=False,
    ),
    Episode(
        630,
        _RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_BOOTED,
        (_agent(libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED),),
    ),
)
"""Its guest spins for a minute, then its watchdog resets it."""
