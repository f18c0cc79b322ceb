"""Fields from the domain XML: what was asked for, as opposed to what happens."""

from __future__ import annotations

from typing import Any, Final

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.query.fields.field import of_info, xml_field
from libvirt_exporter.query.fields.schema import (
    BOOLEAN,
    COUNT,
    INTEGER,
    STRING,
    list_of,
    map_of,
    object_of,
)

MEBIBYTE: Final = 1024 * 1024
SHARES_PER_NICE: Final = 51
LOWEST_PRIORITY: Final = 20
"""VDSM gave a VM (20 - nice) · 51 CPU shares."""


def _cdrom(info: DomainInfo) -> str | None:
    """Source of the first CD-ROM drive in the order of their targets; '' of an empty one."""
    drives = [(disk.device, disk.source) for disk in info.disks if disk.kind == "cdrom"]
    return min(drives)[1] if drives else None


def _cpu_type(info: DomainInfo) -> str | None:
    """CPU model with features added and taken away, or VDSM's name of a mode without model."""
    match info.cpu_mode:
        case "host-passthrough":
            return "hostPassthrough"
        case "host-model":
            return "hostModel"
        case "maximum":
            return "maximum"
    added = (f"+{feature}" for feature in info.cpu_features_required)
    removed = (f"-{feature}" for feature in info.cpu_features_disabled)
    return ",".join((info.cpu_model, *added, *removed)) if info.cpu_model else None


def _devices(info: DomainInfo) -> list[dict[str, Any]]:
    """All devices in XML order, without what the XML does not say of them."""
    return [
        {
            key: value
            for key, value in (
                ("type", device.kind),
                ("device", device.type),
                ("model", device.model),
                ("name", device.target),
                ("alias", device.alias),
                ("address", dict(device.address)),
            )
            if value
        }
        for device in info.devices
    ]


def _guaranteed_memory(info: DomainInfo) -> int | None:
    size = info.ovirt.guaranteed_memory if info.ovirt else None
    if size is None:
        size = info.memory_guarantee
    return None if size is None or size < 0 else size // MEBIBYTE


def _memory_size(info: DomainInfo) -> int | None:
    """MiB of memory without NVDIMMs."""
    if info.memory_maximum is None:
        return None
    return max(info.memory_maximum - info.memory_nvdimm, 0) // MEBIBYTE


def _nic_model(info: DomainInfo) -> str | None:
    return ",".join(nic.model for nic in info.interfaces if nic.model) or None


def _nice(info: DomainInfo) -> int | None:
    """The niceness from which VDSM would have made these CPU shares; None for other shares."""
    shares = info.cpu_tune.shares
    if shares is None or shares % SHARES_PER_NICE:
        return None
    value = LOWEST_PRIORITY - shares // SHARES_PER_NICE
    return value if 0 <= value < LOWEST_PRIORITY else None


def _disk_serials(info: DomainInfo) -> dict[str, str] | None:
    return {disk.device: disk.serial for disk in info.disks if disk.serial} or None


_SHARES: Final = "virDomainGetSchedulerParameters: cpu_shares, else domain XML, cputune/shares"

FIELDS: Final = (
    xml_field(
        name="acpiEnable",
        schema=BOOLEAN,
        text="Whether ACPI is enabled.",
        source="domain XML, features/acpi",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.acpi),
    ),
    xml_field(
        name="boot",
        schema={"type": "string", "pattern": "^[acdn]+$"},
        text="Boot devices in order: a floppy, c disk, d CD-ROM, n network.",
        source="domain XML, os/boot/@dev, else boot/@order of devices",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.boot or None),
    ),
    xml_field(
        name="cdrom",
        schema=STRING,
        text="Path of the image in the first CD-ROM drive. Empty without a medium.",
        source="domain XML, devices/disk[@device='cdrom']/source",
        sensitive=True,
        metric="libvirt_domain_block_source_info",
        value=of_info(_cdrom),
        why_absent="The VM has no CD-ROM drive.",
    ),
    xml_field(
        name="cpuShares",
        schema=COUNT,
        text=(
            "Relative CPU weight; for a running VM the weight in force. Not comparable between "
            "cgroup v1 and cgroup v2 hosts."
        ),
        source=_SHARES,
        metric="libvirt_domain_cpu_shares",
        value=of_info(lambda info: info.cpu_tune.shares),
        why_absent="The domain XML has no CPU shares, and libvirt reports none that are in force.",
    ),
    xml_field(
        name="cpuType",
        schema=STRING,
        text=(
            "CPU model with added (`+`) and removed (`-`) features, or hostPassthrough, "
            "hostModel, maximum. For a transient VM with host-model, libvirt keeps only the "
            "resulting model. A changed definition takes effect at the VM's next start; a change "
            "while no exporter ran may appear at once."
        ),
        source="domain XML, cpu; of a running VM the mode of its definition",
        metric="libvirt_domain_info",
        value=of_info(_cpu_type),
    ),
    xml_field(
        name="devices",
        schema=list_of(
            object_of(
                type=(STRING, "XML element: disk, interface, controller …"),
                device=(STRING, "type; for a disk: disk, cdrom, floppy, lun"),
                model=(STRING, "model"),
                name=(STRING, "target: vda, vnet0"),
                alias=(STRING, "libvirt's name of the device"),
                address=(map_of(STRING), "attributes of the address in the guest"),
            )
        ),
        text="The VM's devices in XML order.",
        source="domain XML, devices/*",
        metric="libvirt_domain_device_info",
        value=of_info(_devices),
    ),
    xml_field(
        name="emulatedMachine",
        schema=STRING,
        text="Machine type.",
        source="domain XML, os/type/@machine",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.machine or None),
    ),
    xml_field(
        name="kvmEnable",
        schema=BOOLEAN,
        text="Whether the VM uses hardware acceleration (KVM).",
        source="domain XML, domain/@type",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.type == "kvm"),
    ),
    xml_field(
        name="maxVCpus",
        schema=COUNT,
        text="Maximum number of vCPUs.",
        source="domain XML, vcpu",
        metric="libvirt_domain_configured_vcpus_maximum",
        value=of_info(lambda info: info.vcpus_maximum),
    ),
    xml_field(
        name="memGuaranteedSize",
        schema=COUNT,
        unit="MiB",
        text="Memory guaranteed to the VM; the balloon does not take it.",
        source="metadata: oVirt's minGuaranteedMemoryMb; domain XML, memtune/min_guarantee",
        metric="libvirt_domain_ovirt_guaranteed_memory_bytes",
        value=of_info(_guaranteed_memory),
        why_absent="QEMU's driver has no such setting, and the domain XML has no oVirt metadata.",
    ),
    xml_field(
        name="memSize",
        schema=COUNT,
        unit="MiB",
        text="Memory of the VM without NVDIMMs.",
        source="domain XML, memory",
        metric="libvirt_domain_configured_memory_maximum_bytes",
        more_metrics=("libvirt_domain_configured_memory_ceiling_bytes",),
        value=of_info(_memory_size),
    ),
    xml_field(
        name="nicModel",
        schema=STRING,
        text="Models of the interfaces in XML order, separated by commas.",
        source="domain XML, devices/interface/model/@type",
        metric="libvirt_domain_interface_info",
        value=of_info(_nic_model),
    ),
    xml_field(
        name="nice",
        schema={"type": "integer", "minimum": 0, "maximum": 19},
        text=(
            "Niceness from which VDSM would have derived the CPU shares: (20 - nice) × 51. Not "
            "the niceness of the process."
        ),
        source=_SHARES,
        metric="libvirt_domain_cpu_shares",
        value=of_info(_nice),
        why_absent="The VM has no CPU shares, or shares that VDSM does not set.",
    ),
    xml_field(
        name="serial",
        schema=STRING,
        text="Serial number of the system.",
        source="domain XML, sysinfo/system/entry[@name='serial']",
        sensitive=True,
        metric="libvirt_domain_system_info",
        value=of_info(lambda info: info.system_serial or None),
    ),
    xml_field(
        name="smpCoresPerSocket",
        schema=COUNT,
        text=(
            "Cores per socket, including dies and clusters. 1 without a topology; absent for a "
            "container."
        ),
        source="domain XML, cpu/topology",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.cpu_cores),
    ),
    xml_field(
        name="smpThreadsPerCore",
        schema=COUNT,
        text="Threads per core. 1 without a topology; absent for a container.",
        source="domain XML, cpu/topology",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.cpu_threads),
    ),
    xml_field(
        name="timeOffset",
        schema=INTEGER,
        unit="s",
        text=(
            "Configured offset of the guest's clock from UTC; not its drift. With a time zone, "
            "daylight saving time is that of the last read of the XML (`scrape.info_refresh`)."
        ),
        source="domain XML, clock; time zones of this machine",
        metric="libvirt_domain_clock_offset_seconds",
        more_metrics=("libvirt_domain_clock_adjustment_seconds",),
        value=of_info(lambda info: info.clock_utc_offset),
        why_absent=(
            "The clock has its own start, uses the time zone of another machine or an unknown "
            "one, or the domain XML has no clock."
        ),
    ),
    xml_field(
        name="vmType",
        schema=STRING,
        text="Type of VM: kvm, qemu, lxc, xen, test and others.",
        source="domain XML, domain/@type",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.type or None),
    ),
    xml_field(
        name="diskSerials",
        own=True,
        schema=map_of(STRING),
        text="Serial numbers of the disks, by target; for OpenStack the volume IDs.",
        source="domain XML, devices/disk/serial",
        sensitive=True,
        metric="libvirt_domain_block_serial_info",
        value=of_info(_disk_serials),
    ),
)
