"""SIGTERM at bad moments: the exporter ends within two seconds, with status 0."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import libvirt
import pytest

from tests.faults.cases import churning, polling
from tests.faults.watch import WatchedExporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.guests import running_guest
from tests.lab.migration import Migration

SIZE: Final = 10


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with ten paused domains, which each test leaves running."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, SIZE)
        yield daemon


def domains(daemon: PrivateLibvirtd) -> list[libvirt.virDomain]:
    """All domains of the daemon."""
    return daemon.connection.listAllDomains()


@contextlib.contextmanager
def killed(daemon: PrivateLibvirtd) -> Iterator[None]:
    """There is nothing to connect to."""
    daemon.kill()
    try:
        yield
    finally:
        daemon.start()


@contextlib.contextmanager
def migrating(daemon: PrivateLibvirtd) -> Iterator[None]:
    """A guest is on its way to another libvirtd."""
    guest = running_guest(daemon, "mover", disks=0, nics=0)
    try:
        with PrivateLibvirtd() as destination:
            migration = Migration(guest, destination, speed=1)
            yield
            migration.cancel()
    finally:
        guest.destroy()


MOMENTS: Final[dict[str, Callable[[PrivateLibvirtd], AbstractContextManager[object]]]] = {
    "nothing is wrong": lambda _: contextlib.nullcontext(),
    "one domain hangs": lambda daemon: daemon.hung(domains(daemon)[0]),
    "all domains hang": lambda daemon: daemon.hung(*domains(daemon)),
    "the daemon is frozen": lambda daemon: daemon.frozen(),
    "the daemon is away": killed,
    "another client polls": polling,
    "domains come and go": churning,
    "a domain migrates": migrating,
}


@pytest.mark.parametrize("clients", [3, 100])
@pytest.mark.parametrize("moment", MOMENTS)
def test_it_ends_at_once_while(
    daemon: PrivateLibvirtd, tmp_path: Path, moment: str, clients: int
) -> None:
    """In the middle of a sample that several scrapes wait for, as it is after an earlier one."""
    with WatchedExporter(daemon, tmp_path / "exporter") as exporter:
        exporter.timed()
        with MOMENTS[moment](daemon):
            exporter.timed()
            asking = threading.Thread(target=exporter.at_once, args=(clients,))
            asking.start()
            time.sleep(0.1)
            seconds = exporter.end()
            asking.join()
    print(f"{moment}, {clients} scrapes: ended after {seconds:.2f} s")
