"""KubeVirt's `<kubevirt>`: what virt-launcher notes of a VM that it runs, and of its work on it.

Which parts there are grows with KubeVirt's releases (graceperiod, migration, accessCredential,
memoryDump, backup …), so every part is read. virt-launcher finds its elements by name, whatever
their namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.metadata.reading import Reading, given

KUBEVIRT: Final = "{http://kubevirt.io}"
MAX_DEPTH: Final = 8
"""Elements within each other."""

_KINDS: Final[Mapping[str, str]] = {
    "deletionGracePeriodSeconds": "int",
    **dict.fromkeys(
        ("completed", "failed", "markedForGracefulShutdown", "skipQuiesce", "succeeded"), "bool"
    ),
}
"""Types of values that are no text."""


def read_kubevirt(kubevirt: Element, reading: Reading) -> dict[str, Any]:
    """Return all parts in KubeVirt's words, values of the types that KubeVirt gives them."""
    return _object(kubevirt, reading, MAX_DEPTH)


def _object(parent: Element, reading: Reading, depth: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, child in reading.by_name(parent, KUBEVIRT, bare=True).items():
        if len(child) and depth:
            values[name] = _object(child, reading, depth - 1)
        else:
            values[name] = reading.scalar(child, _KINDS.get(name, "str"))
    return given(values)
