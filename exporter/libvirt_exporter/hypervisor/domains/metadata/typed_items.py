"""oVirt's typed items (`instance/1.0`): Python values as XML, and back to JSON's.

The form is that of pyxmlpickle: the root holds one `<value type=…>`, and below it every dict,
list, set or tuple holds `<item type=…>`, with a `key` in a dict and an `index` elsewhere.
"""

from __future__ import annotations

from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.metadata.reading import Reading
from libvirt_exporter.hypervisor.domains.xml_values import integer

INSTANCE: Final = "{http://ovirt.org/vm/instance/1.0}"
MAX_DEPTH: Final = 32
"""Containers within each other."""

ITEM: Final = (f"{INSTANCE}item", "item")
"""Tags of an item."""
_VALUE: Final = (f"{INSTANCE}value", "value")


def typed_value(instance: Element, reading: Reading) -> Any:
    """Return the value that the items below `<instance>` make; None when there is none.

    Elements count with the namespace of `instance/1.0` or without any. Another element, an item
    without type, key or index, with text that is not of its type, or too deep is left out; one of
    an unknown type is its text; all these are counted. Items of a sequence stand in the order of
    their indexes, and of those with the same key the last one stands.
    """
    values = reading.named(instance, _VALUE)
    reading.malformed += len(values[1:])
    return _value(values[0], reading, MAX_DEPTH) if values else None


def _value(node: Element, reading: Reading, depth: int) -> Any:
    kind = node.get("type", "").strip().lower()
    if kind in ("dict", "list", "set", "tuple"):
        if depth:
            read = _dict if kind == "dict" else _list
            return read(node, reading, depth - 1)
    elif kind == "bool" and (text := (node.text or "").strip()):
        return text.lower() == "true"
    elif kind:
        return reading.scalar(node, kind)
    reading.malformed += 1
    return None


def _dict(node: Element, reading: Reading, depth: int) -> dict[str, Any]:
    values = {}
    for item in reading.named(node, ITEM):
        key = reading.attribute(item, "key")
        if key is None:
            reading.malformed += 1
        elif (value := _value(item, reading, depth)) is not None:
            values[key] = value
    return values


def _list(node: Element, reading: Reading, depth: int) -> list[Any]:
    values = []
    for item in reading.named(node, ITEM):
        index = integer(item.get("index"))
        if index is None:
            reading.malformed += 1
        elif (value := _value(item, reading, depth)) is not None:
            values.append((index, value))
    return [value for _, value in sorted(values, key=lambda pair: pair[0])]
