"""Fields from what management systems wrote into the metadata of the domain XML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.query.fields.field import VmView, of_info, xml_field
from libvirt_exporter.query.fields.schema import ANY, OBJECT, STRING, map_of


def _custom(info: DomainInfo) -> Mapping[str, Any] | None:
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


def _written_by(system: str) -> Callable[[VmView], Any]:
    return of_info(lambda info: info.metadata.get(system))


def _lun_guids(info: DomainInfo) -> dict[str, str] | None:
    return {disk.device: disk.lun_guid for disk in info.disks if disk.lun_guid} or None


FIELDS: Final = (
    xml_field(
        name="custom",
        schema=OBJECT,
        text="Free-form properties from oVirt; for a Nova VM those of image and flavor.",
        source="metadata: oVirt's custom; Nova's image/properties and flavor/extraSpecs",
        sensitive=True,
        no_metric="Free-form, and may contain secrets; labels.custom can show selected values.",
        value=of_info(_custom),
        why_absent="The domain XML has no metadata of oVirt or Nova.",
    ),
    *(
        xml_field(
            name=system,
            own=True,
            schema=ANY,
            text=f"Metadata of {owner} as a JSON value; never a payload (cloud-init, sysprep).",
            source=f"domain XML, metadata of {namespace}",
            sensitive=True,
            metric=metric,
            no_metric="" if metric else "Free-form; labels.custom can show selected values.",
            value=_written_by(system),
            why_absent=f"The domain XML has no metadata of {owner}.",
        )
        for system, owner, namespace, metric in (
            ("instance", "oVirt (typed items)", "http://ovirt.org/vm/instance/1.0", ""),
            ("kubevirt", "KubeVirt", "http://kubevirt.io", ""),
            (
                "libosinfo",
                "libosinfo",
                "http://libosinfo.org/xmlns/libvirt/domain/1.0",
                "libvirt_domain_os_info",
            ),
            (
                "nova",
                "OpenStack Nova",
                "http://openstack.org/xmlns/libvirt/nova/1.1 and 1.0",
                "libvirt_domain_openstack_info",
            ),
            (
                "ovirt",
                "oVirt",
                "http://ovirt.org/vm/1.0 and http://ovirt.org/vm/tune/1.0",
                "libvirt_domain_ovirt_info",
            ),
        )
    ),
    xml_field(
        name="lunGUIDs",
        own=True,
        schema=map_of(STRING),
        text="oVirt's GUIDs of the disks' LUNs, by target.",
        source="metadata: oVirt's GUID",
        sensitive=True,
        no_metric="It identifies storage; labels.custom can show it.",
        value=of_info(_lun_guids),
        why_absent="The domain XML has no metadata of oVirt that names a LUN.",
    ),
)
