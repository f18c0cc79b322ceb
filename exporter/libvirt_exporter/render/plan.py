"""The plan of a domain's text: its lines without the values, and where the values are.

It is compiled from the same series that `series.domain_series` lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import isfinite
from operator import itemgetter
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from msgspec.structs import replace

from libvirt_exporter.interning import intern
from libvirt_exporter.model import DomainInfo, DomainSample, StatValue
from libvirt_exporter.render import labels
from libvirt_exporter.render.labels import Labels
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import DomainSeries, Identity, as_domain, domain_series

Getter = Callable[[Sequence[Any]], tuple[Any, ...]]
Values = tuple[StatValue, ...]
Types = tuple[type, ...]


def getter(wanted: Sequence[int]) -> Getter:
    """itemgetter that gives a tuple for any number of places."""
    match wanted:
        case ():
            return lambda _: ()
        case (only,):
            return lambda values: (values[only],)
    return itemgetter(*wanted)


_shared_getter = lru_cache(1024)(getter)


class Slots:
    """The values of all domains in one list, where each keeps its place while others change."""

    def __init__(self) -> None:
        self.values: list[StatValue] = []
        self._free: dict[int, list[int]] = defaultdict(list)

    def take(self, size: int) -> int:
        """The first of so many places."""
        if free := self._free[size]:
            return free.pop()
        self.values += [0] * size
        return len(self.values) - size

    def give_back(self, start: int, size: int) -> None:
        """Let others have these places."""
        self._free[size].append(start)


Deciding = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Places of the values that decide which series there are: those that became labels or constants,
those of which a 0 says nothing, and floats, which may be no figures."""


@lru_cache(1024)
def _marks(deciding: Deciding) -> Callable[[Values], Hashable]:
    """What tells apart the shapes of the same keys and types."""
    structure, zeros, floats = map(getter, deciding)
    return lambda values: (
        structure(values),
        tuple(map(bool, zeros(values))),
        tuple(map(isfinite, floats(values))),
    )


class Shape:
    """The lines of some keys, for all domains of which these keys say alike."""

    def __init__(self, compiled: DomainSeries, keys: Sequence[str], bare: bool) -> None:
        """`bare`: the domain has no identity."""
        place = {key: place for place, key in enumerate(keys)}
        self.unmapped = compiled.unmapped
        self.duplicates = compiled.duplicates
        self.deciding: Deciding = (
            tuple(place[key] for key in compiled.structure),
            tuple(place[key] for key in compiled.zeros),
            tuple(place[key] for key in compiled.floats),
        )
        self.spans = _spans(tuple((series.family, len(series.keys)) for series in compiled.series))
        self.places = [place[key] for series in compiled.series for key in series.keys]
        """Of the values, line by line."""
        self.tails: list[str] = []
        """What comes after name and identity, a constant value included."""
        for series in compiled.series:
            own = labels.render(series.own)
            if not bare:
                own = f",{own}}}" if own else "}"
            elif own:
                own = f"{{{own}}}"
            self.tails.append(intern(f"{own} {'' if series.keys else series.constant}"))


class Span(NamedTuple):
    """Where a family is in a shape."""

    lines: slice
    values: slice
    lengths: tuple[int, ...]
    """How many values each line sums up, none for a constant."""


@lru_cache(1024)
def _spans(lines: tuple[tuple[int, int], ...]) -> Mapping[int, Span]:
    """By family, out of the family of each line and the number of its values."""
    spans, line, value = {}, 0, 0
    for family, group in groupby(lines, key=itemgetter(0)):
        lengths = tuple(length for _, length in group)
        ends = line + len(lengths), value + sum(lengths)
        spans[family] = Span(slice(line, ends[0]), slice(value, ends[1]), lengths)
        line, value = ends
    return spans


class Shapes:
    """The shapes that are in use under one selection."""

    def __init__(self, selection: Selection, identity: Identity) -> None:
        self._selection = selection
        self._identity = identity
        self._shapes: WeakValueDictionary[Hashable, Shape] = WeakValueDictionary()
        self._variants: Callable[[Hashable], set[Deciding]] = lru_cache(1024)(lambda _: set())
        """By keys and types."""

    def of(self, keys: tuple[str, ...], types: Types, values: Values, bare: bool) -> Shape:
        """That of all keys with one first word."""
        kind = bare, keys, types
        variants = self._variants(kind)
        for deciding in variants:
            shape = self._shapes.get((kind, deciding, _marks(deciding)(values)))
            if shape is not None:
                return shape
        stats = dict(zip(keys, values, strict=True))
        shape = Shape(domain_series(as_domain(stats), self._selection, self._identity), keys, bare)
        variants.add(shape.deciding)
        self._shapes[kind, shape.deciding, _marks(shape.deciding)(values)] = shape
        return shape

    def of_facts(self, domain: DomainSample) -> tuple[Labels, Shape]:
        """The identity of a domain, and the shape of what its XML says."""
        compiled = domain_series(replace(domain, stats={}), self._selection, self._identity)
        return compiled.identity, Shape(compiled, (), not compiled.identity)


class _Word(NamedTuple):
    """The keys of one first word among all of a domain."""

    word: str
    keys: tuple[str, ...]
    types: Types
    places: tuple[int, ...]


class _Layout(NamedTuple):
    """Keys and types of a domain's values, which others share."""

    keys: tuple[str, ...]
    types: Types
    words: Sequence[_Word]


@lru_cache(256)
def _layout(keys: tuple[str, ...], types: Types) -> _Layout:
    words: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        words[key.split(".", 1)[0]].append(place)
    return _Layout(
        keys,
        types,
        [
            _Word(
                word,
                tuple(keys[place] for place in places),
                tuple(types[place] for place in places),
                tuple(places),
            )
            for word, places in words.items()
        ],
    )


class Part(NamedTuple):
    """What a domain says under the keys of one first word, and where their values are."""

    shape: Shape
    places: tuple[int, ...]
    """In the slots."""


class DomainPlan:
    """Which lines one domain has; it changes as the domain does.

    It is made of parts, by the first word of the statistics' keys, as all that a series needs is
    under keys of one first word. So domains share most of them, and keep most when one changes.
    """

    def __init__(self, shapes: Shapes) -> None:
        """`take` is to follow."""
        self._shapes = shapes
        self._name: str | None = None
        self._info: DomainInfo | None = None
        self._layout = _layout((), ())
        self.identity: Labels = ()
        self.text = ""
        """The identity with the brace before it, as it is in the lines."""
        self.parts: Mapping[str | None, Part] = {}
        """By first word; None: what the XML says."""
        self.series = 0
        """How many series there are."""
        self.duplicates = 0
        """Series left out because their name and labels were taken."""
        self.unmapped: Sequence[str] = ()
        """Keys that no series is made of and that are not withheld."""
        self.start = 0
        """Of the domain's values in the slots."""
        self._size = 0

    def take(self, domain: DomainSample, slots: Slots, stale: set[int]) -> bool:
        """Take over a sample; adds families that now have other lines to `stale`.

        Returns whether there may be other series, or other unmapped keys, than before.
        """
        keys, values = tuple(domain.stats), tuple(domain.stats.values())
        types = tuple(map(type, values))
        known = domain.info is self._info and domain.name == self._name
        alike = known and keys == self._layout.keys and types == self._layout.types
        if not alike or self._marks_of(values) != self._marks:
            self._layout = _layout(keys, types)
            self._reshape(values, None if known else domain, slots, stale)
            alike = False
        slots.values[self.start : self.start + len(values)] = values
        return not alike

    def leave(self, slots: Slots) -> None:
        """Give back the places of the values."""
        slots.give_back(self.start, self._size)

    def _reshape(
        self, values: Values, other: DomainSample | None, slots: Slots, stale: set[int]
    ) -> None:
        """`other`: the domain, if name or XML have changed."""
        before, parts, renamed = self.parts, dict[str | None, Part](), False
        if other is None:
            parts[None] = before[None]
        else:
            identity, facts = self._shapes.of_facts(other)
            renamed = identity != self.identity
            self.identity = identity
            self.text = f"{{{labels.render(identity)}" if identity else ""
            self._name, self._info = other.name, other.info
            parts[None] = Part(facts, ())
        if len(values) > self._size:
            self.leave(slots)
            # Few sizes, so that what one gives back fits another.
            self._size = 1 << len(values).bit_length()
            self.start = slots.take(self._size)
        deciding: tuple[list[int], ...] = ([], [], [])
        for word, keys, types, places in self._layout.words:
            told = _shared_getter(places)(values)
            shape = self._shapes.of(keys, types, told, not self.identity)
            parts[word] = Part(shape, tuple(self.start + place for place in places))
            for which, chosen in zip(deciding, shape.deciding, strict=True):
                which += [places[place] for place in chosen]
        structure, zeros, floats = map(tuple, deciding)
        self._marks_of = _marks((structure, zeros, floats))
        self._marks = self._marks_of(values)
        for first in before.keys() | parts.keys():
            pair = before.get(first), parts.get(first)
            if renamed or pair[0] != pair[1]:
                stale.update(*(part.shape.spans for part in pair if part is not None))
        self.parts = parts
        shapes = [part.shape for part in parts.values()]
        self.series = sum(len(shape.tails) for shape in shapes)
        self.duplicates = sum(shape.duplicates for shape in shapes)
        self.unmapped = [key for shape in shapes for key in shape.unmapped]
