"""The exporter's own metrics show what happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from libvirt_exporter.catalogue.exporter import OWN_METRICS
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.service.telemetry import Telemetry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """What a scrape shows of one of the exporter's own metrics."""
    return registry.get_sample_value(f"libvirt_exporter_{name}", labels)


def host(**says: object) -> Host:
    """What is asked of a host when the metrics are read."""
    return cast(Host, SimpleNamespace(**says))


@pytest.mark.parametrize("alias", ["", "rack-7"])
def test_a_host_is_asked_whenever_the_metrics_are_read(alias: str) -> None:
    """What is stuck, whether its events arrive, and when their stream last proved to be alive."""
    figures = Telemetry(process=False).of(alias)
    watched = host(
        stuck_calls=0,
        stuck_calls_limit=12,
        stuck_domains={},
        events_connected=False,
        events_alive_age=1.5,
    )
    figures.watch(watched)
    shown = (
        "stuck_calls",
        "stuck_calls_limit",
        "stuck_domains",
        "event_stream_connected",
        "event_stream_alive_age_seconds",
    )
    assert [value(figures.registry, name) for name in shown] == [0, 12, 0, 0, 1.5]
    vars(watched).update(
        stuck_calls=3,
        stuck_calls_limit=6,
        stuck_domains={"a": 1.0},
        events_connected=True,
        events_alive_age=0.25,
    )
    assert [value(figures.registry, name) for name in shown] == [3, 6, 1, 1, 0.25]


def test_events_are_counted_by_kind_and_dropped_ones_from_0_on() -> None:
    """An alert on drops needs the 0."""
    figures = Telemetry(process=False).of("")
    assert value(figures.registry, "events_dropped_total") == 0
    figures.events_received("watchdog", 2)
    figures.events_received("watchdog", 3)
    figures.events_dropped(7)
    assert value(figures.registry, "events_received_total", event="watchdog") == 5
    assert value(figures.registry, "events_dropped_total") == 7


def test_the_default_host_stands_beside_the_process_in_the_catalogues_order() -> None:
    """One registry has them all, as /metrics shows them."""
    telemetry = Telemetry(process=False)
    assert telemetry.of("").registry is telemetry.registry
    assert value(telemetry.registry, "tls_certificate_not_after_timestamp_seconds") is None
    telemetry.watch_web_config(lambda: True, lambda: 1.0, lambda: 2.0)
    assert value(telemetry.registry, "tls_certificate_not_after_timestamp_seconds") == 2
    names = [family.name for family in telemetry.registry.collect()]
    assert names == [row.family for row in OWN_METRICS]


def test_a_host_with_an_alias_counts_for_itself() -> None:
    """Nothing of the process or of another host is in its registry, and its calls not in theirs."""
    telemetry = Telemetry(process=False)
    figures = telemetry.of("rack-7")
    assert telemetry.of("rack-7") is figures
    figures.sample_taken(0.1)
    assert value(figures.registry, "samples_total") == 1
    assert value(telemetry.registry, "samples_total") == 0
    assert value(telemetry.of("rack-8").registry, "samples_total") == 0
    assert value(figures.registry, "config_last_reload_successful") is None
