"""Fields from the domain XML: what was asked for, as opposed to what happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libvirt_exporter.model import DomainInfo, Graphics
from libvirt_exporter.query.fields.field import ABSENT, VmView

MEBIBYTE: Final = 1024 * 1024
DISPLAYS: Final[Mapping[str, str]] = {"spice": "qxl"}
"""VDSM's names of displays where they differ from libvirt's."""
NO_PORT: Final = -1
SHARES_PER_NICE: Final = 51
LOWEST_PRIORITY: Final = 20
"""VDSM gave a VM (20 - nice) · 51 CPU shares."""


def of_info(read: Callable[[DomainInfo], Any]) -> Callable[[VmView], Any]:
    """The value that `read` finds in the domain XML; None there is ABSENT here."""

    def value(view: VmView) -> Any:
        info = view.info
        found = None if info is None else read(info)
        return ABSENT if found is None else found

    return value


def metadata_of(system: str) -> Callable[[VmView], Any]:
    """What one management system wrote into the metadata."""
    return of_info(lambda info: info.metadata.get(system))


def cdrom(info: DomainInfo) -> str | None:
    """Source of the first CD-ROM drive in the order of their targets; '' of an empty one."""
    drives = [(disk.device, disk.source) for disk in info.disks if disk.kind == "cdrom"]
    return min(drives)[1] if drives else None


def cpu_type(info: DomainInfo) -> str | None:
    """CPU model with features added and taken away, or VDSM's name of a mode without model."""
    match info.cpu_mode:
        case "host-passthrough":
            return "hostPassthrough"
        case "host-model":
            return "hostModel"
        case "maximum":
            return "maximum"
    added = (f"+{feature}" for feature in info.cpu_features_required)
    removed = (f"-{feature}" for feature in info.cpu_features_disabled)
    return ",".join((info.cpu_model, *added, *removed)) if info.cpu_model else None


def custom(info: DomainInfo) -> Mapping[str, Any] | None:
    """Free-form properties: oVirt's, else Nova's of the image and of the flavor."""
    if "ovirt" in info.metadata:
        return _part(info.metadata, "ovirt", "custom")
    image = _part(info.metadata, "nova", "image", "properties")
    flavor = _part(info.metadata, "nova", "flavor", "extraSpecs")
    return None if image is None and flavor is None else {**(image or {}), **(flavor or {})}


def _part(value: Any, *path: str) -> Mapping[str, Any] | None:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else None


def devices(info: DomainInfo) -> list[dict[str, Any]]:
    """All devices in XML order, without what the XML does not say of them."""
    return [
        {
            key: value
            for key, value in (
                ("type", device.kind),
                ("device", device.type),
                ("model", device.model),
                ("name", device.target),
                ("alias", device.alias),
                ("address", dict(device.address)),
            )
            if value
        }
        for device in info.devices
    ]


def display(info: DomainInfo) -> str | None:
    """Kind of the first display."""
    first = _first_display(info)
    return DISPLAYS.get(first.type, first.type) if first else None


def display_info(info: DomainInfo) -> list[dict[str, Any]]:
    """All displays; null where there is no port or address."""
    return [
        {
            "type": graphics.type,
            "port": graphics.port,
            "tlsPort": graphics.tls_port,
            "ipAddress": graphics.listen or None,
        }
        for graphics in info.graphics
    ]


def display_ip(info: DomainInfo) -> str | None:
    """Where the first display listens."""
    first = _first_display(info)
    return (first.listen or None) if first else None


def display_port(info: DomainInfo) -> int | None:
    """Port of the first display, NO_PORT without one."""
    first = _first_display(info)
    return None if first is None else NO_PORT if first.port is None else first.port


def display_secure_port(info: DomainInfo) -> int | None:
    """TLS port of the first display, NO_PORT without one."""
    first = _first_display(info)
    return None if first is None else NO_PORT if first.tls_port is None else first.tls_port


def _first_display(info: DomainInfo) -> Graphics | None:
    return info.graphics[0] if info.graphics else None


def guaranteed_memory(info: DomainInfo) -> int | None:
    """MiB that the VM keeps whatever the balloon does."""
    size = info.ovirt.guaranteed_memory if info.ovirt else None
    if size is None:
        size = info.memory_guarantee
    return None if size is None or size < 0 else size // MEBIBYTE


def memory_size(info: DomainInfo) -> int | None:
    """MiB of memory without NVDIMMs."""
    if info.memory_maximum is None:
        return None
    return max(info.memory_maximum - info.memory_nvdimm, 0) // MEBIBYTE


def nic_model(info: DomainInfo) -> str | None:
    """Models of the interfaces in XML order, joined by commas."""
    return ",".join(nic.model for nic in info.interfaces if nic.model) or None


def nice(info: DomainInfo) -> int | None:
    """The niceness from which VDSM would have made these CPU shares; None for other shares."""
    shares = info.cpu_tune.shares
    if shares is None or shares % SHARES_PER_NICE:
        return None
    value = LOWEST_PRIORITY - shares // SHARES_PER_NICE
    return value if 0 <= value < LOWEST_PRIORITY else None


def time_offset(info: DomainInfo) -> int | None:
    """Seconds of the guest's clock ahead of UTC."""
    match info.clock_offset:
        case "utc":
            return 0
        case "localtime" | "timezone":
            return info.clock_zone_offset
        case "variable":
            basis = info.clock_zone_offset if info.clock_basis == "localtime" else 0
            if info.clock_adjustment is not None and basis is not None:
                return info.clock_adjustment + basis
    return None


def disk_serials(info: DomainInfo) -> dict[str, str] | None:
    """Serial numbers of the disks that have one, by device."""
    return {disk.device: disk.serial for disk in info.disks if disk.serial} or None


def lun_guids(info: DomainInfo) -> dict[str, str] | None:
    """oVirt's GUIDs of the LUNs behind disks, by device."""
    return {disk.device: disk.lun_guid for disk in info.disks if disk.lun_guid} or None
