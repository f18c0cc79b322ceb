"""What management systems say of a VM, by the keys that patterns and labels use for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from libvirt_exporter.model import DomainInfo

Fact = Callable[[DomainInfo], str]
"""Finds a value, '' where the domain has none."""

METADATA: Final[Mapping[str, Fact]] = {
    "openstack.project": lambda info: info.openstack.project_name if info.openstack else "",
    "openstack.project_id": lambda info: info.openstack.project_id if info.openstack else "",
    "openstack.flavor": lambda info: info.openstack.flavor if info.openstack else "",
    "openstack.instance_name": lambda info: info.openstack.instance_name if info.openstack else "",
    "ovirt.cluster_version": lambda info: info.ovirt.cluster_version if info.ovirt else "",
}
"""Keys of `metadata:` patterns and of the option `metadata` of labels."""
