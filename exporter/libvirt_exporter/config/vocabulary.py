"""The names that a configuration may use for groups, fields and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from libvirt_exporter import catalogue
from libvirt_exporter.catalogue.exporter import OWN_METRICS, SCRAPE_METRICS
from libvirt_exporter.catalogue.metric import Fact
from libvirt_exporter.query.fields import table

GROUPS: Final[Mapping[str, bool]] = {group.name: group.default for group in catalogue.GROUPS}
"""Field group → whether it is on by default."""

FIELDS: Final[Collection[str]] = frozenset(
    name
    for row in catalogue.SAMPLE_METRICS
    for name in ((row.name,) if isinstance(row, Fact) else (row.name, row.source))
)
"""Metric names and stats key patterns (`block.<num>.rd.times`)."""

ALWAYS_SHOWN: Final[Collection[str]] = frozenset(
    row.name for row in (*SCRAPE_METRICS, *OWN_METRICS)
)
"""Metrics that are always shown, so that `fields` cannot choose them."""

SERIES_LABELS: Final[Collection[str]] = frozenset(
    label for row in catalogue.DOMAIN_METRICS for label in row.labels
) - {"domain", "uuid"}
"""Label names that domain metrics use themselves, besides the identity labels."""

METRICS_OF_VM_FIELDS: Final[Mapping[str, Collection[str]]] = {
    field.name: field.metrics for field in table.FIELDS
}
"""Fields of the API → the metrics that show the same."""

WITHOUT_METRIC: Final[Mapping[str, str]] = {
    field.name: field.no_metric for field in table.FIELDS if not field.metrics
}
"""Fields of the API that no metric shows → why."""

VM_FIELDS: Final[Mapping[str, bool]] = {field.name: field.sensitive for field in table.FIELDS}
"""Fields of the API → whether they are sensitive."""
