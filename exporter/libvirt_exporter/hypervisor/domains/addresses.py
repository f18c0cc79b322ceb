"""Addresses of devices in one word: those of the host, and those that the guest sees."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.elements import by_tag, first, first_given, text_of
from libvirt_exporter.hypervisor.domains.xml_values import hexadecimal

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "drive": ("controller", "bus", "target", "unit"),
    "usb": ("bus", "port"),
    "virtio-serial": ("controller", "bus", "port"),
    "ccid": ("controller", "slot"),
    "dimm": ("slot",),
    "isa": ("iobase", "irq"),
}
"""Attributes that make an address, by its type."""


def pci_address(address: Mapping[str, str]) -> str:
    """Return `0000:3b:00.1` from the attributes; '' when they are no such address."""
    parts = [hexadecimal(address.get(part)) for part in ("domain", "bus", "slot", "function")]
    match parts:
        case [int(domain), int(bus), int(slot), int(function)] if address:
            return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
    return ""


def pci_bus_id(address: Mapping[str, str]) -> str:
    """Return `00000000:3B:00.1`, as NVIDIA's programs write it."""
    text = pci_address(address).upper()
    return f"{text.partition(':')[0]:0>8}{text[text.find(':') :]}" if text else ""


def guest_address(address: Mapping[str, str]) -> str:
    """Return the address of a device in the guest in one word; '' without one."""
    return _word(tuple(address.items())) if address else ""


# Most domains have their devices at the same few addresses.
@lru_cache(maxsize=4096)
def _word(items: tuple[tuple[str, str], ...]) -> str:
    address = dict(items)
    kind = address.get("type", "")
    if kind == "pci":
        return pci_address(address)
    parts = _PARTS.get(kind, tuple(name for name in address if name != "type"))
    return ":".join(address[part] for part in parts if part in address)


def host_address(kind: str, source: Element) -> str:
    """Return where a host device of a kind is on the host; '' where it has another kind of name."""
    address = first(source, "address").attrib
    match kind:
        case "pci":
            return pci_address(address)
        case "mdev":
            return address.get("uuid", "")
        case "usb":
            return _usb(address) or ":".join(
                first(source, part).get("id", "").removeprefix("0x")
                for part in ("vendor", "product")
                if source.find(part) is not None
            )
        case "scsi":
            return _scsi(first(source, "adapter").get("name", ""), address)
    return ""


def host_name(source: Element) -> str:
    """Return what else names a host device: iSCSI name, WWPN, path or network device."""
    child = by_tag(source)
    return first_given(
        source.get("name"),
        source.get("wwpn"),
        *(text_of(child, tag) for tag in ("block", "char", "interface")),
    )


def _usb(address: Mapping[str, str]) -> str:
    """Return bus and device as lsusb and /dev/bus/usb write them."""
    numbers = [address.get(part, "") for part in ("bus", "device")]
    return ":".join(f"{number:0>3}" for number in numbers) if all(numbers) else ""


def _scsi(adapter: str, address: Mapping[str, str]) -> str:
    """Return host, channel, target and LUN as lsscsi writes them."""
    host = adapter.removeprefix("scsi_host")
    return (
        ":".join((host, *(address.get(part, "0") for part in _PARTS["drive"][1:]))) if host else ""
    )
