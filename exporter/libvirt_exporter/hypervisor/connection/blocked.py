"""Things at which a call is stuck: left alone until it has come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from libvirt_exporter.hypervisor.connection.pool import Connection, Connections


class Blocked:
    """UUIDs or names, each with the connection that is stuck at it, as of the last `renew`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._at: dict[str, Connection] = {}

    def __contains__(self, thing: object) -> bool:
        return thing in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, blocked: Mapping[str, Connection]) -> None:
        """Take over what a walk found."""
        self._at.update(blocked)

    def renew(self) -> None:
        """Forget the things whose call has come back."""
        self._at = {
            thing: connection
            for thing, connection in self._at.items()
            if self._connections.budget.is_stuck(connection)
        }
