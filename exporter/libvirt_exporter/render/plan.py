"""Catalogue + selection + domain shape → a compiled plan.

`domain_series` says in plain terms which series a domain's sample holds. `DomainPlan` is the same
compiled for text: every name and label in place, and the order of the values between them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, compress
from operator import attrgetter, itemgetter, ne
from typing import Any, NamedTuple, TypeVar

from libvirt_exporter.catalogue.metric import (
    Fact,
    Histogram,
    Metric,
    Scale,
    Stat,
    StatEnum,
    StatInfo,
)
from libvirt_exporter.model import DomainSample, Stats, StatValue
from libvirt_exporter.render import keys, labels
from libvirt_exporter.render.labels import Labels
from libvirt_exporter.render.selection import Selection


class Series(NamedTuple):
    """One series of a domain."""

    family: int
    """Index into `Selection.families`."""
    name: str
    """Sample name: the metric's, with `_bucket` for histograms."""
    own: Labels
    """The labels behind the identity labels."""
    keys: tuple[str, ...]
    """Stats keys whose sum is the value; none: the value is `constant`."""
    scale: Scale = Scale.ONE
    constant: float = 0

    def value(self, stats: Stats) -> float:
        """The value in base units."""
        if not self.keys:
            return self.constant
        return self.scale(sum(_number(stats[key]) for key in self.keys))


def as_domain(host_stats: Stats) -> DomainSample:
    """The host as what series are made from: a domain with other keys, and no identity."""
    return DomainSample(uuid="", name="", active=True, stats=host_stats, timestamp=0.0)


class DomainSeries(NamedTuple):
    """All series of one domain; families contiguous and in catalogue order."""

    identity: Labels
    series: tuple[Series, ...]
    structure: tuple[str, ...]
    """Keys whose values became labels or constants: other values make other series."""
    optional: tuple[tuple[Metric, str], ...]
    """Rows and keys whose values decide whether there is a series."""
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
        self._optional: list[tuple[Metric, str]] = []
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
            tuple(self._optional),
            tuple(self._unmapped),
            len(self._series) - len(unique),
        )

    def _add(
        self,
        row: Metric,
        own: Labels,
        source: tuple[str, ...] = (),
        scale: Scale = Scale.ONE,
        *,
        constant: float = 0,
        suffix: str = "",
    ) -> None:
        family = self._selection.index[row.name]
        self._series.append(Series(family, row.name + suffix, own, source, scale, constant))

    def _add_stat(
        self, row: Metric, key: str, value: StatValue, placeholders: Mapping[str, str]
    ) -> None:
        own = self._labels(row, placeholders)
        if own is None:
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
                if row.zero_is_absent or isinstance(value, float):
                    self._optional.append((row, key))
                if _is_present(row, value):
                    self._add(row, own, (key,), row.scale)
            case _:
                self._unmapped.append(key)

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
            own = self._cleaned(
                (label, _text(_attribute(item, where)))
                for label, where in row.labels.items()
                if label not in taken
            )
            if row.value:
                value = _attribute(item, row.value)
                if value is not None and _is_present(row, value):
                    self._add(row, own, constant=_number(value))
            elif any(text for label, text in own if label != "device"):
                self._add(row, own, constant=1)

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


def _is_present(row: Metric, value: StatValue) -> bool:
    """Whether a number says something: not NaN, not infinite, not a 0 that means nothing."""
    if isinstance(value, str) or not math.isfinite(value):
        return False
    return not (isinstance(row, Stat) and row.zero_is_absent and value == 0)


def _attribute(item: object, path: str) -> Any:
    """`cpu_tune.quota` of an item; None as soon as one of the steps leads nowhere."""
    for step in path.split("."):
        if item is None:
            return None
        item = item.get(step) if isinstance(item, Mapping) else getattr(item, step)
    return item


def _text(value: StatValue | None) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    return str(value)


Getter = Callable[[Sequence[Any]], tuple[Any, ...]]
Column = tuple[Getter, Callable[[tuple[Any, ...]], Iterable[float]] | None]

T = TypeVar("T")

_SHAPES = 256
"""Shapes that are remembered, so that domains alike share what does not differ between them."""

_CONVERT: Mapping[Scale, Callable[[tuple[Any, ...]], Iterable[float]]] = {
    # Of use for bools only, which are numbers that do not look like it.
    Scale.ONE: lambda values: [+value for value in values],
    Scale.NANOSECONDS: lambda values: [value / 1_000_000_000 for value in values],
    Scale.MILLISECONDS: lambda values: [value / 1000 for value in values],
    Scale.PERCENT: lambda values: [value / 100 for value in values],
    Scale.KIBIBYTES: lambda values: [value * 1024 for value in values],
    Scale.MEBIBYTES: lambda values: [value * 1_048_576 for value in values],
}


@lru_cache(_SHAPES)
def _shared(shape: tuple[T, ...]) -> tuple[T, ...]:
    """The first of equal tuples."""
    return shape


@lru_cache(4 * _SHAPES)
def _getter(wanted: tuple[int, ...]) -> Getter:
    """itemgetter that gives a tuple for any number of places."""
    match wanted:
        case ():
            return lambda _: ()
        case (only,):
            return lambda values: (values[only],)
    return itemgetter(*wanted)


class DomainPlan:
    """How the text of one domain is made, for as long as the domain keeps its shape.

    The text alternates between what stays (names, labels) and values, so that rendering means to
    fill every second place of a list anew. Every line starts with its line break.
    """

    __slots__ = (
        "_columns",
        "_families",
        "_info",
        "_keys",
        "_name",
        "_optional",
        "_pieces",
        "_places",
        "_present",
        "_starts",
        "_stats",
        "_structure",
        "_types",
        "_values",
        "counts",
        "duplicates",
        "identity",
        "unmapped",
    )

    def __init__(self, domain: DomainSample, selection: Selection, identity: Identity) -> None:
        compiled = domain_series(domain, selection, identity)
        place = {key: place for place, key in enumerate(domain.stats)}
        self._name = domain.name
        self._info = domain.info
        self._keys = _shared(tuple(domain.stats))
        self._types = _shared(tuple(map(type, domain.stats.values())))
        self._structure = _getter(tuple(place[key] for key in compiled.structure))
        self._optional = [(row, place[key]) for row, key in compiled.optional]
        self.identity = compiled.identity
        self.unmapped = compiled.unmapped
        self.duplicates = compiled.duplicates
        counts = Counter(series.family for series in compiled.series)
        self.counts = _shared(tuple(counts.items()))
        """Indexes of families, and how many series each has."""
        self._pieces: list[str] = []
        starts = [0] * (len(selection.families) + 1)
        places: dict[int, int] = {}
        for series in compiled.series:
            self._pieces.append(_line(compiled.identity, series))
            if series.keys:
                places[id(series)] = len(self._pieces)
                self._pieces.append("")
            starts[series.family + 1] = len(self._pieces)
        self._starts = _shared(tuple(accumulate(starts, max)))
        """Where each family begins in the pieces, and the end."""
        columns = _columns(compiled.series, place, self._types)
        self._columns = [(column.getter, column.convert) for column in columns]
        converted = [series for column in columns for series in column.series]
        self._families = _shared(tuple(series.family for series in converted))
        self._places = _shared(tuple(places[id(series)] for series in converted))
        """Of the values in the pieces."""
        self._stats = [*domain.stats.values()]
        self._present = self._presence(self._stats)
        self._values: list[float] = [math.nan] * len(converted)
        self._spell(self._converted(self._stats))

    def take(self, domain: DomainSample) -> Iterable[int] | None:
        """The families in which a new sample of the domain shows other values than the last one.

        None when the sample has another shape: then it takes another plan.
        """
        if domain.info is not self._info or domain.name != self._name:
            return None
        if tuple(domain.stats) != self._keys:
            return None
        stats = [*domain.stats.values()]
        if tuple(map(type, stats)) != self._types:
            return None
        # Spelling is most of the work, and much of what a domain says stays what it is.
        if stats == self._stats:
            return ()
        if self._structure(stats) != self._structure(self._stats):
            return None
        if self._optional and self._presence(stats) != self._present:
            return None
        self._stats = stats
        return self._spell(self._converted(stats))

    def lines(self, family: int) -> list[str]:
        """The domain's lines of a family, in pieces; none when it has no such series."""
        return self._pieces[self._starts[family] : self._starts[family + 1]]

    def _converted(self, stats: Sequence[Any]) -> list[float]:
        values: list[float] = []
        for getter, convert in self._columns:
            values += convert(getter(stats)) if convert else getter(stats)
        return values

    def _spell(self, values: list[float]) -> set[int]:
        changed = [*compress(range(len(values)), map(ne, values, self._values))]
        for number in changed:
            self._pieces[self._places[number]] = repr(values[number])
        self._values = values
        return {self._families[number] for number in changed}

    def _presence(self, stats: Sequence[StatValue]) -> list[bool]:
        return [_is_present(row, stats[place]) for row, place in self._optional]


def _line(identity: Labels, series: Series) -> str:
    """All of a series' line that stays."""
    both = ",".join(filter(None, (labels.render(identity), labels.render(series.own))))
    start = f"\n{series.name}{{{both}}} " if both else f"\n{series.name} "
    return start if series.keys else f"{start}{series.constant}"


class _Column(NamedTuple):
    """Series that are converted together."""

    series: Sequence[Series]
    getter: Getter
    convert: Callable[[tuple[Any, ...]], Iterable[float]] | None


def _columns(
    series: Iterable[Series], place: Mapping[str, int], types: Sequence[type]
) -> list[_Column]:
    """Series with values grouped by conversion; a sum has a column of its own."""
    alike: dict[tuple[Scale, bool], list[Series]] = defaultdict(list)
    sums: list[Series] = []
    for item in series:
        if len(item.keys) > 1:
            sums.append(item)
        elif item.keys:
            alike[item.scale, types[place[item.keys[0]]] is bool].append(item)
    columns = [
        _Column(
            chosen,
            _getter(tuple(place[item.keys[0]] for item in chosen)),
            None if scale is Scale.ONE and not of_bools else _CONVERT[scale],
        )
        for (scale, of_bools), chosen in alike.items()
    ]
    columns += [
        _Column(
            [item],
            _getter(tuple(place[key] for key in item.keys)),
            lambda values: (sum(values),),
        )
        for item in sums
    ]
    return columns
