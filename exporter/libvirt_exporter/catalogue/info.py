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
        "d CD-ROM, n network), keyboard layout of the console, clipboard sharing of SPICE.",
        {"acpi": "acpi", "boot": "boot", "keymap": "keymap", "clipboard": "clipboard"},
    ),
    _number(
        "clock_adjustment_seconds",
        "domain XML, clock@adjustment",
        "What the guest's clock differs from its basis, as the guest has set it; absent unless "
        "the offset of the clock is variable.",
        "clock_adjustment",
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
        "Memory at most by the XML.",
        "memory_maximum",
    ),
    _number(
        "hugepage_size_bytes",
        "domain XML, memoryBacking/hugepages/page@size",
        "Size of the huge pages that back the memory; 0 for the host's default size.",
        "hugepage_size",
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
    _info(
        "domain_watchdog",
        "devices/watchdog",
        "model and action of a watchdog device.",
        {"model": "model", "action": "action"},
        "watchdogs",
    ),
    _info(
        "domain_block",
        "devices/disk",
        "what a disk is made of.",
        {
            "device": "device",
            "kind": "kind",
            "bus": "bus",
            "source_type": "source_type",
            "format": "format",
            "cache": "cache",
            "io": "io",
            "discard": "discard",
            "error_policy": "error_policy",
            "readonly": "readonly",
        },
        "disks",
    ),
    Fact(
        name="libvirt_domain_block_backing_chain_depth",
        text="Images in a disk's backing chain, the top one included; 1 without a backing image.",
        group="info",
        source="domain XML, devices/disk/backingStore",
        labels={"device": "device"},
        each="disks",
        value="chain_depth",
    ),
    *(
        Fact(
            name=f"libvirt_domain_block_iotune_{operations}_{what}_per_second",
            text=f"Limit on the {word} of a disk; absent where none is set.",
            group="info",
            source=f"domain XML, devices/disk/iotune/{operations}_{element}_sec",
            labels={"device": "device"},
            each="disks",
            value=f"iotune.{operations}_{element}_sec",
        )
        for what, element in (("bytes", "bytes"), ("requests", "iops"))
        for operations, word in (
            ("total", f"{what} read and written"),
            ("read", f"{what} read"),
            ("write", f"{what} written"),
        )
    ),
    _info(
        "domain_block_source",
        "devices/disk/source",
        "path or network name of a disk's top image.",
        {"device": "device", "source": "source"},
        "disks",
        default=False,
    ),
    _info(
        "domain_block_serial",
        "devices/disk/serial",
        "serial number of a disk; OpenStack's volume id.",
        {"device": "device", "serial": "serial"},
        "disks",
        default=False,
    ),
    _info(
        "domain_interface",
        "devices/interface",
        "what a network interface is connected to.",
        {
            "device": "device",
            "interface_type": "type",
            "model": "model",
            "network": "network",
            "bridge": "bridge",
            "port_id": "port_id",
        },
        "interfaces",
    ),
    _info(
        "domain_interface_address",
        "devices/interface/mac",
        "hardware address of a network interface.",
        {"device": "device", "mac": "mac"},
        "interfaces",
        default=False,
    ),
    _info(
        "domain_interface_source",
        "devices/interface/source",
        "device, socket or address of the host that a network interface is connected to.",
        {"device": "device", "source": "source"},
        "interfaces",
        default=False,
    ),
    _info(
        "domain_host_device",
        "devices/hostdev",
        "a device of the host that the domain owns.",
        {"device": "alias", "device_type": "type", "address": "address", "driver": "driver"},
        "host_devices",
    ),
    _info(
        "domain_filesystem",
        "devices/filesystem",
        "a directory of the host shared with the guest, by its mount tag.",
        {"target": "target", "access": "type", "driver": "driver"},
        "filesystems",
    ),
    _info(
        "domain_graphics",
        "devices/graphics",
        "where a graphical console listens.",
        {
            "graphics_type": "type",
            "listen": "listen",
            "port": "port",
            "tls_port": "tls_port",
            "websocket": "websocket",
        },
        "graphics",
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
