"""What a connection says about its host once, when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID
from xml.etree import ElementTree

import libvirt

from libvirt_exporter.hypervisor.connection.drivers import DriverFallback, needs_fallback

T = TypeVar("T")


@dataclass(frozen=True)
class DriverFacts:
    """What is the same for all calls of one connection."""

    driver: str
    """virConnectGetType: QEMU, TEST, LXC, Xen …"""
    libvirt_version: str
    """Version of the daemon's libvirt."""
    fallback: DriverFallback
    """Answers the groups that the driver does not answer in bulk."""
    unsupported: set[str] = field(default_factory=set)
    """Stats groups that turned out not to be answered at all."""

    @property
    def has_monitors(self) -> bool:
        """Whether statistics come from a monitor process of each domain, which may hang."""
        return self.driver == "QEMU"


def read_facts(conn: libvirt.virConnect) -> DriverFacts:
    """Ask the connection for its facts. Raises libvirt.libvirtError."""
    driver = conn.getType()
    return DriverFacts(
        driver=driver,
        libvirt_version=version_text(conn.getLibVersion()),
        fallback=DriverFallback(needs_fallback(conn), driver),
    )


@dataclass(frozen=True)
class HostIdentity:
    """What a host is, beside what the connection to it is; '' for what its driver does not tell."""

    hypervisor_version: str
    hostname: str
    uuid: str
    """libvirt's UUID of the host, lower case."""


def read_identity(conn: libvirt.virConnect) -> HostIdentity:
    """Ask who the host is: virConnectGetVersion, virConnectGetHostname, virConnectGetCapabilities.

    Seldom, this takes many seconds: the QEMU driver (9.0) starts QEMU to ask it when its cache
    of capabilities is cold. Raises libvirt.libvirtError when the connection is lost.
    """
    return HostIdentity(
        hypervisor_version=version_text(_told(conn, conn.getVersion) or 0),
        hostname=_told(conn, conn.getHostname) or "",
        uuid=host_uuid(_told(conn, conn.getCapabilities) or ""),
    )


def host_uuid(capabilities: str) -> str:
    """The UUID in the XML of virConnectGetCapabilities; '' when it has no valid one."""
    try:
        text = ElementTree.fromstring(capabilities).findtext("host/uuid", "")
        return str(UUID(text.strip()))
    except (ElementTree.ParseError, ValueError):
        return ""


def _told(conn: libvirt.virConnect, call: Callable[[], T]) -> T | None:
    """The answer of a call; None where it fails although the connection is alive."""
    try:
        return call()
    except libvirt.libvirtError:
        if not conn.isAlive():
            raise
        return None


def version_text(number: int) -> str:
    """libvirt's `major * 1,000,000 + minor * 1,000 + release` as text; '' for 0, unknown."""
    if not number:
        return ""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
