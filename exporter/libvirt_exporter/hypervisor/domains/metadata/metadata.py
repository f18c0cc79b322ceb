"""What management systems keep in the `<metadata>` of the domain XML.

Elements are found by namespace URI, never by prefix: real XML carries `ns0:qos` as well as
`ovirt-tune:qos`. Tenants may influence what stands here, so reading is bounded, and what cannot be
used counts as absent. oVirt's payload holds what initialises a guest, passwords among it, and is
taken out before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.metadata.kubevirt import KUBEVIRT, read_kubevirt
from libvirt_exporter.hypervisor.domains.metadata.nova import openstack_info, read_nova
from libvirt_exporter.hypervisor.domains.metadata.ovirt import (
    VM,
    ovirt_device,
    ovirt_info,
    read_ovirt,
)
from libvirt_exporter.hypervisor.domains.metadata.reading import Reading, fact, given
from libvirt_exporter.hypervisor.domains.metadata.typed_devices import joined_devices
from libvirt_exporter.hypervisor.domains.metadata.typed_items import INSTANCE, ITEM, typed_value
from libvirt_exporter.model import Device, OpenStackInfo, OvirtInfo

_LIBOSINFO: Final = "{http://libosinfo.org/xmlns/libvirt/domain/1.0}"
_SECRETS: Final = frozenset({f"{VM}payload", f"{VM}vmPayload"})
_BARE_SECRETS: Final = frozenset({"payload", "vmPayload"})
"""Below oVirt's `<vm>` only."""
_SECRET_KEYS: Final = frozenset({"payload", "vmpayload"})


@dataclass(frozen=True)
class Metadata:
    """All that is read of one domain's metadata."""

    os_id: str = ""
    openstack: OpenStackInfo | None = None
    ovirt: OvirtInfo | None = None
    systems: Mapping[str, Any] = field(default_factory=dict)
    """`DomainInfo.metadata`."""
    disks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """oVirt's values of each disk that it describes, by target."""
    display_addresses: Mapping[str, str] = field(default_factory=dict)
    """oVirt's address of each display that it describes, by `Device.name`."""
    malformed: int = 0
    """Values that were left out."""


def read_metadata(metadata: Element, devices: Sequence[tuple[Device, Element]]) -> Metadata:
    """Read the metadata of all known systems; `devices` are those that oVirt's may mean.

    What initialises a guest must have been taken out (`remove_secrets`).
    """
    if not len(metadata):
        return Metadata()
    reading = Reading()
    nova = read_nova(metadata, reading)
    ovirt = read_ovirt(metadata, reading)
    libosinfo = _libosinfo(metadata, reading)
    kubevirt = metadata.find(f"{KUBEVIRT}kubevirt")
    element = metadata.find(f"{INSTANCE}instance")
    instance = None if element is None else typed_value(element, reading)
    typed = joined_devices(instance, devices)
    systems = {
        "nova": nova,
        "ovirt": ovirt,
        "libosinfo": libosinfo,
        "kubevirt": None if kubevirt is None else read_kubevirt(kubevirt, reading),
        "instance": instance,
    }
    flat = _joined(ovirt["devices"], devices) if ovirt and "devices" in ovirt else {}
    return Metadata(
        os_id=fact((libosinfo or {}).get("os", {}).get("id")),
        openstack=None if nova is None else openstack_info(nova),
        ovirt=None if ovirt is None else ovirt_info(ovirt),
        systems={name: system for name, system in systems.items() if system is not None},
        disks={
            name: {**typed.disks.get(name, {}), **flat.get(name, {})}
            for name in typed.disks.keys() | flat.keys()
        },
        display_addresses=typed.display_addresses,
        malformed=reading.malformed,
    )


def remove_secrets(metadata: Element) -> None:
    """Take out of the tree what no output may ever show, whatever expression looks for it."""
    _remove(metadata, _is_secret)
    for vm in metadata.findall(f"{VM}vm"):
        _remove(vm, lambda element: element.tag in _BARE_SECRETS)


def _remove(tree: Element, is_secret: Callable[[Element], bool]) -> None:
    if any(map(is_secret, tree.iter())):
        for parent in tree.iter():
            parent[:] = [child for child in parent if not is_secret(child)]


def _is_secret(element: Element) -> bool:
    tag = element.tag
    return tag in _SECRETS or (
        tag in ITEM and element.get("key", "").strip().lower() in _SECRET_KEYS
    )


def _joined(
    described: list[dict[str, Any]], devices: Iterable[tuple[Device, Element]]
) -> Mapping[str, Mapping[str, Any]]:
    """Have oVirt's devices name those that they mean; return the values of the disks by target."""
    disks = {}
    for device, element in devices:
        one = ovirt_device(described, device, element)
        if one is None:
            continue
        if device.kind == "disk":
            disks[device.target] = one.get("values", {})
        if name := device.target or device.alias:
            one["device"] = name
    return disks


def _libosinfo(metadata: Element, reading: Reading) -> dict[str, Any] | None:
    info = metadata.find(f"{_LIBOSINFO}libosinfo")
    if info is None:
        return None
    return given({"os": given({"id": reading.attribute(info.find(f"{_LIBOSINFO}os"), "id")})})
