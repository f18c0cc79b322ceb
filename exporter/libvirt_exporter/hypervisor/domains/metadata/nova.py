"""Nova's `<instance>`: what OpenStack wrote into the domain XML, namespaces 1.0 and 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.metadata.reading import Reading, fact, given
from libvirt_exporter.hypervisor.domains.xml_values import bounded
from libvirt_exporter.model import OpenStackInfo

_NAMESPACES: Final = (
    "{http://openstack.org/xmlns/libvirt/nova/1.1}",
    "{http://openstack.org/xmlns/libvirt/nova/1.0}",
)
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def read_nova(metadata: Element, reading: Reading) -> dict[str, Any] | None:
    """Return `<instance>` in Nova's words and units (namespace 1.1, else 1.0); None without one."""
    for namespace in _NAMESPACES:
        instance = metadata.find(f"{namespace}instance")
        if instance is not None:
            return _instance(instance, namespace, reading)
    return None


def openstack_info(nova: Mapping[str, Any]) -> OpenStackInfo:
    """Return the facts that metrics are made of.

    The image is the one that `<image>` names (Nova 32 and later), else the one of `<root>`.
    """
    flavor = nova.get("flavor", {})
    owner = nova.get("owner", {})
    user = owner.get("user", {})
    project = owner.get("project", {})
    root = nova.get("root", {})
    image_id = nova.get("image", {}).get("uuid")
    if not image_id and root.get("type") == "image":
        image_id = root.get("uuid")

    def size(name: str, factor: int) -> int | None:
        return bounded(flavor[name] * factor) if name in flavor else None

    return OpenStackInfo(
        instance_name=fact(nova.get("name")),
        flavor=fact(flavor.get("name")),
        flavor_id=fact(flavor.get("id")),
        image_id=fact(image_id),
        project_id=fact(project.get("uuid")),
        project_name=fact(project.get("name")),
        user_id=fact(user.get("uuid")),
        user_name=fact(user.get("name")),
        root_type=fact(root.get("type")),
        package_version=fact(nova.get("package", {}).get("version")),
        creation_time=_utc(fact(nova.get("creationTime"))),
        flavor_vcpus=flavor.get("vcpus"),
        flavor_memory=size("memory", _MIB),
        flavor_disk=size("disk", _GIB),
        flavor_swap=size("swap", _MIB),
        flavor_ephemeral=size("ephemeral", _GIB),
    )


def _instance(instance: Element, namespace: str, reading: Reading) -> dict[str, Any]:
    child = reading.by_name(instance, namespace)
    owner = reading.by_name(child.get("owner"), namespace)
    return given(
        {
            "package": _attributes(child.get("package"), reading, "version"),
            "name": reading.text(child.get("name")),
            "creationTime": reading.text(child.get("creationTime")),
            "flavor": _flavor(child.get("flavor"), namespace, reading),
            "image": _image(child.get("image"), namespace, reading),
            "owner": given({who: _owner(owner.get(who), reading) for who in ("user", "project")}),
            "root": _attributes(child.get("root"), reading, "type", "uuid"),
            "ports": [
                _port(port, namespace, reading)
                for port in reading.named(child.get("ports"), (f"{namespace}port",))
            ],
        }
    )


def _flavor(flavor: Element | None, namespace: str, reading: Reading) -> dict[str, Any]:
    child = reading.by_name(flavor, namespace)
    return given(
        _attributes(flavor, reading, "name", "id")
        | {
            size: reading.count(child.get(size))
            for size in ("memory", "disk", "swap", "ephemeral", "vcpus")
        }
        | {"extraSpecs": _named(child.get("extraSpecs"), reading)}
    )


def _image(image: Element | None, namespace: str, reading: Reading) -> dict[str, Any]:
    child = reading.by_name(image, namespace)
    return given(
        _attributes(image, reading, "uuid")
        | {name: reading.text(child.get(name)) for name in ("containerFormat", "diskFormat")}
        | {name: reading.count(child.get(name)) for name in ("minDisk", "minRam")}
        | {"properties": _named(child.get("properties"), reading)}
    )


def _owner(owner: Element | None, reading: Reading) -> dict[str, Any]:
    return given({**_attributes(owner, reading, "uuid"), "name": reading.text(owner)})


def _port(port: Element, namespace: str, reading: Reading) -> dict[str, Any]:
    addresses = [
        _attributes(address, reading, "type", "address", "ipVersion")
        for address in reading.named(port, (f"{namespace}ip",))
    ]
    return given({**_attributes(port, reading, "uuid"), "ips": addresses})


def _attributes(element: Element | None, reading: Reading, *names: str) -> dict[str, Any]:
    return given({name: reading.attribute(element, name) for name in names})


def _named(parent: Element | None, reading: Reading) -> dict[str, str]:
    """Return `<… name="key">value</…>` children."""
    return {
        name: text
        for child in reading.children(parent)
        if (name := reading.attribute(child, "name")) and (text := reading.text(child)) is not None
    }


def _utc(text: str) -> float | None:
    """Return the Unix time of `2009-02-13 23:31:30`, which Nova writes in UTC without saying so."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
