"""Domains with many devices alike, as libvirt takes and runs them."""

from __future__ import annotations

from uuid import UUID, uuid4

import libvirt
import pytest

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.domains.deprecations import deprecations
from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import DomainInfo, DomainSample
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import DomainSeries, Identity, domain_series
from tests.lab.daemon import PrivateLibvirtd

EVERYTHING = Selection({group.name for group in GROUPS}, include=["*"])
SHARE = "<filesystem type='mount'><source dir='/tmp'/><target dir='t'/></filesystem>"
USB = "<hostdev type='usb'><source><address bus='1' device='{}'/></source></hostdev>"
SCSI = (
    "<hostdev type='scsi'><source><adapter name='scsi_host0'/>"
    "<address bus='0' target='0' unit='{}'/></source></hostdev>"
)
PCI = "<hostdev type='pci'><source><address bus='0x3b' slot='0' function='{}'/></source></hostdev>"
ISCSI = (
    "<hostdev type='scsi'><source protocol='iscsi' name='iqn.example:d/{}'><host name='h'/>"
    "</source></hostdev>"
)
MULTICAST = "<interface type='mcast'><source address='230.0.0.1' port='5558'/></interface>"
RANDOM = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
ALIKE = (
    *(form.format(number) for form in (USB, SCSI, PCI, ISCSI) for number in (1, 2)),
    *(SHARE, MULTICAST, "<interface type='user'/>", RANDOM, "<sound model='ac97'/>") * 2,
    *("<redirdev bus='usb' type='spicevmc'/>", "<serial type='pty'/>", "<hub type='usb'/>") * 2,
    *("<input type='tablet' bus='usb'/>", "<video><model type='qxl'/></video>") * 2,
    *("<graphics type='vnc'/>", "<graphics type='spice'/>"),
    *("<panic model='isa'/>", "<panic model='hyperv'/>", "<smartcard mode='host'/>"),
)


def xml(devices: str, *, machine: str = "pc", features: str = "<acpi/>", more: str = "") -> str:
    """A small machine."""
    uuid = uuid4()
    return (
        f"<domain type='qemu'><name>devices-{uuid}</name><uuid>{uuid}</uuid>"
        "<memory unit='MiB'>16</memory><vcpu cpuset='0'>2</vcpu>"
        f"<os><type machine='{machine}'>hvm</type></os><features>{features}</features>{more}"
        f"<devices>{devices}</devices></domain>"
    )


def shown(info: DomainInfo) -> DomainSeries:
    """All series that the domain's XML makes."""
    sample = DomainSample(
        uuid=info.uuid, name=info.name, active=False, stats={}, timestamp=0.0, info=info
    )
    return domain_series(sample, EVERYTHING, Identity())


def count(series: DomainSeries, name: str) -> int:
    """Series of a metric."""
    return sum(one.name == f"libvirt_domain_{name}" for one in series.series)


def test_a_shut_off_domain_keeps_every_device(libvirtd: PrivateLibvirtd) -> None:
    """libvirt takes all of these; none is lost, none dropped."""
    domain = libvirt.open(libvirtd.uri).defineXML(xml("".join(ALIKE)))
    text = domain.XMLDesc(0)
    domain.undefine()
    series = shown(parse_domain(text))

    assert series.duplicates == 0
    assert count(series, "host_device_info") == 8
    assert count(series, "filesystem_info") == 2
    assert count(series, "graphics_info") == 2
    assert count(series, "panic_device_info") == 2
    assert count(series, "interface_info") == 4
    assert count(series, "device_info") == len(parse_domain(text).devices) > len(ALIKE)


def test_a_running_domain_keeps_them_and_says_what_is_deprecated(
    libvirtd: PrivateLibvirtd,
) -> None:
    """Displays and panic devices have no alias then either; of this machine type QEMU warns."""
    connection = libvirt.open(libvirtd.uri)
    other = SHARE.replace("'t'", "'u'")
    alike = (SHARE, other, RANDOM, RANDOM, MULTICAST, "<interface type='user'/>")
    single = ("<watchdog model='i6300esb'/>", "<panic model='isa'/>", "<graphics type='vnc'/>")
    machine = old_machine(connection)
    domain = connection.createXML(
        xml("".join((*alike, *single)), machine=machine), libvirt.VIR_DOMAIN_START_PAUSED
    )
    reader = Session(libvirt.openReadOnly(libvirtd.read_only_uri))
    info = parse_domain(domain.XMLDesc(0))
    found = deprecations(reader, reader.domain(str(UUID(domain.UUIDString()))), info)
    reader.close()
    domain.destroy()
    series = shown(info)

    assert [one.setting for one in found] == [f"machine type '{machine}'"]
    assert series.duplicates == 0
    assert count(series, "filesystem_info") == 2
    assert count(series, "vcpu_pin_info") == 1
    assert count(series, "device_info") == len(info.devices)


def old_machine(connection: libvirt.virConnect) -> str:
    """A machine type that this QEMU calls deprecated."""
    _, found, after = connection.getCapabilities().partition("deprecated='yes'>")
    if not found:
        pytest.fail("this QEMU calls no machine type deprecated: find another sign")
    return after.partition("<")[0]


PAGES = (
    "<memoryBacking><hugepages><page size='2048' unit='KiB' nodeset='0'/>"
    "<page size='1' unit='G' nodeset='1'/></hugepages></memoryBacking><cpu><numa>"
    "<cell id='0' cpus='0' memory='8' unit='MiB'/><cell id='1' cpus='1' memory='8' unit='MiB'/>"
    "</numa></cpu>"
)
PINS = (
    "<iothreads>2</iothreads><cputune><vcpupin vcpu='0' cpuset='0'/>"
    "<emulatorpin cpuset='0'/><iothreadpin iothread='2' cpuset='0'/></cputune>"
)


@pytest.mark.parametrize(
    ("more", "name", "number"), [(PAGES, "hugepage_size_bytes", 2), (PINS, "iothread_pin_info", 1)]
)
def test_resources_that_are_lists_are_shown_as_such(
    libvirtd: PrivateLibvirtd, more: str, name: str, number: int
) -> None:
    """As libvirt writes them back."""
    domain = libvirt.open(libvirtd.uri).defineXML(xml("", more=more))
    text = domain.XMLDesc(0)
    domain.undefine()

    assert count(shown(parse_domain(text)), name) == number
