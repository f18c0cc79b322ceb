"""A host: one libvirt with everything that belongs to it, running on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.facts import read_identity
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.read_write import open_read_write
from libvirt_exporter.hypervisor.connection.session import Connect, backoff, open_read_only
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.events.history import EventHistory
from libvirt_exporter.hypervisor.events.keeper import HistoryKeeper
from libvirt_exporter.hypervisor.events.state_file import StateFile
from libvirt_exporter.hypervisor.events.stream import PURPOSE as EVENTS
from libvirt_exporter.hypervisor.events.stream import EventStream
from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcesses
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sampling.sampler import Sampler
from libvirt_exporter.hypervisor.sources.agents import Agents
from libvirt_exporter.hypervisor.sources.applications.lane import ApplicationsLane
from libvirt_exporter.hypervisor.sources.disk_errors import DiskErrorsLane
from libvirt_exporter.hypervisor.sources.guest_agent import GuestAgentLane
from libvirt_exporter.hypervisor.sources.jobs import JobsLane
from libvirt_exporter.hypervisor.sources.networks import NetworksLane
from libvirt_exporter.hypervisor.sources.node import NodeLane
from libvirt_exporter.hypervisor.sources.numa import NumaLane
from libvirt_exporter.hypervisor.sources.process_stats import ProcessStats
from libvirt_exporter.hypervisor.sources.storage import StorageLane
from libvirt_exporter.model import Applications, HostSample
from libvirt_exporter.uri import redacted

log = logging.getLogger(__name__)

IDENTITY: Final = "identity"
"""The purpose of the connection that asks who the host is."""
TIDY_EVERY: Final = 60.0
"""Seconds after which it is looked again for connections that nobody needs."""
CLOSING_TIME: Final = 0.3
"""Seconds that close() waits for the host's own thread, which nothing in libvirt can block."""


class Host:
    """One libvirt: its connections, sampler, inventory and events.

    Its own work runs on one asyncio loop in a daemon thread; libvirt calls run on the
    connections' daemon threads. All methods may be called from any thread and never block.
    """

    def __init__(
        self,
        settings: HostSettings,
        *,
        observer: Observer | None = None,
        connect: Connect = open_read_only,
        connect_read_write: Connect = open_read_write,
        on_event: Callable[[], None] | None = None,
    ) -> None:
        """`connect` opens the settings' URI and may raise libvirt.libvirtError.

        `connect_read_write` likewise; called only when guest agents are to be asked.

        `on_event` is called on the host's thread after events have been taken in; it may only
        hand over.
        """
        self.settings = settings
        self._observer = observer if observer is not None else Observer()
        self._budget = StuckBudget(settings.stuck_calls)
        self._connections = Connections(settings.uri, self._observer, connect, budget=self._budget)
        self._read_write = Connections(
            settings.uri, self._observer, connect_read_write, budget=self._budget, read_only=False
        )
        self._inventory = Inventory(
            self._connections, settings, stuck=lambda: self._sampler.stuck_domains
        )
        processes = (
            QemuProcesses(settings.pid_directory)
            if settings.pid_directory is not None and settings.shows_processes
            else None
        )
        history = EventHistory()
        history.apply(settings)
        state_directory = settings.state_directory
        self._keeper = HistoryKeeper(
            history, StateFile(state_directory, settings.uri) if state_directory else None
        )
        self._events = EventStream(
            self._connections,
            self._inventory,
            history,
            self._keeper,
            self._observer,
            on_event=on_event,
        )
        self._history = history
        self._jobs = JobsLane(
            self._connections,
            info=self._inventory.get,
            suspected=history.job_suspected,
            stuck=lambda: self._sampler.stuck_domains,
        )
        self._agents = Agents(
            self._read_write,
            settings,
            info=self._inventory.get,
            stuck=lambda: self._sampler.stuck_domains,
        )
        self._guest_agent = GuestAgentLane(self._agents)
        self._applications = ApplicationsLane(self._agents, silent=self._guest_agent.is_silent)
        self._sampler = Sampler(
            self._connections,
            self._inventory,
            settings,
            processes=processes,
            observer=self._observer,
            reached=self._reached,
            records=self._events,
            lanes=(
                DiskErrorsLane(
                    self._connections,
                    io_error_reason=history.io_error_reason,
                    stuck=lambda: self._sampler.stuck_domains,
                ),
                self._jobs,
                NodeLane(self._connections),
                NumaLane(self._connections, info=self._inventory.get),
                StorageLane(self._connections, local=settings.is_local),
                NetworksLane(self._connections),
                self._guest_agent,
                self._applications,
            ),
            sources=(ProcessStats(self._inventory, processes, self._events),),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._work, name=f"host-{settings.name or 'default'}", daemon=True
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._reachable: bool | None = None

    @property
    def stuck_calls(self) -> int:
        """Calls that were abandoned and have not come back."""
        return self._budget.stuck

    @property
    def stuck_calls_limit(self) -> int:
        """Calls that may be stuck before nothing is asked that could add another."""
        return self._budget.limit

    @property
    def stuck_domains(self) -> dict[str, float]:
        """Domains whose monitor does not answer: UUID to seconds for which it has not."""
        return self._sampler.stuck_domains

    @property
    def events_connected(self) -> bool:
        """Whether events are subscribed to."""
        return self._events.connected

    @property
    def events_alive_age(self) -> float:
        """Seconds since the event stream last proved to be alive."""
        return self._events.alive_age

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()
        self._loop.call_soon_threadsafe(self._begin)

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings in place; what is known of the host stays.

        Raises ValueError for settings that take another Host.
        """
        if not self.takes(settings):
            raise ValueError(f"this host is {self._connections.name}, not {redacted(settings.uri)}")
        self.settings = settings
        self._hand_over(functools.partial(self._apply, settings))

    def takes(self, settings: HostSettings) -> bool:
        """Whether `apply` takes these settings, or they need another Host."""
        before = self.settings
        return (settings.uri, settings.pid_directory, settings.state_directory) == (
            before.uri,
            before.pid_directory,
            before.state_directory,
        )

    def sample(self, request: SampleRequest, timeout: float) -> Future[HostSample]:
        """A sample taken now, or the one in flight when that covers the request.

        The future is completed within `timeout` seconds from the host's thread and never
        raises: a host that cannot be reached gives a HostSample with `up` false and `error`.
        """
        future: Future[HostSample] = Future()
        # From here on cancel() has no effect, so completing it cannot fail.
        future.set_running_or_notify_cancel()
        try:
            self._loop.call_soon_threadsafe(self._sampler.request, request, timeout, future)
        except RuntimeError:
            future.set_result(_closed_sample())
        return future

    def applications(self, uuid: str) -> Applications | None:
        """What is installed in a guest, from the disk; None where no list of it is kept.

        Takes as long as the disk does.
        """
        return self._applications.list_of(uuid)

    def want_applications(self, uuid: str) -> None:
        """Have the next sample that asks for applications read a guest's list again."""
        self._hand_over(functools.partial(self._applications.want, uuid))

    def close(self, *, process_ends: bool = False) -> None:
        """Answer those who wait and let go of libvirt; takes at most CLOSING_TIME seconds, and
        SAVING_TIME (`state_file`) for what is to outlive the process.

        `process_ends`: leave the connections to the end of the process, which is about to come. A
        process that ends while it takes back its events can crash libvirtd (9.0, seen).
        """
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, process_ends)
        self._thread.join(CLOSING_TIME)
        if not self._keeper.finished():
            log.warning("counters of events were not saved in time")

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        if under_way := asyncio.all_tasks(self._loop):
            for task in under_way:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(under_way, timeout=CLOSING_TIME / 2))
        self._loop.close()

    def _begin(self) -> None:
        self._spawn(self._inventory.run())
        self._spawn(self._events.run(self._connected, self._reached))
        self._spawn(self._keeper.run())
        self._spawn(self._close_idle())

    def _apply(self, settings: HostSettings) -> None:
        self._budget.limit = settings.stuck_calls
        self._inventory.apply(settings)
        self._history.apply(settings)
        self._sampler.apply(settings)
        before = self._agents.settings
        if settings.guest_agent != before.guest_agent:
            self._guest_agent.forget()
        if (settings.guest_agent, settings.applications) != (
            before.guest_agent,
            before.applications,
        ):
            self._applications.forget()
        self._agents.apply(settings)

    def _end(self, process_ends: bool) -> None:
        self._sampler.close()
        self._events.take()
        self._keeper.finish()
        for task in self._tasks:
            task.cancel()
        if not process_ends:
            self._connections.close()
            self._read_write.close()
        self._loop.call_soon(self._loop.stop)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task of %s failed", self._connections.name, exc_info=error)

    async def _close_idle(self) -> None:
        """Leave only what hears events, while nobody asks for anything."""
        while True:
            await asyncio.sleep(TIDY_EVERY)
            self._connections.close_idle(EVENTS)
            self._read_write.close_idle()

    async def _connected(self) -> None:
        """Events are subscribed to, for the first time or again."""
        self._jobs.look_again()

    async def _identify(self) -> None:
        """Learn who the host is that has begun to answer.

        On a connection of its own, for it may take seconds, and not every driver has events.
        """
        for delay in backoff():
            with contextlib.suppress(CallError):
                self._sampler.identity = await self._connections.of(IDENTITY).call(
                    "getCapabilities", lambda session: read_identity(session.conn)
                )
                return
            await asyncio.sleep(delay)
            if not self._reachable:
                return

    def _hand_over(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)

    def _reached(self, error: str) -> None:
        """Take note of whether the host answered: '' when it did, else why not."""
        if self._reachable == (not error):
            return
        before, self._reachable = self._reachable, not error
        if error:
            uri = self._connections.name
            reason = error.replace(f"cannot connect to libvirt at {uri}", "cannot connect")
            fate = "is lost" if before else "does not answer"
            log.warning("libvirt at %s %s: %s. The exporter keeps trying", uri, fate, reason)
            self._observer.connection_lost(error)
            return
        self._events.retry()
        self._spawn(self._identify())
        if before is not None:
            log.info("libvirt at %s responds again", self._connections.name)
            self._observer.connection_regained()


def _closed_sample() -> HostSample:
    return HostSample(timestamp=0.0, duration=0.0, up=False, error="the host is closed")
