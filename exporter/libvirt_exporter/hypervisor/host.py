"""A host: one libvirt with everything that hangs on it, running on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from libvirt_exporter.hypervisor.connection import Connect, Connections, backoff, open_read_only
from libvirt_exporter.hypervisor.errors import CallError
from libvirt_exporter.hypervisor.facts import read_hypervisor_version
from libvirt_exporter.hypervisor.inventory import Inventory, subscribe
from libvirt_exporter.hypervisor.monitor import Limits
from libvirt_exporter.hypervisor.observer import Observer, Unobserved
from libvirt_exporter.hypervisor.qemu_process import QemuProcesses, is_local
from libvirt_exporter.hypervisor.sampler import Sampler, SampleRequest
from libvirt_exporter.label_path import LabelPath
from libvirt_exporter.model import HostSample

log = logging.getLogger(__name__)

CLOSING_TIME: Final = 0.3
"""Seconds that close() waits for the host's own thread, which nothing in libvirt can block."""


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """What the operator chose for one host."""

    uri: str
    name: str = ""
    """The operator's alias, '' for the default host."""
    parallel_calls: int = 4
    stuck_calls: int = 12
    info_refresh: float = 300.0
    """Seconds after which a domain's XML is read again without any event."""
    labels: tuple[LabelPath, ...] = ()
    pid_directory: str | None = "/run/libvirt/qemu"
    """Where a libvirt of this machine keeps `<name>.pid` of each QEMU; None: do not look at
    processes. Only a new Host takes another one."""


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
    ) -> None:
        """`connect` opens the settings' URI and may raise libvirt.libvirtError."""
        self.settings = settings
        self._observer = observer if observer is not None else Unobserved()
        self._connections = Connections(
            settings.uri, self._observer, connect, stuck_limit=settings.stuck_calls
        )
        self._inventory = Inventory(
            self._connections,
            labels=settings.labels,
            refresh=settings.info_refresh,
        )
        self._sampler = Sampler(
            self._connections,
            self._inventory,
            name=settings.name,
            limits=Limits(settings.parallel_calls),
            processes=(
                QemuProcesses(settings.pid_directory)
                if settings.pid_directory is not None and is_local(settings.uri)
                else None
            ),
            observer=self._observer,
            reached=self._reached,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._work, name=f"host-{settings.name or 'default'}", daemon=True
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._reachable: bool | None = None
        self._regained = asyncio.Event()
        self._closed = False

    @property
    def stuck_calls(self) -> int:
        """Calls that were abandoned and have not come back."""
        return self._connections.stuck

    @property
    def stuck_domains(self) -> dict[str, float]:
        """Domains whose monitor does not answer: UUID to seconds for which it has not."""
        return self._sampler.stuck_domains

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._thread.start()
        self._loop.call_soon_threadsafe(self._begin)

    def apply(self, settings: HostSettings) -> None:
        """Take over changed settings in place; what is known of the host stays.

        Raises ValueError for another `uri` or `pid_directory`, which take another Host.
        """
        before = self.settings
        if (settings.uri, settings.pid_directory) != (before.uri, before.pid_directory):
            raise ValueError(f"this host is {before.uri}, not {settings.uri}")
        self.settings = settings
        self._hand_over(functools.partial(self._apply, settings))

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

    def close(self) -> None:
        """Answer those who wait and let go of libvirt; takes at most CLOSING_TIME seconds."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(CLOSING_TIME)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _begin(self) -> None:
        self._spawn(self._inventory.run())
        self._spawn(self._follow_events())

    def _apply(self, settings: HostSettings) -> None:
        self._connections.stuck_limit = settings.stuck_calls
        self._inventory.apply(labels=settings.labels, refresh=settings.info_refresh)
        self._sampler.apply(name=settings.name, limits=Limits(settings.parallel_calls))

    def _end(self) -> None:
        self._closed = True
        self._sampler.close()
        for task in self._tasks:
            task.cancel()
        self._connections.close()
        self._loop.call_soon(self._loop.stop)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work of %s ended", self.settings.uri, exc_info=error)

    async def _follow_events(self) -> None:
        """Keep a connection for events; what they may have missed is read again."""
        delays = backoff()
        while True:
            ended = asyncio.Event()
            try:
                await self._connections.lane("events").call(
                    "domainEventRegisterAny",
                    lambda session, ended=ended: subscribe(  # type: ignore[misc]
                        session, self._hand_over_change, lambda: self._hand_over(ended.set)
                    ),
                )
            except CallError as error:
                self._regained.clear()
                log.debug("no events from %s: %s", self.settings.uri, error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(next(delays)):
                        await self._regained.wait()
                continue
            delays = backoff()
            self._inventory.mark_all()
            with contextlib.suppress(CallError):
                self._sampler.hypervisor_version = await self._connections.lane("events").call(
                    "getVersion", lambda session: read_hypervisor_version(session.conn)
                )
            await ended.wait()
            self._reached("the connection was lost")

    def _hand_over_change(self, uuid: str) -> None:
        self._hand_over(lambda: self._inventory.mark(uuid))

    def _hand_over(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)

    def _reached(self, error: str) -> None:
        """Take note of whether the host answered: '' when it did, else why not."""
        if self._reachable == (not error):
            return
        before, self._reachable = self._reachable, not error
        if error:
            log.warning("libvirt at %s is lost: %s", self.settings.uri, error)
            self._observer.connection_lost(error)
            return
        self._regained.set()
        if before is not None:
            log.info("libvirt at %s answers again", self.settings.uri)
            self._observer.connection_regained()


def _closed_sample() -> HostSample:
    return HostSample(timestamp=0.0, duration=0.0, up=False, error="the host is closed")
