"""A host's sample → prometheus_client metric families: the oracle of `render.text`.

Both show the same families, labels and values in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.samples import Sample

from libvirt_exporter.catalogue.metric import Metric, Stat
from libvirt_exporter.model import DomainSample, HostSample, Stats
from libvirt_exporter.render.scrape import scrape_families
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity, Series, as_domain, domain_series
from libvirt_exporter.render.tally import Tally


class SampleCollector:
    """A prometheus_client collector over samples, taken whenever the registry is collected."""

    def __init__(
        self,
        take_sample: Callable[[], HostSample],
        selection: Selection,
        identity: Identity | None = None,
        *,
        series_limit: int = 0,
    ) -> None:
        """`series_limit` is the most series of domains to show, 0 for no limit."""
        self._take_sample = take_sample
        self._selection = selection
        self._identity = identity or Identity()
        self._series_limit = series_limit

    def collect(self) -> Iterator[MetricFamily]:
        """The scrape's own families, then those of the sample in the catalogue's order."""
        sample = self._take_sample()
        families, tally = domain_families(
            sample.domains,
            self._selection,
            self._identity,
            host_stats=sample.stats,
            series_limit=self._series_limit,
        )
        yield from scrape_families(sample, tally, self._series_limit)
        yield from families

    def describe(self) -> Iterable[MetricFamily]:
        """Nothing, so that registering takes no sample."""
        return ()


def domain_families(
    domains: Iterable[DomainSample],
    selection: Selection,
    identity: Identity,
    *,
    host_stats: Stats | None = None,
    series_limit: int = 0,
) -> tuple[list[MetricFamily], Tally]:
    """The families of all domains and of the host, and the tally of their series."""
    tally = Tally(selection)
    families = [
        MetricFamily(row.family, row.help, row.type, row.unit) for row in selection.families
    ]
    host = [as_domain(host_stats)] if host_stats else []
    for domain in chain(host, domains):
        found = domain_series(domain, selection, identity)
        if tally.add(found.identity, len(found.series), found.duplicates, found.unmapped):
            for series in found.series:
                labels = dict(found.identity + series.own)
                value = _value(series, selection.families[series.family], domain.stats)
                families[series.family].samples.append(Sample(series.name, labels, value))
    tally.counts = [len(family.samples) for family in families]
    return [families[family] for family in tally.kept(series_limit)], tally


def _value(series: Series, row: Metric, stats: Stats) -> float:
    """The value in base units; without keys it is a constant."""
    if not series.keys:
        return series.constant
    values = (stats[key] for key in series.keys)
    found = sum(math.nan if isinstance(value, str) else value for value in values)
    return row.scale(found) if isinstance(row, Stat) else found
