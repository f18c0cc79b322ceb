"""The names that a configuration may use for groups, fields and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from libvirt_exporter.catalogue import DOMAIN_METRICS, GROUPS, SAMPLE_METRICS
from libvirt_exporter.catalogue.exporter import OWN_METRICS, SCRAPE_METRICS
from libvirt_exporter.catalogue.metric import Fact
from libvirt_exporter.query.fields.table import FIELDS


class Vocabulary(Struct, frozen=True):
    """The names known to the catalogue."""

    groups: Mapping[str, bool]
    """Field group → whether it is on by default."""
    fields: Collection[str]
    """Metric names and stats key patterns (`block.<num>.rd.times`)."""
    always: Collection[str] = ()
    """Metrics that are always shown, so that `fields` cannot choose them."""
    labels: Collection[str] = ()
    """Label names that domain metrics use themselves, besides the identity labels."""
    vm_fields: Mapping[str, bool] = {}
    """Fields of the API → whether they are sensitive."""


VOCABULARY = Vocabulary(
    groups={group.name: group.default for group in GROUPS},
    fields=frozenset(
        name
        for row in SAMPLE_METRICS
        for name in ((row.name,) if isinstance(row, Fact) else (row.name, row.source))
    ),
    labels=frozenset(label for row in DOMAIN_METRICS for label in row.labels) - {"domain", "uuid"},
    always=frozenset(row.name for row in (*SCRAPE_METRICS, *OWN_METRICS)),
    vm_fields={field.name: field.sensitive for field in FIELDS},
)
"""What a configuration may name."""
