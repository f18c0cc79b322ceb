"""A guest that moves from one private libvirtd to another on the same host.

Privileged daemons can do that as well as session daemons: each has a mount namespace, so their
state is apart, and what both need (images, the loopback network) is the host's. The guest must
have no tap, whose name would be taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd

MOVES_WITHIN = 180.0
"""Seconds until a migration without a limit on its speed must be over."""


class Migration:
    """A live migration, begun by the constructor on a thread of its own."""

    def __init__(
        self, domain: libvirt.virDomain, destination: PrivateLibvirtd, *, speed: int
    ) -> None:
        """`speed`: MiB/s at most."""
        self._domain = domain
        self._error: libvirt.libvirtError | None = None
        domain.migrateSetMaxSpeed(speed)
        arguments = (destination.connect(),)
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()

    def _run(self, destination: libvirt.virConnect) -> None:
        parameters: Any = {libvirt.VIR_MIGRATE_PARAM_URI: "tcp://127.0.0.1"}
        # The images are on the host's own file system, which libvirt does not know to be shared.
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_UNSAFE
        try:
            self._domain.migrate3(destination, parameters, flags)
        except libvirt.libvirtError as error:
            self._error = error
        finally:
            destination.close()

    @property
    def going_on(self) -> bool:
        """Whether it is not over yet."""
        return self._thread.is_alive()

    def hurry(self) -> None:
        """Take the limits away that keep it from ending, and wait for its end."""
        self._domain.migrateSetMaxDowntime(10_000)
        self._domain.migrateSetMaxSpeed(10_000)
        self._thread.join(MOVES_WITHIN)
        assert not self.going_on, "the migration does not end"
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Abort it; the guest stays where it is."""
        self._domain.abortJob()
        self._thread.join(MOVES_WITHIN)
        assert self._error is not None, "the migration was over"


@pytest.fixture
def destination() -> Iterator[PrivateLibvirtd]:
    """A private libvirtd for one test's guest to move to."""
    with PrivateLibvirtd() as daemon:
        yield daemon
