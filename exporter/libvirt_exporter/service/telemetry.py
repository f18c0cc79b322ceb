"""The exporter's own metrics, kept by prometheus_client under the names of the catalogue."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)

from libvirt_exporter import __version__
from libvirt_exporter.catalogue import exporter
from libvirt_exporter.catalogue.metric import Metric


class Telemetry:
    """Counts what happens; the `hypervisor` package's Observer. Thread-safe, never blocks."""

    def __init__(self, *, process: bool = True) -> None:
        """`process`: whether `process_*`, the resources of this process, are among the metrics."""
        # Otherwise every counter has a second, undocumented series in the text format.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
        self._gauge(exporter.BUILD_INFO).labels(
            __version__, platform.python_version(), metadata.version("libvirt-python")
        ).set(1)
        self._reload_successful = self._gauge(exporter.RELOAD_SUCCESSFUL)
        self._reload_timestamp = self._gauge(exporter.RELOAD_TIMESTAMP)
        self._samples = self._counter(exporter.SAMPLES)
        self._samples_shared = self._counter(exporter.SAMPLES_SHARED)
        self._source_failures = self._counter(exporter.SOURCE_FAILURES)
        self._requests = self._counter(exporter.HTTP_REQUESTS)
        self._requests_in_flight = self._gauge(exporter.HTTP_REQUESTS_IN_FLIGHT)
        self._calls = self._counter(exporter.CALLS)
        self._call_seconds = self._counter(exporter.CALL_SECONDS)
        self._errors = self._counter(exporter.ERRORS)
        self._abandoned = self._counter(exporter.ABANDONED)
        self._stuck_domains = self._gauge(exporter.STUCK_DOMAINS)
        self._stuck_calls = self._gauge(exporter.STUCK_CALLS)
        self._disconnects = self._counter(exporter.DISCONNECTS)
        self._reconnects = self._counter(exporter.RECONNECTS)
        self._event_stream_connected = self._gauge(exporter.EVENT_STREAM_CONNECTED)
        self._event_stream_alive_age = self._gauge(exporter.EVENT_STREAM_ALIVE_AGE)
        self._events_received = self._counter(exporter.EVENTS_RECEIVED)
        self._events_dropped = self._counter(exporter.EVENTS_DROPPED)

    def _gauge(self, row: Metric) -> Gauge:
        return Gauge(row.name, row.help, tuple(row.labels), registry=self.registry)

    def _counter(self, row: Metric) -> Counter:
        return Counter(row.name, row.help, tuple(row.labels), registry=self.registry)

    def watch_stuck(self, calls: Callable[[], int], domains: Callable[[], int]) -> None:
        """Have the numbers of stuck calls and domains asked for whenever the metrics are read."""
        self._stuck_calls.set_function(calls)
        self._stuck_domains.set_function(domains)

    def watch_events(self, connected: Callable[[], bool], alive_age: Callable[[], float]) -> None:
        """Have the state of the event stream asked for whenever the metrics are read."""
        self._event_stream_connected.set_function(connected)
        self._event_stream_alive_age.set_function(alive_age)

    def configuration_loaded(self) -> None:
        """A configuration was read and took effect."""
        self._reload_successful.set(1)
        self._reload_timestamp.set_to_current_time()

    def configuration_refused(self) -> None:
        """A new configuration had mistakes; the old one stays."""
        self._reload_successful.set(0)

    def route_served(self, handler: str) -> None:
        """Requests for this route will come; an alert on refused ones needs their 0."""
        self._requests.labels(handler, 503)
        self._requests_in_flight.labels(handler)

    def request_began(self, handler: str) -> None:
        """An HTTP request for this route came in."""
        self._requests_in_flight.labels(handler).inc()

    def request_ended(self, handler: str, code: int) -> None:
        """An HTTP request was answered with this status code."""
        self._requests_in_flight.labels(handler).dec()
        self._requests.labels(handler, code).inc()

    def call_finished(self, call: str, seconds: float, error: str | None) -> None:
        """A libvirt call ended after `seconds`, with an error of this class or none."""
        self._calls.labels(call).inc()
        self._call_seconds.labels(call).inc(seconds)
        if error is not None:
            self._errors.labels(call, error).inc()

    def call_abandoned(self, call: str) -> None:
        """A libvirt call is no longer waited for."""
        self._abandoned.labels(call).inc()

    def connection_lost(self, reason: str) -> None:
        """libvirt went away."""
        self._disconnects.inc()

    def connection_regained(self) -> None:
        """libvirt came back."""
        self._reconnects.inc()

    def sample_taken(self, seconds: float) -> None:
        """A sample of the host was finished."""
        self._samples.inc()

    def sample_shared(self) -> None:
        """A request joined a sample in flight."""
        self._samples_shared.inc()

    def source_failed(self) -> None:
        """Something known of a domain was left out of a sample."""
        self._source_failures.inc()

    def events_received(self, event: str, count: int) -> None:
        """libvirt delivered events."""
        self._events_received.labels(event).inc(count)

    def events_dropped(self, count: int) -> None:
        """Events were lost."""
        self._events_dropped.inc(count)
