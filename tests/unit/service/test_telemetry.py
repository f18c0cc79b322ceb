"""The exporter's own metrics show what happens."""

from __future__ import annotations

from libvirt_exporter.service.telemetry import Telemetry


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    """What a scrape shows of one of the exporter's own metrics."""
    return telemetry.registry.get_sample_value(f"libvirt_exporter_{name}", labels)


def test_the_event_stream_is_asked_for_whenever_the_metrics_are_read() -> None:
    """Whether it is connected, and when it last proved to be alive."""
    telemetry = Telemetry(process=False)
    state = {"connected": False, "age": 1.5}
    telemetry.watch_events(lambda: state["connected"] is True, lambda: float(state["age"]))
    assert value(telemetry, "event_stream_connected") == 0
    assert value(telemetry, "event_stream_alive_age_seconds") == 1.5
    state |= {"connected": True, "age": 0.25}
    assert value(telemetry, "event_stream_connected") == 1
    assert value(telemetry, "event_stream_alive_age_seconds") == 0.25


def test_events_are_counted_by_kind_and_dropped_ones_from_0_on() -> None:
    """An alert on drops needs the 0."""
    telemetry = Telemetry(process=False)
    assert value(telemetry, "events_dropped_total") == 0
    telemetry.events_received("watchdog", 2)
    telemetry.events_received("watchdog", 3)
    telemetry.events_dropped(7)
    assert value(telemetry, "events_received_total", event="watchdog") == 5
    assert value(telemetry, "events_dropped_total") == 7
