"""What a host reports about its own work, for whoever keeps the exporter's own metrics."""

from __future__ import annotations

from libvirt_exporter.hypervisor.connection.errors import ErrorClass


class Observer:
    """Receives one call per occurrence, from several threads; must neither block nor raise.

    Keeps nothing itself.
    """

    def call_finished(self, call: str, seconds: float, error: ErrorClass | None) -> None:
        """A libvirt call ended after `seconds`; `error` is None when it succeeded."""

    def call_abandoned(self, call: str) -> None:
        """A call is no longer waited for; it stays in libvirt until it answers."""

    def connection_lost(self, reason: str) -> None:
        """The host cannot be reached; once until `connection_regained`."""

    def connection_regained(self) -> None:
        """The host answers again."""

    def sample_taken(self, seconds: float) -> None:
        """One sample of the host was finished."""

    def sample_shared(self) -> None:
        """A request was answered by a sample already in flight."""

    def source_failed(self) -> None:
        """What is known of a domain beside its statistics was left out, or an event of it."""

    def events_received(self, event: str, count: int) -> None:
        """libvirt delivered so many events of one kind."""

    def events_dropped(self, count: int) -> None:
        """So many events found the queue full."""
