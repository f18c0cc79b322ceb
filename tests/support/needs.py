"""What samples of the tests are taken for."""

from __future__ import annotations

from typing import Final

from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.query.need import Need, Scope

ALL: Final = Need(
    groups=frozenset(group for field in FIELDS for group in field.asks),
    lanes=frozenset(lane for field in FIELDS for lane in field.lanes),
)
"""What all fields of all VMs take."""

WHOLE: Final[Scope] = frozenset({ALL})
"""The scope of a sample that has all of it."""
