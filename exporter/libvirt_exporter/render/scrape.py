"""What a scrape says of its host and of itself, as prometheus_client families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily

from libvirt_exporter.catalogue import exporter
from libvirt_exporter.catalogue.metric import Metric
from libvirt_exporter.model import STATES, UNSEEN_REASONS, HostInfo, HostSample
from libvirt_exporter.render.tally import Tally


def scrape_families(
    sample: HostSample, tally: Tally, series_limit: int, hidden: int = 0
) -> Iterator[MetricFamily]:
    """`libvirt_up`, `libvirt_info`, `libvirt_scrape_*` and the counts of series of one scrape.

    `hidden`: domains that the configuration could not place, for want of their XML.
    """
    yield _family(exporter.UP, {(): sample.up})
    if sample.host is not None:
        yield from _host_families(sample.host)
    if sample.up:
        states = Counter(dict.fromkeys(STATES, 0))
        states.update(domain.state for domain in sample.domains)
        yield _family(exporter.DOMAINS, _single(states))
    yield _family(exporter.SCRAPE_DURATION, {(): sample.duration})
    yield _family(
        exporter.SCRAPE_PHASE_DURATION, {(name,): took for name, took in sample.phases.items()}
    )
    yield _family(
        exporter.SCRAPE_GROUP_DURATION,
        {(outcome.group,): outcome.duration for outcome in sample.groups},
    )
    yield _family(
        exporter.SCRAPE_GROUP_SUCCESS,
        {(outcome.group,): outcome.success for outcome in sample.groups},
    )
    missing = Counter(group for domain in sample.domains for group in domain.missing_groups)
    yield _family(
        exporter.SCRAPE_INCOMPLETE,
        {(outcome.group,): missing[outcome.group] for outcome in sample.groups},
    )
    yield _family(exporter.LANE_AGE, _single(sample.lanes))
    yield _family(exporter.SERIES, _single(tally.series(series_limit)))
    yield _family(exporter.SERIES_DROPPED, _single(tally.dropped(series_limit)))
    yield _family(exporter.UNMAPPED_KEYS, _single(tally.unmapped()))
    yield _family(exporter.UNPARSABLE_XML, {(): len(sample.unparsable)})
    yield _family(exporter.HIDDEN_DOMAINS, {(): hidden})
    yield _family(exporter.UNSEEN_PROCESSES, _single(_unseen_processes(sample)))


def _unseen_processes(sample: HostSample) -> dict[str, float]:
    """Domains by the reason for which their process is not seen; {} where none was looked for."""
    reasons = [domain.stats.get("process.unseen") for domain in sample.domains]
    seen = any("process.pid" in domain.stats for domain in sample.domains)
    return {
        reason: float(reasons.count(reason)) for reason in UNSEEN_REASONS if seen or any(reasons)
    }


def _host_families(host: HostInfo) -> Iterator[MetricFamily]:
    """What is known of the host; a label that is not known yet would soon make another series."""
    if host.hypervisor_version is not None:
        versions = (host.driver, host.hypervisor_version, host.libvirt_version)
        yield _family(exporter.INFO, {versions: 1})
    if host.hostname or host.uuid:
        yield _family(exporter.HOST_INFO, {(host.hostname, host.uuid): 1})


def _family(row: Metric, values: Mapping[tuple[str, ...], float]) -> MetricFamily:
    family = GaugeMetricFamily(row.name, row.help, labels=list(row.labels), unit=row.unit)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _single(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(label,): value for label, value in values.items()}


class Families:
    """Families as a collector, for prometheus_client's exposition functions."""

    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[MetricFamily]:
        return self._families
