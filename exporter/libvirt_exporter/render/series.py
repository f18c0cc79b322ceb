"""Which series a domain has: its parts against the catalogue, labels in place."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from libvirt_exporter.catalogue.metric import Fact, Histogram, Metric, Stat, StatEnum, StatInfo
from libvirt_exporter.model import DomainSample, Stats, StatValue
from libvirt_exporter.render import keys, labels
from libvirt_exporter.render.labels import Labels
from libvirt_exporter.render.selection import Selection


class Series(NamedTuple):
    family: int
    """Index into `Selection.families`."""
    name: str
    """Sample name: the metric's, with `_bucket` for histograms."""
    own: Labels
    """The labels behind the identity labels."""
    keys: tuple[str, ...]
    """Stats keys whose sum is the value; none: the value is `constant`."""
    constant: float = 0


def as_domain(host_stats: Stats) -> DomainSample:
    """The host as what series are made from: a domain with other keys, and no identity."""
    return DomainSample(uuid="", name="", active=True, stats=host_stats, timestamp=0.0)


class DomainSeries(NamedTuple):
    """All series of one domain; families contiguous and in catalogue order."""

    identity: Labels
    series: tuple[Series, ...]
    structure: tuple[str, ...]
    """Keys whose values became labels or constants: other values make other series."""
    zeros: tuple[str, ...]
    """Keys of which a 0 has no series."""
    floats: tuple[str, ...]
    """Keys that have no series while they are no figure."""
    unmapped: tuple[str, ...]
    duplicates: int
    """Series left out because their name and labels were taken."""


class Identity(NamedTuple):
    """How domains are told apart."""

    labels: tuple[str, ...] = ("domain", "uuid")
    """`domain`, `uuid`, or names of operator-chosen labels."""
    value_length: int = 256
    """Longest label value, in bytes of UTF-8; for all labels."""

    def of(self, domain: DomainSample) -> Labels:
        """The identity labels of a domain; `as_domain` has none."""
        if not domain.uuid:
            return ()
        chosen = dict(domain.info.custom_labels) if domain.info else {}
        known = {**chosen, "domain": domain.name, "uuid": domain.uuid}
        return tuple(
            (name, labels.clean(known.get(name, ""), self.value_length)) for name in self.labels
        )


def domain_series(domain: DomainSample, selection: Selection, identity: Identity) -> DomainSeries:
    """Everything that one domain's sample shows under a selection."""
    return _Compilation(domain, selection, identity).result()


class _Compilation:
    def __init__(self, domain: DomainSample, selection: Selection, identity: Identity) -> None:
        self._domain = domain
        self._selection = selection
        self._limit = identity.value_length
        self._identity = identity.of(domain)
        self._series: list[Series] = []
        self._structure: set[str] = set()
        self._zeros: set[str] = set()
        self._floats: set[str] = set()
        self._unmapped: list[str] = []
        self._bins: dict[tuple[Histogram, Labels], list[tuple[float, str]]] = defaultdict(list)

    def result(self) -> DomainSeries:
        stats = self._domain.stats
        lower_images, image_names = _lower_images(stats)
        self._structure.update(image_names)
        for key, value in stats.items():
            match = keys.match(key)
            if match is None:
                self._unmapped.append(key)
                continue
            lower = match.placeholders.get("num") in lower_images and key.startswith("block.")
            for row in match.rows:
                if _is_lower(row) == lower and self._selection.wants(row, key):
                    self._add_stat(row, key, value, match.placeholders)
        for (row, own), bins in self._bins.items():
            self._add_histogram(row, own, sorted(bins))
        for row in self._selection.families:
            if isinstance(row, Fact):
                self._add_fact(row)
        unique: dict[tuple[str, Labels], Series] = {}
        for series in self._series:
            unique.setdefault((series.name, series.own), series)
        return DomainSeries(
            self._identity,
            tuple(sorted(unique.values(), key=attrgetter("family"))),
            tuple(sorted(self._structure)),
            tuple(sorted(self._zeros)),
            tuple(sorted(self._floats)),
            tuple(self._unmapped),
            len(self._series) - len(unique),
        )

    def _add(
        self,
        row: Metric,
        own: Labels,
        source: tuple[str, ...] = (),
        *,
        constant: float = 0,
        suffix: str = "",
    ) -> None:
        family = self._selection.index[row.name]
        self._series.append(Series(family, row.name + suffix, own, source, constant))

    def _add_stat(
        self, row: Metric, key: str, value: StatValue, placeholders: Mapping[str, str]
    ) -> None:
        own = self._labels(row, placeholders)
        if own is None or not self._is_told(row, placeholders):
            return
        match row:
            case StatInfo():
                self._add(row, own, constant=1)
            case StatEnum() if isinstance(value, int):
                self._structure.add(key)
                self._add_enum(row, own, int(value))
            case Histogram() if isinstance(value, int):
                start = keys.fill(row.start, placeholders)
                bound = self._domain.stats.get(start)
                if isinstance(bound, int):
                    self._structure.add(start)
                    self._bins[row, own].append((bound, key))
            case Stat() if not isinstance(value, str):
                if row.zero_is_absent:
                    self._zeros.add(key)
                if isinstance(value, float):
                    self._floats.add(key)
                if is_present(row, value):
                    self._add(row, own, (key,))
            case _:
                self._unmapped.append(key)

    def _is_told(self, row: Metric, placeholders: Mapping[str, str]) -> bool:
        """Whether the row's companion key lets its value say something."""
        if not row.unless_zero:
            return True
        companion = keys.fill(row.unless_zero, placeholders)
        self._structure.update({companion} & self._domain.stats.keys())
        return self._domain.stats.get(companion) != 0

    def _add_enum(self, row: StatEnum, own: Labels, value: int) -> None:
        values = row.values
        if row.within is not None:
            outer = self._domain.stats.get(row.within.source)
            if not isinstance(outer, int):
                return
            self._structure.add(row.within.source)
            own = (*own, (row.within.label, _name(row.within.values, outer)))
            values = row.values_within.get(outer, row.values)
        current = _name(values, value)
        for name in dict.fromkeys((*values.values(), current)) if row.every else (current,):
            self._add(row, (*own, (row.label, name)), constant=int(name == current))

    def _add_histogram(
        self, row: Histogram, own: Labels, bins: Sequence[tuple[float, str]]
    ) -> None:
        bounds = [str(row.scale(start)) for start, _ in bins[1:]]
        counted: tuple[str, ...] = ()
        for le, (_, key) in zip((*bounds, "+Inf"), bins, strict=True):
            counted = (*counted, key)
            self._add(row, (*own, ("le", le)), counted, suffix="_bucket")

    def _add_fact(self, row: Fact) -> None:
        info = self._domain.info
        if info is None:
            return
        taken = dict(self._identity)
        if row.operator_labels:
            chosen = [(name, value) for name, value in info.custom_labels if name not in taken]
            if chosen:
                self._add(row, self._cleaned(chosen), constant=1)
            return
        items = attrgetter(row.each)(info) if row.each else info
        for item in items if isinstance(items, tuple) else (items,):
            value = _attribute(item, row.value) if row.value else 1
            if value is None or not is_present(row, value):
                continue  # before its labels are made: most limits are not set
            own = self._cleaned(
                (label, _text(_attribute(item, where)))
                for label, where in row.labels.items()
                if label not in taken
            )
            if row.value or row.exists or any(text for label, text in own if label != "device"):
                self._add(row, own, constant=_number(value))

    def _labels(self, row: Metric, placeholders: Mapping[str, str]) -> Labels | None:
        """The row's own labels; None when libvirt does not say what would be one."""
        own: list[tuple[str, str]] = []
        for label, where in row.labels.items():
            if where.startswith("<"):
                own.append((label, placeholders[where[1:-1]]))
                continue
            companion = keys.fill(where, placeholders)
            if companion not in self._domain.stats:
                return None
            self._structure.add(companion)
            own.append((label, str(self._domain.stats[companion])))
        return self._cleaned(own)

    def _cleaned(self, own: Iterable[tuple[str, str]]) -> Labels:
        return tuple((name, labels.clean(value, self._limit)) for name, value in own)


def _lower_images(stats: Stats) -> tuple[set[str], list[str]]:
    """Indexes of images below the top one of their disk, and the keys that tell so."""
    lower: set[str] = set()
    seen: set[StatValue] = set()
    names: list[str] = []
    for key, name in stats.items():
        if key.startswith("block.") and key.endswith(".name"):
            names.append(key)
            if name in seen:
                lower.add(key.split(".")[1])
            seen.add(name)
    return lower, names


def _is_lower(row: Metric) -> bool:
    return isinstance(row, Stat | StatInfo) and row.lower


def _name(values: Mapping[int, str], number: int) -> str:
    return values.get(number, f"unknown_{number}")


def _number(value: StatValue) -> float:
    """An int or float as it is, a bool as 0 or 1."""
    return value + 0 if not isinstance(value, str) else math.nan


def is_present(row: Metric, value: StatValue) -> bool:
    """Whether a number says something: not NaN, not infinite, not a 0 that means nothing."""
    if isinstance(value, str) or not math.isfinite(value):
        return False
    return not (isinstance(row, Stat) and row.zero_is_absent and value == 0)


def _attribute(item: object, path: str) -> Any:
    """`cpu_tune.quota` of an item; None as soon as one of the steps leads nowhere."""
    for step in path.split("."):
        if item is None:
            return None
        item = item.get(step) if isinstance(item, dict) else getattr(item, step)
    return item


def _text(value: StatValue | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    return str(value)
