"""Hosts on a fake libvirt, and what the tests look at in their samples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import DomainSample, HostSample
from tests.support.fake_libvirt import FakeHost
from tests.support.waiting import eventually, wait_until

DEFAULT = frozenset({"state", "cpu-total", "balloon", "vcpu", "interface", "block", "iothread"})
MONITOR = DEFAULT - {"state", "interface"}
TIMEOUT = 2.0


@contextlib.contextmanager
def host_of(
    fake: FakeHost,
    *,
    observer: Observer | None = None,
    stuck_calls: int = 12,
    pid_directory: Path | None = None,
    state_directory: Path | None = None,
    on_event: Callable[[], None] | None = None,
    uri: str = "qemu:///system",
) -> Iterator[Host]:
    """A started Host on a fake libvirt."""
    chosen = HostSettings(
        uri=uri,
        stuck_calls=stuck_calls,
        pid_directory=None if pid_directory is None else str(pid_directory),
        state_directory="" if state_directory is None else str(state_directory),
    )
    host = Host(chosen, observer=observer, connect=fake.connect, on_event=on_event)
    host.start()
    try:
        yield host
    finally:
        host.close()


@contextlib.contextmanager
def following_host_of(
    fake: FakeHost,
    *,
    observer: Observer | None = None,
    state_directory: Path | None = None,
    on_event: Callable[[], None] | None = None,
) -> Iterator[Host]:
    """The same, once it follows the events."""
    with host_of(
        fake, observer=observer, state_directory=state_directory, on_event=on_event
    ) as host:
        wait_until(lambda: host.events_connected, "events are followed")
        yield host


def take(
    host: Host, groups: frozenset[str] = DEFAULT, timeout: float = TIMEOUT, *, backing: bool = False
) -> HostSample:
    return host.sample(SampleRequest(groups, backing), timeout).result(timeout + 1)


def by_name(sample: HostSample) -> dict[str, DomainSample]:
    return {domain.name: domain for domain in sample.domains}


def failed_groups(sample: HostSample) -> set[str]:
    return {outcome.group for outcome in sample.groups if not outcome.success}


def incomplete(sample: HostSample) -> set[str]:
    return {domain.name for domain in sample.domains if domain.missing_groups}


async def settled(connections: Connections) -> None:
    """Wait until no call is stuck any more."""
    await eventually(lambda: not connections.budget.stuck, "no call is stuck")
