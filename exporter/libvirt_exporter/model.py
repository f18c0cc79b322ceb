"""Immutable samples: what a host said about its domains at one moment.

Nothing here knows libvirt, HTTP or Prometheus. Everything is a msgspec Struct, so a sample can be
written to JSON and read back unchanged; that is how recorded hosts become contract tests.

Units: bytes and seconds throughout, except inside `DomainSample.stats`, which keeps libvirt's own
keys and units (the catalogue knows those).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from msgspec import Struct, field

StatValue = int | float | bool | str
Stats = Mapping[str, StatValue]

STATES: Final = (
    "nostate",
    "running",
    "blocked",
    "paused",
    "shutdown",
    "shutoff",
    "crashed",
    "pmsuspended",
)
"""Names of virDomainState by number."""

REASONS: Final[Mapping[int, Mapping[int, str]]] = {
    0: {0: "unknown"},
    1: {
        0: "unknown",
        1: "booted",
        2: "migrated",
        3: "restored",
        4: "from_snapshot",
        5: "unpaused",
        6: "migration_canceled",
        7: "save_canceled",
        8: "wakeup",
        9: "crashed",
        10: "postcopy",
        11: "postcopy_failed",
    },
    2: {0: "unknown"},
    3: {
        0: "unknown",
        1: "user",
        2: "migration",
        3: "save",
        4: "dump",
        5: "ioerror",
        6: "watchdog",
        7: "from_snapshot",
        8: "shutting_down",
        9: "snapshot",
        10: "crashed",
        11: "starting_up",
        12: "postcopy",
        13: "postcopy_failed",
        14: "api_error",
    },
    4: {0: "unknown", 1: "user"},
    5: {
        0: "unknown",
        1: "shutdown",
        2: "destroyed",
        3: "crashed",
        4: "migrated",
        5: "saved",
        6: "failed",
        7: "from_snapshot",
        8: "daemon",
    },
    6: {0: "unknown", 1: "panicked"},
    7: {0: "unknown"},
}
"""Names of the reasons of each state (virDomainRunningReason and so on) by number."""


JOB_OPERATIONS: Final = (
    "unknown",
    "start",
    "save",
    "restore",
    "migration_in",
    "migration_out",
    "snapshot",
    "snapshot_revert",
    "dump",
    "backup",
    "snapshot_delete",
)
"""Names of virDomainJobOperation by number."""


UnseenReason = Literal["no_pid_file", "no_process", "proc_hidden"]
"""Why a domain's QEMU process is not seen: libvirt's file with its number cannot be read; no
process of that number here is the domain's; /proc does not show the processes of other users."""
UNSEEN_REASONS: Final[tuple[UnseenReason, ...]] = get_args(UnseenReason)


SHORTEST_REPORT_LIFE: Final = 60.0
"""Seconds for which a guest's memory report counts, however often the guest is asked."""


class Disk(Struct, frozen=True, kw_only=True):
    """One `<disk>` of the domain XML; '' and None where the XML does not say."""

    device: str
    """Target device, `vda`; the join key with `block.<num>.name`."""
    kind: str = "disk"
    """disk, cdrom, floppy or lun."""
    bus: str = ""
    source_type: str = ""
    """file, block, network, volume, nvme, dir, vhostuser, vhostvdpa."""
    source: str = ""
    """Path, `pool/volume`, `protocol:name` or, for nvme, `0000:01:00.0/namespace`; '' for an empty
    drive."""
    format: str = ""
    cache: str = ""
    io: str = ""
    discard: str = ""
    error_policy: str = ""
    serial: str = ""
    alias: str = ""
    iothread: str = ""
    """Id of the iothread; several are joined by commas."""
    readonly: bool = False
    shareable: bool = False
    mirror_job: str = ""
    """`<mirror job=…>`: copy or active-commit while such a block job runs."""
    chain_depth: int | None = None
    """Images in the backing chain, the top one included; None where the XML does not tell."""
    image_indexes: tuple[int, ...] = ()
    """libvirt's `index` of each image of the chain, the top one first, where the XML has it: the
    values of `block.<num>.backingIndex`."""
    iotune: Mapping[str, int] = {}
    """`<iotune>` children by name: bytes/s, operations/s, seconds for `*_length`."""
    throttle_groups: tuple[str, ...] = ()
    """Groups whose limits the disk shares: `<iotune>`'s, then those of its throttle filters."""
    image_id: str = ""
    """oVirt's `imageID` of the disk (metadata)."""
    lun_guid: str = ""
    """oVirt's `GUID` of the LUN behind the disk (metadata)."""


class Bandwidth(Struct, frozen=True, kw_only=True):
    """One direction of an interface's `<bandwidth>`; None where the XML sets nothing."""

    average: int | None = None
    """Bytes per second."""
    peak: int | None = None
    """Bytes per second."""
    floor: int | None = None
    """Bytes per second that the network keeps free for it."""
    burst: int | None = None
    """Bytes that may go at peak speed."""


class ThrottleGroup(Struct, frozen=True, kw_only=True):
    """One `<throttlegroup>` of the domain XML, whose limits disks share."""

    name: str
    limits: Mapping[str, int] = {}
    """As `Disk.iotune`."""


class DiskThrottle(Struct, frozen=True):
    """That a disk is in a throttle group."""

    device: str
    group: str


class Interface(Struct, frozen=True, kw_only=True):
    """One `<interface>` of the domain XML."""

    device: str
    """Target device, `vnet0`; without one, the alias; without that, `interface<position>`."""
    has_target: bool = True
    """Whether `device` is a host network device, so that statistics can exist."""
    alias: str = ""
    mac: str = ""
    type: str = ""
    """bridge, network, direct, ethernet, hostdev, vhostuser, user, vdpa …"""
    source: str = ""
    """Network, bridge, device, socket, `address:port` or, for hostdev, PCI address: whichever the
    type uses."""
    bridge: str = ""
    network: str = ""
    model: str = ""
    port_id: str = ""
    """`virtualport/parameters@interfaceid`: the Neutron or OVS port."""
    link_state: str = ""
    mtu: int | None = None
    receive: Bandwidth = Bandwidth()
    """Limits of what the guest receives."""
    transmit: Bandwidth = Bandwidth()
    """Limits of what the guest sends."""

    @property
    def link_up(self) -> bool:
        """Whether the guest is shown a plugged cable, as it is unless the XML says `down`."""
        return self.link_state != "down"


class Watchdog(Struct, frozen=True):
    """One `<watchdog>` of the domain XML."""

    model: str
    action: str
    device: str = ""
    """As `Device.name`."""


class Graphics(Struct, frozen=True, kw_only=True):
    """One `<graphics>` of the domain XML; ports are None where not assigned."""

    type: str
    device: str = ""
    """As `Device.name`."""
    listen: str = ""
    """Address or socket; of a display that the XML gives none, oVirt's `displayIp`."""
    port: int | None = None
    tls_port: int | None = None
    websocket: int | None = None


class HostDevice(Struct, frozen=True, kw_only=True):
    """One `<hostdev>` of the domain XML."""

    device: str
    """As `Device.name`."""
    type: str
    """pci, usb, scsi, scsi_host, mdev; of a container's capabilities storage, misc, net."""
    address: str = ""
    """Of the host: PCI address `0000:3b:00.1`, USB bus and device `001:004` or else vendor and
    product `1234:beef`, SCSI host, channel, target and LUN `0:0:1:0`, UUID of a mediated device; ''
    where the device has another kind of name."""
    pci_bus_id: str = ""
    """The address of a PCI device as NVIDIA's programs write it, `00000000:3B:00.1`."""
    guest_address: str = ""
    """As `Device.guest_address`."""
    driver: str = ""
    source: str = ""
    """What else names the device on the host: iSCSI name, WWPN, path or network device."""


class FileSystem(Struct, frozen=True, kw_only=True):
    """One `<filesystem>` of the domain XML (virtiofs or 9p share, or a container's)."""

    device: str
    """As `Device.name`."""
    target: str
    """Mount tag; of a container the mount point."""
    type: str
    """mount, file, block, ram, bind, template, volume."""
    access: str = ""
    """passthrough, mapped or squash."""
    driver: str = ""
    readonly: bool = False


class Hugepages(Struct, frozen=True):
    """One `<page>` of the domain XML's `<hugepages>`, for one of the guest's NUMA nodes."""

    size: int
    """Bytes; 0 for the host's default size."""
    guest_node: str = ""
    """Number of the node; '' for all that no other page names."""


class Pin(Struct, frozen=True):
    """Which of the host's CPUs a thread may run on."""

    cpus: str
    """As `0-3,8`."""
    number: int | None = None
    """Number of the vCPU or I/O thread; None of the emulator, and of all other vCPUs."""


class NumaCell(Struct, frozen=True):
    """One `<cell>` of the guest's NUMA topology."""

    id: int
    cpus: tuple[int, ...]
    """Numbers of its vCPUs, ascending."""


class Device(Struct, frozen=True, kw_only=True):
    """Any child of `<devices>` but `<emulator>`; '' where the XML does not say."""

    kind: str
    """The element: disk, interface, controller, graphics, watchdog …"""
    name: str = ""
    """A disk's or interface's target, else the alias, else kind and position among its kind:
    `watchdog0`. No two devices of one kind share a name."""
    type: str = ""
    """The element's `type`; of a disk, what it is to the guest: disk, cdrom, floppy, lun."""
    model: str = ""
    alias: str = ""
    target: str = ""
    """`<target dev=…>`: `vda`, `vnet0`."""
    address: Mapping[str, str] = {}
    """Attributes of `<address>`, `type` (pci, drive, usb, virtio-serial …) among them."""
    guest_address: str = ""
    """The address in one word: `0000:00:03.0` of a PCI device, else the parts joined by colons."""


class CpuTune(Struct, frozen=True, kw_only=True):
    """`<cputune>`; times in seconds; a quota is None when unlimited (absent, 0 or negative)."""

    shares: int | None = None
    """Of a running domain those in force, where libvirt tells them."""
    period: float | None = None
    quota: float | None = None
    global_period: float | None = None
    global_quota: float | None = None
    emulator_period: float | None = None
    emulator_quota: float | None = None
    iothread_period: float | None = None
    iothread_quota: float | None = None


class Deprecation(Struct, frozen=True):
    """Something deprecated that a running domain was started with."""

    setting: str
    """In libvirt's words, `machine type 'pc-i440fx-1.5'`."""


class OpenStackInfo(Struct, frozen=True, kw_only=True):
    """Nova's `<nova:instance>` metadata (namespaces 1.0 and 1.1); '' where absent."""

    instance_name: str = ""
    flavor: str = ""
    flavor_id: str = ""
    image_id: str = ""
    project_id: str = ""
    project_name: str = ""
    user_id: str = ""
    user_name: str = ""
    root_type: str = ""
    package_version: str = ""
    creation_time: float | None = None
    """Unix time of `<nova:creationTime>`, which is UTC."""
    flavor_vcpus: int | None = None
    flavor_memory: int | None = None
    """Bytes."""
    flavor_disk: int | None = None
    """Bytes."""
    flavor_swap: int | None = None
    """Bytes."""
    flavor_ephemeral: int | None = None
    """Bytes."""


class OvirtInfo(Struct, frozen=True, kw_only=True):
    """oVirt's `<ovirt-vm:vm>` and `<ovirt-tune:qos>` metadata; '' and None where absent."""

    cluster_version: str = ""
    cpu_policy: str = ""
    resume_behavior: str = ""
    ballooning_enabled: bool | None = None
    launch_paused: bool | None = None
    guaranteed_memory: int | None = None
    """Bytes (`minGuaranteedMemoryMb`, else `memGuaranteedSize`)."""
    balloon_target: int | None = None
    """Bytes (`balloonTarget`, KiB in the XML)."""
    start_time: float | None = None
    """Unix time."""
    vcpu_limit: float | None = None
    """Ratio of one host's CPUs, 0.5 for `<vcpuLimit>50</vcpuLimit>`."""
    destroy_on_reboot: bool | None = None
    exit_code: int | None = None
    """0 for a normal end of the VM, 1 for an error."""
    exit_reason: int | None = None
    """VDSM's number of the reason, 0 … 14."""
    exit_message: str = ""
    jobs: str = ""
    """VDSM's block jobs, a JSON object by job id."""
    guest_agent_api_version: int | None = None


class DomainInfo(Struct, frozen=True, kw_only=True):
    """What the domain XML and two cheap calls say about a domain; changes seldom."""

    uuid: str
    name: str
    id: int | None = None
    """libvirt's number of this run of the domain; None while it is not active."""
    title: str = ""
    description: str = ""
    type: str = ""
    """kvm, qemu, lxc, xen, test …"""
    os_type: str = ""
    arch: str = ""
    machine: str = ""
    os_id: str = ""
    """libosinfo's URI, `http://fedoraproject.org/fedora/40`."""
    emulator: str = ""
    firmware: str = ""
    cpu_mode: str = ""
    """custom, host-model, host-passthrough, maximum. host-model also while the domain runs, when
    the XML has in its place the model that came of it; of a transient one libvirt forgets that."""
    cpu_model: str = ""
    cpu_features_required: tuple[str, ...] = ()
    """Features that the XML forces upon or requires of the CPU model, in XML order."""
    cpu_features_disabled: tuple[str, ...] = ()
    """Features that the XML takes from or forbids to the CPU model, in XML order."""
    cpu_sockets: int | None = None
    """Without a topology, a machine has a socket for each vCPU, and 1 core and thread in each; a
    container has none of them."""
    cpu_cores: int | None = None
    """Cores per socket, dies and clusters multiplied in."""
    cpu_threads: int | None = None
    vcpus_maximum: int | None = None
    vcpus_current: int | None = None
    memory_maximum: int | None = None
    """Bytes, `<memory>`: what the guest has without a balloon, memory devices among it."""
    memory_ceiling: int | None = None
    """Bytes, `<maxMemory>`: what there can be when more memory devices are plugged in."""
    memory_slots: int | None = None
    """Memory devices that can be plugged in at most."""
    memory_current: int | None = None
    """Bytes, `<currentMemory>`."""
    memory_guarantee: int | None = None
    """Bytes, `<memtune>`'s min_guarantee; QEMU's driver has none."""
    memory_nvdimm: int = 0
    """Bytes of NVDIMMs, which are part of `memory_maximum`."""
    hugepages: tuple[Hugepages, ...] = ()
    memory_source: str = ""
    """anonymous, file or memfd; '' where the XML leaves it to libvirt, which then takes anonymous
    memory unless it is to be shared."""
    memory_shared: bool = False
    """Whether all or a part of the memory is to be shared with other processes of the host."""
    cpu_tune: CpuTune = CpuTune()
    vcpu_pins: tuple[Pin, ...] = ()
    """One for each vCPU that is pinned by itself, behind that of all others, if there is one."""
    emulator_pins: tuple[Pin, ...] = ()
    """One at most."""
    iothread_pins: tuple[Pin, ...] = ()
    iothreads: int = 0
    balloon_model: str = ""
    balloon_period: int | None = None
    """Seconds between the guest's memory reports; None or 0: the guest is not asked."""
    acpi: bool | None = None
    """Whether the guest is offered ACPI."""
    boot: str = ""
    """Kinds of boot devices in their order, each once: `a` floppy, `c` disk, `d` CD-ROM, `n`
    network."""
    config_drive: bool = False
    """Whether a disk or CD-ROM is Nova's config drive, by the name of its source."""
    clock_offset: str = ""
    """utc, localtime, timezone, variable or absolute."""
    clock_adjustment: int | None = None
    """Seconds, of the offset `variable`; libvirt keeps it up to date while the guest sets its
    clock."""
    clock_basis: str = ""
    """What the offset `variable` is relative to: utc or localtime."""
    clock_timezone: str = ""
    """Of the offset `timezone`."""
    clock_zone_offset: int | None = None
    """Seconds that the clock's time zone is ahead of UTC, when this was read; None where the clock
    follows none, or where it is not known."""
    clipboard: bool | None = None
    """Whether SPICE shares the clipboard with the guest; None without a SPICE display."""
    keymap: str = ""
    """Keyboard layout of the first display that has one."""
    system_serial: str = ""
    """Serial number of the system, that of SMBIOS."""
    numa_cells: tuple[NumaCell, ...] = ()
    """The guest's NUMA topology."""
    agent_channel: str = ""
    """State of the guest agent's channel: connected, disconnected; '' when there is none or the
    domain is not active."""
    resctrl_monitors: bool = False
    perf_events: bool = False
    autostart: bool | None = None
    persistent: bool | None = None
    snapshots: int | None = None
    """Snapshots that libvirt keeps; None where the driver has none."""
    oldest_snapshot: float | None = None
    """Unix time; None without a snapshot, or where it would take long to find out."""
    checkpoints: int | None = None
    """Checkpoints of the disks, for incremental backups; None where the driver has none."""
    oldest_checkpoint: float | None = None
    """Likewise."""
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    watchdogs: tuple[Watchdog, ...] = ()
    graphics: tuple[Graphics, ...] = ()
    host_devices: tuple[HostDevice, ...] = ()
    filesystems: tuple[FileSystem, ...] = ()
    throttle_groups: tuple[ThrottleGroup, ...] = ()
    """libvirt 11.2."""
    devices: tuple[Device, ...] = ()
    """All devices in XML order, those above among them."""
    deprecated: tuple[Deprecation, ...] = ()
    """Empty of a domain that is not active."""
    openstack: OpenStackInfo | None = None
    ovirt: OvirtInfo | None = None
    metadata: Mapping[str, Any] = {}
    """What management systems wrote, as JSON values in their own words and units; sensitive as a
    whole. A key that the XML does not have is absent. By system:

    - `nova`: {package: {version}, name, creationTime, flavor: {name, id, memory, disk, swap,
      ephemeral, vcpus, extraSpecs: {…}}, image: {uuid, containerFormat, diskFormat, minDisk,
      minRam, properties: {…}}, owner: {user: {uuid, name}, project: {uuid, name}}, root: {type,
      uuid}, ports: [{uuid, ips: [{type, address, ipVersion}]}]}; the numbers are integers
    - `ovirt`: {values: {…}, custom: {…}, devices: [{match: {…}, values: {…}, specParams: {…},
      device}], qos: {vcpuLimit, ioTune: [{name, path, maximum: {…}, guaranteed: {…}}]}}; values
      are of the types that the XML gives, `match` holds the attributes by which oVirt finds the
      device, and `device` the target, else the alias, of the one of `devices` that they mean
    - `instance`: whatever oVirt's typed items (instance/1.0) make; those of its `devices` that mean
      one of the domain's have its name as `target`
    - `libosinfo`: {os: {id}}
    - `kubevirt`: {uid, graceperiod, migration, accessCredential, memoryDump, backup …}, the parts
      as objects of their values
    """
    malformed_metadata: int | None = None
    """Values of `metadata` that were dropped because they are not of their type, namespace or form,
    or too many, too long or too deep; None when all are well."""
    custom_labels: tuple[tuple[str, str], ...] = ()
    """Operator-chosen labels in the order of the configuration."""

    @property
    def memory_report_life(self) -> float:
        """Seconds after which the guest's memory report is too old to tell how it is now."""
        return max(3.0 * (self.balloon_period or 0), SHORTEST_REPORT_LIFE)

    @property
    def agent_connected(self) -> bool | None:
        """Whether the guest agent has opened its channel; None without an agent's channel."""
        return self.agent_channel == "connected" if self.agent_channel else None

    @property
    def display(self) -> str:
        """libvirt's word for the first display: vnc, spice …; '' without one."""
        return self.graphics[0].type if self.graphics else ""

    @property
    def clock_utc_offset(self) -> int | None:
        """Seconds that the guest's clock is set ahead of UTC; None where that is not known."""
        match self.clock_offset:
            case "utc":
                return 0
            case "localtime" | "timezone":
                return self.clock_zone_offset
            case "variable":
                basis = self.clock_zone_offset if self.clock_basis == "localtime" else 0
                if self.clock_adjustment is not None and basis is not None:
                    return self.clock_adjustment + basis
        return None

    @property
    def disk_throttles(self) -> tuple[DiskThrottle, ...]:
        """The throttle groups of all disks."""
        return tuple(
            DiskThrottle(disk.device, group)
            for disk in self.disks
            for group in disk.throttle_groups
        )

    @property
    def panics(self) -> tuple[Device, ...]:
        """The devices by which a guest tells that its kernel panicked."""
        return tuple(device for device in self.devices if device.kind == "panic")


def state_name(stats: Stats) -> str:
    """libvirt's name of a domain's state; `unknown_<n>` for a number newer than this exporter."""
    number = int(stats.get("state.state", 0))
    return STATES[number] if 0 <= number < len(STATES) else f"unknown_{number}"


CLOCK_STEP: Final = 1.0
"""Seconds; less is how a clock is kept right."""


class DomainSample(Struct, frozen=True, kw_only=True):
    """One domain's share of a sample."""

    uuid: str
    name: str
    active: bool
    stats: Stats
    """libvirt's keys and values as returned, merged over the calls of this sample.

    Keys of the exporter's own making, in the same style, stand for what no statistics call tells:
    `monitor.*`, `sample.*`, `event.*`, `exit.*`, `pause.*`, `process.*`, `job.*` and others that
    the catalogue names.
    """
    timestamp: float
    """Unix time just before the call that told what needs the monitor; where there was none, of
    the last call that answered for this domain."""
    without_monitor_at: float | None = None
    """The same of the call for what needs no monitor, as the figures of interfaces; None: the same
    time."""
    info: DomainInfo | None = None
    """None while the XML has not been read or cannot be parsed."""
    missing_groups: tuple[str, ...] = ()
    """Groups asked of libvirt for this domain that were not (fully) answered."""

    asked: tuple[str, ...] | None = None
    """libvirt's statistics groups that were asked for this domain, sorted; none of them for one
    that nobody is shown. None: all that there are."""

    @property
    def state(self) -> str:
        """As `state_name`."""
        return state_name(self.stats)

    @property
    def reason(self) -> str:
        """libvirt's name of the state's reason; '' when none is given, `unknown_<n>` as above."""
        if "state.reason" not in self.stats:
            return ""
        number = int(self.stats["state.reason"])
        reasons = REASONS.get(int(self.stats.get("state.state", 0)), {})
        return reasons.get(number, f"unknown_{number}")


class VanishedDomain(Struct, frozen=True, kw_only=True):
    """A domain that was there and is not any more: a transient one that ended, or undefined."""

    uuid: str
    name: str
    timestamp: float
    """Unix time at which it was found to be gone."""
    stats: Stats = {}
    """`exit.*` as far as known, as in `DomainSample.stats`, and `event.last.crash` of a domain that
    ended by it."""


class HostInfo(Struct, frozen=True, kw_only=True):
    """The connection's constants."""

    name: str
    """The operator's alias, '' for the default host."""
    driver: str
    """virConnectGetType: QEMU, TEST, LXC, Xen …"""
    hypervisor_version: str | None = None
    """'' where the driver has none; None while it is not known, as are these two."""
    hostname: str = ""
    """The name that the host gives itself, '' where the driver tells none."""
    uuid: str = ""
    """By which libvirt tells hosts apart, whatever the address; '' where the driver has none."""
    libvirt_version: str = ""
    """Version of the daemon's libvirt."""


class GroupOutcome(Struct, frozen=True, kw_only=True):
    """How one field group fared in one sample."""

    group: str
    success: bool
    duration: float
    """Wall seconds spent in the calls that asked for it (shared calls count for each group)."""


class Applications(Struct, frozen=True, kw_only=True):
    """What is installed in a guest, as it said when it was last asked."""

    hash: str
    """SHA-256, in hexadecimal digits, of the names in UTF-8, each with a newline at its end."""
    source: str
    """The package manager that listed them; `fallback` where none could be asked."""
    reason: str = ""
    """Why the list is not complete; '' where it is."""
    changed: float
    """Unix time at which this list was read first."""
    read: float
    """Unix time at which it was read last."""
    names: tuple[str, ...]
    """As name-version, sorted."""


class HostSample(Struct, frozen=True, kw_only=True):
    timestamp: float
    """Unix time just before the first call."""
    duration: float
    """Wall seconds for the whole sample."""
    up: bool
    """Whether the groups that cannot block answered."""
    began: float | None = None
    """time.monotonic() at the same moment; None of a sample that was not taken by this process."""
    partial: bool = False
    """Whether somebody's time was up before the sample was complete."""
    host: HostInfo | None = None
    domains: tuple[DomainSample, ...] = ()
    groups: tuple[GroupOutcome, ...] = ()
    phases: Mapping[str, float] = {}
    """Wall seconds by phase of sampling."""
    stats: Stats = {}
    """What is known of the host itself, its storage and its networks, under keys in the style of
    libvirt's (`node.*`, `pool.<num>.*`, `network.<num>.*`)."""
    lanes: Mapping[str, float] = {}
    """Age in seconds of what the sample has from each slow lane that was asked; lanes that never
    answered are not there."""
    vanished: tuple[VanishedDomain, ...] = ()
    """Domains that are no longer listed, for a while; the oldest first."""
    error: str = ""
    """Why `up` is false, in words for whoever runs the exporter; '' otherwise."""
    error_code: int = 0
    """libvirt's code (virErrorNumber) of that; 0 where it is not libvirt that failed."""
    unparsable: tuple[str, ...] = field(default=())
    """UUIDs whose domain XML could not be parsed."""

    def clock_was_set_since(self, earlier: HostSample) -> bool:
        """Whether somebody has set this machine's clock since an earlier sample.

        Then the time between both is not known by their timestamps.
        """
        if self.began is None or earlier.began is None:
            return False
        passed = self.began - earlier.began
        return abs(self.timestamp - earlier.timestamp - passed) > CLOCK_STEP

    @property
    def outage(self) -> str:
        """What everybody may know of a host that is not up.

        libvirt's own words may tell of users, keys, paths and hosts behind this one.
        """
        code = f" (libvirt's error {self.error_code})" if self.error_code else ""
        return f"libvirt does not answer{code}"
