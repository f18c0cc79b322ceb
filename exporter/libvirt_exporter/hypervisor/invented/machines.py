"""The invented VMs, storage pools and networks, and what libvirt's XML says of them."""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.sax.saxutils import quoteattr

from libvirt_exporter.hypervisor.invented import story
from libvirt_exporter.hypervisor.invented.load import Load

GIB: Final = 2**30
KIB: Final = 2**10
HOST_NAME: Final = "demo.example"
HOST_UUID: Final = "5e1a4c0e-0000-4c5d-9a10-3f6b1c000000"
HOST_CPUS: Final = 32
HOST_MEMORY: Final = 128 * GIB
AGENT_CHANNEL: Final = "org.qemu.guest_agent.0"


class Disk(NamedTuple):
    device: str
    pool: str
    capacity: int
    """Bytes."""
    share: float
    """Of the VM's disk traffic."""
    filled: float = 0.5
    """Share of the capacity that its image occupies."""


class Machine(NamedTuple):
    name: str
    number: int
    vcpus: int
    memory: int
    """Bytes."""
    cpu: Load
    """Host CPUs in use."""
    disk: Load
    """Bytes read and written per second."""
    net: Load
    """Bytes received and sent per second."""
    disks: tuple[Disk, ...]
    network: str = "default"
    story: story.Story = story.UNEVENTFUL
    vcpus_maximum: int = 0
    """0: as many as there are."""
    used: float = 0.6
    """Share of its memory that the guest uses in the mean."""
    steal: float = 0.002
    """Seconds that it waits for a CPU, for each that it has one."""
    watchdog: str = "reset"
    agent: bool = True
    autostart: bool = True
    iothreads: int = 0
    snapshot_days: int = 0
    """Age of its only snapshot; 0: there is none."""
    metadata: str = ""

    @property
    def uuid(self) -> str:
        return f"5e1a4c0e-{self.number:04d}-4c5d-9a10-3f6b1c{self.number:06d}"

    @property
    def interface(self) -> str:
        """The host's network device."""
        return f"vnet{self.number}"

    def path(self, disk: Disk) -> str:
        """Where the image of a disk lies."""
        return f"{POOLS[disk.pool].path}/{self.name}-{disk.device}.qcow2"


class Pool(NamedTuple):
    name: str
    uuid: str
    path: str
    capacity: int
    """Bytes."""


POOLS: Final = {
    "images": Pool(
        "images", "5e1a4c0e-a001-4c5d-9a10-3f6b1c00a001", "/var/lib/libvirt/images", 4096 * GIB
    ),
    "scratch": Pool("scratch", "5e1a4c0e-a002-4c5d-9a10-3f6b1c00a002", "/srv/scratch", 400 * GIB),
}


class Network(NamedTuple):
    name: str
    uuid: str
    bridge: str


NETWORKS: Final = {
    "default": Network("default", "5e1a4c0e-b001-4c5d-9a10-3f6b1c00b001", "virbr0"),
    "backup": Network("backup", "5e1a4c0e-b002-4c5d-9a10-3f6b1c00b002", "virbr1"),
}


def _nova(name: str, flavor: str, vcpus: int, gibibytes: int) -> str:
    return f"""
      <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
        <nova:package version="29.2.0"/>
        <nova:name>{name}</nova:name>
        <nova:creationTime>2025-03-01 08:15:00</nova:creationTime>
        <nova:flavor name="{flavor}">
          <nova:memory>{gibibytes * 1024}</nova:memory>
          <nova:disk>40</nova:disk>
          <nova:swap>0</nova:swap>
          <nova:ephemeral>0</nova:ephemeral>
          <nova:vcpus>{vcpus}</nova:vcpus>
        </nova:flavor>
        <nova:owner>
          <nova:user uuid="00000000000000000000000000000a01">demo-user</nova:user>
          <nova:project uuid="00000000000000000000000000000b01">demo-shop</nova:project>
        </nova:owner>
      </nova:instance>"""


_OVIRT: Final = """
      <ovirt-vm:vm xmlns:ovirt-vm="http://ovirt.org/vm/1.0">
        <ovirt-vm:ballooningEnabled>true</ovirt-vm:ballooningEnabled>
        <ovirt-vm:clusterVersion>4.7</ovirt-vm:clusterVersion>
        <ovirt-vm:minGuaranteedMemoryMb type="int">1024</ovirt-vm:minGuaranteedMemoryMb>
        <ovirt-vm:resumeBehavior>auto_resume</ovirt-vm:resumeBehavior>
      </ovirt-vm:vm>"""

_FILES_DATA: Final = Disk("vdb", "scratch", 300 * GIB, 0.8, 0.9)

MACHINES: Final = (
    Machine(
        "instance-0000002a",
        1,
        vcpus=4,
        memory=8 * GIB,
        cpu=Load(1.1),
        disk=Load(1.5e6, shift=20),
        net=Load(9e6, shift=10),
        disks=(Disk("vda", "images", 40 * GIB, 1.0),),
        metadata=_nova("shop-web-1", "m1.large", 4, 8),
    ),
    Machine(
        "instance-0000002b",
        2,
        vcpus=4,
        memory=8 * GIB,
        cpu=Load(0.9, shift=45),
        disk=Load(1.2e6, shift=60),
        net=Load(8e6, shift=50),
        disks=(Disk("vda", "images", 40 * GIB, 1.0),),
        metadata=_nova("shop-web-2", "m1.large", 4, 8),
    ),
    Machine(
        "instance-0000002c",
        3,
        vcpus=8,
        memory=32 * GIB,
        cpu=Load(2.6, period=240),
        disk=Load(3.2e7, period=240, shift=5),
        net=Load(6e6, period=240),
        disks=(
            Disk("vda", "images", 40 * GIB, 0.05, 0.3),
            Disk("vdb", "images", 500 * GIB, 0.95, 0.7),
        ),
        story=story.BACKED_UP,
        used=0.82,
        iothreads=1,
        metadata=_nova("shop-db", "m1.xlarge", 8, 32),
    ),
    Machine(
        "mail-gateway",
        4,
        vcpus=2,
        vcpus_maximum=8,
        memory=4 * GIB,
        cpu=Load(0.25, period=90),
        disk=Load(6e5, period=90),
        net=Load(4e5, period=90),
        disks=(Disk("sda", "images", 60 * GIB, 1.0),),
        watchdog="none",
        metadata=_OVIRT,
    ),
    Machine(
        "build-1",
        5,
        vcpus=8,
        memory=16 * GIB,
        cpu=Load(6.4, daily=0.1, wave=0.15),
        disk=Load(2.4e7, daily=0.1, period=60),
        net=Load(1.1e6, daily=0.1),
        disks=(Disk("vda", "scratch", 80 * GIB, 1.0, 0.3),),
        story=story.WORKS_NOW_AND_THEN,
        steal=0.06,
        agent=False,
        autostart=False,
    ),
    Machine(
        "build-2",
        6,
        vcpus=4,
        memory=8 * GIB,
        cpu=Load(1.8, daily=0.2, shift=30),
        disk=Load(9e6, daily=0.2, period=75),
        net=Load(8e5, daily=0.2),
        disks=(Disk("vda", "images", 80 * GIB, 1.0, 0.3),),
        story=story.MIGRATES,
        agent=False,
        autostart=False,
    ),
    Machine(
        "files",
        7,
        vcpus=2,
        memory=4 * GIB,
        cpu=Load(0.4, period=130),
        disk=Load(1.8e7, period=130),
        net=Load(1.7e7, period=130),
        disks=(Disk("vda", "images", 20 * GIB, 0.2), _FILES_DATA),
        story=story.fills_its_disk("/srv/scratch/files-vdb.qcow2", "virtio-disk1"),
        snapshot_days=9,
    ),
    Machine(
        "erp",
        8,
        vcpus=1,
        memory=4 * GIB,
        cpu=Load(0.35, wave=0.1, daily=0.2),
        disk=Load(9e5, daily=0.3),
        net=Load(2e5, daily=0.3),
        disks=(Disk("vda", "images", 100 * GIB, 1.0),),
        story=story.HANGS,
        used=0.7,
    ),
    Machine(
        "monitoring",
        9,
        vcpus=2,
        memory=6 * GIB,
        cpu=Load(0.55, daily=0.05),
        disk=Load(3e6, daily=0.05),
        net=Load(7e5, daily=0.05),
        disks=(Disk("vda", "images", 200 * GIB, 1.0),),
    ),
    Machine(
        "dns",
        10,
        vcpus=1,
        memory=GIB,
        cpu=Load(0.04),
        disk=Load(2e4),
        net=Load(9e4),
        disks=(Disk("vda", "images", 10 * GIB, 1.0, 0.2),),
        used=0.3,
    ),
    Machine(
        "staging",
        11,
        vcpus=2,
        memory=4 * GIB,
        cpu=Load(0.3),
        disk=Load(5e5),
        net=Load(2e5),
        disks=(Disk("vda", "images", 40 * GIB, 1.0, 0.4),),
        story=story.PAUSED,
        autostart=False,
    ),
    Machine(
        "archive",
        12,
        vcpus=2,
        memory=4 * GIB,
        cpu=Load(0.3),
        disk=Load(5e5),
        net=Load(2e5),
        disks=(Disk("vda", "images", 400 * GIB, 1.0, 0.8),),
        network="backup",
        story=story.OFF,
        autostart=False,
    ),
)


def domain_xml(machine: Machine, run: int | None, *, agent: bool) -> str:
    """The XML of a VM; `run` is libvirt's number of its run, `agent` whether one is connected."""
    number = "" if run is None else f' id="{run}"'
    maximum = machine.vcpus_maximum or machine.vcpus
    current = f' current="{machine.vcpus}"' if maximum != machine.vcpus else ""
    metadata = f"<metadata>{machine.metadata}</metadata>" if machine.metadata else ""
    iothreads = f"<iothreads>{machine.iothreads}</iothreads>" if machine.iothreads else ""
    state = "connected" if agent else "disconnected"
    channel = (
        f"""
    <channel type="unix">
      <target type="virtio" name="{AGENT_CHANNEL}"{f' state="{state}"' if run else ""}/>
      <alias name="channel0"/>
    </channel>"""
        if machine.agent
        else ""
    )
    disks = "".join(
        _disk_xml(machine, position, disk) for position, disk in enumerate(machine.disks)
    )
    return f"""<domain type="kvm"{number}>
  <name>{machine.name}</name>
  <uuid>{machine.uuid}</uuid>
  {metadata}
  <memory unit="KiB">{machine.memory // KIB}</memory>
  <currentMemory unit="KiB">{machine.memory // KIB}</currentMemory>
  <vcpu{current}>{maximum}</vcpu>
  {iothreads}
  <os><type arch="x86_64" machine="pc-q35-9.2">hvm</type><boot dev="hd"/></os>
  <cpu mode="host-passthrough"/>
  <features><acpi/></features>
  <clock offset="utc"/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>{disks}
    <interface type="network">
      <mac address="52:54:00:00:{machine.number:02x}:01"/>
      <source network={quoteattr(machine.network)} bridge="{NETWORKS[machine.network].bridge}"/>
      <target dev="{machine.interface}"/>
      <model type="virtio"/>
      <mtu size="1500"/>
      <alias name="net0"/>
    </interface>{channel}
    <watchdog model="itco" action="{machine.watchdog}"><alias name="watchdog0"/></watchdog>
    <memballoon model="virtio"><stats period="10"/><alias name="balloon0"/></memballoon>
  </devices>
</domain>
"""


def _disk_xml(machine: Machine, position: int, disk: Disk) -> str:
    bus = "scsi" if disk.device.startswith("sd") else "virtio"
    alias = "scsi0-0-0-0" if bus == "scsi" else f"virtio-disk{position}"
    return f"""
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" cache="none" io="native" error_policy="enospace"/>
      <source file="{machine.path(disk)}" index="{position + 1}"/>
      <backingStore/>
      <target dev="{disk.device}" bus="{bus}"/>
      <alias name="{alias}"/>
    </disk>"""
