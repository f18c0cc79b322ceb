"""One open connection of libvirt and its domain handles; how it is opened and kept alive."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar, cast

import libvirt

from libvirt_exporter.hypervisor.connection.errors import ErrorClass, SupportedCalls, classify
from libvirt_exporter.hypervisor.connection.facts import DriverFacts
from libvirt_exporter.hypervisor.invented import SCHEME

T = TypeVar("T")

log = logging.getLogger(__name__)

Connect = Callable[[str], libvirt.virConnect]
KEEPALIVE_INTERVAL: Final = 5
"""Seconds between keepalive messages; the connection ends after KEEPALIVE_COUNT unanswered."""
KEEPALIVE_COUNT: Final = 3
BACKOFF_LIMIT: Final = 30.0
_event_loop_lock = threading.Lock()


def open_read_only(uri: str) -> libvirt.virConnect:
    """Open `uri`, with keepalive where the driver has it.

    May block for ever when the daemon is frozen. Raises libvirt.libvirtError.
    """
    start_event_loop()
    if uri.startswith(SCHEME):
        from libvirt_exporter.hypervisor.invented import connection  # only the demo pays for it

        return cast("libvirt.virConnect", connection.InventedConnection())
    return kept_alive(libvirt.openReadOnly(uri))


def kept_alive(conn: libvirt.virConnect) -> libvirt.virConnect:
    """The connection, with keepalive where the driver has it."""
    # In-process drivers (test, embed) have no keepalive: NO_SUPPORT.
    with contextlib.suppress(libvirt.libvirtError):
        conn.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
    return conn


def start_event_loop() -> None:
    """Run libvirt's event loop, of which a process has one; it must be before the first open."""
    with _event_loop_lock:
        _start_event_loop()


@functools.cache
def _start_event_loop() -> None:
    # Without a handler of ours libvirt prints every error to stderr.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_event_loop, name="libvirt-event-loop", daemon=True).start()


def _run_event_loop() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            log.exception("libvirt's event loop failed; continuing")
            time.sleep(1.0)


def backoff() -> Iterator[float]:
    """Seconds to wait after each failure in a row: 1 to 30, doubling, with jitter."""
    delay = 1.0
    while True:
        yield delay * random.uniform(0.75, 1.25)
        delay = min(delay * 2, BACKOFF_LIMIT)


class Session:
    """An open connection and its domain handles; only its own thread touches it.

    A virDomain keeps its connection open, and dropping the last one closes it, which blocks
    when the daemon is frozen: handles therefore never leave this thread.
    """

    def __init__(self, conn: libvirt.virConnect, uri: str = "") -> None:
        """`uri`: what `conn` is a connection to."""
        self.conn = conn
        self.uri = uri
        self.handles: dict[str, libvirt.virDomain] = {}
        self.event_callbacks: list[int] = []
        self.event_timers: list[int] = []
        self.has_close_callback = False
        self.on_close: Callable[[], None] = lambda: None
        """Called when the connection is closed from here, which no close callback tells."""
        self.facts: DriverFacts | None = None
        self.numa_nodes: Mapping[int, int] | None = None
        """Which NUMA node of the host each of its CPUs belongs to; None until it is asked."""
        self.if_supported = SupportedCalls().ask

    @property
    def alive(self) -> bool:
        """Whether the client side knows of no end of the connection. Never blocks."""
        try:
            return bool(self.conn.isAlive())
        except libvirt.libvirtError:
            return False

    def domain(self, uuid: str) -> libvirt.virDomain:
        """This connection's handle of a domain. Raises libvirt.libvirtError."""
        handle = self.handles.get(uuid)
        if handle is None:
            handle = self.handles[uuid] = self.conn.lookupByUUIDString(uuid)
        return handle

    def domains(self, uuids: Iterable[str]) -> dict[str, libvirt.virDomain]:
        """Handles of those domains that exist, by UUID. Raises libvirt.libvirtError."""
        found = {}
        for uuid in uuids:
            try:
                found[uuid] = self.domain(uuid)
            except libvirt.libvirtError as error:
                if classify(error) is not ErrorClass.GONE:
                    raise
        return found

    def close(self) -> None:
        """Close the connection for good. May block as any call may."""
        self.on_close()
        for timer in self.event_timers:
            with contextlib.suppress(libvirt.libvirtError):
                libvirt.virEventRemoveTimeout(timer)
        # A callback left registered keeps the connection open behind libvirt-python's back.
        for callback in self.event_callbacks:
            with contextlib.suppress(libvirt.libvirtError):
                self.conn.domainEventDeregisterAny(callback)
        if self.has_close_callback:
            with contextlib.suppress(libvirt.libvirtError):
                self.conn.unregisterCloseCallback()
        self.handles.clear()
        with contextlib.suppress(libvirt.libvirtError):
            self.conn.close()
