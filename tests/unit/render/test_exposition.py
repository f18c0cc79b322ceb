"""One sample → one HTTP body."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from libvirt_exporter.contract import Exposition
from libvirt_exporter.model import HostSample
from libvirt_exporter.render.exposition import OPENMETRICS, TEXT, expose
from libvirt_exporter.render.text import TextRenderer
from tests.support.samples import DEFAULT, typical

SAMPLE = HostSample(timestamp=0.0, duration=0.5, up=True, domains=(typical(),))


def exposed(*, as_openmetrics: bool = False, compress: bool = False, limit: int = 0) -> Exposition:
    """The typical domain and one metric of the process."""
    own = CollectorRegistry()
    Gauge("own_metric", "The process's own.", registry=own).set(5)
    return expose(
        SAMPLE,
        TextRenderer(DEFAULT, series_limit=limit).render(SAMPLE.domains),
        own,
        series_limit=limit,
        as_openmetrics=as_openmetrics,
        compress=compress,
    )


@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_scrape_process_and_domains_come_in_this_order(as_openmetrics: bool) -> None:
    """In both formats, each family once."""
    body = exposed(as_openmetrics=as_openmetrics).body.decode()
    names = [family.name for family in (openmetrics if as_openmetrics else text)(body)]

    assert names[0] == "libvirt_up"
    assert names.index("libvirt_exporter_series") < names.index("own_metric")
    assert names.index("own_metric") < names.index("libvirt_domain_state")
    assert len(names) == len(set(names))


def test_content_type_names_the_format() -> None:
    """As Prometheus negotiates it."""
    assert exposed().content_type == TEXT == "text/plain; version=0.0.4; charset=utf-8"
    assert exposed(as_openmetrics=True).content_type == OPENMETRICS
    assert OPENMETRICS == "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_openmetrics_ends_once() -> None:
    """`# EOF` is the last line and stands nowhere else."""
    body = exposed(as_openmetrics=True).body

    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1
    assert b"# EOF" not in exposed().body


def test_compressed_body_is_the_same_body() -> None:
    """And says that it is compressed."""
    compressed = exposed(compress=True)

    assert compressed.content_encoding == "gzip"
    assert exposed().content_encoding == ""
    assert gzip.decompress(compressed.body) == exposed().body


def test_numbers_of_series_are_those_of_the_body() -> None:
    """`libvirt_exporter_series` counts what is there, also below a limit."""
    for limit in (0, 50):
        families = {family.name: family for family in text(exposed(limit=limit).body.decode())}
        shown = sum(
            len(family.samples)
            for name, family in families.items()
            if name.startswith("libvirt_domain_")
        )

        assert sum(sample.value for sample in families["libvirt_exporter_series"].samples) == shown
        assert not limit or shown <= limit
