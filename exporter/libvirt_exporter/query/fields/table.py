"""The table of VM fields, and their values.

The names are those that VDSM (oVirt's agent on a host) gave them, and so are the meanings, where
libvirt can tell; values are of JSON's own types, where VDSM had strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from libvirt_exporter.model import VanishedDomain
from libvirt_exporter.query.fields import (
    definition,
    devices,
    displays,
    figures,
    guest,
    jobs,
    lifetime,
    metadata,
    status,
)
from libvirt_exporter.query.fields.field import ABSENT, GONE, VmField, VmView

_INACTIVE: Final = "The domain is not active."
_NO_XML: Final = "The domain XML has not been read yet, or could not be understood."
_SORTED_AS: Final[Mapping[str, str]] = {"lunGUIDs": "ovirt.lunGUIDs"}
"""Fields that are sorted by another name than their own."""


def _place(field: VmField) -> tuple[bool, str]:
    return field.own, _SORTED_AS.get(field.name, field.name)


FIELDS: Final[tuple[VmField, ...]] = tuple(
    sorted(
        (
            *definition.FIELDS,
            *devices.FIELDS,
            *displays.FIELDS,
            *figures.FIELDS,
            *guest.FIELDS,
            *jobs.FIELDS,
            *lifetime.FIELDS,
            *metadata.FIELDS,
            *status.FIELDS,
        ),
        key=_place,
    )
)
"""The fields of VDSM's design by name, then the exporter's own."""

BY_NAME: Final[Mapping[str, VmField]] = {field.name: field for field in FIELDS}


def values(view: VmView, names: Iterable[str]) -> dict[str, Any]:
    """The named fields that have a value, in the order of `names`; unknown names have none."""
    found = {}
    for name in names:
        field = BY_NAME.get(name)
        if field is not None and (value := field.value(view)) is not ABSENT:
            found[name] = value
    return found


def reason(view: VmView, field: VmField) -> str:
    """Why a field that has no value has none."""
    domain = view.domain
    if isinstance(domain, VanishedDomain):
        return GONE
    if field.change == "static" and domain.info is None:
        return _NO_XML
    # What takes a look at QEMU's process takes one that runs.
    of_a_run = field.change in ("agent", "sampled") or "processes" in field.lanes
    if of_a_run and not domain.active:
        return _INACTIVE
    return field.why_absent
