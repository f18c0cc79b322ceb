"""The network interfaces of a domain: what each is plugged into, and its limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.addresses import pci_address
from libvirt_exporter.hypervisor.domains.devices import Listed
from libvirt_exporter.hypervisor.domains.elements import (
    NOTHING,
    by_tag,
    first,
    first_given,
    positive,
)
from libvirt_exporter.hypervisor.domains.xml_values import scaled
from libvirt_exporter.model import Bandwidth, Device, Interface

_KIBIBYTE: Final = 1024
_KILOBYTE: Final = 1000
_SOURCES: Final[Mapping[str, str]] = {
    "network": "network",
    "bridge": "bridge",
    "direct": "dev",
    "vdpa": "dev",
    "user": "dev",
    "vhostuser": "path",
    "internal": "name",
    "vds": "portgroupid",
}
"""The attribute of `<source>` that says what an interface is plugged into, by the interface's type.

Which attributes there are does not tell: a running interface of a network has the type that the
network made of it, and the network's name beside the device.
"""
_SOCKETS: Final = frozenset({"mcast", "udp", "server", "client"})


def read_interfaces(listed: Iterable[Listed]) -> tuple[Interface, ...]:
    return tuple(_interface(device, element) for device, element in listed)


def _interface(device: Device, element: Element) -> Interface:
    child = by_tag(element)
    source = child.get("source", NOTHING)
    parameters = first(child.get("virtualport", NOTHING), "parameters")
    bandwidth = child.get("bandwidth", NOTHING)
    return Interface(
        device=device.name,
        has_target=device.name == device.target,
        alias=device.alias,
        mac=child.get("mac", NOTHING).get("address", ""),
        type=device.type,
        source=_source(device.type, source),
        bridge=source.get("bridge", ""),
        network=source.get("network", ""),
        model=child.get("model", NOTHING).get("type", ""),
        port_id=parameters.get("interfaceid", ""),
        link_state=child.get("link", NOTHING).get("state", ""),
        mtu=positive(child.get("mtu", NOTHING).get("size")),
        receive=_bandwidth(first(bandwidth, "inbound")),
        transmit=_bandwidth(first(bandwidth, "outbound")),
    )


def _source(kind: str, source: Element) -> str:
    if kind == "hostdev":
        return pci_address(first(source, "address").attrib)
    if kind in _SOCKETS:
        return _socket(source.get("address", ""), source.get("port", ""))
    given = source.get(_SOURCES.get(kind, ""))
    return given or first_given(*map(source.get, ("network", "bridge", "dev", "name", "path")))


def _socket(address: str, port: str) -> str:
    """Return `230.0.0.1:5558`; a server that listens everywhere has no address, `:5558`."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _bandwidth(element: Element) -> Bandwidth:
    """Read `<inbound>` or `<outbound>`: rates in kB/s, and the burst in KiB.

    libvirt (9.0) hands them to tc as kbps and kb, which means that (iproute2 6.1).
    """
    rates = {name: scaled(element.get(name), _KILOBYTE) for name in ("average", "peak", "floor")}
    return Bandwidth(**rates, burst=scaled(element.get("burst"), _KIBIBYTE))
