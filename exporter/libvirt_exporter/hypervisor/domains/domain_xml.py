"""Domain XML → DomainInfo: pure, and safe to feed with what tenants may influence.

Live, inactive and transient XML are all accepted. What the XML does not say, or says wrongly, is
'' or None in the result; only XML that is no domain at all is refused.

Source of the meanings: libvirt's docs/formatdomain.rst.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID
from xml.etree.ElementTree import Element, ParseError, XMLParser

from msgspec.structs import replace

from libvirt_exporter.hypervisor.domains.devices import (
    filesystem,
    graphics,
    host_device,
    of_kind,
    read_devices,
    watchdog,
)
from libvirt_exporter.hypervisor.domains.disks import read_disks, read_throttle_groups
from libvirt_exporter.hypervisor.domains.elements import (
    NOTHING,
    by_tag,
    first,
    first_given,
    positive,
    text_of,
)
from libvirt_exporter.hypervisor.domains.interfaces import read_interfaces
from libvirt_exporter.hypervisor.domains.metadata.metadata import read_metadata, remove_secrets
from libvirt_exporter.hypervisor.domains.resources import (
    cpu_features,
    cpu_topology,
    cpu_tune,
    emulator_pins,
    iothread_pins,
    iothreads,
    memory,
    numa_cells,
    nvdimm_memory,
    read_hugepages,
    vcpu_pins,
)
from libvirt_exporter.hypervisor.domains.xml_values import integer, scaled
from libvirt_exporter.interning import intern
from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.labels import Label, LabelPath, too_large

MAX_CHARACTERS: Final = 16 << 20
"""Longest XML that is parsed; libvirt's own protocol ends at 4 MiB."""
MAX_TAGS: Final = 500_000
"""Most tags that are parsed: small elements take 20 times their text in memory."""

_CONFIG_DRIVES: Final = ("disk.config", "disk.config.rescue")
"""How Nova names the image of a config drive, behind the instance's id in some kinds of storage."""
_AGENT_CHANNEL: Final = "org.qemu.guest_agent.0"
# A document type can stand only here. Nothing else may be looked for: comments and CDATA of the
# metadata may hold the same characters.
_DOCTYPE: Final = re.compile(r"\ufeff?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_PART: Final = 1 << 20
_BOOT_LETTERS: Final = {
    **dict.fromkeys(("fd", "floppy"), "a"),
    **dict.fromkeys(("hd", "disk", "lun"), "c"),
    "cdrom": "d",
    **dict.fromkeys(("network", "interface"), "n"),
}
"""By the words of `<os><boot dev=…>` and by those of the devices."""


class DomainXmlError(ValueError):
    """The XML cannot be used; the message says why, in words for a log line."""


def parse_domain(
    xml: str,
    *,
    labels: Sequence[Label] = (),
    autostart: bool | None = None,
    persistent: bool | None = None,
) -> DomainInfo:
    """Read one domain's XML, as virDomainGetXMLDesc returns it.

    `custom_labels` holds one entry per label of `labels`, '' where the XML has no value.

    Raises DomainXmlError when `xml` is too large (for `labels`, or at all), not well-formed, has a
    document type (so that entities cannot expand), is no `<domain>`, or lacks a name or a valid
    UUID.
    """
    domain = _parse(xml)
    if any(isinstance(label, LabelPath) for label in labels) and too_large(domain):
        raise DomainXmlError("the domain XML is too large for the expressions of labels.custom")
    child = by_tag(domain)
    name = text_of(child, "name")
    if not name:
        raise DomainXmlError("the domain XML has no <name>")
    devices = child.get("devices", NOTHING)
    metadata = child.get("metadata", NOTHING)
    os = by_tag(child.get("os"))
    cpu = by_tag(child.get("cpu"))
    memory_backing = by_tag(child.get("memoryBacking"))
    memory_balloon = first(devices, "memballoon")
    vcpu = child.get("vcpu", NOTHING)
    vcpus_maximum = positive(vcpu.text)
    tune = child.get("cputune", NOTHING)
    ceiling = child.get("maxMemory", NOTHING)
    os_type = text_of(os, "type")
    sockets, cores, threads = cpu_topology(cpu.get("topology", NOTHING), os_type, vcpus_maximum)
    remove_secrets(metadata)
    listed = read_devices(devices)
    described = read_metadata(metadata, listed)
    disks = read_disks(of_kind(listed, "disk"), described.disks)
    clock = child.get("clock", NOTHING)
    info = DomainInfo(
        uuid=_uuid(text_of(child, "uuid")),
        name=name,
        id=positive(domain.get("id")),
        title=text_of(child, "title"),
        description=text_of(child, "description"),
        type=domain.get("type", ""),
        os_type=os_type,
        arch=os.get("type", NOTHING).get("arch", ""),
        machine=os.get("type", NOTHING).get("machine", ""),
        os_id=described.os_id,
        emulator=devices.findtext("emulator", ""),
        firmware=_firmware(child.get("os", NOTHING), os),
        cpu_mode=child.get("cpu", NOTHING).get("mode", ""),
        cpu_model=text_of(cpu, "model"),
        cpu_features_required=cpu_features(child.get("cpu", NOTHING), "require", "force"),
        cpu_features_disabled=cpu_features(child.get("cpu", NOTHING), "disable", "forbid"),
        cpu_sockets=sockets,
        cpu_cores=cores,
        cpu_threads=threads,
        vcpus_maximum=vcpus_maximum,
        vcpus_current=positive(vcpu.get("current")) or vcpus_maximum,
        memory_maximum=memory(child.get("memory")),
        memory_ceiling=memory(child.get("maxMemory")),
        memory_slots=positive(ceiling.get("slots")),
        memory_current=memory(child.get("currentMemory")),
        memory_guarantee=memory(child.get("memtune", NOTHING).find("min_guarantee")),
        memory_nvdimm=nvdimm_memory(devices),
        hugepages=read_hugepages(memory_backing.get("hugepages")),
        memory_source=memory_backing.get("source", NOTHING).get("type", ""),
        memory_shared="shared"
        in (
            memory_backing.get("access", NOTHING).get("mode"),
            *(cell.get("memAccess") for cell in cpu.get("numa", ())),
        ),
        cpu_tune=cpu_tune(tune),
        vcpu_pins=vcpu_pins(tune, vcpu),
        emulator_pins=emulator_pins(tune),
        iothread_pins=iothread_pins(tune),
        iothreads=iothreads(child),
        balloon_model=memory_balloon.get("model", ""),
        balloon_period=scaled(first(memory_balloon, "stats").get("period"), 1),
        acpi=child.get("features", NOTHING).find("acpi") is not None,
        boot=_boot(child.get("os", NOTHING), devices),
        config_drive=any(disk.source.endswith(_CONFIG_DRIVES) for disk in disks),
        clock_offset=clock.get("offset", ""),
        clock_adjustment=integer(clock.get("adjustment")),
        clock_basis=clock.get("basis", ""),
        clock_timezone=clock.get("timezone", ""),
        clipboard=_clipboard(devices),
        keymap=first_given(*(display.get("keymap") for display in devices.iterfind("graphics"))),
        system_serial=domain.findtext("sysinfo[@type='smbios']/system/entry[@name='serial']", ""),
        numa_cells=numa_cells(cpu.get("numa", NOTHING)),
        agent_channel=_agent_channel(devices),
        resctrl_monitors=any(part.find("monitor") is not None for part in tune),
        perf_events=any(
            event.get("enabled") == "yes" for event in child.get("perf", NOTHING).iterfind("event")
        ),
        autostart=autostart,
        persistent=persistent,
        disks=disks,
        interfaces=read_interfaces(of_kind(listed, "interface")),
        watchdogs=tuple(watchdog(*one) for one in of_kind(listed, "watchdog")),
        graphics=tuple(
            graphics(device, element, described.display_addresses.get(device.name, ""))
            for device, element in of_kind(listed, "graphics")
        ),
        host_devices=tuple(host_device(*one) for one in of_kind(listed, "hostdev")),
        filesystems=tuple(filesystem(*one) for one in of_kind(listed, "filesystem")),
        throttle_groups=read_throttle_groups(child.get("throttlegroups", NOTHING)),
        devices=tuple(device for device, _ in listed),
        openstack=described.openstack,
        ovirt=described.ovirt,
        metadata=described.systems,
        malformed_metadata=described.malformed or None,
    )
    if not labels:
        return info
    custom = tuple((label.name, label.value(domain, info)) for label in labels)
    return replace(info, custom_labels=custom)


def read_cpu_mode(xml: str) -> str:
    """The mode of a domain's CPU: custom, host-model …; '' without one.

    Raises DomainXmlError as `parse_domain` does, but for a missing name or UUID.
    """
    return first(_parse(xml), "cpu").get("mode", "")


def _parse(xml: str) -> Element:
    if len(xml) > MAX_CHARACTERS:
        raise DomainXmlError(f"the domain XML is longer than {MAX_CHARACTERS} characters")
    if xml.count("<") > MAX_TAGS:
        raise DomainXmlError(f"the domain XML has more than {MAX_TAGS} tags")
    if _DOCTYPE.match(xml):
        raise DomainXmlError("the domain XML has a document type, which libvirt never writes")
    # The encoding given here counts, not one that the XML may declare.
    parser = XMLParser(encoding="utf-8")
    data = xml.encode("utf-8", "replace")
    try:
        # Other threads run between the parts only; expat reads a token again with each part of it.
        for start in range(0, len(data), _PART):
            parser.feed(data[start : start + _PART])
        domain: Element = parser.close()
    except ParseError as error:
        raise DomainXmlError(f"the domain XML is not well-formed: {error}") from None
    if domain.tag != "domain":
        raise DomainXmlError("the XML is not that of a domain: its root is not <domain>")
    for element in domain.iter():
        for name, value in element.items():
            # Most domains say the same: `virtio`, `qcow2`; kept once, it is half a MiB less of 200.
            element.set(name, intern(value))
    return domain


def _uuid(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise DomainXmlError("the domain XML has no valid <uuid>") from None


def _firmware(element: Element, os: Mapping[str, Element]) -> str:
    """Return libvirt's word for the firmware; `efi` also where only its flash image is given."""
    firmware = element.get("firmware", "")
    if not firmware and os.get("loader", NOTHING).get("type") == "pflash":
        return "efi"
    return firmware


def _boot(os: Element, devices: Element) -> str:
    """Return the letters of the boot devices: the domain's own list, else the devices' orders."""
    kinds = [boot.get("dev", "") for boot in os.iterfind("boot")]
    if not kinds:
        ordered = [
            (order, device.get("device", "disk") if device.tag == "disk" else device.tag)
            for device in devices
            if (order := positive(first(device, "boot").get("order"))) is not None
        ]
        kinds = [kind for _, kind in sorted(ordered)]
    return "".join(dict.fromkeys(_BOOT_LETTERS.get(kind, "") for kind in kinds))


def _clipboard(devices: Element) -> bool | None:
    """Tell whether SPICE shares the clipboard, which it does unless told not to."""
    spice = devices.find("graphics[@type='spice']")
    return None if spice is None else first(spice, "clipboard").get("copypaste") != "no"


def _agent_channel(devices: Element) -> str:
    for channel in devices.iterfind("channel"):
        target = channel.find("target")
        if target is not None and target.get("name") == _AGENT_CHANNEL:
            return target.get("state", "")
    return ""
