"""Patterns of `fields.include` and `fields.exclude`: metric names or stats keys, `*` for a part."""

from __future__ import annotations

import re

from libvirt_exporter.patterns.expressions import Matcher, compile_expression

_PLACEHOLDER = re.compile(r"<\w+>")


class FieldPattern:
    """One pattern, matched against whole metric names and stats keys.

    `*` stands for any characters, dots included: `block.*.rd.*` and `libvirt_domain_block_*`.
    A placeholder as the catalogue writes it (`block.<num>.rd.bytes`) stands for one part of a key.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._matches = _matcher(pattern)

    def __repr__(self) -> str:
        return f"FieldPattern({self.pattern!r})"

    def matches(self, name_or_key: str) -> bool:
        """Whether a metric name or a concrete stats key (`block.0.rd.bytes`) is meant."""
        return self._matches(name_or_key)

    def may_match(self, source: str) -> bool:
        """Whether some key of a catalogue source (`vcpu.<num>.<name>.sum`) could be meant."""
        if self.matches(source):
            return True
        wanted, offered = self.pattern.split("."), source.split(".")
        return len(wanted) == len(offered) and all(map(_part_may_match, wanted, offered))


def _matcher(pattern: str) -> Matcher:
    return compile_expression("".join(map(_as_regex, re.split(r"(\*+|<\w+>)", pattern))))


def _as_regex(part: str) -> str:
    if part.startswith("*"):
        return ".*"
    return "[^.]+" if _PLACEHOLDER.fullmatch(part) else re.escape(part)


def _part_may_match(wanted: str, offered: str) -> bool:
    if "*" in wanted or _PLACEHOLDER.search(wanted):
        return True
    if _PLACEHOLDER.search(offered):
        return _matcher(offered)(wanted)
    return wanted == offered
