"""Bounded reading of metadata, which tenants may influence.

One `Reading` serves all metadata of one domain: what is too much, too long or not of its type is
left out and counted, and everything else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.xml_values import integer, number, scaled

MAX_ITEMS: Final = 10_000
"""Elements that are looked at, in all metadata of a domain together."""
MAX_TEXT: Final = 65_536
"""Characters of one value."""
MAX_FACT: Final = 4096
"""Characters of a name, an id or a number; what is longer is none."""

Scalar = int | float | bool | str


class Reading:
    """How much may still be read, and how much could not be used."""

    def __init__(self) -> None:
        self.malformed = 0
        """Values that were left out."""
        self._left = MAX_ITEMS

    def children(self, parent: Element | None) -> list[Element]:
        """Return the children, as many as may still be read of this domain."""
        if parent is None:
            return []
        children = parent[: self._left]
        self._left -= len(children)
        if len(children) < len(parent):
            self.malformed += 1
        return children

    def by_name(
        self, parent: Element | None, namespace: str, *, bare: bool = False
    ) -> dict[str, Element]:
        """Return the children in `namespace`, `{uri}`, by local name; the last of each name.

        With `bare`, those without any namespace count too. Others are left out and counted.
        """
        found = {}
        for child in self.children(parent):
            name = child.tag.removeprefix(namespace)
            if name.startswith("{") or (name == child.tag and not bare):
                self.malformed += 1
            else:
                found[name] = child
        return found

    def named(self, parent: Element | None, tags: Collection[str]) -> list[Element]:
        """Return the children of these tags; others are left out and counted."""
        children = self.children(parent)
        found = [child for child in children if child.tag in tags]
        self.malformed += len(children) - len(found)
        return found

    def text(self, element: Element | None) -> str | None:
        """Return an element's text, '' when it is empty; None without an element."""
        return None if element is None else self.bounded(element.text or "")

    def leaf(self, element: Element | None) -> str | None:
        """Return an element's text; None, and counted, when it has children."""
        if element is not None and len(element):
            self.malformed += 1
            return None
        return self.text(element)

    def attribute(self, element: Element | None, name: str) -> str | None:
        """Return an attribute; None without one."""
        text = None if element is None else element.get(name)
        return None if text is None else self.bounded(text)

    def bounded(self, text: str) -> str | None:
        """Return the text; None, and counted, when it is too long."""
        if len(text) <= MAX_TEXT:
            return text
        self.malformed += 1
        return None

    def scalar(self, element: Element | None, kind: str) -> Scalar | None:
        """Return an element's text as an int, float, bool or str, whichever `kind` says.

        None without an element, or counted when it has children or the text is not of the kind. Of
        another kind, the text as it is, counted too.
        """
        text = self.leaf(element)
        if text is None:
            return None
        read = _SCALARS.get(kind)
        value = read(text) if read else text
        if not read or value is None:
            self.malformed += 1
        return value

    def count(self, element: Element | None) -> int | None:
        """Return an integer that is not negative; None, and counted, for other text."""
        text = self.text(element)
        value = scaled(text, 1)
        if text is not None and value is None:
            self.malformed += 1
        return value


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is: neither None nor an empty text, list or mapping."""
    return {name: value for name, value in values.items() if value or value == 0}


def fact(value: object) -> str:
    """Return a value as a name, an id or a number spelled out; '' when it is none."""
    text = "" if value is None else str(value)
    return text.strip() if len(text) <= MAX_FACT else ""


def truth(text: str) -> bool | None:
    """Read oVirt's truth: `true` in any case or an integer other than 0; None for no text."""
    text = text.strip()
    if not text:
        return None
    return text.lower() == "true" or bool(integer(text))


def _long(text: str) -> int | None:
    """Read an integer as Python writes it; Python 2 wrote `10L`."""
    return integer(text.strip().removesuffix("L"))


_SCALARS: Final[Mapping[str, Callable[[str], Scalar | None]]] = {
    "str": str,
    "int": _long,
    "float": number,
    "bool": truth,
}
