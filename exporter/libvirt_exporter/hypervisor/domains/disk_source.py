"""Where a disk's image is, in one word."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.addresses import pci_address
from libvirt_exporter.hypervisor.domains.elements import first, first_given


def disk_source(source_type: str, source: Element | None) -> str:
    """Return `Disk.source` of a `<source>`."""
    if source is None:
        return ""
    if source_type == "network":
        return ":".join(filter(None, (source.get("protocol"), source.get("name"))))
    if source_type == "volume":
        return "/".join(filter(None, (source.get("pool"), source.get("volume"))))
    if source_type == "nvme":
        address = pci_address(first(source, "address").attrib)
        return "/".join(filter(None, (address, source.get("namespace"))))
    return first_given(*map(source.get, ("file", "dev", "dir", "path")))
