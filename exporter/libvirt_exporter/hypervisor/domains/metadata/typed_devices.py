"""The devices among oVirt's typed items, joined to those of the domain that they describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.disk_source import disk_source
from libvirt_exporter.hypervisor.domains.elements import first
from libvirt_exporter.hypervisor.domains.metadata.reading import fact
from libvirt_exporter.model import Device

MAX_DEVICES: Final = 1000
"""Items that are looked at."""

_KINDS: Final[Mapping[str, str]] = {"balloon": "memballoon", "redir": "redirdev"}
"""libvirt's elements by oVirt's types, where they differ."""

_MARKS: Final = ("alias", "path", "deviceId", "macAddr", "address", "device")
"""What tells devices apart, the surest first."""

Mark = tuple[str, str, str]
"""Kind of device, kind of mark, and what the mark says."""


@dataclass(frozen=True)
class Joined:
    """What the items say of the domain's devices."""

    disks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values of disks, by target."""
    display_addresses: Mapping[str, str] = field(default_factory=dict)
    """Addresses of displays, by `Device.name`."""


def joined_devices(instance: Any, devices: Sequence[tuple[Device, Element]]) -> Joined:
    """Have the items of `devices` name those that they mean (`target`); return what they say.

    An item means the device that has its alias, path, serial number (`deviceId`), hardware address
    or address, the first of these that two have in common; a display the first of its type.
    """
    items = instance.get("devices") if isinstance(instance, dict) else None
    found: dict[Mark, dict[str, Any]] = {}
    for item in items[:MAX_DEVICES] if isinstance(items, list) else ():
        if isinstance(item, dict):
            for mark in _marks_of_item(item):
                found.setdefault(mark, item)
    if not found:
        return Joined()
    disks: dict[str, Mapping[str, Any]] = {}
    addresses: dict[str, str] = {}
    marks = [(device, mark) for device, element in devices for mark in _marks(device, element)]
    marks.sort(key=lambda marked: _MARKS.index(marked[1][1]))
    joined: set[str | int] = set()
    for device, mark in marks:
        item, name = found.get(mark, {}), f"{device.kind} {device.name}"
        if not item or name in joined or id(item) in joined:
            continue
        joined.update((name, id(item)))
        item["target"] = device.name
        if device.kind == "disk":
            disks[device.name] = item
        elif device.kind == "graphics":
            addresses[device.name] = _display_address(item)
    return Joined(disks, addresses)


def _marks_of_item(item: Mapping[str, Any]) -> Iterator[Mark]:
    kind = fact(item.get("type")) or fact(item.get("device"))
    kind = _KINDS.get(kind, kind)
    for mark in _MARKS[:4]:
        if text := fact(item.get(mark)).lower():
            yield kind, mark, text
    address = item.get("address")
    if isinstance(address, dict) and address:
        yield kind, "address", _spelled({name: fact(value) for name, value in address.items()})
    if kind == "graphics":
        yield kind, "device", fact(item.get("device"))


def _marks(device: Device, element: Element) -> Iterator[Mark]:
    kind = device.kind
    yield kind, "alias", device.alias.lower()
    if kind == "disk":
        yield kind, "path", disk_source(element.get("type", ""), element.find("source")).lower()
        yield kind, "deviceId", element.findtext("serial", "").lower()
    if kind == "interface":
        yield kind, "macAddr", first(element, "mac").get("address", "").lower()
    yield kind, "address", _spelled(device.address)
    if kind == "graphics":
        yield kind, "device", device.type


def _spelled(address: Mapping[str, str]) -> str:
    return ",".join(f"{name}={address[name].lower()}" for name in sorted(address))


def _display_address(item: Mapping[str, Any]) -> str:
    parameters = item.get("specParams")
    inner = parameters.get("displayIp") if isinstance(parameters, dict) else None
    return fact(item.get("displayIp")) or fact(inner)
