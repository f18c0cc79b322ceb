"""Domains for a private libvirtd: their XML, their disks, one or many at once.

Unless it says otherwise a domain is a real QEMU under TCG with 16 MiB of memory that never runs an
instruction (it is created paused): about 37 MB of host memory and half a second each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final, cast
from xml.sax.saxutils import escape, quoteattr

import libvirt

from tests.lab.daemon import PrivateLibvirtd

MIB: Final = 1024**2
DISK_SIZE: Final = 1024 * MIB
"""Virtual bytes of a disk, unless it is given another size."""

MEASURED: Final = (
    "<statistics><statistic interval='10'/><statistic interval='3600'/><latency-histogram>"
    + "".join(f"<bin start='{bound}'/>" for bound in (0, 100_000, 1_000_000, 10_000_000))
    + "</latency-histogram></statistics>"
)
"""What a disk's `<driver>` says for `Machine.measured`; bounds in ns."""

AGENT_CHANNEL: Final = "org.qemu.guest_agent.0"

HOSTILE_NAMES: Final = (
    'double"quote',
    "single'quote",
    "back\\slash\\n",
    'braces{a="b"} # HELP',
    "percent %s %(x)d %%",
    "angle <b> &amp; ]]>",
    "comma, a=b  spaces ",
    "ä 虚拟机 🐧 \u202ertl e\u0301 \u0080",
    "tab\tand\nnewline",
    "-rf",
    "*",
    "x" * 240,
)
"""Names that libvirt takes for a transient domain; a newline is refused only in a definition."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a domain of the lab is made of."""

    name: str
    vcpus: int = 2
    memory: int = 16 * MIB
    """Bytes."""
    disks: int = 2
    """qcow2 images: vda, vdb …"""
    disk_size: int = DISK_SIZE
    """Virtual bytes of each."""
    disk_directory: Path | None = None
    """Where their images are; None: the daemon's `images`."""
    error_policy: str = ""
    """The disks' `error_policy`, such as enospace."""
    measured: bool = False
    """Whether QEMU keeps latencies over 10 s and 1 h, and histograms, of the disks: libvirt 11.10
    and 12.1 take the XML for it, older ones leave it out."""
    chain: int = 1
    """Images in each disk's backing chain."""
    data: int = 0
    """Bytes written to each image, apart from those of its chain's other images."""
    cdrom: bool = False
    """An empty drive, sda."""
    nics: int = 1
    """With a tap each (`<interface type='ethernet'>`); user-mode on a session daemon."""
    user_nics: int = 0
    """In user mode, without a host device."""
    iothreads: int = 0
    balloon: bool = True
    balloon_period: int = 0
    """Seconds between the guest's memory reports; 0: it is not asked."""
    agent: bool = False
    """A channel to a guest agent."""
    agent_socket: Path | None = None
    """Whom libvirt speaks to instead of the guest: a server's socket that QEMU connects to too."""
    watchdog: str = ""
    """The action of an i6300esb: pause, reset, poweroff, none …"""
    panic: bool = False
    """A pvpanic device; the guest is kept (`on_crash` preserve)."""
    kvm: bool = False
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    console: Path | None = None
    """The file that receives what the guest writes to its serial port."""
    title: str = ""
    metadata: str = ""
    """XML, each element in a namespace of its own."""
    elements: str = ""
    """More XML for `<domain>`."""
    devices: str = ""
    """More XML for `<devices>`."""


def create(
    libvirtd: PrivateLibvirtd, machine: Machine, *, paused: bool = True, persistent: bool = False
) -> libvirt.virDomain:
    """Create a domain and its disks; a transient one unless `persistent`."""
    xml = domain_xml(libvirtd, machine)
    flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
    if not persistent:
        return libvirtd.connection.createXML(xml, flags)
    domain = libvirtd.connection.defineXML(xml)
    domain.createWithFlags(flags)
    return domain


def paused_domain(
    libvirtd: PrivateLibvirtd, name: str, *, persistent: bool = False, **shape: Any
) -> libvirt.virDomain:
    """Create a paused domain; `shape` are fields of Machine."""
    return create(libvirtd, Machine(name=name, **shape), persistent=persistent)


def shutoff_domain(libvirtd: PrivateLibvirtd, name: str, **shape: Any) -> libvirt.virDomain:
    """Define a domain that is not started; `shape` are fields of Machine."""
    return libvirtd.connection.defineXML(domain_xml(libvirtd, Machine(name=name, **shape)))


def crowd(libvirtd: PrivateLibvirtd, size: int, **shape: Any) -> list[libvirt.virDomain]:
    """Create `size` paused domains vm000, vm001 …, several at a time."""
    names = [f"vm{number:03}" for number in range(size)]
    with ThreadPoolExecutor(max_workers=3) as threads:
        return list(threads.map(lambda name: paused_domain(libvirtd, name, **shape), names))


def kvm_works(libvirtd: PrivateLibvirtd) -> bool:
    """Whether a guest starts under KVM on this host."""
    try:
        paused_domain(libvirtd, "kvm-probe", disks=0, nics=0, kvm=True).destroy()
    except libvirt.libvirtError:
        return False
    return True


def state(domain: libvirt.virDomain) -> tuple[int, int]:
    """State and reason, as numbers (the binding's annotations say str)."""
    number, reason = cast(list[int], domain.state())
    return number, reason


def statistics(domain: libvirt.virDomain, groups: int = 0, flags: int = 0) -> dict[str, Any]:
    """One domain's bulk statistics; `groups` 0 means all."""
    connection = cast(Any, domain).connect()
    return dict(connection.domainListGetStats([domain], groups, flags)[0][1])


def domain_xml(libvirtd: PrivateLibvirtd, machine: Machine) -> str:
    """The XML of a domain, whose disk images this makes."""
    boot = "".join(
        f"<{tag}>{escape(str(value))}</{tag}>"
        for tag, value in (
            ("kernel", machine.kernel),
            ("initrd", machine.initrd),
            ("cmdline", machine.cmdline),
        )
        if value
    )
    return f"""
<domain type='{"kvm" if machine.kvm else "qemu"}'>
  <name>{escape(machine.name)}</name>
  {f"<title>{escape(machine.title)}</title>" if machine.title else ""}
  <metadata>{machine.metadata}</metadata>
  {machine.elements}
  <memory unit='b'>{machine.memory}</memory>
  <vcpu>{machine.vcpus}</vcpu>
  <iothreads>{machine.iothreads}</iothreads>
  <os><type arch='x86_64'>hvm</type>{boot}</os>
  <features><acpi/></features>
  {"<on_crash>preserve</on_crash>" if machine.panic else ""}
  <devices>{"".join(_devices(libvirtd, machine))}</devices>
</domain>"""


def _devices(libvirtd: PrivateLibvirtd, machine: Machine) -> list[str]:
    devices = [_disk(libvirtd, machine, number) for number in range(machine.disks)]
    if machine.cdrom:
        devices.append("<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>")
    for _ in range(machine.nics if libvirtd.privileged else 0):
        tap = libvirtd.unused_name("t")
        devices.append(
            f"<interface type='ethernet'><target dev='{tap}'/><model type='virtio'/></interface>"
        )
    for _ in range(machine.user_nics + (0 if libvirtd.privileged else machine.nics)):
        devices.append("<interface type='user'><model type='virtio'/></interface>")
    if machine.balloon:
        devices.append(
            f"<memballoon model='virtio'><stats period='{machine.balloon_period}'/></memballoon>"
        )
    else:
        devices.append("<memballoon model='none'/>")
    if machine.agent:
        target = f"<target type='virtio' name='{AGENT_CHANNEL}'/>"
        if machine.agent_socket:
            target += f"<source mode='connect' path={quoteattr(str(machine.agent_socket))}/>"
        devices.append(f"<channel type='unix'>{target}</channel>")
    if machine.watchdog:
        devices.append(f"<watchdog model='i6300esb' action='{machine.watchdog}'/>")
    if machine.panic:
        devices.append("<panic model='isa'/>")
    if machine.console:
        path = quoteattr(str(machine.console))
        devices.append(f"<serial type='file'><source path={path}/></serial>")
    return [*devices, "<controller type='usb' model='none'/>", machine.devices]


def _disk(libvirtd: PrivateLibvirtd, machine: Machine, number: int) -> str:
    directory = machine.disk_directory or libvirtd.images
    image = ""
    for layer in range(machine.chain):
        backing = ["-F", "qcow2", "-b", image] if image else []
        image = str(directory / f"{libvirtd.unused_name('disk')}.qcow2")
        size = [] if backing else [str(machine.disk_size)]
        libvirtd.inside("qemu-img", "create", "-q", "-f", "qcow2", *backing, image, *size)
        if machine.data:
            write = f"write {layer * machine.data} {machine.data}"
            libvirtd.inside("qemu-io", "-f", "qcow2", "-c", write, image)
    policy = f" error_policy='{machine.error_policy}'" if machine.error_policy else ""
    return (
        "<disk type='file' device='disk'>"
        f"<driver name='qemu' type='qcow2'{policy}>{MEASURED if machine.measured else ''}</driver>"
        f"<source file={quoteattr(image)}/>"
        f"<target dev='vd{ascii_lowercase[number]}' bus='virtio'/></disk>"
    )


def begin_backup(domain: libvirt.virDomain, libvirtd: PrivateLibvirtd) -> None:
    """Back up its first disk, which has data, so slowly that it takes until the job is aborted."""
    image = quoteattr(str(libvirtd.images / f"{libvirtd.unused_name('backup')}.qcow2"))
    disk = f"<disk name='vda' type='file'><target file={image}/><driver type='qcow2'/></disk>"
    no_checkpoint: Any = None  # annotated as a str, wrongly
    domain.backupBegin(f"<domainbackup><disks>{disk}</disks></domainbackup>", no_checkpoint)
    domain.blockJobSetSpeed("vda", 1)
