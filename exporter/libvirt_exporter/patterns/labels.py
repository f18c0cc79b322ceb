"""Operator-chosen labels: where in the domain XML a label's value is, or which fact it is.

The expressions are ElementTree's XPath subset (Python's `xml.etree.ElementTree`, "Supported XPath
syntax"), relative to `<domain>` or absolute from `/domain`. They may end in `/@attribute` or
`/text()`; an expression that names an element stands for its text.

Tenants may influence how large the XML is that an expression is tried on. So an expression has few
parts, and the XML has to be small enough for any of them (`too_large`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.metadata import METADATA

MAX_LENGTH: Final = 1000
"""Characters of an expression."""
MAX_STEPS: Final = 32
MAX_PREDICATES: Final = 8
MAX_WORK: Final = 4_000_000
"""Elements that one predicate may have to look at: some tenths of a second."""

_NAME = r"[^\W\d][\w.-]*"
_QUOTED = r"""(?:'[^']*'|"[^"]*")"""
_PREDICATE = (
    rf"\[\s*(?:[1-9]\d{{0,8}}|last\(\)(?:\s*-\s*\d{{1,9}})?"
    rf"|(?:\.|@?(?:{_NAME}:)?{_NAME})\s*!?=\s*{_QUOTED}|@?(?:{_NAME}:)?{_NAME})\s*\]"
)
_STEP = rf"(?:\.\.?|(?:\{{[^{{}}]*\}}|{_NAME}:)?(?:\*|{_NAME}))(?:{_PREDICATE})*"
_ELEMENT = re.compile(rf"{_STEP}(?://?{_STEP})*")
_ATTRIBUTE = re.compile(rf"(?:^|(?<!/)/)@(?:(?P<prefix>{_NAME}):)?(?P<name>{_NAME})$")
_TEXT = re.compile(r"(?:^|(?<!/)/)text\(\)$")
_PREFIX = re.compile(rf"({_NAME}):")
_LITERAL = re.compile(rf"{_QUOTED}|\{{[^{{}}]*\}}")
_SUBSET = (
    "tags, `*`, `//`, `..`, `[@attribute='value']`, `[tag='text']`, `[position]`, "
    "and at the end `/@attribute` or `/text()`"
)


@dataclass(frozen=True, slots=True)
class LabelPath:
    """One operator-chosen label; made by `compile_label`."""

    name: str
    """Label name as configured."""
    xpath: str
    """Expression as configured."""
    namespaces: Mapping[str, str]
    """Namespace URI by the prefix that `xpath` uses for it."""
    element: str
    """ElementTree path of the elements, relative to `<domain>`."""
    attribute: str
    """Attribute that holds the value, `{uri}name` if it has a namespace; '' for the text."""

    def value(self, domain: Element, _info: DomainInfo) -> str:
        """Return the first value that is not blank, stripped; '' where the XML has none."""
        for element in domain.iterfind(self.element, dict(self.namespaces)):
            text = element.get(self.attribute) if self.attribute else element.text
            if text and (text := text.strip()):
                return text
        return ""


@dataclass(frozen=True, slots=True)
class LabelFact:
    """One operator-chosen label whose value is the same for all versions of a metadata format."""

    name: str
    """Label name as configured."""
    key: str
    """One of `metadata.METADATA`."""

    def value(self, _domain: Element, info: DomainInfo) -> str:
        """Return the fact; '' where the domain does not have it."""
        return METADATA[self.key](info)


Label = LabelPath | LabelFact


def compile_label(name: str, xpath: str, namespaces: Mapping[str, str]) -> LabelPath:
    """Check one configured label and make it ready for use.

    Raises ValueError, with a message for the author of the configuration, when `xpath` is not an
    expression of the supported subset or uses a prefix that `namespaces` does not give.
    """
    if len(xpath) > MAX_LENGTH:
        raise ValueError(f"the expression is longer than {MAX_LENGTH} characters")
    path = xpath.strip()
    attribute = ""
    if match := _ATTRIBUTE.search(path):
        attribute = _qualified_name(match["prefix"], match["name"], namespaces)
        path = path[: match.start()] or match[0].partition("@")[0] or "."
    elif match := _TEXT.search(path):
        path = path[: match.start()] or match[0].partition("text")[0] or "."
    element = _relative_to_domain(path)
    # ElementTree takes much for a tag that is none, `a|b` too, and then finds nothing.
    understood = _ELEMENT.match(element)
    rest = element[understood.end() :] if understood else element
    if rest or not element:
        where = f" from {rest!r} on" if rest else ""
        raise ValueError(f"{xpath!r} is not understood{where}; supported are {_SUBSET}")
    outline = _LITERAL.sub("", element)
    for character, limit, what in (("/", MAX_STEPS, "steps"), ("[", MAX_PREDICATES, "predicates")):
        if outline.count(character) > limit:
            raise ValueError(f"{xpath!r} has more than {limit} {what}; name fewer")
    if outline.count("//") > 1:
        # Each `//` multiplies the work by the depth of the metadata, which tenants may influence.
        raise ValueError(f"{xpath!r} uses // more than once; name the elements between")
    for prefix in _PREFIX.findall(outline):
        _namespace(prefix, namespaces)
    try:
        # ElementTree compiles the whole expression before it looks at the first element.
        Element("domain").find(element, dict(namespaces))
    except SyntaxError as error:
        raise ValueError(f"{xpath!r} is not a supported XPath expression: {error.msg}") from None
    return LabelPath(name, xpath, namespaces, element, attribute)


def too_large(domain: Element) -> bool:
    """Whether an expression could take long on this XML.

    ElementTree looks at all siblings for each position (`[2]`), and at all descendants for each
    text (`[.='x']`).
    """
    work = 0
    level = [domain]
    depth = 1
    while level:
        work += sum(len(element) ** 2 for element in level) + depth * len(level)
        if work > MAX_WORK:
            return True
        level = [child for element in level for child in element]
        depth += 1
    return False


def _relative_to_domain(path: str) -> str:
    """Turn `/domain/a` and `//a` into what ElementTree wants from the root: `./a`, `.//a`."""
    if path.startswith("//"):
        return f".{path}"
    if not path.startswith("/"):
        if path.split("/", 1)[0] == "domain":
            raise ValueError(
                f"{path!r} is relative to <domain>: leave out `domain`, or write `/{path}`"
            )
        return path
    if path.split("/", 2)[1] != "domain":
        raise ValueError(f"{path!r} starts with / and so must start with `/domain`")
    return f".{path.removeprefix('/domain')}"


def _qualified_name(prefix: str | None, name: str, namespaces: Mapping[str, str]) -> str:
    """Return an attribute's name as ElementTree spells it."""
    if prefix is None:
        return name
    return f"{{{_namespace(prefix, namespaces)}}}{name}"


def _namespace(prefix: str, namespaces: Mapping[str, str]) -> str:
    """Return the URI of a prefix. Raises ValueError, with what to write, where there is none."""
    if prefix not in namespaces:
        raise ValueError(
            f"prefix {prefix!r} is not among the namespaces; add `namespaces: {{{prefix}: URI}}` "
            f"with the URI of xmlns:{prefix} in `virsh dumpxml`"
        )
    return namespaces[prefix]
