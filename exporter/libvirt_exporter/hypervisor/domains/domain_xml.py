"""Domain XML → DomainInfo: pure, and safe to feed with what tenants may influence.

Live, inactive and transient XML are all accepted. What the XML does not say, or says wrongly, is
'' or None in the result; only XML that is no domain at all is refused.

Source of the meanings: libvirt's docs/formatdomain.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any, Final
from uuid import UUID
from xml.etree.ElementTree import Element, ParseError, XMLParser

from libvirt_exporter.hypervisor.domains.metadata.metadata import read_metadata, remove_secrets
from libvirt_exporter.hypervisor.domains.metadata.reading import fact
from libvirt_exporter.hypervisor.domains.xml_values import (
    bounded,
    cpu_set,
    integer,
    scaled,
    scaled_bytes,
)
from libvirt_exporter.model import (
    CpuTune,
    Device,
    Disk,
    DomainInfo,
    FileSystem,
    Graphics,
    HostDevice,
    Interface,
    NumaCell,
    Watchdog,
)
from libvirt_exporter.patterns.labels import LabelPath

MAX_CHARACTERS: Final = 16 << 20
"""Longest XML that is parsed; libvirt's own protocol ends at 4 MiB."""
MAX_TAGS: Final = 500_000
"""Most tags that are parsed: small elements take 20 times their text in memory."""

_AGENT_CHANNEL: Final = "org.qemu.guest_agent.0"
# A document type can stand only here. Nothing else may be looked for: comments and CDATA of the
# metadata may hold the same characters.
_DOCTYPE: Final = re.compile(r"\ufeff?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_PART: Final = 1 << 20
_NOTHING: Final = Element("nothing")
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
    labels: Sequence[LabelPath] = (),
    autostart: bool | None = None,
    persistent: bool | None = None,
) -> DomainInfo:
    """Read one domain's XML, as virDomainGetXMLDesc returns it.

    Inactive XML has neither aliases nor the devices that libvirt names at start: an interface
    without a target is then called by its alias, without that `interface0`, `interface1` … by its
    position in the XML, and no two interfaces share a name. `custom_labels` holds one entry per
    label of `labels`, '' where the XML has no value.

    Raises DomainXmlError when `xml` is too large, not well-formed, has a document type (so that
    entities cannot expand), is no `<domain>`, or lacks a name or a valid UUID.
    """
    domain = _parse(xml)
    child = _by_tag(domain)
    name = _text(child, "name")
    if not name:
        raise DomainXmlError("the domain XML has no <name>")
    devices = child.get("devices", _NOTHING)
    metadata = child.get("metadata", _NOTHING)
    os = _by_tag(child.get("os"))
    cpu = _by_tag(child.get("cpu"))
    topology = cpu.get("topology", _NOTHING)
    memory_backing = _by_tag(child.get("memoryBacking"))
    memory_balloon = _first(devices, "memballoon")
    vcpu = child.get("vcpu", _NOTHING)
    vcpus_maximum = _positive(vcpu.text)
    remove_secrets(metadata)
    elements = [device for device in devices if device.tag != "emulator"]
    listed = tuple(map(_device, elements))
    described = read_metadata(metadata, zip(listed, elements, strict=True))
    disks = _disks(devices.iterfind("disk"), described.disks)
    clock = child.get("clock", _NOTHING)
    return DomainInfo(
        uuid=_uuid(_text(child, "uuid")),
        name=name,
        id=_positive(domain.get("id")),
        title=_text(child, "title"),
        description=_text(child, "description"),
        type=domain.get("type", ""),
        os_type=_text(os, "type"),
        arch=os.get("type", _NOTHING).get("arch", ""),
        machine=os.get("type", _NOTHING).get("machine", ""),
        os_id=described.os_id,
        emulator=devices.findtext("emulator", ""),
        firmware=_firmware(child.get("os", _NOTHING), os),
        cpu_mode=child.get("cpu", _NOTHING).get("mode", ""),
        cpu_model=_text(cpu, "model"),
        cpu_features_required=_cpu_features(child.get("cpu", _NOTHING), "require", "force"),
        cpu_features_disabled=_cpu_features(child.get("cpu", _NOTHING), "disable", "forbid"),
        cpu_sockets=_positive(topology.get("sockets")),
        cpu_cores=_cores_per_socket(topology),
        cpu_threads=_positive(topology.get("threads")),
        vcpus_maximum=vcpus_maximum,
        vcpus_current=_positive(vcpu.get("current")) or vcpus_maximum,
        memory_maximum=_memory(child.get("memory")),
        memory_current=_memory(child.get("currentMemory")),
        memory_guarantee=_memory(child.get("memtune", _NOTHING).find("min_guarantee")),
        memory_nvdimm=_nvdimm_memory(devices),
        hugepage_size=_hugepage_size(memory_backing.get("hugepages")),
        memory_source=memory_backing.get("source", _NOTHING).get("type", ""),
        memory_shared="shared"
        in (
            memory_backing.get("access", _NOTHING).get("mode"),
            *(cell.get("memAccess") for cell in cpu.get("numa", ())),
        ),
        cpu_tune=_cpu_tune(child.get("cputune")),
        iothreads=_iothreads(child),
        balloon_model=memory_balloon.get("model", ""),
        balloon_period=scaled(_first(memory_balloon, "stats").get("period"), 1),
        acpi=child.get("features", _NOTHING).find("acpi") is not None,
        boot=_boot(child.get("os", _NOTHING), devices),
        config_drive=any(disk.source.endswith("disk.config") for disk in disks),
        clock_offset=clock.get("offset", ""),
        clock_adjustment=integer(clock.get("adjustment")),
        clock_basis=clock.get("basis", ""),
        clock_timezone=clock.get("timezone", ""),
        clipboard=_clipboard(devices),
        keymap=_first_given(*(display.get("keymap") for display in devices.iterfind("graphics"))),
        system_serial=domain.findtext("sysinfo[@type='smbios']/system/entry[@name='serial']", ""),
        numa_cells=_numa_cells(cpu.get("numa", _NOTHING)),
        agent_channel=_agent_channel(devices),
        resctrl_monitors=any(
            tune.find("monitor") is not None for tune in child.get("cputune", _NOTHING)
        ),
        perf_events=any(
            event.get("enabled") == "yes" for event in child.get("perf", _NOTHING).iterfind("event")
        ),
        autostart=autostart,
        persistent=persistent,
        disks=disks,
        interfaces=_interfaces(devices.iterfind("interface")),
        watchdogs=tuple(
            Watchdog(watchdog.get("model", ""), watchdog.get("action", "reset"))
            for watchdog in devices.iterfind("watchdog")
        ),
        graphics=tuple(map(_graphics, devices.iterfind("graphics"))),
        host_devices=tuple(map(_host_device, devices.iterfind("hostdev"))),
        filesystems=tuple(map(_filesystem, devices.iterfind("filesystem"))),
        devices=listed,
        openstack=described.openstack,
        ovirt=described.ovirt,
        metadata=described.systems,
        malformed_metadata=described.malformed or None,
        custom_labels=tuple((label.name, label.value(domain)) for label in labels),
    )


def read_cpu_mode(xml: str) -> str:
    """The mode of a domain's CPU: custom, host-model …; '' without one.

    Raises DomainXmlError as `parse_domain` does, but for a missing name or UUID.
    """
    return _first(_parse(xml), "cpu").get("mode", "")


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
    return domain


def _by_tag(parent: Element | None) -> Mapping[str, Element]:
    """Return the children by tag, the first of each."""
    return {} if parent is None else {child.tag: child for child in reversed(parent)}


def _first(parent: Element, tag: str) -> Element:
    """Return the first child of that tag; without one, an element that holds nothing."""
    found = parent.find(tag)
    return _NOTHING if found is None else found


def _text(children: Mapping[str, Element], tag: str) -> str:
    return children.get(tag, _NOTHING).text or ""


def _first_given(*texts: str | None) -> str:
    return next(filter(None, texts), "")


def _positive(text: str | None) -> int | None:
    value = integer(text)
    return value if value is not None and value > 0 else None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise DomainXmlError("the domain XML has no valid <uuid>") from None


def _memory(element: Element | None) -> int | None:
    return None if element is None else scaled_bytes(element.text, element.get("unit"))


def _nvdimm_memory(devices: Element) -> int:
    sizes = (
        _memory(_first(memory, "target").find("size"))
        for memory in devices.iterfind("memory[@model='nvdimm']")
    )
    return bounded(sum(filter(None, sizes))) or 0


def _hugepage_size(hugepages: Element | None) -> int | None:
    if hugepages is None:
        return None
    page = _first(hugepages, "page")
    return scaled_bytes(page.get("size"), page.get("unit")) or 0


def _firmware(element: Element, os: Mapping[str, Element]) -> str:
    """Return libvirt's word for the firmware; `efi` also where only its flash image is given."""
    firmware = element.get("firmware", "")
    if not firmware and os.get("loader", _NOTHING).get("type") == "pflash":
        return "efi"
    return firmware


def _cores_per_socket(topology: Element) -> int | None:
    cores = _positive(topology.get("cores"))
    if cores is None:
        return None
    for part in ("dies", "clusters"):
        cores *= _positive(topology.get(part)) or 1
    return bounded(cores)


def _cpu_features(cpu: Element, *policies: str) -> tuple[str, ...]:
    """Return the features of these policies; without one, a feature is required."""
    return tuple(
        feature.get("name", "")
        for feature in cpu.iterfind("feature")
        if feature.get("policy", "require") in policies
    )


def _numa_cells(numa: Element) -> tuple[NumaCell, ...]:
    """Read the guest's NUMA cells; one without an id has its position's."""
    cells = []
    for position, cell in enumerate(numa.iterfind("cell")):
        number = integer(cell.get("id", str(position)))
        cpus = cpu_set(cell.get("cpus", ""))
        if number is not None and cpus is not None:
            cells.append(NumaCell(number, cpus))
    return tuple(cells)


def _boot(os: Element, devices: Element) -> str:
    """Return the letters of the boot devices: the domain's own list, else the devices' orders."""
    kinds = [boot.get("dev", "") for boot in os.iterfind("boot")]
    if not kinds:
        ordered = [
            (order, device.get("device", "disk") if device.tag == "disk" else device.tag)
            for device in devices
            if (order := _positive(_first(device, "boot").get("order"))) is not None
        ]
        kinds = [kind for _, kind in sorted(ordered)]
    return "".join(dict.fromkeys(_BOOT_LETTERS.get(kind, "") for kind in kinds))


def _clipboard(devices: Element) -> bool | None:
    """Tell whether SPICE shares the clipboard, which it does unless told not to."""
    spice = devices.find("graphics[@type='spice']")
    return None if spice is None else _first(spice, "clipboard").get("copypaste") != "no"


def _device(element: Element) -> Device:
    kind = element.tag
    # Most devices have no more than these children, so that a look at each is the cheapest.
    alias = element.find("alias")
    address = element.find("address")
    target = element.find("target")
    return Device(
        kind=kind,
        type=element.get("device", "disk") if kind == "disk" else element.get("type", ""),
        model=element.get("model", "") or _first(element, "model").get("type", ""),
        alias="" if alias is None else alias.get("name", ""),
        target="" if target is None else target.get("dev", ""),
        address={} if address is None else address.attrib,
    )


def _cpu_tune(element: Element | None) -> CpuTune:
    if element is None:
        return CpuTune()
    tune = _by_tag(element)

    def seconds(tag: str) -> float | None:
        microseconds = _positive(_text(tune, tag))
        return None if microseconds is None else microseconds / 1e6

    return CpuTune(
        shares=_positive(_text(tune, "shares")),
        period=seconds("period"),
        quota=seconds("quota"),
        global_period=seconds("global_period"),
        global_quota=seconds("global_quota"),
        emulator_period=seconds("emulator_period"),
        emulator_quota=seconds("emulator_quota"),
        iothread_period=seconds("iothread_period"),
        iothread_quota=seconds("iothread_quota"),
    )


def _iothreads(child: Mapping[str, Element]) -> int:
    count_given = _positive(_text(child, "iothreads"))
    return count_given or len(child.get("iothreadids", _NOTHING).findall("iothread"))


def _agent_channel(devices: Element) -> str:
    for channel in devices.iterfind("channel"):
        target = channel.find("target")
        if target is not None and target.get("name") == _AGENT_CHANNEL:
            return target.get("state", "")
    return ""


def _alias(children: Mapping[str, Element]) -> str:
    return children.get("alias", _NOTHING).get("name", "")


def _disks(
    elements: Iterable[Element], described: Mapping[str, Mapping[str, Any]]
) -> tuple[Disk, ...]:
    """Read the disks; one without a target, or with another's, has no statistics to go with."""
    disks: dict[str, Disk] = {}
    for element in elements:
        disk = _disk(element, described)
        if disk.device:
            disks.setdefault(disk.device, disk)
    return tuple(disks.values())


def _disk(element: Element, described: Mapping[str, Mapping[str, Any]]) -> Disk:
    child = _by_tag(element)
    driver = child.get("driver", _NOTHING)
    target = child.get("target", _NOTHING)
    mirror = child.get("mirror")
    source_type = element.get("type", "")
    source = _disk_source(source_type, child.get("source"))
    device = target.get("dev", "")
    values = described.get(device, {})
    return Disk(
        device=device,
        kind=element.get("device", "disk"),
        bus=target.get("bus", ""),
        source_type=source_type,
        source=source,
        format=driver.get("type", ""),
        cache=driver.get("cache", ""),
        io=driver.get("io", ""),
        discard=driver.get("discard", ""),
        error_policy=driver.get("error_policy", ""),
        serial=_text(child, "serial"),
        alias=_alias(child),
        iothread=_disk_iothreads(driver),
        readonly="readonly" in child,
        shareable="shareable" in child,
        mirror_job="" if mirror is None else mirror.get("job", "copy"),
        chain_depth=_chain_depth(child.get("backingStore")) if source else None,
        iotune={
            limit.tag: value
            for limit in child.get("iotune", ())
            if (value := integer(limit.text)) is not None
        },
        image_id=fact(values.get("imageID")),
        lun_guid=fact(values.get("GUID")),
    )


def _disk_source(source_type: str, source: Element | None) -> str:
    if source is None:
        return ""
    if source_type == "network":
        return ":".join(filter(None, (source.get("protocol"), source.get("name"))))
    if source_type == "volume":
        return "/".join(filter(None, (source.get("pool"), source.get("volume"))))
    if source_type == "nvme":
        address = _pci_address(source.find("address"))
        return "/".join(filter(None, (address, source.get("namespace"))))
    return _first_given(*map(source.get, ("file", "dev", "dir", "path")))


def _disk_iothreads(driver: Element) -> str:
    """Return the id of the disk's iothread; several (libvirt 10.0) joined by commas."""
    several = _first(driver, "iothreads").iterfind("iothread")
    return driver.get("iothread") or ",".join(thread.get("id", "") for thread in several)


def _chain_depth(backing: Element | None) -> int | None:
    """Count the images; live XML ends a chain with an empty `<backingStore/>`."""
    if backing is None:
        return None
    depth = 1
    while backing is not None and len(backing):
        depth += 1
        backing = backing.find("backingStore")
    return depth


def _pci_address(address: Element | None) -> str:
    """Return `0000:3b:00.1`; '' when there is no such address."""
    if address is None:
        return ""
    parts = [address.get(part, "0") for part in ("domain", "bus", "slot", "function")]
    try:
        domain, bus, slot, function = (int(part, 0) for part in parts)
    except ValueError:
        return ""
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _interfaces(elements: Iterable[Element]) -> tuple[Interface, ...]:
    interfaces: dict[str, Interface] = {}
    for position, element in enumerate(elements):
        child = _by_tag(element)
        target = child.get("target", _NOTHING).get("dev", "")
        names = chain((target, _alias(child)), (f"interface{n}" for n in count(position)))
        device = next(name for name in names if name and name not in interfaces)
        interfaces[device] = _interface(element, child, device, has_target=device == target)
    return tuple(interfaces.values())


def _interface(
    element: Element, child: Mapping[str, Element], device: str, *, has_target: bool
) -> Interface:
    source = child.get("source", _NOTHING)
    parameters = _first(child.get("virtualport", _NOTHING), "parameters")
    return Interface(
        device=device,
        has_target=has_target,
        alias=_alias(child),
        mac=child.get("mac", _NOTHING).get("address", ""),
        type=element.get("type", ""),
        source=_interface_source(element.get("type", ""), source),
        bridge=source.get("bridge", ""),
        network=source.get("network", ""),
        model=child.get("model", _NOTHING).get("type", ""),
        port_id=parameters.get("interfaceid", ""),
        link_state=child.get("link", _NOTHING).get("state", ""),
        mtu=_positive(child.get("mtu", _NOTHING).get("size")),
    )


def _interface_source(interface_type: str, source: Element) -> str:
    """Return what the interface is plugged into; a live network's XML names its bridge too."""
    if interface_type == "hostdev":
        return _pci_address(source.find("address"))
    attributes = ("network", "bridge", "dev", "name", "path", "portgroupid", "address")
    return _first_given(*map(source.get, attributes))


def _graphics(element: Element) -> Graphics:
    listen = _first(element, "listen")
    return Graphics(
        type=element.get("type", ""),
        listen=_first_given(
            element.get("listen"),
            listen.get("address"),
            element.get("socket"),
            listen.get("socket"),
        ),
        port=_positive(element.get("port")),
        tls_port=_positive(element.get("tlsPort")),
        websocket=_positive(element.get("websocket")),
    )


def _host_device(element: Element) -> HostDevice:
    child = _by_tag(element)
    device_type = element.get("type", "")
    address = child.get("source", _NOTHING).find("address")
    text = ""
    if device_type == "pci":
        text = _pci_address(address)
    elif device_type == "mdev" and address is not None:
        text = address.get("uuid", "")
    driver = child.get("driver", _NOTHING).get("name", "")
    return HostDevice(alias=_alias(child), type=device_type, address=text, driver=driver)


def _filesystem(element: Element) -> FileSystem:
    child = _by_tag(element)
    return FileSystem(
        target=child.get("target", _NOTHING).get("dir", ""),
        type=element.get("type", ""),
        driver=child.get("driver", _NOTHING).get("type", ""),
        alias=_alias(child),
    )
