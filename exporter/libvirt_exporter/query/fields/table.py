"""The table of VM fields, and their values.

The names are those that VDSM (oVirt's agent on a host) gave them, and so are the meanings, where
libvirt can tell; values are of JSON's own types, where VDSM had strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from libvirt_exporter.model import STATES, VanishedDomain
from libvirt_exporter.query.fields import definition, figures, jobs, status
from libvirt_exporter.query.fields.definition import metadata_of, of_info
from libvirt_exporter.query.fields.field import ABSENT, Change, VmField, VmView
from libvirt_exporter.query.fields.schema import (
    ANY,
    BOOLEAN,
    COUNT,
    INTEGER,
    OBJECT,
    PERCENT,
    SECONDS,
    STRING,
    Schema,
    enum_of,
    list_of,
    map_of,
    object_of,
)

__all__ = ["ABSENT", "BY_NAME", "FIELDS", "Change", "VmField", "VmView", "explain", "values"]


XML: Final = "The domain XML does not say."
SHARES: Final = "virDomainGetSchedulerParameters: cpu_shares, else domain XML, cputune/shares"
AGENT: Final = "The guest's agent is not asked by this version."
RATES: Final = "Needs two samples of one run, some seconds apart, of a domain that is active."
GUEST_MEMORY: Final = (
    "The domain does not answer, or its guest does not report its memory: that needs a balloon "
    "driver, and <stats period=…/> in the domain XML's <memballoon>."
)
PROCESS: Final = "Needs QEMU's process in this machine's /proc, and the group `process`."
EVENTS: Final = "Has not been seen; libvirt tells it only at the moment when it happens."
INACTIVE: Final = "The domain is not active."
GONE: Final = "The domain does not exist any more; only its end is known."
NO_XML: Final = "The domain XML has not been read yet, or could not be understood."


def _never(_view: VmView) -> Any:
    return ABSENT


DISK: Final = object_of(
    truesize=(COUNT, "bytes that the top image occupies; of a block device its size"),
    apparentsize=(COUNT, "bytes; only of block devices, where it is the same"),
    readRate=(COUNT, "bytes/s, 3 significant digits"),
    writeRate=(COUNT, "bytes/s, 3 significant digits"),
    readLatency=(COUNT, "ns per operation between the two samples, 0 without any"),
    writeLatency=(COUNT, "ns per operation, likewise"),
    flushLatency=(COUNT, "ns per operation, likewise"),
    readOps=(COUNT, "read requests since QEMU started"),
    writeOps=(COUNT, "write requests since QEMU started"),
    readBytes=(COUNT, "bytes since QEMU started"),
    writtenBytes=(COUNT, "bytes since QEMU started"),
    imageID=(STRING, "oVirt's id of the image, from the metadata"),
)
NIC: Final = object_of(
    name=(STRING, "the host's network device"),
    macAddr=(STRING, "hardware address, from the XML"),
    speed=(
        {"enum": [figures.SLOW, figures.FAST]},
        "Mbit/s; not measured: VDSM's constant, 1000 for virtio, e1000 and e1000e, else 100",
    ),
    state=(enum_of(("up", "down")), "link state by the XML"),
    rxErrors=(COUNT, "since the device was created"),
    rxDropped=(COUNT, "packets since the device was created"),
    txErrors=(COUNT, "since the device was created"),
    txDropped=(COUNT, "packets since the device was created"),
    rxRate=(PERCENT, "% of `speed`"),
    txRate=(PERCENT, "% of `speed`"),
    rx=(COUNT, "bytes that the guest received since the device was created"),
    tx=(COUNT, "bytes that the guest sent since the device was created"),
    rxBytesPerSecond=(COUNT, "bytes/s, 3 significant digits"),
    txBytesPerSecond=(COUNT, "bytes/s, 3 significant digits"),
)
PORT: Final[Schema] = {"type": ["integer", "null"]}

FIELDS: Final[tuple[VmField, ...]] = (
    VmField(
        name="acpiEnable",
        schema=BOOLEAN,
        text="Whether the guest is offered ACPI.",
        source="domain XML, features/acpi",
        change="static",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.acpi),
        why_absent=XML,
    ),
    VmField(
        name="appsList",
        schema=list_of(STRING),
        text="Applications installed in the guest, as name-version.",
        source="guest agent",
        change="agent",
        sensitive=True,
        on_request=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="balloonInfo",
        schema=object_of(
            balloon_max=(COUNT, "KiB at most"),
            balloon_min=(COUNT, "KiB guaranteed, from oVirt's metadata"),
            balloon_cur=(COUNT, "KiB now"),
            balloon_target=(COUNT, "KiB that oVirt last asked for, from its metadata"),
            ballooning_enabled=(BOOLEAN, "by oVirt's metadata, else whether there is a device"),
        ),
        unit="KiB",
        text="State of the memory balloon.",
        source="balloon.maximum, balloon.current; oVirt's metadata",
        change="sampled",
        metric="libvirt_domain_balloon_current_bytes",
        value=figures.balloon_info,
        why_absent="Needs the group `balloon`, and a domain that is active and answers.",
    ),
    VmField(
        name="boot",
        schema={"type": "string", "pattern": "^[acdn]+$"},
        text="Boot devices in order: a floppy, c disk, d CD-ROM, n network.",
        source="domain XML, os/boot/@dev, else boot/@order of devices",
        change="static",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.boot or None),
        why_absent=XML,
    ),
    VmField(
        name="cdrom",
        schema=STRING,
        text="Path of the image in the first CD-ROM drive, empty without a medium.",
        source="domain XML, devices/disk[@device='cdrom']/source",
        change="static",
        sensitive=True,
        metric="libvirt_domain_block_source_info",
        value=of_info(definition.cdrom),
        why_absent="The VM has no CD-ROM drive.",
    ),
    VmField(
        name="clientIp",
        schema=STRING,
        text="Address of the display's client that came last, empty without a client.",
        source="event GRAPHICS",
        change="event",
        sensitive=True,
        metric="libvirt_domain_graphics_clients",
        value=status.client_address,
        why_absent=EVENTS,
    ),
    VmField(
        name="copyPasteEnable",
        schema=BOOLEAN,
        text="Whether SPICE shares the clipboard with the guest.",
        source="domain XML, devices/graphics[@type='spice']/clipboard/@copypaste",
        change="static",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.clipboard),
        why_absent="The VM has no SPICE display.",
    ),
    VmField(
        name="cpuShares",
        schema=COUNT,
        text=(
            "Relative CPU weight, of a running VM the one in force; not comparable between hosts "
            "with cgroup v1 and v2."
        ),
        source=SHARES,
        change="static",
        metric="libvirt_domain_cpu_shares",
        value=of_info(lambda info: info.cpu_tune.shares),
        why_absent="The domain XML has no CPU shares, and libvirt tells of none that are in force.",
    ),
    VmField(
        name="cpuSys",
        schema=PERCENT,
        unit="% of one CPU",
        text="CPU time that QEMU spent beside guest code, to 0.1 %.",
        source="cpu.time less what cpuUser says",
        change="sampled",
        metric="libvirt_domain_cpu_seconds_total",
        value=figures.cpu_sys,
        why_absent=RATES,
    ),
    VmField(
        name="cpuType",
        schema=STRING,
        text=(
            "CPU model with features added (`+`) and removed (`-`), or hostPassthrough, hostModel, "
            "maximum. Of a transient VM with host-model libvirt keeps only the model that it "
            "became. A change of the definition counts from the VM's next start, but one that was "
            "made while no exporter ran may count at once."
        ),
        source="domain XML, cpu; of a running VM the mode of its definition",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(definition.cpu_type),
        why_absent=XML,
    ),
    VmField(
        name="cpuUser",
        schema=PERCENT,
        unit="% of one CPU",
        text="CPU time spent in guest code, to 0.1 %; more than 100 with several vCPUs.",
        source="guest time of /proc/PID/stat with KVM, else the sum of vcpu.<num>.time",
        change="sampled",
        metric="libvirt_domain_vcpu_seconds_total",
        value=figures.cpu_user,
        why_absent=RATES,
    ),
    VmField(
        name="custom",
        schema=OBJECT,
        text="Free-form properties; of a Nova VM those of image and flavor.",
        source="metadata: oVirt's custom; Nova's image/properties and flavor/extraSpecs",
        change="static",
        sensitive=True,
        value=of_info(definition.custom),
        why_absent="The domain XML has no metadata of oVirt or Nova.",
    ),
    VmField(
        name="devices",
        schema=list_of(
            object_of(
                type=(STRING, "element of the XML: disk, interface, controller …"),
                device=(STRING, "its type; of a disk: disk, cdrom, floppy, lun"),
                model=(STRING, "model"),
                name=(STRING, "target: vda, vnet0"),
                alias=(STRING, "libvirt's name of the device"),
                address=(map_of(STRING), "attributes of the address in the guest"),
            )
        ),
        text="The VM's devices in XML order.",
        source="domain XML, devices/*",
        change="static",
        value=of_info(definition.devices),
        why_absent=XML,
    ),
    VmField(
        name="disks",
        schema=map_of(DISK),
        text=(
            "Sizes and statistics by disk, without GUIDs of LUNs, which are sensitive; rates and "
            "latencies take two samples."
        ),
        source="block.<num>.*",
        change="sampled",
        metric="libvirt_domain_block_read_bytes_total",
        value=figures.disks,
        why_absent="Needs the group `block`, and a domain that is active and answers.",
    ),
    VmField(
        name="disksUsage",
        schema=list_of(
            object_of(
                path=(STRING, "mount point"),
                fs=(STRING, "kind"),
                total=(COUNT, "bytes"),
                used=(COUNT, "bytes"),
            )
        ),
        unit="bytes",
        text="File systems mounted in the guest.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="display",
        schema=STRING,
        text="Kind of the first display: vnc, qxl (which is SPICE), or libvirt's word.",
        source="domain XML, devices/graphics/@type",
        change="static",
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display),
        why_absent="The VM has no display.",
    ),
    VmField(
        name="displayInfo",
        schema=list_of(
            object_of(
                type=(STRING, "libvirt's word: vnc, spice …"),
                port=(PORT, "null without one"),
                tlsPort=(PORT, "null without one"),
                ipAddress=({"type": ["string", "null"]}, "where it listens"),
            )
        ),
        text="All displays.",
        source="domain XML, devices/graphics",
        change="static",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display_info),
        why_absent=XML,
    ),
    VmField(
        name="displayIp",
        schema=STRING,
        text="Where the first display listens; 0.0.0.0 and :: mean every address of the host.",
        source="domain XML, devices/graphics/listen",
        change="static",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display_ip),
        why_absent="The VM has no display that listens.",
    ),
    VmField(
        name="displayPort",
        schema={"type": "integer", "minimum": definition.NO_PORT},
        text="Unencrypted port of the first display, -1 for none.",
        source="domain XML, devices/graphics/@port",
        change="static",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display_port),
        why_absent="The VM has no display.",
    ),
    VmField(
        name="displaySecurePort",
        schema={"type": "integer", "minimum": definition.NO_PORT},
        text="TLS port of the first display, -1 for none; VNC's TLS has none of its own.",
        source="domain XML, devices/graphics/@tlsPort",
        change="static",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display_secure_port),
        why_absent="The VM has no display.",
    ),
    VmField(
        name="displayType",
        schema=STRING,
        text="The same as `display`.",
        source="domain XML, devices/graphics/@type",
        change="static",
        metric="libvirt_domain_graphics_info",
        value=of_info(definition.display),
        why_absent="The VM has no display.",
    ),
    VmField(
        name="elapsedTime",
        schema=COUNT,
        unit="s",
        text="Time since the VM was started, or since its guest last rebooted.",
        source="start of QEMU's process or oVirt's startTime; event REBOOT",
        change="time",
        metric="libvirt_domain_start_time_seconds",
        value=status.elapsed_time,
        why_absent=(
            "The start was not seen: needs oVirt's metadata, QEMU's process in this machine's "
            "/proc, or the event of the start."
        ),
    ),
    VmField(
        name="emulatedMachine",
        schema=STRING,
        text="Machine type.",
        source="domain XML, os/type/@machine",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.machine or None),
        why_absent=XML,
    ),
    VmField(
        name="exitCode",
        schema=INTEGER,
        text="How the VM ended: 0 normally, 1 with an error. Not QEMU's exit status.",
        source="lifecycle events, else state.reason; oVirt's metadata",
        change="event",
        metric="libvirt_domain_exit_code",
        value=status.exit_code,
        why_absent="The VM has not ended.",
    ),
    VmField(
        name="exitMessage",
        schema=STRING,
        text="Why the VM ended, in words.",
        source="lifecycle events, else state.reason",
        change="event",
        value=status.exit_message,
        why_absent="The VM has not ended.",
    ),
    VmField(
        name="guestCPUCount",
        schema=COUNT,
        text="CPUs that are online in the guest.",
        source="guest agent",
        change="agent",
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="guestFQDN",
        schema=STRING,
        text="The guest's host name.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="guestIPs",
        schema=STRING,
        text="The guest's IPv4 addresses, separated by blanks.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="keyboardLayout",
        schema=STRING,
        text="Keyboard layout of the first display that has one, `en-us`.",
        source="domain XML, devices/graphics/@keymap",
        change="static",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.keymap or None),
        why_absent=XML,
    ),
    VmField(
        name="kvmEnable",
        schema=BOOLEAN,
        text="Whether the hardware accelerates the VM.",
        source="domain XML, domain/@type",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.type == "kvm"),
        why_absent=XML,
    ),
    VmField(
        name="maxVCpus",
        schema=COUNT,
        text="vCPUs at most.",
        source="domain XML, vcpu",
        change="static",
        metric="libvirt_domain_configured_vcpus_maximum",
        value=of_info(lambda info: info.vcpus_maximum),
        why_absent=XML,
    ),
    VmField(
        name="memGuaranteedSize",
        schema=COUNT,
        unit="MiB",
        text="Memory that the VM keeps whatever the balloon does.",
        source="metadata: oVirt's minGuaranteedMemoryMb; domain XML, memtune/min_guarantee",
        change="static",
        metric="libvirt_domain_ovirt_guaranteed_memory_bytes",
        value=of_info(definition.guaranteed_memory),
        why_absent="QEMU's driver has no such setting; the domain XML has no metadata of oVirt.",
    ),
    VmField(
        name="memSize",
        schema=COUNT,
        unit="MiB",
        text="Memory of the VM, NVDIMMs not counted.",
        source="domain XML, memory",
        change="static",
        metric="libvirt_domain_configured_memory_maximum_bytes",
        value=of_info(definition.memory_size),
        why_absent=XML,
    ),
    VmField(
        name="memUsage",
        schema={"type": "integer", "minimum": 0, "maximum": 100},
        unit="%",
        text="Memory in use in the guest, of what the guest has.",
        source="balloon.usable and balloon.available, else balloon.unused and disk_caches",
        change="sampled",
        metric="libvirt_domain_balloon_usable_bytes",
        value=figures.memory_usage,
        why_absent=GUEST_MEMORY,
    ),
    VmField(
        name="memoryStats",
        schema=object_of(
            mem_total=(COUNT, "KiB that the guest has"),
            mem_unused=(COUNT, "KiB that nothing uses"),
            mem_free=(COUNT, "KiB unused, or holding what could be read from disk again"),
            swap_in=(COUNT, "KiB/s"),
            swap_out=(COUNT, "KiB/s"),
            majflt=(COUNT, "major page faults per second"),
            minflt=(COUNT, "minor page faults per second"),
            pageflt=(COUNT, "page faults per second"),
        ),
        unit="KiB",
        text="Memory as the guest sees it; rates take two samples and have 3 significant digits.",
        source="balloon.*",
        change="sampled",
        metric="libvirt_domain_balloon_available_bytes",
        value=figures.memory_stats,
        why_absent=GUEST_MEMORY,
    ),
    VmField(
        name="migrationProgress",
        schema={"type": "integer", "minimum": 0, "maximum": 100},
        unit="%",
        text="How much of an outgoing migration is done; falls when the guest writes faster.",
        source="virDomainGetJobStats: data_remaining, data_total",
        change="sampled",
        metric="libvirt_domain_job_data_remaining_bytes",
        value=jobs.migration_progress,
        why_absent="The VM is not migrating away, or its job has not been looked at yet.",
    ),
    VmField(
        name="monitorResponse",
        schema={"enum": [-1, 0]},
        text="0 while QEMU's monitor answers, -1 when it does not.",
        source="virDomainGetControlInfo, while calls take long",
        change="event",
        metric="libvirt_domain_monitor_responsive",
        value=status.monitor_response,
        why_absent="The domain is not active, or nothing that needs its monitor is asked.",
    ),
    VmField(
        name="netIfaces",
        schema=list_of(
            object_of(
                name=(STRING, "in the guest"),
                hw=(STRING, "hardware address"),
                inet=(list_of(STRING), "IPv4 addresses"),
                inet6=(list_of(STRING), "IPv6 addresses"),
            )
        ),
        text="Network interfaces in the guest, and their addresses.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="network",
        schema=map_of(NIC),
        text="Statistics by interface, as the guest sees them; rates take two samples.",
        source="net.<num>.*; domain XML, devices/interface",
        change="sampled",
        metric="libvirt_domain_interface_receive_bytes_total",
        value=figures.network,
        why_absent="Needs the group `interface`, and a domain that is active.",
    ),
    VmField(
        name="nicModel",
        schema=STRING,
        text="Models of the interfaces in XML order, separated by commas.",
        source="domain XML, devices/interface/model/@type",
        change="static",
        metric="libvirt_domain_interface_info",
        value=of_info(definition.nic_model),
        why_absent=XML,
    ),
    VmField(
        name="nice",
        schema={"type": "integer", "minimum": 0, "maximum": 19},
        text=(
            "The niceness for which VDSM would have set these CPU shares, (20 - nice) × 51. The "
            "process has another."
        ),
        source=SHARES,
        change="static",
        value=of_info(definition.nice),
        why_absent="There are no CPU shares, or not such as VDSM makes of a niceness.",
    ),
    VmField(
        name="pauseCode",
        schema=enum_of(status.PAUSE_CODES),
        text="Why the VM is paused, NOERR when by no error; EOTHER may be a crash or the watchdog.",
        source="state.reason; virDomainGetDiskErrors, event IO_ERROR",
        change="event",
        metric="libvirt_domain_pause_code",
        value=status.pause_code,
        why_absent="The domain is not active, or its disks have not been asked for errors yet.",
    ),
    VmField(
        name="pid",
        schema=COUNT,
        text="Number of QEMU's process.",
        source="/run/libvirt/qemu/<name>.pid",
        change="event",
        metric="libvirt_domain_process_id",
        value=status.pid,
        why_absent=PROCESS,
    ),
    VmField(
        name="serial",
        schema=STRING,
        text="Serial number of the system.",
        source="domain XML, sysinfo/system/entry[@name='serial']",
        change="static",
        sensitive=True,
        value=of_info(lambda info: info.system_serial or None),
        why_absent=XML,
    ),
    VmField(
        name="session",
        schema=enum_of(("Unknown", "UserLoggedOn", "Locked", "Active", "LoggedOff")),
        text="Whether a user is logged on to the guest.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="smp",
        schema=COUNT,
        text="vCPUs that are plugged in.",
        source="vcpu.current, else domain XML, vcpu/@current",
        change="event",
        metric="libvirt_domain_vcpus_current",
        value=status.vcpus_now,
        why_absent=XML,
    ),
    VmField(
        name="smpCoresPerSocket",
        schema=COUNT,
        text="Cores per socket, dies and clusters multiplied in; 1 without a topology.",
        source="domain XML, cpu/topology",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.cpu_cores or 1),
        why_absent=XML,
    ),
    VmField(
        name="smpThreadsPerCore",
        schema=COUNT,
        text="Threads per core; 1 without a topology.",
        source="domain XML, cpu/topology",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.cpu_threads or 1),
        why_absent=XML,
    ),
    VmField(
        name="statsAge",
        schema=SECONDS,
        unit="s",
        text="Time since just before the call that answered for the VM.",
        source="the exporter",
        change="time",
        value=figures.stats_age,
        why_absent=GONE,
    ),
    VmField(
        name="status",
        schema=enum_of(status.STATUSES),
        text=(
            "What the VM does, in VDSM's words. Powering up and RebootInProgress are guesses: for "
            "60 s after a start or reboot, until the guest's agent is connected."
        ),
        source="state.state, state.reason; virDomainGetJobStats; event REBOOT; start of QEMU",
        change="event",
        by_clock=True,
        metric="libvirt_domain_state",
        value=status.status,
        why_absent="libvirt told a state that this version does not know.",
    ),
    VmField(
        name="timeOffset",
        schema=INTEGER,
        unit="s",
        text=(
            "What the guest's clock is set ahead of UTC; not its drift. With a time zone, daylight "
            "saving time is as it was when the XML was last read, every `scrape.info_refresh`."
        ),
        source="domain XML, clock; time zones of this machine",
        change="static",
        metric="libvirt_domain_clock_adjustment_seconds",
        value=of_info(definition.time_offset),
        why_absent=(
            "The clock has a start of its own, follows the time zone of another machine or one "
            "that is not known here, or the domain XML does not say."
        ),
    ),
    VmField(
        name="transparentHugePages",
        schema=BOOLEAN,
        text=(
            "Whether the kernel may put the VM's memory into transparent huge pages: neither the "
            "host nor the process forbids it, and no hugetlbfs backs the memory."
        ),
        source=(
            "domain XML, memoryBacking; THP_enabled of /proc/PID/status, and "
            "/sys/kernel/mm/transparent_hugepage/enabled"
        ),
        change="event",
        metric="libvirt_domain_transparent_hugepages_enabled",
        value=status.transparent_huge_pages,
        why_absent=f"{PROCESS} For memory that is shared or in files the kernel has other rules.",
    ),
    VmField(
        name="username",
        schema=STRING,
        text="Who is logged on to the guest.",
        source="guest agent",
        change="agent",
        sensitive=True,
        value=_never,
        why_absent=AGENT,
    ),
    VmField(
        name="vNodeRuntimeInfo",
        schema=map_of(list_of(COUNT)),
        text=(
            "NUMA nodes of the host, ascending, whose CPUs ran the vCPUs of each of the guest's "
            "when they were last looked at, two minutes ago at most."
        ),
        source="virDomainGetVcpus; domain XML, cpu/numa; capabilities, host/topology",
        change="sampled",
        metric="libvirt_domain_numa_node_placement",
        value=figures.numa_placement,
        why_absent="Needs NUMA cells in the domain XML, and the group `vcpu`.",
    ),
    VmField(
        name="vmId",
        schema=STRING,
        text="UUID of the VM; part of every answer.",
        source="virDomainGetUUID",
        change="static",
        metric="libvirt_domain_info",
        value=lambda view: view.domain.uuid,
        why_absent="Always there.",
    ),
    VmField(
        name="vmJobs",
        schema=map_of(
            object_of(
                id=(STRING, "oVirt's id of the job, else the disk's target"),
                jobType=({"const": "block"}, "kind of job"),
                blockJobType=(enum_of(dict.fromkeys(jobs.BLOCK_JOB_TYPES)), "kind of block job"),
                drive=(STRING, "the disk's target"),
                bandwidth=(COUNT, "limit in bytes/s, 0 for none"),
                cur=(COUNT, "what is done, of `end`"),
                end=(COUNT, "what there is to do; for copies bytes"),
                imgUUID=(STRING, "oVirt's id of the image, from the metadata"),
            )
        ),
        text="Block jobs that run.",
        source="virDomainGetBlockJobInfo",
        change="sampled",
        metric="libvirt_domain_block_job_current_bytes",
        value=jobs.vm_jobs,
        why_absent="No block job is known to run.",
    ),
    VmField(
        name="vmName",
        schema=STRING,
        text="Name of the VM.",
        source="virDomainGetName",
        change="static",
        metric="libvirt_domain_info",
        value=lambda view: view.domain.name,
        why_absent="Always there.",
    ),
    VmField(
        name="vmType",
        schema=STRING,
        text="Kind of VM, as kvm, qemu, lxc, xen, test.",
        source="domain XML, domain/@type",
        change="static",
        metric="libvirt_domain_info",
        value=of_info(lambda info: info.type or None),
        why_absent=XML,
    ),
    VmField(
        name="watchdogEvent",
        schema=object_of(
            time=(SECONDS, "Unix time"),
            action=(
                STRING,
                f"{', '.join(status.WATCHDOG_ACTIONS)}, or `unknown_` and libvirt's number",
            ),
        ),
        text="When the watchdog last fired, and what was done.",
        source="event WATCHDOG",
        change="event",
        metric="libvirt_domain_watchdog_events_total",
        value=status.watchdog_event,
        why_absent=EVENTS,
    ),
    VmField(
        name="diskSerials",
        schema=map_of(STRING),
        text="Serial numbers of the disks by target; OpenStack's volume ids.",
        source="domain XML, devices/disk/serial",
        change="static",
        sensitive=True,
        metric="libvirt_domain_block_serial_info",
        value=of_info(definition.disk_serials),
        why_absent=XML,
    ),
    VmField(
        name="exitReason",
        schema=INTEGER,
        text="Why the VM ended, as VDSM's number.",
        source="lifecycle events, else state.reason; oVirt's metadata",
        change="event",
        value=status.exit_reason,
        why_absent="The VM has not ended.",
    ),
    *(
        VmField(
            name=system,
            schema=ANY,
            text=f"Metadata of {owner} as a JSON value; never a payload (cloud-init, sysprep).",
            source=f"domain XML, metadata of {namespace}",
            change="static",
            sensitive=True,
            metric=metric,
            value=metadata_of(system),
            why_absent=f"The domain XML has no metadata of {owner}.",
        )
        for system, owner, namespace, metric in (
            ("instance", "oVirt (typed items)", "http://ovirt.org/vm/instance/1.0", ""),
            ("kubevirt", "KubeVirt", "http://kubevirt.io", ""),
            (
                "libosinfo",
                "libosinfo",
                "http://libosinfo.org/xmlns/libvirt/domain/1.0",
                "libvirt_domain_os_info",
            ),
            (
                "nova",
                "OpenStack Nova",
                "http://openstack.org/xmlns/libvirt/nova/1.1 and 1.0",
                "libvirt_domain_openstack_info",
            ),
            (
                "ovirt",
                "oVirt",
                "http://ovirt.org/vm/1.0 and http://ovirt.org/vm/tune/1.0",
                "libvirt_domain_ovirt_info",
            ),
        )
    ),
    VmField(
        name="lunGUIDs",
        schema=map_of(STRING),
        text="oVirt's GUIDs of the LUNs behind disks, by target.",
        source="metadata: oVirt's GUID",
        change="static",
        sensitive=True,
        value=of_info(definition.lun_guids),
        why_absent="The domain XML has no metadata of oVirt that names a LUN.",
    ),
    VmField(
        name="startTime",
        schema=SECONDS,
        unit="s",
        text="Unix time at which the VM was started; reboots do not count.",
        source="start of QEMU's process or oVirt's startTime",
        change="event",
        metric="libvirt_domain_start_time_seconds",
        value=status.started_at,
        why_absent="The start was not seen; as elapsedTime.",
    ),
    VmField(
        name="state",
        schema=STRING,
        text=f"libvirt's state: {', '.join(STATES)}, or `unknown_` and libvirt's number.",
        source="state.state",
        change="event",
        metric="libvirt_domain_state",
        value=status.state,
        why_absent=GONE,
    ),
    VmField(
        name="stateReason",
        schema=STRING,
        text="libvirt's reason of the state, as booted, ioerror, watchdog.",
        source="state.reason",
        change="event",
        metric="libvirt_domain_state_reason",
        value=status.state_reason,
        why_absent=GONE,
    ),
)
"""The 59 fields that VDSM's design names, in its order, then those of the exporter's own."""

BY_NAME: Final[Mapping[str, VmField]] = {field.name: field for field in FIELDS}


def values(view: VmView, names: Iterable[str]) -> dict[str, Any]:
    """The named fields that have a value, in the order of `names`; unknown names have none."""
    found = {}
    for name in names:
        field = BY_NAME.get(name)
        if field is not None and (value := field.value(view)) is not ABSENT:
            found[name] = value
    return found


def explain(view: VmView, names: Iterable[str]) -> dict[str, str]:
    """Why each of the named fields that has no value has none; unknown names are left out."""
    return {
        name: _reason(view, field)
        for name in names
        if (field := BY_NAME.get(name)) is not None and field.value(view) is ABSENT
    }


def _reason(view: VmView, field: VmField) -> str:
    domain = view.domain
    if isinstance(domain, VanishedDomain):
        return GONE
    if field.change == "static" and domain.info is None:
        return NO_XML
    if field.change in ("agent", "sampled") and not domain.active:
        return INACTIVE
    return field.why_absent
