"""Domain XML → DomainInfo, on XML that libvirt 9.0 wrote and on XML that nobody should write."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from xml.etree.ElementTree import fromstring, tostring

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.domains import domain_xml
from libvirt_exporter.hypervisor.domains.domain_xml import (
    DomainXmlError,
    parse_domain,
    read_cpu_mode,
)
from libvirt_exporter.model import (
    Bandwidth,
    CpuTune,
    Device,
    DomainInfo,
    FileSystem,
    Graphics,
    HostDevice,
    Hugepages,
    NumaCell,
    Pin,
    ThrottleGroup,
    Watchdog,
)
from libvirt_exporter.patterns.labels import LabelFact, compile_label

FIXTURES = Path(__file__).parents[2] / "fixtures" / "xml"
LIVE = (FIXTURES / "qemu_live.xml").read_text(encoding="utf-8")
INACTIVE = (FIXTURES / "qemu_inactive.xml").read_text(encoding="utf-8")
MANAGED = (FIXTURES / "managed_live.xml").read_text(encoding="utf-8")
IDENTITY = "<name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
LABELS = (
    compile_label("owner", "//acme:asset/@owner", {"acme": "http://acme.example/asset"}),
    compile_label("missing", "metadata/none", {}),
    compile_label("machine", "/domain/os/type/@machine", {}),
)


def parse(inner: str) -> DomainInfo:
    """Parse a domain that holds only `inner` beside its identity."""
    return parse_domain(f"<domain>{IDENTITY}{inner}</domain>")


def parse_devices(inner: str) -> DomainInfo:
    """Parse a domain that has only the devices `inner`."""
    return parse(f"<devices>{inner}</devices>")


def test_reads_what_a_live_domain_is() -> None:
    """The facts of the domain itself are those of a running QEMU guest's XML."""
    info = parse_domain(LIVE, autostart=True, persistent=False)
    assert info.uuid == "0e6d5a2c-9f5b-4c1e-8d27-5a3f0c9b1e42"
    assert (info.name, info.title, info.description) == (
        'web "1" & ü',
        "Shop front",
        "two\nlines",
    )
    assert (info.type, info.os_type, info.arch, info.machine) == (
        "qemu",
        "hvm",
        "x86_64",
        "pc-q35-7.2",
    )
    assert info.os_id == "http://fedoraproject.org/fedora/40"
    assert info.emulator == "/usr/bin/qemu-system-x86_64"
    assert (info.cpu_mode, info.cpu_model) == ("custom", "qemu64")
    assert (info.vcpus_maximum, info.vcpus_current) == (4, 2)
    assert (info.memory_maximum, info.memory_current) == (64 << 20, 64 << 20)
    assert (info.iothreads, info.balloon_model, info.balloon_period) == (2, "virtio", 5)
    assert (info.clock_offset, info.agent_channel) == ("variable", "disconnected")
    assert (info.autostart, info.persistent) == (True, False)
    assert info.watchdogs == (Watchdog("i6300esb", "pause", "watchdog0"),)
    assert info.graphics == (
        Graphics(type="vnc", device="graphics0", listen="127.0.0.1", port=5900, websocket=5799),
    )


def test_dies_count_into_the_cores_of_a_socket() -> None:
    """A socket of 2 dies with 1 core each has 2 cores; clusters count alike."""
    info = parse_domain(LIVE)
    assert (info.cpu_sockets, info.cpu_cores, info.cpu_threads) == (1, 2, 2)
    topology = "<topology sockets='1' dies='2' clusters='3' cores='4' threads='1'/>"
    assert parse(f"<cpu>{topology}</cpu>").cpu_cores == 24


def test_reads_the_disks_of_a_live_domain() -> None:
    """Tuning, backing chain and running copy of real disks are found, and an empty drive too."""
    root, data, cdrom = parse_domain(LIVE).disks
    assert (root.device, root.bus, root.source_type, root.format) == (
        "vda",
        "virtio",
        "file",
        "qcow2",
    )
    assert root.source == "/var/lib/libvirt/images/root.qcow2"
    assert (root.cache, root.io, root.discard, root.error_policy) == (
        "none",
        "native",
        "unmap",
        "enospace",
    )
    assert (root.serial, root.alias, root.iothread) == ("3f6c1e0a", "virtio-disk0", "1")
    assert root.chain_depth == 3
    assert root.iotune == {
        "total_bytes_sec": 104857600,
        "read_iops_sec": 500,
        "read_iops_sec_max": 1000,
        "read_iops_sec_max_length": 30,
    }
    assert (data.device, data.mirror_job, data.chain_depth) == ("vdb", "copy", 1)
    assert (cdrom.device, cdrom.kind, cdrom.source, cdrom.readonly) == ("sda", "cdrom", "", True)
    assert (cdrom.chain_depth, cdrom.mirror_job, cdrom.iotune) == (None, "", {})


def test_reads_every_kind_of_disk_source() -> None:
    """Each source type that libvirt 9.0 accepts gives its own spelling of the source."""
    sources = {d.device: (d.source_type, d.source) for d in parse_domain(INACTIVE).disks}
    assert sources == {
        "vda": ("file", "/images/a.img"),
        "vdb": ("block", "/dev/vg0/lv1"),
        "vdc": ("network", "rbd:vms/disk-1"),
        "vdd": ("network", "nbd"),
        "vde": ("volume", "default/vol1"),
        "vdf": ("nvme", "0000:01:00.0/1"),
        "vdg": ("vhostuser", "/run/vhost-blk.sock"),
        "fda": ("dir", "/srv/floppy"),
        "sda": ("file", ""),
    }


def test_reads_what_libvirt_after_9_0_has() -> None:
    """vhost-vdpa disks, several iothreads per disk and several watchdogs are accepted."""
    info = parse_devices(
        "<disk type='vhostvdpa'><driver name='qemu'><iothreads><iothread id='2'/>"
        "<iothread id='3'/></iothreads></driver><source dev='/dev/vhost-vdpa-0'/>"
        "<target dev='vda'/></disk>"
        "<watchdog model='itco' action='reset'/><watchdog model='ib700'/>"
    )
    assert (info.disks[0].source, info.disks[0].iothread) == ("/dev/vhost-vdpa-0", "2,3")
    assert info.watchdogs == (
        Watchdog("itco", "reset", "watchdog0"),
        Watchdog("ib700", "reset", "watchdog1"),
    )


def test_interfaces_without_target_are_called_by_alias_or_position() -> None:
    """Every interface has a name, and says whether it is that of a host device."""
    assert [(i.device, i.has_target) for i in parse_domain(LIVE).interfaces] == [
        ("xmltap0", True),
        ("net1", False),
    ]
    assert [(i.device, i.has_target) for i in parse_domain(INACTIVE).interfaces] == [
        ("interface0", False),
        ("interface1", False),
        ("tap11111111-22", True),
        *((f"interface{n}", False) for n in range(3, 8)),
    ]


def test_reads_what_each_kind_of_interface_is_plugged_into() -> None:
    """Bridge, network, device, socket or PCI address, whichever the type uses."""
    assert [(i.type, i.source) for i in parse_domain(INACTIVE).interfaces] == [
        ("hostdev", "0000:3b:02.1"),
        ("hostdev", "0000:3b:02.2"),
        ("bridge", "br-int"),
        ("network", "default"),
        ("direct", "eno1"),
        ("vhostuser", "/run/vhu0"),
        ("vdpa", "/dev/vhost-vdpa-0"),
        ("mcast", "230.0.0.1:5558"),
    ]


def test_reads_an_interface_in_full() -> None:
    """MAC, model, port, link state and MTU are found."""
    live, _ = parse_domain(LIVE).interfaces
    assert (live.mac, live.model, live.alias) == ("52:54:00:aa:00:01", "virtio", "net0")
    assert (live.link_state, live.link_up, live.mtu) == ("down", False, 1400)
    bridged = parse_domain(INACTIVE).interfaces[2]
    assert (bridged.link_state, bridged.link_up) == ("", True)
    assert (bridged.port_id, bridged.bridge, bridged.mtu) == (
        "11111111-2222-4333-8444-555555555555",
        "br-int",
        1450,
    )


def test_a_live_network_interface_names_network_and_bridge() -> None:
    """libvirt adds the bridge to the source of a running network interface."""
    info = parse_devices(
        "<interface type='network'><source network='default' bridge='virbr0'/>"
        "<target dev='vnet0'/></interface>"
    )
    (nic,) = info.interfaces
    assert (nic.source, nic.network, nic.bridge) == ("default", "default", "virbr0")


def test_no_two_devices_share_a_name() -> None:
    """A second disk of the same target is left out, a second interface gets another name."""
    disk = "<disk><target dev='vda'/></disk>"
    nic = "<interface><target dev='interface1'/></interface>"
    info = parse_devices(disk + disk + "<disk/>" + nic + nic + "<interface/>")
    assert [d.device for d in info.disks] == ["vda"]
    assert [(i.device, i.has_target) for i in info.interfaces] == [
        ("interface1", True),
        ("interface2", False),
        ("interface3", False),
    ]


def test_reads_the_tuning_of_a_domain() -> None:
    """Periods and quotas are seconds, and a quota below zero is no limit."""
    info = parse_domain(INACTIVE)
    assert info.cpu_tune == CpuTune(
        shares=2048,
        period=0.1,
        quota=0.05,
        global_period=0.2,
        global_quota=None,
        emulator_period=0.1,
        emulator_quota=0.03,
        iothread_period=0.1,
        iothread_quota=0.025,
    )
    assert info.hugepages == (Hugepages(2 << 20),)
    assert (info.resctrl_monitors, info.perf_events, info.firmware) == (True, True, "efi")
    assert (info.balloon_model, info.balloon_period, info.agent_channel) == ("none", None, "")


def test_reads_host_devices_graphics_and_shares() -> None:
    """Devices of the host, displays and shared directories are listed in XML order."""
    info = parse_domain(INACTIVE)
    assert info.host_devices == (
        HostDevice(
            device="hostdev0",
            type="pci",
            address="0000:3b:00.1",
            pci_bus_id="00000000:3B:00.1",
            guest_address="0000:15:00.0",
            driver="vfio",
        ),
        HostDevice(device="hostdev1", type="usb", address="1234:beef", guest_address="0:1"),
        HostDevice(
            device="hostdev2",
            type="mdev",
            address="c2177883-f1bb-47f0-914d-32a22e3a8804",
            guest_address="0000:16:00.0",
        ),
        HostDevice(device="hostdev3", type="scsi", address="0:0:1:0", guest_address="0:0:0:0"),
        HostDevice(
            device="hostdev4",
            type="scsi",
            guest_address="0:0:0:1",
            source="iqn.2014-08.com.example:iscsi-nopool/1",
        ),
    )
    assert info.graphics == (
        Graphics(type="spice", device="graphics0", listen="192.0.2.7"),
        Graphics(type="vnc", device="graphics1", listen="/run/vnc.sock"),
    )
    assert info.filesystems == (
        FileSystem(
            device="filesystem0",
            target="share",
            type="mount",
            access="passthrough",
            driver="virtiofs",
        ),
        FileSystem(device="filesystem1", target="p9", type="mount", access="mapped"),
    )


@pytest.mark.parametrize(
    ("kind", "inside", "address", "bus_id", "source"),
    [
        (
            "pci",
            "<address domain='0x0001' bus='0xaf' slot='0x1f' function='0x7'/>",
            "0001:af:1f.7",
            "00000001:AF:1F.7",
            "",
        ),
        ("usb", "<address bus='1' device='4'/><vendor id='0x1234'/>", "001:004", "", ""),
        ("usb", "<vendor id='0x1234'/><product id='0xbeef'/>", "1234:beef", "", ""),
        ("usb", "<address bus='12' device='104'/>", "012:104", "", ""),
        (
            "scsi",
            "<adapter name='scsi_host2'/><address bus='0' target='3' unit='7'/>",
            "2:0:3:7",
            "",
            "",
        ),
        ("storage", "<block>/dev/sdf1</block>", "", "", "/dev/sdf1"),
        ("misc", "<char>/dev/input/event3</char>", "", "", "/dev/input/event3"),
        ("net", "<interface>eth0</interface>", "", "", "eth0"),
        ("new", "<address bus='1'/>", "", "", ""),
    ],
)
def test_reads_where_each_kind_of_host_device_is(
    kind: str, inside: str, address: str, bus_id: str, source: str
) -> None:
    """Of machines and containers: an address, or whatever else names it."""
    xml = f"<hostdev type='{kind}'><source>{inside}</source></hostdev>"
    (found,) = parse_devices(xml).host_devices
    assert (found.address, found.pci_bus_id, found.source) == (address, bus_id, source)


@pytest.mark.parametrize(
    "source",
    ["protocol='iscsi' name='iqn.example:disk/1'", "protocol='vhost' wwpn='iqn.example:disk/1'"],
)
def test_a_host_device_may_have_a_name_for_an_address(source: str) -> None:
    """iSCSI and virtual host adapters."""
    (found,) = parse_devices(f"<hostdev type='scsi'><source {source}/></hostdev>").host_devices
    assert (found.address, found.source) == ("", "iqn.example:disk/1")


@pytest.mark.parametrize(
    ("address", "word"),
    [
        (
            "<address type='pci' bus='0x06' slot='0x00' function='0x1'/>",
            "0000:06:00.1",
        ),
        ("<address type='drive' controller='1' bus='0' target='2' unit='3'/>", "1:0:2:3"),
        ("<address type='usb' bus='0' port='1.2'/>", "0:1.2"),
        ("<address type='virtio-serial' controller='0' bus='0' port='1'/>", "0:0:1"),
        ("<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0001'/>", "0xfe:0x0:0x0001"),
        ("<address type='spapr-vio' reg='0x1000'/>", "0x1000"),
        ("<address type='dimm' slot='3' base='0x100000000'/>", "3"),
        ("<address type='pci'/>", "0000:00:00.0"),
        ("<address type='virtio-mmio'/>", ""),
        ("", ""),
    ],
)
def test_a_guest_address_is_one_word(address: str, word: str) -> None:
    """For every type of address."""
    (device,) = parse_devices(f"<input>{address}</input>").devices
    assert device.guest_address == word


def test_devices_alike_are_told_apart_by_their_position() -> None:
    """Of each kind for itself, past the names that aliases take."""
    alias = "<alias name='hostdev1'/>"
    info = parse_devices(
        "<hostdev type='usb'/><graphics type='vnc'/><hostdev type='usb'/>"
        f"<hostdev type='usb'>{alias}</hostdev><graphics type='vnc'/><filesystem/><filesystem/>"
        f"<hostdev type='usb'>{alias}</hostdev>"
    )
    assert [one.device for one in info.host_devices] == [
        *("hostdev0", "hostdev1", "hostdev2", "hostdev3")
    ]
    assert [one.device for one in info.graphics] == ["graphics0", "graphics1"]
    assert [one.device for one in info.filesystems] == ["filesystem0", "filesystem1"]


@pytest.mark.parametrize(
    ("nic", "source"),
    [
        ("<interface type='direct'><source network='vlan5' dev='eth0' mode='vepa'/>", "eth0"),
        ("<interface type='bridge'><source network='lan' bridge='br0'/>", "br0"),
        ("<interface type='network'><source network='default' bridge='virbr0'/>", "default"),
        ("<interface type='user'><backend type='passt'/><source dev='eth1'/>", "eth1"),
        ("<interface type='internal'><source name='lan'/>", "lan"),
        ("<interface type='udp'><source address='192.0.2.1' port='11115'/>", "192.0.2.1:11115"),
        ("<interface type='client'><source address='fe80::1' port='1'/>", "[fe80::1]:1"),
        ("<interface type='server'><source port='5558'/>", ":5558"),
        ("<interface type='mcast'><source address='230.0.0.1'/>", "230.0.0.1"),
        ("<interface type='ethernet'>", ""),
        ("<interface type='new'><source dev='x'/>", "x"),
    ],
)
def test_the_source_of_an_interface_goes_by_its_type(nic: str, source: str) -> None:
    """A running interface of a network has the network's name beside what it is plugged into."""
    (found,) = parse_devices(f"{nic}</interface>").interfaces
    assert found.source == source


def test_reads_the_bandwidth_of_an_interface() -> None:
    """kB/s and KiB become bytes; what is not set is absent, also when it is none."""
    (nic,) = parse_devices(
        "<interface><bandwidth><inbound average='1000' peak='5000' floor='200' burst='x'/>"
        "<outbound average='0' burst='64'/></bandwidth></interface>"
    ).interfaces
    assert nic.receive == Bandwidth(average=1_000_000, peak=5_000_000, floor=200_000)
    assert nic.transmit == Bandwidth(average=0, burst=65_536)
    (unlimited,) = parse_devices("<interface/>").interfaces
    assert (unlimited.receive, unlimited.transmit) == (Bandwidth(), Bandwidth())


def test_reads_which_cpus_threads_are_pinned_to() -> None:
    """A vCPU without a pin of its own has that of all, which stands first."""
    tune = (
        "<cputune><vcpupin vcpu='1' cpuset='4-7'/><vcpupin vcpu='x' cpuset='1'/>"
        "<emulatorpin cpuset='0'/><iothreadpin iothread='2' cpuset='1'/>"
        "<iothreadpin iothread='1' cpuset='3'/></cputune>"
    )
    info = parse(f"<vcpu cpuset='0-3'>3</vcpu>{tune}")
    assert info.vcpu_pins == (Pin("0-3"), Pin("4-7", 1))
    assert info.emulator_pins == (Pin("0"),)
    assert info.iothread_pins == (Pin("3", 1), Pin("1", 2))
    assert parse(f"<vcpu>3</vcpu>{tune}").vcpu_pins == (Pin("4-7", 1),)
    assert parse("<vcpu>3</vcpu>").vcpu_pins == ()


def test_reads_up_to_where_memory_can_grow() -> None:
    """Which is more than what the guest has."""
    info = parse("<maxMemory slots='16' unit='GiB'>4</maxMemory><memory unit='GiB'>1</memory>")
    assert (info.memory_ceiling, info.memory_slots) == (4 << 30, 16)
    assert info.memory_maximum == 1 << 30
    assert parse("<memory>1</memory>").memory_ceiling is None


def test_reads_the_groups_that_throttle_disks() -> None:
    """By `<iotune>` and, since libvirt 11.2, by filters; a group's own limits once."""
    info = parse(
        "<throttlegroups><throttlegroup><group_name>limit0</group_name>"
        "<total_bytes_sec>1000</total_bytes_sec><total_bytes_sec_max>2000</total_bytes_sec_max>"
        "</throttlegroup><throttlegroup><group_name>limit0</group_name></throttlegroup>"
        "<throttlegroup/></throttlegroups><devices>"
        "<disk><target dev='vda'/><throttlefilters><throttlefilter group='limit0'/>"
        "<throttlefilter group='limit1'/><throttlefilter group='limit0'/></throttlefilters></disk>"
        "<disk><target dev='vdb'/><iotune><group_name>g</group_name></iotune></disk></devices>"
    )
    assert [disk.throttle_groups for disk in info.disks] == [("limit0", "limit1"), ("g",)]
    limits = {"total_bytes_sec": 1000, "total_bytes_sec_max": 2000}
    assert info.throttle_groups == (ThrottleGroup(name="limit0", limits=limits),)
    assert [(one.device, one.group) for one in info.disk_throttles] == [
        *(("vda", "limit0"), ("vda", "limit1"), ("vdb", "g"))
    ]


@pytest.mark.parametrize(
    ("source", "config_drive"),
    [
        ("<source file='/var/lib/nova/instances/i/disk.config'/>", True),
        ("<source file='/var/lib/nova/instances/i/disk.config.rescue'/>", True),
        ("<source protocol='rbd' name='vms/i_disk.config.rescue'/>", True),
        ("<source dev='/dev/vg/i_disk.config'/>", True),
        ("<source file='/var/lib/nova/instances/i/disk.rescue'/>", False),
        ("<source file='/images/disk.config.bak'/>", False),
    ],
)
def test_finds_novas_config_drive(source: str, config_drive: bool) -> None:
    """In every kind of storage, of an instance that is rescued too."""
    kind = "network" if "rbd" in source else "file"
    disk = f"<disk type='{kind}' device='cdrom'>{source}<target dev='sda'/></disk>"
    assert parse_devices(disk).config_drive is config_drive


def test_reads_what_a_managed_domain_is() -> None:
    """Boot order, CPU features, NUMA, NVDIMM, clock, serial number and SPICE of a running guest."""
    info = parse_domain(MANAGED)
    assert (info.acpi, info.boot, info.config_drive) == (True, "nc", True)
    assert info.cpu_features_required == ("hypervisor", "lahf_lm")
    assert info.cpu_features_disabled == ("pcid", "svm", "x2apic")
    assert info.numa_cells == (NumaCell(0, (0, 1)), NumaCell(1, (2, 3)))
    assert (info.memory_maximum, info.memory_nvdimm) == (80 << 20, 16 << 20)
    assert (info.clock_offset, info.clock_adjustment, info.clock_basis) == (
        "variable",
        -7200,
        "utc",
    )
    assert info.system_serial == "ccd79775-c888-4789-975a-fde1143dffc9"
    assert (info.keymap, info.clipboard) == ("de", False)


def test_lists_all_devices_of_a_live_domain() -> None:
    """Each child of `<devices>` but the emulator is there, in XML order, as libvirt names it."""
    xml = fromstring(MANAGED)
    devices = parse_domain(MANAGED).devices
    assert [device.kind for device in devices] == [
        element.tag for element in xml.iterfind("devices/*") if element.tag != "emulator"
    ]
    cdrom = {"type": "drive", "controller": "0", "bus": "0", "target": "0", "unit": "0"}
    dimm = {"type": "dimm", "slot": "0", "base": "0x100000000"}
    for device in (
        Device(
            kind="disk",
            name="sda",
            type="cdrom",
            alias="sata0-0-0",
            target="sda",
            address=cdrom,
            guest_address="0:0:0:0",
        ),
        Device(
            kind="memory",
            name="nvdimm0",
            model="nvdimm",
            alias="nvdimm0",
            address=dimm,
            guest_address="0",
        ),
        Device(kind="graphics", name="graphics1", type="spice"),
        Device(kind="controller", name="pcie.0", type="pci", model="pcie-root", alias="pcie.0"),
    ):
        assert device in devices
    (nic,) = (device for device in devices if device.kind == "interface")
    assert (nic.type, nic.model, nic.alias, nic.target) == (
        *("ethernet", "virtio", "ua-nic-1", "vnet0"),
    )
    assert nic.address["bus"] == "0x01"
    (video,) = (device for device in devices if device.kind == "video")
    assert (video.type, video.model) == ("", "cirrus")


@pytest.mark.parametrize(
    ("os", "devices", "letters"),
    [
        ("<boot dev='cdrom'/><boot dev='hd'/><boot dev='network'/><boot dev='fd'/>", "", "dcna"),
        ("<boot dev='hd'/><boot dev='hd'/><boot dev='tape'/>", "", "c"),
        ("<boot dev='hd'/>", "<interface><boot order='1'/></interface>", "c"),
        (
            "",
            (
                "<disk device='lun'><boot order='10'/></disk><disk device='floppy'>"
                "<boot order='9'/></disk><disk device='cdrom'><boot order='1'/></disk><interface>"
                "<boot order='2'/></interface><hostdev><boot order='3'/></hostdev>"
                "<disk><boot order='11'/></disk>"
            ),
            "dnac",
        ),
        ("", "<disk><boot order='first'/></disk><disk/>", ""),
    ],
)
def test_boot_devices_are_letters_in_their_order(os: str, devices: str, letters: str) -> None:
    """The domain's own list counts, else the orders of the devices; each kind once."""
    info = parse(f"<os>{os}</os><devices>{devices}</devices>")
    assert info.boot == letters


@pytest.mark.parametrize(
    ("displays", "clipboard", "keymap"),
    [
        ("", None, ""),
        ("<graphics type='vnc'><clipboard copypaste='no'/></graphics>", None, ""),
        ("<graphics type='vnc'/><graphics type='spice' keymap='fr'/>", True, "fr"),
        ("<graphics type='spice'><clipboard copypaste='yes'/></graphics>", True, ""),
        ("<graphics type='spice'><clipboard copypaste='no'/></graphics>", False, ""),
    ],
)
def test_only_spice_shares_a_clipboard(displays: str, clipboard: bool | None, keymap: str) -> None:
    """It does unless told not to; without SPICE there is no answer."""
    info = parse_devices(displays)
    assert (info.clipboard, info.keymap) == (clipboard, keymap)


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("<source file='/var/lib/nova/instances/5b7c2f10/disk.config'/>", True),
        ("<source protocol='rbd' name='vms/5b7c2f10_disk.config'/>", True),
        ("<source file='/var/lib/nova/instances/5b7c2f10/disk'/>", False),
        ("", False),
    ],
)
def test_a_config_drive_is_known_by_its_source(source: str, is_one: bool) -> None:
    """Nova calls it disk.config, whether a file or an RBD image."""
    source_type = "network" if "rbd" in source else "file"
    disk = f"<disk type='{source_type}' device='cdrom'>{source}<target dev='sda'/></disk>"
    assert parse_devices(disk).config_drive is is_one


def test_a_time_zone_and_a_clock_without_adjustment_are_read() -> None:
    """What the offset does not have is absent, also when libvirt is told to reset it."""
    zone = parse("<clock offset='timezone' timezone='Europe/Paris'/>")
    assert (zone.clock_offset, zone.clock_timezone, zone.clock_adjustment) == (
        *("timezone", "Europe/Paris", None),
    )
    assert parse("<clock offset='utc' adjustment='reset'/>").clock_adjustment is None


def test_features_of_every_policy_are_told_apart() -> None:
    """Forced counts as required, forbidden as disabled; optional ones are neither."""
    features = "".join(
        f"<feature {f'policy={policy!r}' if policy else ''} name='{policy or 'none'}'/>"
        for policy in ("", "require", "force", "optional", "disable", "forbid")
    )
    info = parse(f"<cpu>{features}</cpu>")
    assert info.cpu_features_required == ("none", "require", "force")
    assert info.cpu_features_disabled == ("disable", "forbid")


def test_numa_cells_may_lack_an_id_or_cpus() -> None:
    """A cell of memory only has no CPUs; one whose CPUs are no set is left out."""
    cells = "<cell cpus='0'/><cell id='7'/><cell id='8' cpus='all'/><cell id='x' cpus='1'/>"
    info = parse(f"<cpu><numa>{cells}</numa></cpu>")
    assert info.numa_cells == (NumaCell(0, (0,)), NumaCell(7, ()))


def test_only_nvdimms_count_as_such_and_a_guarantee_is_read() -> None:
    """Sizes have units; a DIMM is ordinary memory; other drivers have a guarantee."""
    nvdimm = "<memory model='nvdimm'><target><size unit='MiB'>{}</size></target></memory>"
    info = parse(
        "<memtune><min_guarantee unit='MiB'>3</min_guarantee></memtune><devices>"
        f"{nvdimm.format(4)}{nvdimm.format(5)}{nvdimm.format('much')}<memory model='nvdimm'/>"
        f"{nvdimm.format(6).replace('nvdimm', 'dimm')}</devices>"
    )
    assert (info.memory_nvdimm, info.memory_guarantee) == (9 << 20, 3 << 20)
    too_much = nvdimm.format((1 << 43) - 1)
    assert parse_devices(2 * too_much).memory_nvdimm == 0


def test_a_minimal_domain_has_nothing_that_it_does_not_say() -> None:
    """Absent is not zero: all but the identity stays at the model's defaults.

    ACPI is offered only where the XML says so.
    """
    assert parse("") == DomainInfo(
        uuid="00000000-0000-4000-8000-000000000001", name="a", acpi=False
    )


@pytest.mark.parametrize(
    ("inner", "pages"),
    [
        ("", ()),
        ("<hugepages/>", (Hugepages(0),)),
        ("<hugepages><page size='1' unit='G'/></hugepages>", (Hugepages(1 << 30),)),
        ("<hugepages><page size='2048'/></hugepages>", (Hugepages(2 << 20),)),
        ("<hugepages><page size='big'/></hugepages>", (Hugepages(0),)),
        (
            "<hugepages><page size='2048' nodeset='0-1,3'/><page size='1' unit='G'/></hugepages>",
            (*(Hugepages(2 << 20, node) for node in "013"), Hugepages(1 << 30)),
        ),
        (
            "<hugepages><page size='1048576' nodeset='1'/><page size='4' nodeset='0'/></hugepages>",
            (Hugepages(1 << 30, "1"), Hugepages(4096, "0")),
        ),
    ],
)
def test_each_node_has_its_size_of_huge_pages(inner: str, pages: tuple[Hugepages, ...]) -> None:
    """Nothing is no huge pages, 0 is huge pages of the host's default size."""
    assert parse(f"<memoryBacking>{inner}</memoryBacking>").hugepages == pages


@pytest.mark.parametrize(
    ("xml", "mode"),
    [
        ("<domain><cpu mode='host-model' check='partial'/></domain>", "host-model"),
        ("<domain><cpu/></domain>", ""),
        ("<domain/>", ""),
    ],
)
def test_the_mode_of_the_cpu_is_read_of_any_definition(xml: str, mode: str) -> None:
    """Without the rest of it."""
    assert read_cpu_mode(xml) == mode


@pytest.mark.parametrize(
    ("xml", "source", "shared"),
    [
        ("<memoryBacking/>", "", False),
        ("<memoryBacking><source type='anonymous'/></memoryBacking>", "anonymous", False),
        (
            "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
            "memfd",
            True,
        ),
        ("<memoryBacking><access mode='private'/></memoryBacking>", "", False),
        ("<cpu><numa><cell cpus='0' memAccess='shared'/></numa></cpu>", "", True),
        ("<cpu><numa><cell cpus='0' memAccess='private'/></numa></cpu>", "", False),
    ],
)
def test_what_memory_is_made_of_is_read(xml: str, source: str, shared: bool) -> None:
    """Sharing may be asked for a part of it."""
    info = parse(xml)
    assert (info.memory_source, info.memory_shared) == (source, shared)


def test_only_what_runs_has_the_number_of_a_run() -> None:
    """libvirt writes it into live XML."""
    assert parse_domain(MANAGED).id == 1
    assert parse_domain(INACTIVE).id is None


def test_one_wrong_value_costs_that_value_only() -> None:
    """Numbers that are none, and addresses that are none, leave everything else in place."""
    info = parse(
        "<memory unit='parsec'>1</memory><currentMemory>many</currentMemory>"
        "<vcpu current='-1'>2</vcpu><iothreads>x</iothreads>"
        "<cputune><shares>1e9</shares><period>100000</period></cputune>"
        "<cpu><topology sockets='0' cores='9223372036854775807' dies='2' threads='1'/></cpu>"
        "<devices><graphics type='vnc' port='-1' tlsPort='' websocket='99999999999999999999'/>"
        "<hostdev type='pci'><source><address bus='0xzz'/></source></hostdev>"
        "<hostdev type='mdev'/><memballoon><stats period='often'/></memballoon>"
        "<interface><mtu size='large'/></interface>"
        "<disk><target dev='vda'/><iotune><group_name>g</group_name></iotune></disk></devices>"
    )
    assert (info.memory_maximum, info.memory_current) == (None, None)
    assert (info.vcpus_maximum, info.vcpus_current, info.iothreads) == (2, 2, 0)
    assert info.cpu_tune == CpuTune(period=0.1)
    assert (info.cpu_sockets, info.cpu_cores, info.cpu_threads) == (None, None, 1)
    assert info.graphics == (Graphics(type="vnc", device="graphics0"),)
    assert [h.address for h in info.host_devices] == ["", ""]
    assert (info.balloon_period, info.interfaces[0].mtu, info.disks[0].iotune) == (None, None, {})


@pytest.mark.parametrize("state", ["connected", "disconnected"])
def test_finds_the_agent_among_the_channels(state: str) -> None:
    """Only the channel of the guest agent's own name tells the agent's state."""
    info = parse_devices(
        "<channel/><channel><target name='com.redhat.spice.0' state='other'/></channel>"
        f"<channel><target name='org.qemu.guest_agent.0' state='{state}'/></channel>"
    )
    assert info.agent_channel == state


def test_a_mirror_without_a_job_is_a_copy() -> None:
    """libvirt's documentation gives copy as the meaning of a missing job."""
    info = parse_devices("<disk><target dev='vda'/><mirror/></disk>")
    assert info.disks[0].mirror_job == "copy"


def test_operator_labels_keep_their_order_and_are_empty_where_the_xml_has_no_value() -> None:
    """There is one entry per configured label, so that every domain has the same labels."""
    assert parse_domain(LIVE, labels=LABELS).custom_labels == (
        ("owner", "billing"),
        ("missing", ""),
        ("machine", "pc-q35-7.2"),
    )


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("", "not well-formed"),
        ("<domain>", "not well-formed"),
        ("<domain>\0</domain>", "not well-formed"),
        ("<domain>&lol;</domain>", "not well-formed"),
        ("<pool/>", "not that of a domain"),
        ("<domain xmlns='x'/>", "not that of a domain"),
        ("<domain/>", "no <name>"),
        ("<domain><name/></domain>", "no <name>"),
        ("<domain><name>a</name></domain>", "no valid <uuid>"),
        ("<domain><name>a</name><uuid>b</uuid></domain>", "no valid <uuid>"),
        (f"<!DOCTYPE domain><domain>{IDENTITY}</domain>", "document type"),
        (f"<?xml version='1.0'?> <!-- x -->\n<!DOCTYPE d []><domain>{IDENTITY}</domain>", "type"),
        (f"\ufeff<!DOCTYPE d [<!ENTITY a 'b'>]><domain>{IDENTITY}&a;</domain>", "document type"),
    ],
)
def test_refuses_what_is_no_domain_and_says_why(xml: str, reason: str) -> None:
    """Only what cannot be used at all is an error, and the message says what is wrong."""
    with pytest.raises(DomainXmlError, match=reason):
        parse_domain(xml)


def test_entities_of_a_document_type_never_expand() -> None:
    """The classic bomb is refused before any parser sees it."""
    entities = "".join(
        f"<!ENTITY e{n} '{'&e' + str(n - 1) + ';' if n else 'x' * 9}{'y' * 9}'>" for n in range(99)
    )
    with pytest.raises(DomainXmlError, match="document type"):
        parse_domain(f"<!DOCTYPE d [{entities}]><domain>{IDENTITY}&e98;</domain>")


def test_metadata_may_speak_of_document_types() -> None:
    """The same characters in a comment or CDATA section of the metadata are harmless."""
    inner = "<metadata><!-- <!DOCTYPE x> --><a><![CDATA[<!DOCTYPE x>]]></a></metadata>"
    assert parse(inner).name == "a"


@pytest.mark.parametrize("limit", ["MAX_CHARACTERS", "MAX_TAGS"])
def test_refuses_what_is_too_large(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """XML beyond the limits is not parsed at all."""
    monkeypatch.setattr(domain_xml, limit, 5)
    with pytest.raises(DomainXmlError, match=r"5 (characters|tags)"):
        parse_domain(LIVE)


NOVA = """
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/{version}">
      <nova:owner><nova:project uuid="7">shop</nova:project></nova:owner>
    </nova:instance>
  </metadata>
"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_label_of_a_fact_is_the_same_for_every_version_of_the_metadata(version: str) -> None:
    """An expression names one namespace, and finds nothing in the other."""
    xml = f"<domain>{IDENTITY}{NOVA.format(version=version)}</domain>"
    labels = [LabelFact("tenant", "openstack.project_id"), LabelFact("flavor", "openstack.flavor")]
    assert parse_domain(xml, labels=labels).custom_labels == (("tenant", "7"), ("flavor", ""))


def test_refuses_what_is_too_large_for_labels() -> None:
    """Without labels the same XML is read."""
    xml = (
        "<domain><name>a</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><metadata>"
        f"{'<a/>' * 3000}</metadata></domain>"
    )
    assert parse_domain(xml).name == "a"
    with pytest.raises(DomainXmlError, match=r"too large for the expressions of labels\.custom"):
        parse_domain(xml, labels=[compile_label("x", "name", {})])


def test_large_xml_is_read_in_parts() -> None:
    """A part may end anywhere, within a tag or a character too."""
    text = "ü" * domain_xml.MAX_CHARACTERS
    for length in (1 << 19, (1 << 20) + 1):
        assert parse(f"<title>{text[:length]}</title>").title == text[:length]


def test_an_external_entity_is_never_fetched(tmp_path: Path) -> None:
    """A document type that names a file is refused, whatever is in the file."""
    secret = tmp_path / "secret"
    secret.write_text("s")
    entity = f"<!DOCTYPE d [<!ENTITY x SYSTEM '{secret.as_uri()}'>]>"
    with pytest.raises(DomainXmlError, match="document type"):
        parse_domain(f"{entity}<domain>{IDENTITY}<title>&x;</title></domain>")


def test_depth_costs_nothing() -> None:
    """Nesting as deep as the tag limit allows is read without recursion."""
    depth = domain_xml.MAX_TAGS // 4
    chain = "<backingStore>" * depth + "</backingStore>" * depth
    disk = f"<disk><source file='f'/>{chain}<target dev='vda'/></disk>"
    assert parse_devices(disk).disks[0].chain_depth == depth


def test_lone_surrogates_are_replaced() -> None:
    """Text that has no UTF-8 form does not cost the domain."""
    assert parse("<title>\ud800</title>").title == "?"


def test_a_declared_encoding_does_not_count() -> None:
    """The text is already decoded; what it says about its bytes is history."""
    xml = f"<?xml version='1.0' encoding='latin-1'?><domain>{IDENTITY}<title>ü</title></domain>"
    assert parse_domain(xml).title == "ü"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.xml")), ids=lambda path: path.stem)
def test_a_domain_survives_json(path: Path) -> None:
    """What is read from real XML can be recorded as JSON and read back unchanged."""
    info = parse_domain(path.read_text(encoding="utf-8"), labels=LABELS)
    assert msgspec.json.decode(msgspec.json.encode(info), type=DomainInfo) == info


@given(st.text())
def test_no_text_raises_anything_but_a_domain_xml_error(text: str) -> None:
    """Whatever is not XML of a domain is refused in the one way that callers expect."""
    with pytest.raises(DomainXmlError):
        parse_domain(text, labels=LABELS)


REAL = [element for xml in (LIVE, INACTIVE, MANAGED) for element in fromstring(xml).iter()]
VALUES = st.sampled_from(
    sorted({value for element in REAL for value in element.attrib.values()})
) | st.sampled_from(
    ["", " ", "-1", "0", "1e9", "nan", "٣", str((1 << 63) - 1), "9" * 20, "GB", "nvme", "\u2028"]
)
STEPS = st.tuples(
    st.sampled_from(["graft", "clear", "text", "attributes"]),
    st.integers(0, 500),
    st.integers(0, 500),
    VALUES,
)


@settings(deadline=None)
@given(st.sampled_from([LIVE, INACTIVE, MANAGED]), st.lists(STEPS, max_size=6))
def test_no_rearrangement_of_real_elements_harms(
    xml: str, steps: list[tuple[str, int, int, str]]
) -> None:
    """Elements in odd places, emptied or with odd values: read, recordable, names distinct."""
    domain = fromstring(xml)
    for step, one, other, value in steps:
        elements = list(domain.iter())
        element = elements[one % len(elements)]
        match step:
            case "graft":
                elements[other % len(elements)].append(deepcopy(element))
            case "clear":
                element.clear()
            case "text":
                element.text = value
            case "attributes":
                element.attrib.update(dict.fromkeys(element.attrib, value))
    domain[:0] = fromstring(f"<domain>{IDENTITY}</domain>")
    info = parse_domain(tostring(domain, encoding="unicode"), labels=LABELS)
    assert msgspec.json.decode(msgspec.json.encode(info), type=DomainInfo) == info
    for devices in (info.interfaces, info.disks):
        assert len({device.device for device in devices}) == len(devices)


@settings(deadline=None)
@given(st.sampled_from([LIVE, INACTIVE, MANAGED]), st.data())
def test_no_mutation_of_real_xml_raises_anything_but_a_domain_xml_error(
    xml: str, data: st.DataObject
) -> None:
    """Cutting, doubling and replacing parts of real XML gives a domain or the one error."""
    for _ in range(data.draw(st.integers(1, 4))):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(xml))] * 2)))
        part = xml[start:end]
        text = data.draw(st.sampled_from(["", part * 2, "0", "<disk/>", "<!--", "'"]) | st.text())
        xml = xml[:start] + text + xml[end:]
    try:
        info = parse_domain(xml, labels=LABELS)
    except DomainXmlError:
        return
    assert info.name
