"""What the domain XML says of a domain and its devices, for running and shut-off domains alike.

Rows off by default carry what names a person, an address, a serial number, a path into storage or
free text; `fields.include` names them.
"""

from collections.abc import Mapping

from libvirt_exporter.catalogue.metric import Fact, Group, Metric

GROUPS: tuple[Group, ...] = (
    Group(
        name="info", text="Configuration of the domain and its devices (domain XML).", left_out=11
    ),
)


def _info(
    thing: str,
    source: str,
    text: str,
    labels: Mapping[str, str],
    each: str = "",
    *,
    default: bool = True,
) -> Fact:
    return Fact(
        name=f"libvirt_{thing}_info",
        text=f"Always 1; {text}",
        group="info",
        source=f"domain XML, {source}",
        labels=labels,
        each=each,
        default=default,
    )


def _number(what: str, source: str, text: str, value: str) -> Fact:
    return Fact(name=f"libvirt_domain_{what}", text=text, group="info", source=source, value=value)


def _tune(thing: str, element: str, prefix: str, text: str) -> list[Metric]:
    return [
        _number(
            f"{thing}_period_seconds",
            f"domain XML, cputune/{element}period",
            f"Period in which the CPU quota of {text} is enforced. Absent if not set.",
            f"cpu_tune.{prefix}period",
        ),
        _number(
            f"{thing}_quota_seconds",
            f"domain XML, cputune/{element}quota",
            f"CPU time that {text} may use in a period. Absent if unlimited.",
            f"cpu_tune.{prefix}quota",
        ),
    ]


METRICS: tuple[Metric, ...] = (
    _info(
        "domain",
        "domain",
        "type, machine and CPU model of the virtual machine. Has `domain` and `uuid` even if "
        "they are not identity labels.",
        {
            "domain": "name",
            "uuid": "uuid",
            "type": "type",
            "os_type": "os_type",
            "arch": "arch",
            "machine": "machine",
            "firmware": "firmware",
            "cpu_mode": "cpu_mode",
            "cpu_model": "cpu_model",
            "sockets": "cpu_sockets",
            "cores": "cpu_cores",
            "threads": "cpu_threads",
        },
    ),
    _info(
        "domain_config",
        "features/acpi, os/boot, devices/graphics",
        "ACPI, boot devices in order (a floppy, c disk, d CD-ROM, n network), first display and "
        "its keyboard layout, and clipboard sharing of SPICE.",
        {
            "acpi": "acpi",
            "boot": "boot",
            "display": "display",
            "keymap": "keymap",
            "clipboard": "clipboard",
        },
    ),
    _number(
        "clock_adjustment_seconds",
        "domain XML, clock@adjustment",
        "Difference of the guest's clock from its basis, as the guest set it. Absent unless the "
        "clock's offset is variable.",
        "clock_adjustment",
    ),
    _number(
        "clock_offset_seconds",
        "domain XML, clock; time zones of this machine",
        "Configured offset of the guest's clock from UTC; not its drift. A time zone's offset is "
        "that of the last read of the XML. Absent if the clock has another start or its time "
        "zone is unknown.",
        "clock_utc_offset",
    ),
    _number(
        "persistent",
        "virDomainIsPersistent",
        "1 if the domain is persistent, 0 if it is transient.",
        "persistent",
    ),
    _number(
        "autostart",
        "virDomainGetAutostart",
        "1 if libvirt starts the domain at host boot, else 0.",
        "autostart",
    ),
    _number(
        "configured_vcpus",
        "domain XML, vcpu@current",
        "Online virtual CPUs in the XML.",
        "vcpus_current",
    ),
    _number(
        "configured_vcpus_maximum",
        "domain XML, vcpu",
        "Maximum number of virtual CPUs in the XML.",
        "vcpus_maximum",
    ),
    _number(
        "configured_memory_bytes",
        "domain XML, currentMemory",
        "Memory assigned to the domain in the XML.",
        "memory_current",
    ),
    _number(
        "configured_memory_maximum_bytes",
        "domain XML, memory",
        "Maximum memory of the balloon in the XML, plugged memory devices included.",
        "memory_maximum",
    ),
    _number(
        "configured_memory_ceiling_bytes",
        "domain XML, maxMemory",
        "Maximum memory with all memory slots filled. Absent if memory devices cannot be plugged.",
        "memory_ceiling",
    ),
    _number(
        "configured_memory_slots",
        "domain XML, maxMemory@slots",
        "Maximum number of memory devices. Absent if memory devices cannot be plugged.",
        "memory_slots",
    ),
    Fact(
        name="libvirt_domain_hugepage_size_bytes",
        text="Size of the huge pages that back a NUMA node of the guest. An empty `guest_node` "
        "covers all nodes without their own series. 0: the host's default size.",
        group="info",
        source="domain XML, memoryBacking/hugepages/page",
        labels={"guest_node": "guest_node"},
        each="hugepages",
        value="size",
    ),
    _number(
        "balloon_stats_period_seconds",
        "domain XML, memballoon/stats@period",
        "Period of the guest's memory reports. Absent or 0: the guest does not report.",
        "balloon_period",
    ),
    _number(
        "cpu_shares",
        "virDomainGetSchedulerParameters, else domain XML, cputune/shares",
        "Relative CPU weight; for a running domain the weight in force. Not comparable between "
        "cgroup v1 and cgroup v2 hosts.",
        "cpu_tune.shares",
    ),
    *_tune("cpu", "", "", "each vCPU"),
    *_tune("cpu_global", "global_", "global_", "the whole domain"),
    *_tune("cpu_emulator", "emulator_", "emulator_", "the emulator's threads"),
    *_tune("cpu_iothread", "iothread_", "iothread_", "each I/O thread"),
    _info(
        "domain_vcpu_pin",
        "cputune/vcpupin, else vcpu@cpuset",
        "host CPUs that a vCPU may run on. An empty `vcpu` covers all vCPUs without their own "
        "series. Absent without pinning.",
        {"vcpu": "number", "cpus": "cpus"},
        "vcpu_pins",
    ),
    _info(
        "domain_emulator_pin",
        "cputune/emulatorpin",
        "host CPUs that the emulator's threads may run on. Absent without a pin of their own; then "
        "libvirt_domain_vcpu_pin_info with an empty `vcpu` applies.",
        {"cpus": "cpus"},
        "emulator_pins",
    ),
    _info(
        "domain_iothread_pin",
        "cputune/iothreadpin",
        "host CPUs that an I/O thread may run on. Absent without a pin of its own; then "
        "libvirt_domain_vcpu_pin_info with an empty `vcpu` applies.",
        {"iothread": "number", "cpus": "cpus"},
        "iothread_pins",
    ),
    _number(
        "snapshots",
        "virDomainSnapshotNum",
        "Snapshots of the domain in libvirt, as of the last read of its XML.",
        "snapshots",
    ),
    _number(
        "oldest_snapshot_timestamp_seconds",
        "snapshot XML, creationTime",
        "Unix time of the oldest snapshot. Absent without snapshots, or with more than 20 "
        "snapshot trees.",
        "oldest_snapshot",
    ),
    _number(
        "checkpoints",
        "virDomainListAllCheckpoints",
        "Checkpoints of the domain's disks in libvirt, as of the last read of its XML.",
        "checkpoints",
    ),
    _number(
        "oldest_checkpoint_timestamp_seconds",
        "checkpoint XML, creationTime",
        "Unix time of the oldest checkpoint. Absent without checkpoints.",
        "oldest_checkpoint",
    ),
    _number(
        "agent_connected",
        "domain XML, devices/channel/target@state",
        "1 if the guest agent's channel is connected, else 0. Absent without a channel.",
        "agent_connected",
    ),
    Fact(
        name="libvirt_domain_deprecated_info",
        text="Always 1; a deprecated machine type or CPU model of a running domain. Absent for "
        "shut-off domains.",
        group="info",
        source="virDomainGetMessages",
        labels={"setting": "setting"},
        each="deprecated",
        since="7.1.0",
    ),
    _info(
        "domain_system",
        "sysinfo/system",
        "serial number of the machine in SMBIOS.",
        {"serial": "system_serial"},
        default=False,
    ),
    _info(
        "domain_description",
        "title and description",
        "title and description of the domain (free text).",
        {"title": "title", "description": "description"},
        default=False,
    ),
)
