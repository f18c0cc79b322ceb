"""The devices of a domain: all by name and address, and those that have facts of their own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import count
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.addresses import (
    guest_address,
    host_address,
    host_name,
    pci_bus_id,
)
from libvirt_exporter.hypervisor.domains.elements import (
    NOTHING,
    by_tag,
    first,
    first_given,
    positive,
)
from libvirt_exporter.model import Device, FileSystem, Graphics, HostDevice, Watchdog

Listed = tuple[Device, Element]
"""A device and the element that it was read of."""

_NAMED_BY_TARGET: Final = frozenset({"disk", "interface"})


def read_devices(devices: Element) -> list[Listed]:
    """Read all children of `<devices>` but the emulator, in XML order.

    Inactive XML has no aliases, live XML has none for displays and panic devices; libvirt does not
    forbid two of one model, and so a device may have nothing but its position to be known by.
    """
    taken: dict[str, set[str]] = defaultdict(set)
    positions: Counter[str] = Counter()
    listed = []
    for element in devices:
        if element.tag == "emulator":
            continue
        device = _device(element, positions[element.tag], taken[element.tag])
        taken[device.kind].add(device.name)
        positions[device.kind] += 1
        listed.append((device, element))
    return listed


def of_kind(devices: Iterable[Listed], kind: str) -> list[Listed]:
    return [listed for listed in devices if listed[0].kind == kind]


def _device(element: Element, position: int, taken: set[str]) -> Device:
    kind = element.tag
    # Most devices have no more than these children, so that a look at each is the cheapest.
    alias = first(element, "alias").get("name", "")
    address = first(element, "address").attrib
    target = first(element, "target").get("dev", "")
    given = (target, alias) if kind in _NAMED_BY_TARGET else (alias,)
    return Device(
        kind=kind,
        name=_name(given, kind, position, taken),
        type=element.get("device", "disk") if kind == "disk" else element.get("type", ""),
        model=element.get("model", "") or first(element, "model").get("type", ""),
        alias=alias,
        target=target,
        address=address,
        guest_address=guest_address(address),
    )


def _name(given: tuple[str, ...], kind: str, position: int, taken: set[str]) -> str:
    for name in given:
        if name and name not in taken:
            return name
    return next(name for number in count(position) if (name := f"{kind}{number}") not in taken)


def watchdog(device: Device, element: Element) -> Watchdog:
    return Watchdog(device.model, element.get("action", "reset"), device.name)


def graphics(device: Device, element: Element, listen_elsewhere: str) -> Graphics:
    """Read a `<graphics>`; `listen_elsewhere` is the address where the XML gives none."""
    listen = first(element, "listen")
    return Graphics(
        type=device.type,
        device=device.name,
        listen=first_given(
            element.get("listen"),
            listen.get("address"),
            element.get("socket"),
            listen.get("socket"),
            listen_elsewhere,
        ),
        port=positive(element.get("port")),
        tls_port=positive(element.get("tlsPort")),
        websocket=positive(element.get("websocket")),
    )


def host_device(device: Device, element: Element) -> HostDevice:
    """Read a `<hostdev>`, of a machine or (mode capabilities) of a container."""
    child = by_tag(element)
    source = child.get("source", NOTHING)
    is_pci = device.type == "pci"
    return HostDevice(
        device=device.name,
        type=device.type,
        address=host_address(device.type, source),
        pci_bus_id=pci_bus_id(first(source, "address").attrib) if is_pci else "",
        guest_address=device.guest_address,
        driver=first_given(*map(child.get("driver", NOTHING).get, ("name", "model"))),
        source=host_name(source),
    )


def filesystem(device: Device, element: Element) -> FileSystem:
    child = by_tag(element)
    return FileSystem(
        device=device.name,
        target=child.get("target", NOTHING).get("dir", ""),
        type=device.type,
        access=element.get("accessmode", ""),
        driver=child.get("driver", NOTHING).get("type", ""),
        readonly="readonly" in child,
    )
