"""What a connection says about its host once, when it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

import libvirt

from libvirt_exporter.hypervisor.connection.drivers import DriverFallback, needs_fallback


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


def read_hypervisor_version(conn: libvirt.virConnect) -> str:
    """The hypervisor's version, '' where the driver has none.

    Seldom, this takes many seconds: the QEMU driver (9.0) starts QEMU to ask it when its cache
    of capabilities is cold. Raises libvirt.libvirtError.
    """
    return version_text(conn.getVersion())


def version_text(number: int) -> str:
    """libvirt's `major * 1,000,000 + minor * 1,000 + release` as text; '' for 0, unknown."""
    if not number:
        return ""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
