"""The names that a configuration may use for groups, fields and labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from libvirt_exporter import catalogue
from libvirt_exporter.catalogue.exporter import OWN_METRICS, SCRAPE_METRICS, TARGET_METRICS
from libvirt_exporter.catalogue.metric import Fact, Metric, StatEnum
from libvirt_exporter.query.fields import table

GROUPS: Final[Mapping[str, bool]] = {group.name: group.default for group in catalogue.GROUPS}
"""Field group → whether it is on by default."""

MEANT_GROUPS: Final[Mapping[str, str]] = {
    "disks": "block",
    "drive": "block",
    "drives": "block",
    "nic": "interface",
    "nics": "interface",
    "ram": "balloon",
    "snapshots": "info",
}
"""Words for groups that are not accepted → the group that is suggested."""

MEANT_IDENTITY: Final[Mapping[str, str]] = {
    "name": "domain",
    "vm": "domain",
    "vm_name": "domain",
    "domain_name": "domain",
    "id": "uuid",
    "vm_id": "uuid",
    "vmid": "uuid",
    "domain_uuid": "uuid",
}
"""Words for identity labels that are not accepted → the label that is suggested."""

HOMONYMS: Final[Mapping[str, tuple[str, str, str]]] = {
    "memory": (
        "the memory bandwidth of VMs whose XML has a monitor for it",
        "balloon",
        "the memory figures of VMs",
    ),
    "network": ("libvirt's virtual networks", "interface", "the figures of VMs' NICs"),
}
"""Groups whose name may be misread → what they show; the group that may be meant, what it shows."""

FIELDS: Final[Collection[str]] = frozenset(
    name
    for row in catalogue.SAMPLE_METRICS
    for name in ((row.name,) if isinstance(row, Fact) else (row.name, row.source))
)
"""Metric names and stats key patterns (`block.<num>.rd.times`)."""

ALWAYS_SHOWN: Final[Collection[str]] = frozenset(
    row.name for row in (*SCRAPE_METRICS, *OWN_METRICS, *TARGET_METRICS)
)
"""Metrics that are always shown, so that `fields` cannot choose them."""


def _labels(row: Metric) -> Iterator[str]:
    yield from row.labels
    if isinstance(row, StatEnum):
        yield row.label
        if row.within is not None:
            yield row.within.label


SERIES_LABELS: Final[Collection[str]] = frozenset(
    label for row in catalogue.DOMAIN_METRICS for label in _labels(row)
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
