"""YAML text → plain values that know where they were written.

The composed nodes of YAML are used rather than constructed objects, because only they have
positions and still show duplicate keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import yaml

from libvirt_exporter.config.problem import ConfigError, Place, Problem, quoted

MAXIMUM_VALUES: Final = 100_000
"""Values in one document, aliases written out; far above any real file, far below a YAML bomb."""
MAXIMUM_DEPTH: Final = 50

_TAG = "tag:yaml.org,2002:"
_TEXT = {f"{_TAG}str", f"{_TAG}timestamp"}
_OTHER_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_MERGE = f"{_TAG}merge"

Scalar = str | int | float | bool | None


class Value(NamedTuple):
    """A value of the document. Inside mappings, `place` is where its key stands."""

    place: Place
    content: Scalar | tuple[Value, ...] | Mapping[str, Value] | Problem
    """A problem where it cannot be read; the document's problems hold it too."""
    source: str = ""
    """How a scalar is spelled in the document."""


class Document(NamedTuple):
    """What a text holds, and what is wrong with it as YAML though the rest can be read."""

    root: Value
    problems: list[Problem]


def parse(text: str, file: str) -> Document:
    """Read one YAML document; an empty one is None.

    Raises ConfigError where nothing can be read: no YAML, several documents, too many values.
    """
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{ord(text[error.position]):04X}"
        message = f"the character {character} is not allowed in YAML"
        raise ConfigError([Problem(file, line, message, "remove it")]) from None
    builder = _Builder(loader, file)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(Value(Place(file, 1), None), [])
        root = builder.build(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, file)]) from None
    except RecursionError:
        raise ConfigError([Problem(file, loader.line + 1, "nested too deeply")]) from None
    except (ValueError, OverflowError) as error:
        # PyYAML 6.0 does not look whether "\UFFFFFFFF" is a character, `%YAML 1.9…9` a number.
        message = f"not valid YAML: {error}"
        raise ConfigError([Problem(file, loader.line + 1, message)]) from None
    return Document(root, builder.problems)


class _Builder:
    """Turns the nodes of one document into values."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self._loader = loader
        self._file = file
        self._values = 0
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, depth: int = 0) -> Value:
        self._values += 1
        if self._values > MAXIMUM_VALUES:
            self._refuse(node, f"more than {MAXIMUM_VALUES} values, with aliases expanded")
        if depth > MAXIMUM_DEPTH:
            self._refuse(node, f"nested deeper than {MAXIMUM_DEPTH} levels, or in itself")
        place = self._place(node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return Value(place, self._mapping(node, depth))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return Value(place, tuple(self.build(child, depth + 1) for child in node.value))
        if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT:
            return Value(place, self._flawed(node) or node.value, node.value)
        if isinstance(node, yaml.ScalarNode) and node.tag in _OTHER_SCALARS:
            return Value(place, self._scalar(node), node.value)
        message = f"the YAML tag {quoted(node.tag)} is not supported"
        return Value(place, self._report(node, message, "remove it"))

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Mapping[str, Value]:
        own: dict[str, Value] = {}
        inherited: Mapping[str, Value] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            value = self.build(value_node, depth + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, "a key must be plain text")
                continue
            if self._flawed(key_node):
                continue
            key = key_node.value
            place = self._place(key_node)
            if key in first_lines:
                hint = f"the first one is in line {first_lines[key]}"
                self._report(key_node, f"the key {quoted(key)} is given twice", hint)
                continue
            first_lines[key] = place.line
            if key_node.tag == _MERGE:
                inherited = self._merged(key_node, value)
            else:
                own[key] = value._replace(place=place)
        return {**inherited, **own}

    def _merged(self, key_node: yaml.Node, value: Value) -> Mapping[str, Value]:
        """Return what `<<` brings in; of several mappings, the earlier one counts."""
        parts = value.content if isinstance(value.content, tuple) else (value,)
        merged: dict[str, Value] = {}
        for part in reversed(parts):
            if isinstance(part.content, Mapping):
                merged.update(part.content)
            elif not isinstance(part.content, Problem):
                self._report(key_node, "<< must be followed by a mapping or a list of mappings")
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> Scalar:
        try:
            scalar: Scalar = self._loader.construct_object(node)
        except (ValueError, LookupError):
            # `0b_` looks like a number to YAML 1.1, `!!bool perhaps` is called a boolean.
            return str(node.value)
        return scalar

    def _flawed(self, node: yaml.ScalarNode) -> Problem | None:
        """Report a text that could be neither printed nor given to libvirt or the system."""
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in node.value):
            message = f"{quoted(node.value)} contains NUL or half a surrogate pair"
            return self._report(node, message, "remove it")
        return None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1)

    def _report(self, node: yaml.Node, message: str, hint: str = "") -> Problem:
        problem = Problem(*self._place(node), message, hint)
        self.problems.append(problem)
        return problem

    def _refuse(self, node: yaml.Node, message: str) -> None:
        raise ConfigError([Problem(*self._place(node), message)])


_HINTS: Final = {
    "'\\t'": "indent with spaces",
    "found unexpected end of stream": "close the quote that begins here",
    "expected <block end>": "check the indentation of this line",
    "mapping values are not allowed": "put a text with a colon in quotes, or check the indentation",
    "expected ',' or ']'": "a comma or ] is missing",
    "expected ',' or '}'": "a comma or } is missing",
}
"""Words of PyYAML's message → what to do."""


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if error.problem == "found unexpected end of stream":
        mark = error.context_mark
    line = mark.line + 1 if mark else 0
    if error.context == "expected a single document in the stream":
        return Problem(file, line, "a second document starts here", "remove the line ---")
    parts = (part for part in (error.context, error.problem) if part)
    hint = next((hint for words, hint in _HINTS.items() if words in (error.problem or "")), "")
    return Problem(file, line, f"not valid YAML: {', '.join(parts)}", hint)
