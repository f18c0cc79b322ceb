"""Which groups and metrics a scrape wants, out of the configuration and the request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from libvirt_exporter.catalogue import GROUPS, SAMPLE_METRICS, canonical, riders
from libvirt_exporter.catalogue.metric import Fact, Metric
from libvirt_exporter.patterns.fields import FieldPattern

_GROUP = {group.name: group for group in GROUPS}


class UnknownGroupError(ValueError):
    """A group that does not exist, or that the configuration leaves out."""


def groups_named(include: Iterable[str], exclude: Iterable[str] = ()) -> frozenset[str]:
    """Group names out of words: names, aliases, `default`, `all`; implied groups come along.

    What is excluded by name takes along the groups that would have libvirt asked for it.
    Raises UnknownGroupError with the name that is none.
    """
    return _expand(include) - excluded(exclude)


def excluded(words: Iterable[str]) -> frozenset[str]:
    """Group names that these words exclude, with all that rides on one of libvirt's groups.

    Raises UnknownGroupError with the name that is none.
    """
    words = canonical(words)
    return _expand(words) | {name for word in words for name in riders(word)}


def _expand(words: Iterable[str]) -> frozenset[str]:
    names: set[str] = set()
    for word in canonical(words):
        if word == "default":
            names.update(group.name for group in GROUPS if group.default)
        elif word == "all":
            names.update(_GROUP)
        elif word in _GROUP:
            names.update((word, *_GROUP[word].implies))
        else:
            raise UnknownGroupError(word)
    return frozenset(names)


class Selection:
    """The metrics that a scrape shows, and what must be asked of libvirt for them."""

    def __init__(
        self,
        groups: Collection[str],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        named_from: Collection[str] | None = None,
    ) -> None:
        """Metrics of `groups` that are on by default, plus `include`, minus `exclude`.

        `include` and `exclude` are FieldPattern texts. Fields included by name come whatever their
        group, unless `named_from` names the only groups that they may come from.
        """
        self._include = tuple(map(FieldPattern, include))
        self._exclude = tuple(map(FieldPattern, exclude))
        self._groups = frozenset(groups)
        self._named_from = frozenset(_GROUP) if named_from is None else frozenset(named_from)
        self.families: tuple[Metric, ...] = tuple(
            row for row in SAMPLE_METRICS if self._wants_row(row)
        )
        self.index = {row.name: index for index, row in enumerate(self.families)}
        chosen = {row.group for row in self.families}
        self.groups = frozenset(chosen)
        self.asks = frozenset(ask for name in chosen for ask in _GROUP[name].asks)
        """libvirt's bulk groups to ask for."""
        self.lanes = frozenset(lane for name in chosen for lane in _GROUP[name].lanes)
        """Slow lanes to ask."""
        self.backing = any(_GROUP[name].backing for name in chosen)
        self.wants = lru_cache(maxsize=65536)(self._wants)

    def _wants_row(self, row: Metric) -> bool:
        names = (row.name,) if isinstance(row, Fact) else (row.name, row.source)
        if any(pattern.matches(name) for pattern in self._exclude for name in names):
            return False
        return self._by_default(row) or any(
            pattern.may_match(name) for pattern in self._named(row) for name in names
        )

    def _by_default(self, row: Metric) -> bool:
        return row.group in self._groups and row.default

    def _named(self, row: Metric) -> Sequence[FieldPattern]:
        return self._include if row.group in self._named_from else ()

    def _wants(self, row: Metric, key: str) -> bool:
        """Whether the series of one stats key of a row is shown."""
        if row.name not in self.index or any(pattern.matches(key) for pattern in self._exclude):
            return False
        return self._by_default(row) or any(
            pattern.matches(row.name) or pattern.matches(key) for pattern in self._named(row)
        )
