"""The exporter's own metrics, kept by prometheus_client under the names of the catalogue."""

from __future__ import annotations

import platform
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
from libvirt_exporter.hypervisor.host import Host


class _Figures:
    """Gauges and counters under the names of the catalogue, in no registry yet."""

    def __init__(self) -> None:
        self.collectors: dict[Metric, Gauge | Counter] = {}

    def _gauge(self, row: Metric) -> Gauge:
        gauge = Gauge(row.name, row.help, tuple(row.labels), registry=None)
        self.collectors[row] = gauge
        return gauge

    def _counter(self, row: Metric) -> Counter:
        counter = Counter(row.name, row.help, tuple(row.labels), registry=None)
        self.collectors[row] = counter
        return counter


def _register(registry: CollectorRegistry, *figures: _Figures) -> None:
    """Register them in the order of the catalogue, whoever keeps them."""
    collectors = {row: each for kept in figures for row, each in kept.collectors.items()}
    for row in exporter.OWN_METRICS:
        if row in collectors:
            registry.register(collectors[row])


class TargetTelemetry(_Figures):
    """Counts what happens at one libvirt; its host's Observer. Thread-safe, never blocks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """`registry`: what is exposed with the samples of this libvirt."""
        super().__init__()
        self.registry = registry
        self._samples = self._counter(exporter.SAMPLES)
        self._samples_shared = self._counter(exporter.SAMPLES_SHARED)
        self._source_failures = self._counter(exporter.SOURCE_FAILURES)
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

    def watch(self, host: Host) -> None:
        """Ask this host for what is stuck and for its event stream when the metrics are read."""
        self._stuck_calls.set_function(lambda: host.stuck_calls)
        self._stuck_domains.set_function(lambda: len(host.stuck_domains))
        self._event_stream_connected.set_function(lambda: host.events_connected)
        self._event_stream_alive_age.set_function(lambda: host.events_alive_age)

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


class Telemetry(_Figures):
    """Counts what happens in this process, and keeps what counts for each libvirt.

    Thread-safe, never blocks.
    """

    def __init__(self, *, process: bool = True) -> None:
        """`process`: whether `process_*`, the resources of this process, are among the metrics."""
        super().__init__()
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
        self._requests = self._counter(exporter.HTTP_REQUESTS)
        self._requests_in_flight = self._gauge(exporter.HTTP_REQUESTS_IN_FLIGHT)
        default = TargetTelemetry(self.registry)
        _register(self.registry, self, default)
        self._targets = {"": default}

    def of(self, alias: str) -> TargetTelemetry:
        """The figures of one libvirt: of the default one, '', beside those of the process.

        Any other has a registry of its own, which only its own exposition shows: so no family
        mixes series with and without a label for the target.
        """
        if alias not in self._targets:
            self._targets[alias] = target = TargetTelemetry(CollectorRegistry())
            _register(target.registry, target)
        return self._targets[alias]

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
