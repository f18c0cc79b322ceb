"""The names that a configuration may use for groups, fields and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct


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
