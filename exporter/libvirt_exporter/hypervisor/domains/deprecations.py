"""What QEMU calls deprecated of what a running domain was started with."""

from __future__ import annotations

from typing import Final

import libvirt

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.model import Deprecation, DomainInfo

_DEPRECATION: Final = libvirt.VIR_DOMAIN_MESSAGE_DEPRECATION


def deprecations(
    session: Session, domain: libvirt.virDomain, info: DomainInfo, before: DomainInfo | None = None
) -> tuple[Deprecation, ...]:
    """Machine type, CPU model and whatever else libvirt (7.1) noted when the domain was started.

    It answers from what it knows of the domain, in 0.3 ms (9.0), and has nothing to say of one that
    is not active. `before`: what was known of the domain, which stays true for the same run. Runs
    on the connection's thread. Raises libvirt.libvirtError.
    """
    if info.id is None:
        return ()
    if before is not None and before.id == info.id:
        return before.deprecated
    messages = session.if_supported("messages", lambda: domain.messages(_DEPRECATION))
    # `deprecated configuration: machine type 'pc-i440fx-1.5'`, its beginning in the daemon's
    # language.
    settings = (text.partition(": ")[2] or text for text in messages or ())
    return tuple(map(Deprecation, dict.fromkeys(settings)))
