"""The plan of a domain's text: every name and label in place, and where the values stand between.

It is compiled from the same series that `series.domain_series` lists.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from sys import intern
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from msgspec.structs import replace

from libvirt_exporter.catalogue.metric import (
    Metric,
    Scale,
)
from libvirt_exporter.model import DomainSample, Stats, StatValue
from libvirt_exporter.render import labels
from libvirt_exporter.render.labels import Labels
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import (
    DomainSeries,
    Identity,
    Series,
    as_domain,
    domain_series,
    is_present,
)

_CONVERT: Mapping[Scale, Callable[[tuple[Any, ...]], Iterable[float]]] = {
    # Of use for bools only, which are numbers that do not look like it.
    Scale.ONE: lambda values: [+value for value in values],
    Scale.NANOSECONDS: lambda values: [value / 1_000_000_000 for value in values],
    Scale.MILLISECONDS: lambda values: [value / 1000 for value in values],
    Scale.PERCENT: lambda values: [value / 100 for value in values],
    Scale.KIBIBYTES: lambda values: [value * 1024 for value in values],
    Scale.MEBIBYTES: lambda values: [value * 1_048_576 for value in values],
}

Getter = Callable[[Sequence[Any]], tuple[Any, ...]]
Variant = tuple[tuple[int, ...], tuple[tuple[Metric, int], ...]]
"""Places of the values that became labels or constants, and of those whose presence counts."""


@lru_cache(1024)
def _getter(wanted: tuple[int, ...]) -> Getter:
    """itemgetter that gives a tuple for any number of places."""
    match wanted:
        case ():
            return lambda _: ()
        case (only,):
            return lambda values: (values[only],)
    return itemgetter(*wanted)


class _Shape:
    """The series of some keys, for all domains of which these keys say alike."""

    def __init__(self, compiled: DomainSeries, stats: Stats) -> None:
        place = {key: place for place, key in enumerate(stats)}
        values = tuple(stats.values())
        self.keys = tuple(stats)
        self.types = tuple(map(type, values))
        self.pieces: Sequence[str] = ()
        """The text without identities and values, where others may be of this shape."""
        self.unmapped = compiled.unmapped
        self.duplicates = compiled.duplicates
        self.variant: Variant = (
            tuple(place[key] for key in compiled.structure),
            tuple((row, place[key]) for row, key in compiled.optional),
        )
        self.marks = _marks(self.variant, values)
        self._structure = _getter(self.variant[0])
        self.counts = Counter(series.family for series in compiled.series)
        """Series per family."""
        columns = _columns(compiled.series, place, self.types)
        self.columns = [(column.getter, column.convert) for column in columns]
        converted = [series for column in columns for series in column.series]
        self.families = [series.family for series in converted]
        """Of the values as they are converted."""
        places = {id(series): 4 * number for number, series in enumerate(compiled.series)}
        self.spans = {
            family: slice(places[id(first)], places[id(first)] + 4 * self.counts[family])
            for family, (first, *_) in groupby(compiled.series, key=attrgetter("family"))
        }
        """Where each family is in the pieces of a text."""
        self.places = [places[id(series)] + 3 for series in converted]
        """Of the values in the pieces of a text."""

    def fits(self, values: tuple[StatValue, ...]) -> bool:
        """Whether other values of the same types make the same series."""
        structure, present = self.marks
        if structure and self._structure(values) != structure:
            return False
        return not present or _presence(self.variant, values) == present


class Shapes:
    """The shapes that are in use under one selection."""

    def __init__(self, selection: Selection, identity: Identity) -> None:
        self.selection = selection
        self.identity = identity
        self._shapes: WeakValueDictionary[Hashable, _Shape] = WeakValueDictionary()
        self._variants = lru_cache(1024)(self._new_variants)

    def part(self, keys: tuple[str, ...], values: tuple[StatValue, ...], identity: str) -> Part:
        """The text of what a domain says under all its keys of one first word; without values."""
        shape = self._of(keys, values, bare=not identity)
        return Part(shape, shape.pieces, identity)

    def part_of_facts(self, domain: DomainSample) -> tuple[Labels, Part]:
        """The identity of a domain, and the text of what its XML says."""
        compiled = domain_series(replace(domain, stats={}), self.selection, self.identity)
        families = tuple(series.family for series in compiled.series)
        shape = self._shapes.get((families, compiled.duplicates))
        if shape is None:
            shape = self._shapes[families, compiled.duplicates] = _Shape(compiled, {})
        identity = labels.render(compiled.identity)
        pieces = _pieces(compiled.series, bare=not identity)
        return compiled.identity, Part(shape, pieces, identity)

    def _of(self, keys: tuple[str, ...], values: tuple[StatValue, ...], *, bare: bool) -> _Shape:
        types = tuple(map(type, values))
        variants = self._variants(keys, types)
        for variant in variants:
            shape = self._shapes.get((bare, keys, types, variant, *_marks(variant, values)))
            if shape is not None:
                return shape
        stats = dict(zip(keys, values, strict=True))
        compiled = domain_series(as_domain(stats), self.selection, self.identity)
        shape = _Shape(compiled, stats)
        shape.pieces = _pieces(compiled.series, bare=bare)
        variants.add(shape.variant)
        self._shapes[bare, keys, types, shape.variant, *shape.marks] = shape
        return shape

    def _new_variants(self, keys: tuple[str, ...], types: tuple[type, ...]) -> set[Variant]:
        return set()


def _marks(
    variant: Variant, values: Sequence[StatValue]
) -> tuple[tuple[StatValue, ...], tuple[bool, ...]]:
    """What tells apart the shapes of the same keys and types."""
    return _getter(variant[0])(values), _presence(variant, values)


def _presence(variant: Variant, values: Sequence[StatValue]) -> tuple[bool, ...]:
    return tuple(is_present(row, values[place]) for row, place in variant[1])


def _word(key: str) -> str:
    return key.split(".", 1)[0]


class _Layout(NamedTuple):
    """Where the values of each first word are among all of a domain."""

    keys: tuple[str, ...]
    words: Sequence[tuple[str, tuple[str, ...], Getter]]
    """The first words of the keys, the keys of each, and what gets their values."""


@lru_cache(256)
def _layout(keys: tuple[str, ...]) -> _Layout:
    """The layout of keys, which domains with the same ones share."""
    words: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        words[_word(key)].append(place)
    return _Layout(
        keys,
        [
            (word, tuple(keys[place] for place in places), _getter(tuple(places)))
            for word, places in words.items()
        ],
    )


class Part:
    """The text of what a domain says under the keys of one first word.

    It is in pieces, four for each line (`_pieces`), so that rendering means to replace single items
    of a list, and domains share most of them.
    """

    __slots__ = ("_converted", "pieces", "shape", "values")

    def __init__(self, shape: _Shape, pieces: Sequence[str], identity: str) -> None:
        """`pieces` are copied; `show` is to follow where they lack values."""
        self.shape = shape
        self.values: tuple[StatValue, ...] = ()
        self.pieces = [*pieces]
        self.pieces[1::4] = [identity] * (len(pieces) // 4)
        self._converted: list[float] = [math.nan] * len(shape.families)

    def show(self, values: tuple[StatValue, ...], stale: set[int]) -> None:
        """Show other values, which fit the shape; adds the families that read otherwise."""
        shape, pieces, before = self.shape, self.pieces, self._converted
        self.values = values
        converted: list[float] = []
        for getter, convert in shape.columns:
            converted += convert(getter(values)) if convert else getter(values)
        self._converted = converted
        for place, family, new, old in zip(
            shape.places, shape.families, converted, before, strict=True
        ):
            if new != old:
                pieces[place] = repr(new)
                stale.add(family)


class DomainPlan:
    """How the text of one domain is made, for as long as its name and XML stay.

    It is made of parts, by the first word of the statistics' keys, so that a domain which says
    something new keeps the rest; all that a series needs is under keys of one first word.
    """

    __slots__ = (
        "_identity",
        "_info",
        "_layout",
        "_name",
        "_shapes",
        "_stats",
        "_types",
        "identity",
        "parts",
    )

    def __init__(self, domain: DomainSample, shapes: Shapes) -> None:
        """`take` is to follow."""
        self._shapes = shapes
        self._name = domain.name
        self._info = domain.info
        self.identity, facts = shapes.part_of_facts(domain)
        self._identity = labels.render(self.identity)
        self.parts: dict[str | None, Part] = {None: facts}
        """By first word; None: what the XML says."""
        self._layout = _layout(())
        self._types: list[type] = []
        self._stats: list[StatValue] = []

    def is_of(self, domain: DomainSample) -> bool:
        """Whether the domain still has the name and the XML that this plan is for."""
        return domain.info is self._info and domain.name == self._name

    def take(self, domain: DomainSample, stale: set[int]) -> bool:
        """Take over a sample; adds families that now read otherwise to `stale`.

        Returns whether there are other series, or other unmapped keys, than before.
        """
        keys, stats = tuple(domain.stats), [*domain.stats.values()]
        types = [*map(type, stats)]
        alike = keys == self._layout.keys and types == self._types
        # Much of what domains say stays what it is.
        if alike and stats == self._stats:
            return False
        reshaped = not alike and self._drop_others(keys, types, stale)
        for word, part_keys, getter in self._layout.words:
            values, part = getter(stats), self.parts.get(word)
            if part is not None:
                if values == part.values:
                    continue
                if part.shape.fits(values):
                    part.show(values, stale)
                    continue
                stale.update(part.shape.spans)
            part = self.parts[word] = self._shapes.part(part_keys, values, self._identity)
            part.show(values, stale)
            stale.update(part.shape.spans)
            reshaped = True
        self._types, self._stats = types, stats
        return reshaped

    def _drop_others(self, keys: tuple[str, ...], types: list[type], stale: set[int]) -> bool:
        """Keep the parts only that still have the same keys and types; whether any had not."""
        self._layout = _layout(keys)
        kept = {
            word
            for word, part_keys, getter in self._layout.words
            if (part := self.parts.get(word)) is not None
            and part.shape.keys == part_keys
            and part.shape.types == getter(types)
        }
        dropped = self.parts.keys() - kept - {None}
        for word in dropped:
            stale.update(self.parts.pop(word).shape.spans)
        return bool(dropped)

    @property
    def counts(self) -> Iterable[tuple[int, int]]:
        """Families, and how many series each has."""
        return (item for part in self.parts.values() for item in part.shape.counts.items())

    @property
    def unmapped(self) -> Iterable[str]:
        """Keys that no series is made of and that are not withheld."""
        return (key for part in self.parts.values() for key in part.shape.unmapped)

    @property
    def duplicates(self) -> int:
        """Series left out because their name and labels were taken."""
        return sum(part.shape.duplicates for part in self.parts.values())


def _pieces(series: Iterable[Series], *, bare: bool) -> list[str]:
    """Lines as line break and name, place for the identity, own labels, constant or its place.

    `bare`: there is no identity.
    """
    pieces: list[str] = []
    for item in series:
        own = labels.render(item.own)
        opening = "" if bare and not own else "{"
        comma = "," if own and not bare else ""
        closing = "}" if opening else ""
        pieces += (
            intern(f"\n{item.name}{opening}"),
            "",
            intern(f"{comma}{own}{closing} "),
            "" if item.keys else str(item.constant),
        )
    return pieces


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
