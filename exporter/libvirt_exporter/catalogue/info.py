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
            f"Period in which the quota of {text} is enforced; absent where none is set.",
            f"cpu_tune.{prefix}period",
        ),
        _number(
            f"{thing}_quota_seconds",
            f"domain XML, cputune/{element}quota",
            f"CPU time that {text} may use within a period; absent when unlimited.",
            f"cpu_tune.{prefix}quota",
        ),
    ]


METRICS: tuple[Metric, ...] = (
    _info(
        "domain",
        "domain",
        "the virtual machine's kind and CPU model, and of `domain` and `uuid` what is no identity "
        "label.",
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
        "what the guest is given: ACPI, kinds of boot devices in their order (a floppy, c disk, "
        "d CD-ROM, n network), first display and its keyboard layout, clipboard sharing of SPICE.",
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
        "What the guest's clock differs from its basis, as the guest has set it; absent unless "
        "the offset of the clock is variable.",
        "clock_adjustment",
    ),
    _number(
        "clock_offset_seconds",
        "domain XML, clock; time zones of this machine",
        "What the guest's clock is set ahead of UTC, not its drift; of a time zone as of the last "
        "reading of the XML. Absent when the clock starts elsewhere or its zone is not known.",
        "clock_utc_offset",
    ),
    _number(
        "persistent",
        "virDomainIsPersistent",
        "1 when the domain stays defined when it is shut off, else 0.",
        "persistent",
    ),
    _number(
        "autostart",
        "virDomainGetAutostart",
        "1 when libvirt starts the domain when the host boots, else 0.",
        "autostart",
    ),
    _number(
        "configured_vcpus",
        "domain XML, vcpu@current",
        "Virtual CPUs online by the XML.",
        "vcpus_current",
    ),
    _number(
        "configured_vcpus_maximum",
        "domain XML, vcpu",
        "Virtual CPUs at most by the XML.",
        "vcpus_maximum",
    ),
    _number(
        "configured_memory_bytes",
        "domain XML, currentMemory",
        "Memory given to the domain by the XML.",
        "memory_current",
    ),
    _number(
        "configured_memory_maximum_bytes",
        "domain XML, memory",
        "Memory by the XML when the balloon is empty, memory devices that are plugged in among it.",
        "memory_maximum",
    ),
    _number(
        "configured_memory_ceiling_bytes",
        "domain XML, maxMemory",
        "Memory that there can be when more memory devices are plugged in; absent where none can.",
        "memory_ceiling",
    ),
    _number(
        "configured_memory_slots",
        "domain XML, maxMemory@slots",
        "Memory devices that can be plugged in at most; absent where none can.",
        "memory_slots",
    ),
    Fact(
        name="libvirt_domain_hugepage_size_bytes",
        text="Size of the huge pages that back the memory of a NUMA node of the guest, or of all "
        "that have no series of their own; 0 for the host's default size.",
        group="info",
        source="domain XML, memoryBacking/hugepages/page",
        labels={"guest_node": "guest_node"},
        each="hugepages",
        value="size",
    ),
    _number(
        "balloon_stats_period_seconds",
        "domain XML, memballoon/stats@period",
        "How often the guest is asked for memory figures; absent or 0: never.",
        "balloon_period",
    ),
    _number(
        "cpu_shares",
        "virDomainGetSchedulerParameters, else domain XML, cputune/shares",
        "Relative CPU weight, of a running domain the one in force; not comparable between "
        "cgroup v1 and v2 hosts.",
        "cpu_tune.shares",
    ),
    *_tune("cpu", "", "", "each vCPU"),
    *_tune("cpu_global", "global_", "global_", "the whole domain"),
    *_tune("cpu_emulator", "emulator_", "emulator_", "the emulator's threads"),
    *_tune("cpu_iothread", "iothread_", "iothread_", "each I/O thread"),
    _info(
        "domain_vcpu_pin",
        "cputune/vcpupin, else vcpu@cpuset",
        "the CPUs of the host that a vCPU may run on; `vcpu` is empty for all that have no series "
        "of their own. Absent where nothing is pinned.",
        {"vcpu": "number", "cpus": "cpus"},
        "vcpu_pins",
    ),
    _info(
        "domain_emulator_pin",
        "cputune/emulatorpin",
        "the CPUs of the host that the emulator's threads may run on; absent where not pinned.",
        {"cpus": "cpus"},
        "emulator_pins",
    ),
    _info(
        "domain_iothread_pin",
        "cputune/iothreadpin",
        "the CPUs of the host that an I/O thread may run on; absent where it is not pinned.",
        {"iothread": "number", "cpus": "cpus"},
        "iothread_pins",
    ),
    _number(
        "snapshots",
        "virDomainSnapshotNum",
        "Snapshots that libvirt keeps of the domain, as of the last reading of its XML.",
        "snapshots",
    ),
    _number(
        "oldest_snapshot_timestamp_seconds",
        "snapshot XML, creationTime",
        "Unix time of the oldest snapshot; absent without one, or with more than 20 trees of them.",
        "oldest_snapshot",
    ),
    _number(
        "checkpoints",
        "virDomainListAllCheckpoints",
        "Checkpoints that libvirt keeps of the domain's disks, as of the last reading of its XML.",
        "checkpoints",
    ),
    _number(
        "oldest_checkpoint_timestamp_seconds",
        "checkpoint XML, creationTime",
        "Unix time of the oldest checkpoint; absent without one.",
        "oldest_checkpoint",
    ),
    _number(
        "agent_connected",
        "domain XML, devices/channel/target@state",
        "1 when the guest agent has opened its channel, 0 when not; absent without a channel.",
        "agent_connected",
    ),
    Fact(
        name="libvirt_domain_deprecated_info",
        text="Always 1; something deprecated that a running domain was started with: its machine "
        "type or CPU model. Nothing is known of domains that are shut off.",
        group="info",
        source="virDomainGetMessages",
        labels={"setting": "setting"},
        each="deprecated",
        since="7.1.0",
    ),
    _info(
        "domain_system",
        "sysinfo/system",
        "serial number of the machine, as the guest finds it in SMBIOS.",
        {"serial": "system_serial"},
        default=False,
    ),
    _info(
        "domain_description",
        "title and description",
        "free text that somebody wrote about the domain.",
        {"title": "title", "description": "description"},
        default=False,
    ),
)
