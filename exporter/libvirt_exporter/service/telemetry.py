"""The exporter's own metrics, kept by prometheus_client under the names of the catalogue."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from libvirt_exporter import __version__
from libvirt_exporter.build import BRANCH, REVISION
from libvirt_exporter.catalogue import exporter
from libvirt_exporter.catalogue.metric import Metric
from libvirt_exporter.hypervisor.connection.errors import ErrorClass
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.model import HostSample

_OF_PROCESS: Final = {
    exporter.BUILD_INFO,
    exporter.RELOAD_SUCCESSFUL,
    exporter.RELOAD_TIMESTAMP,
    exporter.WEB_CONFIG_SUCCESSFUL,
    exporter.WEB_CONFIG_TIMESTAMP,
    exporter.HTTP_REQUESTS,
    exporter.HTTP_REQUESTS_IN_FLIGHT,
    exporter.REFUSED_LOGINS,
    exporter.HANDSHAKE_FAILURES,
    exporter.CERTIFICATE_NOT_AFTER,
}
"""What there is once, however many libvirts are served."""


_OF_HOST: Final[Mapping[Metric, Callable[[Host], float]]] = {
    exporter.STUCK_CALLS: lambda host: host.stuck_calls,
    exporter.STUCK_CALLS_LIMIT: lambda host: host.stuck_calls_limit,
    exporter.STUCK_DOMAINS: lambda host: len(host.stuck_domains),
    exporter.EVENT_STREAM_CONNECTED: lambda host: host.events_connected,
    exporter.EVENT_STREAM_ALIVE_AGE: lambda host: host.events_alive_age,
}
"""What a host is asked for when the metrics are read."""


class _Optional(Collector):
    """A gauge that is there while its function has a value."""

    def __init__(self, row: Metric) -> None:
        self._row = row
        self.value: Callable[[], float | None] = lambda: None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See prometheus_client."""
        if (value := self.value()) is not None:
            yield GaugeMetricFamily(self._row.name, self._row.help, value)


class _Figures:
    """Counters and gauges under the names of the catalogue, in its order, and their registry."""

    def __init__(self, rows: Iterable[Metric], registry: CollectorRegistry) -> None:
        self.registry = registry
        self.counters: dict[Metric, Counter] = {}
        self.gauges: dict[Metric, Gauge] = {}
        self.optional: dict[Metric, _Optional] = {}
        for row in rows:
            if row is exporter.CERTIFICATE_NOT_AFTER:
                self.optional[row] = _Optional(row)
                registry.register(self.optional[row])
            elif row.type == "counter":
                made = Counter(row.name, row.help, tuple(row.labels), registry=registry)
                self.counters[row] = made
            else:
                self.gauges[row] = Gauge(row.name, row.help, tuple(row.labels), registry=registry)


class TargetTelemetry(Observer):
    """Counts what happens at one libvirt. Thread-safe, never blocks."""

    def __init__(self, figures: _Figures) -> None:
        self.registry = figures.registry
        """What is exposed with the samples of this libvirt."""
        self._counters = figures.counters
        self._gauges = figures.gauges

    def watch(self, host: Host) -> None:
        """Ask this host for what is stuck and for its event stream when the metrics are read."""
        for row, figure in _OF_HOST.items():
            self._gauges[row].set_function(functools.partial(figure, host))

    def unwatch(self) -> None:
        """There is no such host any more."""
        for row in _OF_HOST:
            self._gauges[row].set_function(lambda: 0.0)

    def call_finished(self, call: str, seconds: float, error: ErrorClass | None) -> None:
        self._counters[exporter.CALLS].labels(call).inc()
        self._counters[exporter.CALL_SECONDS].labels(call).inc(seconds)
        if error is not None:
            self._counters[exporter.ERRORS].labels(call, error).inc()

    def call_abandoned(self, call: str) -> None:
        self._counters[exporter.ABANDONED].labels(call).inc()

    def connection_lost(self, reason: str) -> None:
        self._counters[exporter.DISCONNECTS].inc()

    def connection_regained(self) -> None:
        self._counters[exporter.RECONNECTS].inc()

    def sample_taken(self, seconds: float) -> None:
        self._counters[exporter.SAMPLES].inc()

    def sample_shared(self) -> None:
        self._counters[exporter.SAMPLES_SHARED].inc()

    def source_failed(self) -> None:
        self._counters[exporter.SOURCE_FAILURES].inc()

    def events_received(self, event: str, count: int) -> None:
        self._counters[exporter.EVENTS_RECEIVED].labels(event).inc(count)

    def events_dropped(self, count: int) -> None:
        self._counters[exporter.EVENTS_DROPPED].inc(count)


class _Targets(Collector):
    """Which targets answer; no family at all where there is none."""

    def __init__(self, latest: Callable[[], Mapping[str, HostSample | None]]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[MetricFamily]:
        return ()

    def collect(self) -> Iterable[MetricFamily]:
        samples = self._latest()
        if not samples:
            return
        up, sampled = (
            GaugeMetricFamily(row.name, row.help, labels=tuple(row.labels))
            for row in (exporter.TARGET_UP, exporter.TARGET_SAMPLED)
        )
        for alias, sample in samples.items():
            if sample is not None:
                up.add_metric([alias], float(sample.up))
                sampled.add_metric([alias], sample.timestamp)
        yield from (up, sampled)


class Telemetry:
    """Counts what happens in this process, and keeps what counts for each libvirt.

    Thread-safe, never blocks.
    """

    def __init__(self, *, process: bool = True) -> None:
        """`process`: whether `process_*`, the resources of this process, are among the metrics."""
        # Otherwise every counter has a second, undocumented series in the text format.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
        figures = _Figures(exporter.OWN_METRICS, self.registry)
        self._counters, self._gauges = figures.counters, figures.gauges
        self._optional = figures.optional
        self._targets = {"": TargetTelemetry(figures)}
        self._gauges[exporter.BUILD_INFO].labels(
            __version__,
            REVISION,
            BRANCH,
            platform.python_version(),
            metadata.version("libvirt-python"),
        ).set(1)
        self._gauges[exporter.WEB_CONFIG_SUCCESSFUL].set(1)
        self._gauges[exporter.WEB_CONFIG_TIMESTAMP].set_to_current_time()

    def of(self, alias: str) -> TargetTelemetry:
        """The figures of one libvirt: of the default one, '', beside those of the process.

        Any other has a registry of its own, which only its own exposition shows: so no family
        mixes series with and without a label for the target.
        """
        if alias not in self._targets:
            rows = (row for row in exporter.OWN_METRICS if row not in _OF_PROCESS)
            self._targets[alias] = TargetTelemetry(_Figures(rows, CollectorRegistry()))
        return self._targets[alias]

    def watch_targets(self, latest: Callable[[], Mapping[str, HostSample | None]]) -> None:
        """Ask for the last samples of the targets, by alias, when the metrics are read."""
        self.registry.register(_Targets(latest))

    def forget(self, alias: str) -> None:
        """That libvirt is not served any more."""
        if alias:
            self._targets.pop(alias, None)
        else:
            # Its registry has the metrics of the process, too, and counters never go back.
            self._targets[""].unwatch()

    def configuration_loaded(self) -> None:
        """A configuration was read and took effect."""
        self._gauges[exporter.RELOAD_SUCCESSFUL].set(1)
        self._gauges[exporter.RELOAD_TIMESTAMP].set_to_current_time()

    def configuration_refused(self) -> None:
        """A new configuration had mistakes; the old one stays."""
        self._gauges[exporter.RELOAD_SUCCESSFUL].set(0)

    def watch_web_config(
        self,
        successful: Callable[[], bool],
        last_loaded: Callable[[], float],
        not_after: Callable[[], float | None],
    ) -> None:
        """Ask for the state of the web configuration file when the metrics are read.

        `not_after`: when the certificates expire, None without.
        """
        self._gauges[exporter.WEB_CONFIG_SUCCESSFUL].set_function(successful)
        self._gauges[exporter.WEB_CONFIG_TIMESTAMP].set_function(last_loaded)
        self._optional[exporter.CERTIFICATE_NOT_AFTER].value = not_after

    def route_served(self, handler: str) -> None:
        """Requests for this route will come; an alert on refused ones needs their 0."""
        self._counters[exporter.HTTP_REQUESTS].labels(handler, 503)
        self._gauges[exporter.HTTP_REQUESTS_IN_FLIGHT].labels(handler)

    def request_began(self, handler: str) -> None:
        """An HTTP request for this route came in."""
        self._gauges[exporter.HTTP_REQUESTS_IN_FLIGHT].labels(handler).inc()

    def request_ended(self, handler: str, code: int) -> None:
        """An HTTP request was answered with this status code."""
        self._gauges[exporter.HTTP_REQUESTS_IN_FLIGHT].labels(handler).dec()
        self._counters[exporter.HTTP_REQUESTS].labels(handler, code).inc()

    def login_refused(self) -> None:
        """A client showed a user or password that is not right."""
        self._counters[exporter.REFUSED_LOGINS].inc()

    def handshake_failed(self, reason: str) -> None:
        """A TLS handshake failed for one of a few reasons."""
        self._counters[exporter.HANDSHAKE_FAILURES].labels(reason).inc()
