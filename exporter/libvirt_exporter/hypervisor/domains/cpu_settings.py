"""What a running domain's XML does not say of its CPUs: shares in force, the mode asked for."""

from __future__ import annotations

from typing import Any, Final

import libvirt
from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.domains.domain_xml import read_cpu_mode
from libvirt_exporter.model import CpuTune, DomainInfo

_DEFINITION: Final = libvirt.VIR_DOMAIN_XML_INACTIVE


def cpu_tune(session: Session, domain: libvirt.virDomain, info: DomainInfo) -> CpuTune:
    """`info.cpu_tune` with the CPU shares that are in force, where libvirt tells them.

    The XML has none unless somebody chose them; the kernel's default then is 1024 with cgroup v1
    and 100 with v2. libvirt (9.0) reads them from the control group, for which it needs neither
    the domain's job nor its monitor; without such a group it refuses. Runs on the connection's
    thread. Raises libvirt.libvirtError.
    """
    if info.id is None:
        return info.cpu_tune
    # libvirt-python (12.8) annotates the dictionary as str.
    parameters: Any = session.if_supported("schedulerParameters", domain.schedulerParameters)
    shares = (parameters or {}).get("cpu_shares") or info.cpu_tune.shares
    return replace(info.cpu_tune, shares=shares)


def cpu_mode(domain: libvirt.virDomain, info: DomainInfo, before: DomainInfo | None) -> str:
    """The mode of the CPU as it was asked for, where the XML shows what libvirt made of it.

    A domain that runs with host-model has a custom model in its XML (9.0), and host-model in the
    definition that it is next started with. `before`: what was known of the domain. It decides for
    the same run, as the definition may be another one by now; unless the domain had none yet: one
    that is migrated here gets it when it has arrived (9.0). Runs on the connection's thread.
    Raises libvirt.libvirtError, and DomainXmlError for a definition that cannot be used.
    """
    if info.id is None or info.cpu_mode != "custom":
        return info.cpu_mode
    known = before if before is not None and before.id == info.id else None
    if known is not None and (known.persistent or known.cpu_mode != "custom"):
        return known.cpu_mode
    if info.persistent and read_cpu_mode(domain.XMLDesc(_DEFINITION)) == "host-model":
        return "host-model"
    return info.cpu_mode
