"""What of a sample is displayed under a configuration."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse

from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Labels
from libvirt_exporter.contract import ScrapeRequest
from libvirt_exporter.model import HostSample, VanishedDomain
from libvirt_exporter.service.display import Display
from tests.support.samples import domain

SECOND = 10**9


def crashed(uuid: str, time: int) -> VanishedDomain:
    """A domain called web that is gone since its crash."""
    return VanishedDomain(
        uuid=uuid, name="web", timestamp=float(time), stats={"event.last.crash": time * SECOND}
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(("domain",), [300.0]), (("domain", "uuid"), [100.0, 300.0]), (("uuid",), [100.0, 300.0])],
    ids=["by name", "by both", "by UUID"],
)
def test_the_crashes_of_domains_that_are_gone_are_dated(
    labels: tuple[str, ...], expected: list[float]
) -> None:
    """Of one that was created anew under its name, the latest where only names tell them apart."""
    sample = HostSample(
        timestamp=400.0,
        duration=0.1,
        up=True,
        domains=(domain(name="other"),),
        vanished=(crashed("a", 100), crashed("b", 300)),
    )
    display = Display(Config(labels=Labels(identity=labels)), CollectorRegistry())
    exposition = display.expose(sample, display.everything, ScrapeRequest())
    found = {
        row.name: [each for each in row.samples if each.labels.get("event", "crash") == "crash"]
        for row in parse(exposition.body.decode())
    }
    assert [each.value for each in found["libvirt_domain_last_event_timestamp_seconds"]] == expected
    dropped = found["libvirt_scrape_series_dropped"]
    assert {each.labels["reason"]: each.value for each in dropped}["duplicate"] == 0
