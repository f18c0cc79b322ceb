"""Steps through the elements of libvirt's XML; what is not there is empty, never an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.xml_values import integer

NOTHING: Final = Element("nothing")
"""An element that holds nothing."""


def by_tag(parent: Element | None) -> Mapping[str, Element]:
    """Return the children by tag, the first of each."""
    return {} if parent is None else {child.tag: child for child in reversed(parent)}


def first(parent: Element, tag: str) -> Element:
    """Return the first child of that tag or path; without one, an element that holds nothing."""
    found = parent.find(tag)
    return NOTHING if found is None else found


def text_of(children: Mapping[str, Element], tag: str) -> str:
    return children.get(tag, NOTHING).text or ""


def first_given(*texts: str | None) -> str:
    """Return the first text that is not empty."""
    return next(filter(None, texts), "")


def positive(text: str | None) -> int | None:
    """Read an integer above 0."""
    value = integer(text)
    return value if value is not None and value > 0 else None
