"""What management systems keep in the `<metadata>` of the domain XML.

Elements are found by namespace URI, never by prefix: real XML carries `ns0:qos` as well as
`ovirt-tune:qos`. Tenants may influence what stands here, so each value is bounded, and one that
is too long or not of its type counts as absent. oVirt's `<payload>` holds what initialises a
guest, passwords among it, and is never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.xml_values import integer, number, scaled
from libvirt_exporter.model import OpenStackInfo, OvirtInfo

_NOVA: Final = (
    "{http://openstack.org/xmlns/libvirt/nova/1.1}",
    "{http://openstack.org/xmlns/libvirt/nova/1.0}",
)
_OVIRT_VM: Final = "{http://ovirt.org/vm/1.0}"
_OVIRT_TUNE: Final = "{http://ovirt.org/vm/tune/1.0}"
_LIBOSINFO: Final = "{http://libosinfo.org/xmlns/libvirt/domain/1.0}"
_SECRETS: Final = frozenset({f"{_OVIRT_VM}payload", f"{_OVIRT_VM}vmPayload"})

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_MAX_TEXT: Final = 4096
"""Characters; a longer value is nobody's name, id or number."""
_MAX_ITEMS: Final = 10_000
"""Children of one element that are looked at."""


def os_id(metadata: Element) -> str:
    """Return libosinfo's URI of the guest's operating system; '' where absent."""
    info = metadata.find(f"{_LIBOSINFO}libosinfo")
    return "" if info is None else _attribute(info.find(f"{_LIBOSINFO}os"), "id")


def openstack(metadata: Element) -> OpenStackInfo | None:
    """Read Nova's `<instance>` (namespace 1.1, else 1.0); None where absent.

    The image is the one that `<image>` names (Nova 32 and later), else the one of `<root>`.
    """
    for nova in _NOVA:
        instance = metadata.find(f"{nova}instance")
        if instance is not None:
            return _openstack(instance, nova)
    return None


def ovirt(metadata: Element) -> OvirtInfo | None:
    """Read oVirt's flat `<vm>` and the cpu limit of its `<qos>`; None when neither is there."""
    vm = metadata.find(f"{_OVIRT_VM}vm")
    qos = metadata.find(f"{_OVIRT_TUNE}qos")
    if vm is None and qos is None:
        return None
    value = _children(vm, _OVIRT_VM)
    tune = _children(qos, _OVIRT_TUNE)
    guaranteed = scaled(_text(value.get("minGuaranteedMemoryMb")), _MIB)
    if guaranteed is None:
        guaranteed = scaled(_text(value.get("memGuaranteedSize")), _MIB)
    percent = number(_text(tune.get("vcpuLimit", tune.get("vcpulimit"))))
    return OvirtInfo(
        cluster_version=_text(value.get("clusterVersion")),
        cpu_policy=_text(value.get("cpuPolicy")),
        resume_behavior=_text(value.get("resumeBehavior")),
        ballooning_enabled=_boolean(value.get("ballooningEnabled")),
        launch_paused=_boolean(value.get("launchPaused")),
        guaranteed_memory=guaranteed,
        balloon_target=scaled(_text(value.get("balloonTarget")), 1024),
        start_time=number(_text(value.get("startTime"))),
        vcpu_limit=None if percent is None or percent < 0 else percent / 100,
    )


def remove_secrets(metadata: Element) -> None:
    """Take out of the tree what no output may ever show, whatever expression looks for it."""
    for parent in metadata.iter():
        for child in [child for child in parent if child.tag in _SECRETS]:
            parent.remove(child)


def _openstack(instance: Element, nova: str) -> OpenStackInfo:
    value = _children(instance, nova)
    flavor = _children(value.get("flavor"), nova)
    owner = _children(value.get("owner"), nova)
    root_type = _attribute(value.get("root"), "type")
    image_id = _attribute(value.get("image"), "uuid")
    if not image_id and root_type == "image":
        image_id = _attribute(value.get("root"), "uuid")
    return OpenStackInfo(
        instance_name=_text(value.get("name")),
        flavor=_attribute(value.get("flavor"), "name"),
        flavor_id=_attribute(value.get("flavor"), "id"),
        image_id=image_id,
        project_id=_attribute(owner.get("project"), "uuid"),
        project_name=_text(owner.get("project")),
        user_id=_attribute(owner.get("user"), "uuid"),
        user_name=_text(owner.get("user")),
        root_type=root_type,
        package_version=_attribute(value.get("package"), "version"),
        creation_time=_utc(_text(value.get("creationTime"))),
        flavor_vcpus=scaled(_text(flavor.get("vcpus")), 1),
        flavor_memory=scaled(_text(flavor.get("memory")), _MIB),
        flavor_disk=scaled(_text(flavor.get("disk")), _GIB),
        flavor_swap=scaled(_text(flavor.get("swap")), _MIB),
        flavor_ephemeral=scaled(_text(flavor.get("ephemeral")), _GIB),
    )


def _children(parent: Element | None, namespace: str) -> Mapping[str, Element]:
    """Return the children in `namespace` by local name; the last of a name, as oVirt reads it."""
    if parent is None:
        return {}
    size = len(namespace)
    return {
        child.tag[size:]: child
        for child in islice(parent, _MAX_ITEMS)
        if child.tag.startswith(namespace)
    }


def _text(element: Element | None) -> str:
    text = "" if element is None else element.text or ""
    return text.strip() if len(text) <= _MAX_TEXT else ""


def _attribute(element: Element | None, name: str) -> str:
    text = "" if element is None else element.get(name, "")
    return text.strip() if len(text) <= _MAX_TEXT else ""


def _boolean(element: Element | None) -> bool | None:
    """Read oVirt's truth: `true` in any case or an integer other than 0; the rest is false."""
    text = _text(element)
    if not text:
        return None
    return text.lower() == "true" or bool(integer(text))


def _utc(text: str) -> float | None:
    """Return the Unix time of `2009-02-13 23:31:30`, which Nova writes in UTC without saying so."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
