r"""Which domains to show: patterns on name, UUID, state, metadata and operator-chosen labels.

A pattern is one of

- a regular expression (RE2, see `expressions`) that must match the whole name;
- `uuid:<UUID>`;
- `state:<name>`, a state as libvirt calls it (`model.STATES`);
- `metadata:<key>=<regular expression>`, matching the whole value of a key of
  `metadata.METADATA`;
- `label:<name>=<regular expression>`, matching the whole value of a custom label.

In a name that starts with a word and a colon, the colon is written `\:`. Whether an expression
matches a text of more than `expressions.LONGEST_TEXT` characters cannot be told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar
from uuid import UUID

from libvirt_exporter.model import STATES, DomainInfo
from libvirt_exporter.patterns.expressions import LONGEST_TEXT, Matcher, compile_expression
from libvirt_exporter.patterns.metadata import METADATA, Fact

T = TypeVar("T")


class DomainFilter:
    """Decides which domains are shown. Immutable and free of I/O."""

    def __init__(
        self,
        include: Collection[str] = (),
        exclude: Collection[str] = (),
        labels: Collection[str] = (),
    ) -> None:
        """Compile the patterns; `labels` are the names of the custom labels.

        Raises ValueError, with a message for the author of the configuration, for what is no
        pattern.
        """
        self._include = _Patterns(include, labels) if include else None
        self._exclude = _Patterns(exclude, labels) if exclude else None

    def matches(self, name: str, uuid: str, state: str, info: DomainInfo | None) -> bool | None:
        """Return whether a domain is shown: included (an empty list includes all), not excluded.

        `uuid` and `state` are as in `model`. A fact that a domain does not have matches no
        pattern. None when it cannot be told: metadata or labels decide, and `info` is None (the
        XML has not been read yet, or is unusable); or a text is too long for an expression.
        """
        included = self._include is None or self._include.match(name, uuid, state, info)
        excluded = self._exclude is not None and self._exclude.match(name, uuid, state, info)
        if included is False or excluded is True:
            return False
        return None if included is None or excluded is None else True


class _Patterns:
    """The patterns of one list, sorted by kind so that thousands of UUIDs cost one look-up."""

    def __init__(self, patterns: Collection[str], labels: Collection[str]) -> None:
        self._names: list[Matcher] = []
        self._uuids: set[str] = set()
        self._states: set[str] = set()
        self._facts: list[tuple[Fact, Matcher]] = []
        for pattern in patterns:
            self._add(pattern, labels)
        self._match_name = _remembering(self._match_name_once)

    def match(self, name: str, uuid: str, state: str, info: DomainInfo | None) -> bool | None:
        if uuid in self._uuids or state in self._states:
            return True
        by_name = self._match_name(name)
        if by_name or not self._facts:
            return by_name
        by_facts = None if info is None else self._match_facts(info)
        return by_name if by_facts is False else by_facts

    def _match_name_once(self, name: str) -> bool | None:
        return _any(_matches(matcher, name) for matcher in self._names)

    def _match_facts(self, info: DomainInfo) -> bool | None:
        return _any(
            _matches(matcher, value) for fact, matcher in self._facts if (value := fact(info))
        )

    def _add(self, pattern: str, labels: Collection[str]) -> None:
        kind, colon, rest = pattern.partition(":")
        if not pattern:
            raise ValueError("an empty pattern matches no name; .* matches all")
        if not (colon and kind.isidentifier()):
            self._names.append(compile_expression(pattern))
        elif kind == "uuid":
            try:
                self._uuids.add(str(UUID(rest)))
            except ValueError:
                raise ValueError(
                    f"{rest!r} is not a UUID; write it as `virsh domuuid NAME` prints it"
                ) from None
        elif kind == "name":
            raise ValueError(f"a pattern of names has no prefix: write {rest.strip()!r}")
        elif kind == "state":
            self._states.add(_one_of(rest, STATES, "state"))
        elif kind in ("metadata", "label"):
            key, equals, expression = rest.partition("=")
            if not equals:
                raise ValueError(f"{pattern!r} has no =; write {kind}:<name>=<regular expression>")
            if key.endswith("!"):
                right = f"{kind}:{key[:-1]}={expression}"
                raise ValueError(f"{pattern!r}: there is no !=; write {right} in the other list")
            if kind == "metadata":
                fact = METADATA[_one_of(key, METADATA, "metadata key")]
            else:
                fact = _label(_one_of(key, labels, "custom label"))
            self._facts.append((fact, _remembering(compile_expression(expression))))
        else:
            raise ValueError(
                f"unknown kind of pattern {kind + ':'!r}; known: uuid: state: metadata: label:. "
                rf"In a name, write the colon as \:"
            )


def _remembering(match: Callable[[str], T]) -> Callable[[str], T]:
    """Most names and values are the same in each scrape."""
    return functools.lru_cache(maxsize=16384)(match)


def _matches(matcher: Matcher, text: str) -> bool | None:
    return matcher(text) if len(text) <= LONGEST_TEXT else None


def _any(outcomes: Iterable[bool | None]) -> bool | None:
    """True when one is; else None when one is, for it could have been True."""
    unsure = False
    for outcome in outcomes:
        if outcome:
            return True
        unsure = unsure or outcome is None
    return None if unsure else False


def _label(name: str) -> Fact:
    return lambda info: dict(info.custom_labels).get(name, "")


def _one_of(name: str, known: Collection[str], what: str) -> str:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known) or 'none'}")
    return name
