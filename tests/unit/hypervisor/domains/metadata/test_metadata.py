"""Metadata of Nova, oVirt, libosinfo and KubeVirt, as libvirt 9.0 gives it back and as it should
not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring, tostring

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.domains.metadata.metadata import (
    Metadata,
    read_metadata,
    remove_secrets,
)
from libvirt_exporter.hypervisor.domains.metadata.ovirt import MAX_DEVICES, ovirt_device
from libvirt_exporter.hypervisor.domains.metadata.reading import MAX_FACT, MAX_ITEMS, MAX_TEXT
from libvirt_exporter.model import Device, DomainInfo, OpenStackInfo, OvirtInfo
from libvirt_exporter.patterns.labels import compile_label

FIXTURES = Path(__file__).parents[3] / "fixtures" / "xml"
NOVA = "http://openstack.org/xmlns/libvirt/nova/1.1"
OVIRT = "http://ovirt.org/vm/1.0"
TUNE = "http://ovirt.org/vm/tune/1.0"
INSTANCE = "http://ovirt.org/vm/instance/1.0"
OSINFO = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
KUBEVIRT = "http://kubevirt.io"
PREFIXES = f"xmlns:x='{NOVA}' xmlns:y='{OVIRT}' xmlns:z='{TUNE}' xmlns:i='{INSTANCE}'"
SECRET = "c2VjcmV0"


def recorded(name: str) -> str:
    """Return a recorded domain's XML."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def info(name: str) -> DomainInfo:
    """Return what is read from a recorded domain's XML."""
    return parse_domain(recorded(name))


def metadata(inner: str) -> Element:
    """Return a `<metadata>` element whose prefixes are nothing like the usual ones."""
    return fromstring(f"<metadata {PREFIXES}>{inner}</metadata>")


def read(inner: str) -> Metadata:
    """Return what is read of `inner` for a domain without devices."""
    return read_metadata(metadata(inner), [])


def ovirt(inner: str) -> OvirtInfo | None:
    """Return the facts of oVirt's."""
    return read(inner).ovirt


def openstack(inner: str) -> OpenStackInfo | None:
    """Return the facts of OpenStack's."""
    return read(inner).openstack


def test_reads_nova_1_1() -> None:
    """All that Nova 32 writes and the model holds is found; sizes are bytes, time is UTC."""
    assert info("nova_1_1.xml").openstack == OpenStackInfo(
        instance_name="shop-db-1",
        flavor="c4.large",
        flavor_id="9f0d4a6e-52b8-4d8a-8a37-0f6f7a0f5c11",
        image_id="b6a5e1c2-0c0f-4c39-8f0e-4a1b63c5d7e8",
        project_id="a1b2c3d4e5f60718293a4b5c6d7e8f90",
        project_name="shop & co",
        user_id="2f4a7d9be1c34f0a9d8e6c5b4a392817",
        user_name="alice",
        root_type="image",
        package_version="32.0.0",
        creation_time=1759652130.0,
        flavor_vcpus=4,
        flavor_memory=8 << 30,
        flavor_disk=40 << 30,
        flavor_swap=512 << 20,
        flavor_ephemeral=0,
    )


def test_reads_nova_1_0() -> None:
    """The older namespace, under another prefix, is read too; the image is then the root's."""
    nova = info("nova_1_0.xml").openstack
    assert nova is not None
    assert (nova.instance_name, nova.flavor, nova.flavor_id) == ("legacy", "m1.small", "")
    assert nova.image_id == "0d1e2f30-4152-4364-8758-697a8b9cadbe"
    assert (nova.flavor_memory, nova.creation_time) == (2 << 30, 1543622400.0)


def test_a_volume_is_not_an_image() -> None:
    """An instance that boots from a volume has no image, whatever its root is called."""
    inner = "<x:instance><x:image uuid=''/><x:root type='volume' uuid='v'/></x:instance>"
    nova = openstack(inner)
    assert nova is not None
    assert (nova.image_id, nova.root_type) == ("", "volume")


def test_reads_ovirt() -> None:
    """Typed leaves of the flat form become bytes, seconds and truth; nested ones do not count."""
    assert info("ovirt.xml").ovirt == OvirtInfo(
        cluster_version="4.7",
        cpu_policy="none",
        resume_behavior="auto_resume",
        ballooning_enabled=True,
        launch_paused=False,
        guaranteed_memory=1 << 30,
        balloon_target=1 << 30,
        start_time=1602056574.25,
        vcpu_limit=0.5,
    )


def test_the_older_guaranteed_size_counts_when_the_newer_is_missing_or_wrong() -> None:
    """VDSM's own figure steps in for the Engine's."""
    old = "<y:memGuaranteedSize type='int'>512</y:memGuaranteedSize>"
    new = "<y:minGuaranteedMemoryMb type='int'>lots</y:minGuaranteedMemoryMb>"
    found = ovirt(f"<y:vm>{old}{new}</y:vm>")
    assert found is not None
    assert found.guaranteed_memory == 512 << 20


@pytest.mark.parametrize(
    ("text", "truth"),
    [("true", True), ("True", True), ("1", True), ("0", False), ("no", False), ("", None)],
)
def test_ovirt_truth_is_true_in_any_case_or_an_integer(text: str, truth: bool | None) -> None:
    """Everything else is false, and an empty value is none."""
    leaf = f"<y:ballooningEnabled>{text}</y:ballooningEnabled>"
    found = ovirt(f"<y:vm>{leaf}</y:vm>")
    assert found is not None
    assert found.ballooning_enabled is truth


def test_what_has_no_namespace_counts_as_ovirts_within_its_own_elements() -> None:
    """So VDSM reads it: libvirt hands it the element without the namespace."""
    found = read(
        "<y:vm><clusterVersion>4.7</clusterVersion><startTime type='float'>5.0</startTime>"
        "<custom><hugepages>2048</hugepages></custom>"
        "<device devtype='disk' name='vda'><imageID>i</imageID><specParams><a>1</a></specParams>"
        "</device></y:vm>"
        "<z:qos><vcpuLimit>50</vcpuLimit><ioTune><device name='vda'><maximum>"
        "<total_iops_sec>9</total_iops_sec></maximum></device></ioTune></z:qos>"
    )
    assert found.ovirt == OvirtInfo(cluster_version="4.7", start_time=5.0, vcpu_limit=0.5)
    assert found.systems["ovirt"] == {
        "values": {"clusterVersion": "4.7", "startTime": 5.0},
        "custom": {"hugepages": "2048"},
        "devices": [
            {
                "match": {"devtype": "disk", "name": "vda"},
                "values": {"imageID": "i"},
                "specParams": {"a": "1"},
            }
        ],
        "qos": {
            "vcpuLimit": 50.0,
            "ioTune": [{"name": "vda", "maximum": {"total_iops_sec": 9}}],
        },
    }
    assert found.malformed == 0


@pytest.mark.parametrize(
    ("inner", "left_out"),
    [
        ("<y:vm><x:a>1</x:a></y:vm>", 1),
        ("<y:vm><y:a><y:b/></y:a></y:vm>", 1),
        ("<y:vm><y:custom><y:a><y:b/></y:a></y:custom></y:vm>", 1),
        ("<y:vm><y:device><x:a/></y:device><y:volumeChain><y:a/></y:volumeChain></y:vm>", 1),
        ("<z:qos><y:vcpuLimit>5</y:vcpuLimit></z:qos>", 1),
        ("<z:qos><z:ioTune><z:disk/></z:ioTune></z:qos>", 1),
        ("<x:instance><name>n</name></x:instance>", 1),
        ("<x:instance><x:ports><x:pot/></x:ports></x:instance>", 1),
        ("<x:instance><x:ports><x:port><ip/></x:port></x:ports></x:instance>", 1),
        ("<i:instance><i:value type='dict'><i:itme key='a'/></i:value></i:instance>", 1),
        ("<kubevirt xmlns='http://kubevirt.io'><uid>u</uid><x:uid/></kubevirt>", 1),
    ],
)
def test_what_is_left_out_is_counted(inner: str, left_out: int) -> None:
    """Of every system: another namespace, another tag, values within a value."""
    assert read(inner).malformed == left_out


def test_either_ovirt_element_is_enough() -> None:
    """A VM with only one of `<vm>` and `<qos>` is an oVirt VM, one with neither is not."""
    assert ovirt("<y:vm/>") == OvirtInfo()
    qos = "<qos xmlns='http://ovirt.org/vm/tune/1.0'><vcpulimit>25</vcpulimit></qos>"
    assert ovirt(qos) == OvirtInfo(vcpu_limit=0.25)
    assert ovirt("") is None


def test_the_namespace_decides_not_the_prefix() -> None:
    """The usual names in another namespace, or in none, mean nothing."""
    other = "<nova:instance xmlns:nova='http://else.example'/><vm/><qos/><libosinfo><os id='o'/>"
    assert read(f"{other}</libosinfo><kubevirt/><item key='payload'/>") == Metadata()


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01 00:00:00", "9" * 30])
def test_a_wrong_time_costs_the_time_only(text: str) -> None:
    """A creation time that is none leaves the rest of the instance in place."""
    inner = f"<x:name>n</x:name><x:creationTime>{text}</x:creationTime>"
    assert openstack(f"<x:instance>{inner}</x:instance>") == OpenStackInfo(instance_name="n")


def test_hostile_values_cost_themselves_only() -> None:
    """Too long, too large, negative or not a number: absent, and the neighbours stay."""
    inner = (
        f"<x:name>{'n' * 5000}</x:name><x:owner><x:project uuid='{'p' * 5000}'>ok</x:project>"
        "</x:owner><x:flavor name='f'><x:memory>99999999999999999999</x:memory>"
        "<x:disk>9000000000000000000</x:disk><x:swap>-1</x:swap><x:vcpus>NaN</x:vcpus></x:flavor>"
    )
    assert openstack(f"<x:instance>{inner}</x:instance>") == OpenStackInfo(
        flavor="f", project_name="ok"
    )
    found = ovirt(
        "<y:vm><y:startTime>inf</y:startTime><y:balloonTarget/></y:vm>"
        "<z:qos><z:vcpuLimit>-5</z:vcpuLimit></z:qos>"
    )
    assert found == OvirtInfo()


@pytest.mark.parametrize("text", ["1e308", "-5", "253402300800"])
def test_a_start_that_no_calendar_shows_is_none(text: str) -> None:
    """It is counted in ns later on, where a number beyond all measure would end every sample."""
    assert ovirt(f"<y:vm><y:startTime>{text}</y:startTime></y:vm>") == OvirtInfo()


def test_only_so_many_elements_are_looked_at() -> None:
    """An endless list of items costs what stands behind it and is counted, once a list."""
    items = "<y:device/>" * (2 * MAX_ITEMS)
    found = read(
        f"<y:vm><y:cpuPolicy>none</y:cpuPolicy>{items}<y:clusterVersion>4</y:clusterVersion></y:vm>"
    )
    assert found.ovirt == OvirtInfo(cpu_policy="none")
    assert found.malformed == 1 + 2 * MAX_ITEMS - MAX_DEVICES


@pytest.mark.parametrize(
    "xpath",
    ["//o:payload/o:file", "//o:file", "//*[@path]", "//o:payload/@x", f"//*[.='{SECRET}']"],
)
def test_no_expression_reaches_the_payload(xpath: str) -> None:
    """What initialises the guest is secret, and an operator's label cannot find it either."""
    xml = recorded("ovirt.xml").replace("<ovirt-vm:payload>", f"<ovirt-vm:payload x='{SECRET}'>")
    assert SECRET in xml
    label = compile_label("leak", xpath, {"o": OVIRT})
    assert parse_domain(xml, labels=[label]).custom_labels == (("leak", ""),)


def test_secrets_are_removed_at_any_depth_and_nothing_else_is() -> None:
    """Payloads of devices and of their specification go, their neighbours stay."""
    tree = metadata(
        "<y:vm><y:device><y:payload/><y:specParams><y:vmPayload/><y:a/></y:specParams>"
        "<y:payload/><y:b/></y:device></y:vm>"
    )
    remove_secrets(tree)
    assert [element.tag.rpartition("}")[2] for element in tree.iter()] == [
        *("metadata", "vm", "device", "specParams", "a", "b")
    ]


def test_secrets_without_a_namespace_are_removed_below_ovirts_element_only() -> None:
    """VDSM would read them; elsewhere the word may mean anything."""
    tree = metadata(
        "<y:vm><device><payload><file>x</file></payload><specParams><vmPayload/></specParams>"
        "</device></y:vm><box><payload/></box>"
    )
    remove_secrets(tree)
    assert [element.tag.rpartition("}")[2] for element in tree.iter()] == [
        *("metadata", "vm", "device", "specParams", "box", "payload")
    ]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.xml")), ids=lambda path: path.stem)
def test_no_output_holds_what_initialises_a_guest(path: Path) -> None:
    """Neither the flat form's payload nor that of the typed items is in anything that is read."""
    everything = compile_label("leak", "//*[@key='vmPayload']/{*}item", {})
    info = parse_domain(path.read_text(encoding="utf-8"), labels=[everything])
    assert SECRET not in msgspec.json.encode(info).decode()


def test_an_operators_own_element_may_be_called_payload() -> None:
    """Only oVirt's payload is secret."""
    label = compile_label(
        "size", "metadata/a:box/a:item[@key='payload']", {"a": "http://a.example"}
    )
    xml = (
        "<domain><name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid><metadata>"
        "<box xmlns='http://a.example'><payload/><item key='payload'>3 t</item></box>"
        "</metadata></domain>"
    )
    assert parse_domain(xml, labels=[label]).custom_labels == (("size", "3 t"),)


def test_nova_is_kept_in_its_own_words_and_units() -> None:
    """The object for queries has all that Nova 32 writes, numbers as integers."""
    assert info("nova_1_1.xml").metadata == {
        "nova": {
            "package": {"version": "32.0.0"},
            "name": "shop-db-1",
            "creationTime": "2025-10-05 08:15:30",
            "flavor": {
                "name": "c4.large",
                "id": "9f0d4a6e-52b8-4d8a-8a37-0f6f7a0f5c11",
                "memory": 8192,
                "disk": 40,
                "swap": 512,
                "ephemeral": 0,
                "vcpus": 4,
                "extraSpecs": {"hw:cpu_policy": "dedicated"},
            },
            "image": {
                "uuid": "b6a5e1c2-0c0f-4c39-8f0e-4a1b63c5d7e8",
                "diskFormat": "qcow2",
                "properties": {"os_distro": "debian"},
            },
            "owner": {
                "user": {"uuid": "2f4a7d9be1c34f0a9d8e6c5b4a392817", "name": "alice"},
                "project": {"uuid": "a1b2c3d4e5f60718293a4b5c6d7e8f90", "name": "shop & co"},
            },
            "root": {"type": "image", "uuid": "b6a5e1c2-0c0f-4c39-8f0e-4a1b63c5d7e8"},
            "ports": [
                {
                    "uuid": "c0ffee00-1111-4222-8333-444455556666",
                    "ips": [{"type": "fixed", "address": "192.0.2.15", "ipVersion": "4"}],
                }
            ],
        }
    }


def test_both_namespaces_of_nova_make_the_same_object() -> None:
    """1.0, under another prefix, gives the keys of 1.1; what it does not say is absent."""
    nova = info("nova_1_0.xml").metadata["nova"]
    assert nova["name"] == "legacy"
    assert nova["flavor"]["memory"] == 2048
    assert "ports" not in nova
    assert "extraSpecs" not in nova["flavor"]


def test_ovirt_is_kept_with_the_types_that_the_xml_gives() -> None:
    """Typed leaves, custom properties, devices joined to libvirt's, limits of quality."""
    assert info("managed_live.xml").metadata["ovirt"] == {
        "values": {
            "clusterVersion": "4.7",
            "minGuaranteedMemoryMb": 48,
            "ballooningEnabled": True,
            "destroy_on_reboot": False,
            "startTime": 1602056574.7366939,
            "guestAgentAPIVersion": 3,
            "exitCode": 1,
            "exitReason": 2,
            "exitMessage": "Lost connection with qemu process",
            "jobs": '{"0b7c": {"jobType": "block", "drive": "vda"}}',
            "emptyText": "",
        },
        "custom": {"hugepages": "2048", "sap_agent": "true"},
        "devices": [
            {
                "match": {"alias": "ua-nic-1", "mac_address": "52:54:00:00:02:01"},
                "values": {"network": "ovirtmgmt"},
                "device": "vnet0",
            },
            {
                "match": {"devtype": "disk", "name": "vda"},
                "values": {
                    "poolID": "5890a292-0390-01d2-01ed-00000000029a",
                    "domainID": "c578566d-bc61-420c-8f1e-8dfa0a18efd5",
                    "imageID": "66441539-f7ac-4946-8a25-75e422f939d4",
                    "volumeID": "5c4eeed4-f2a7-490a-ab57-a0d6f3a711cc",
                    "managed": False,
                    "shared": "exclusive",
                },
                "specParams": {"pinToIoThread": 1},
                "device": "vda",
            },
            {
                "match": {"devtype": "disk", "name": "vdb"},
                "values": {"GUID": "36001405b2f4d7c1a"},
                "device": "vdb",
            },
            {"match": {"devtype": "disk", "name": "sda"}, "device": "sda"},
            {
                "match": {"devtype": "rng", "name": "rng0"},
                "specParams": {"source": "urandom"},
                "device": "rng0",
            },
        ],
        "qos": {
            "vcpuLimit": 75.0,
            "ioTune": [
                {
                    "name": "vda",
                    "path": "/rhev/data-center/a/images/b/c",
                    "maximum": {"total_iops_sec": 500, "read_bytes_sec": 1048576},
                    "guaranteed": {"write_iops_sec": 50},
                }
            ],
        },
    }


def test_ovirts_facts_of_a_vm_are_read() -> None:
    """How it ended, its jobs and its agent, as the VM fields need them."""
    assert info("managed_live.xml").ovirt == OvirtInfo(
        cluster_version="4.7",
        ballooning_enabled=True,
        guaranteed_memory=48 << 20,
        start_time=1602056574.7366939,
        vcpu_limit=0.75,
        destroy_on_reboot=False,
        exit_code=1,
        exit_reason=2,
        exit_message="Lost connection with qemu process",
        jobs='{"0b7c": {"jobType": "block", "drive": "vda"}}',
        guest_agent_api_version=3,
    )


def test_ovirts_images_and_luns_are_found_for_the_disks() -> None:
    """A disk carries the id that oVirt's metadata gives it, by its target."""
    disks = info("managed_live.xml").disks
    assert [(disk.device, disk.image_id, disk.lun_guid) for disk in disks] == [
        ("vda", "66441539-f7ac-4946-8a25-75e422f939d4", ""),
        ("vdb", "", "36001405b2f4d7c1a"),
        ("sda", "", ""),
    ]


def test_kubevirt_and_libosinfo_are_kept() -> None:
    """What other systems write is there under their names."""
    assert info("managed_live.xml").metadata["kubevirt"] == {
        "uid": "f0a3c7d2-0d0c-4d2a-8f54-6c3f0e7b9a11",
        "graceperiod": {"deletionGracePeriodSeconds": 180},
        "migration": {
            "uid": "6b1d0c4e-2f5a-4b7c-9d8e-1a2b3c4d5e6f",
            "startTimestamp": "2026-03-01T10:00:00Z",
            "endTimestamp": "2026-03-01T10:02:30Z",
            "failed": True,
            "mode": "PreCopy",
        },
    }
    live = info("qemu_live.xml")
    assert live.metadata == {"libosinfo": {"os": {"id": live.os_id}}}


@pytest.mark.parametrize(
    ("leaf", "value", "malformed"),
    [
        ("<y:a>x</y:a>", "x", 0),
        ("<y:a/>", "", 0),
        ("<y:a type='str'>1</y:a>", "1", 0),
        ("<y:a type='int'> 7 </y:a>", 7, 0),
        ("<y:a type='int'>10L</y:a>", 10, 0),
        ("<y:a type='float'>1.5e3</y:a>", 1500.0, 0),
        ("<y:a type='bool'>TRUE</y:a>", True, 0),
        ("<y:a type='bool'>2</y:a>", True, 0),
        ("<y:a type='bool'>yes</y:a>", False, 0),
        ("<y:a type='complex'>1j</y:a>", "1j", 1),
        ("<y:a type='int'/>", None, 1),
        ("<y:a type='float'>nan</y:a>", None, 1),
        ("<y:a type='float'>-inf</y:a>", None, 1),
        ("<y:a type='float'>1e999</y:a>", None, 1),
        (f"<y:a type='int'>{'9' * 5000}</y:a>", None, 1),
        (f"<y:a>{'x' * (MAX_TEXT + 1)}</y:a>", None, 1),
        ("<y:a><y:b>1</y:b></y:a>", None, 1),
        ("<y:custom/>", None, 0),
        ("<y:a>1</y:a><y:a>2</y:a>", "2", 0),
        ("<x:a>1</x:a>", None, 1),
        ("<a type='int'>1</a>", 1, 0),
    ],
)
def test_a_leaf_is_of_its_type_or_left_out(leaf: str, value: object, malformed: int) -> None:
    """What is left out is counted; what has no namespace counts as oVirt's, as VDSM has it."""
    found = read(f"<y:vm>{leaf}</y:vm>")
    assert found.systems == {"ovirt": {} if value is None else {"values": {"a": value}}}
    assert found.malformed == malformed


DESCRIBED: list[dict[str, Any]] = [
    {"match": {}, "values": {"n": 0}},
    {"values": {"n": 1}},
    {"match": {"mac_address": "52:54:00:00:00:01"}},
    {"match": {"mac_address": "52:54:00:00:00:02", "alias": "net7"}},
    {"match": {"devtype": "disk", "name": "vda"}},
    {"match": {"devtype": "hostdev", "uuid": "c2177883-f1bb-47f0-914d-32a22e3a8804"}},
    {"match": {"devtype": "hostdev", "name": "hostdev1"}},
    {"match": {"devtype": "lease", "name": "key-1"}},
    {"match": {"devtype": "rng", "name": "rng0"}},
    {"match": {"devtype": "rng", "path": "/dev/random"}},
]


@pytest.mark.parametrize(
    ("device", "xml", "position"),
    [
        (Device(kind="interface"), "<i><mac address='52:54:00:00:00:01'/></i>", 2),
        (Device(kind="interface", alias="net7"), "<i><mac address='52:54:00:00:00:02'/></i>", 3),
        (Device(kind="interface", alias="net8"), "<i><mac address='52:54:00:00:00:02'/></i>", None),
        (Device(kind="disk", target="vda", alias="x"), "<d/>", 4),
        (Device(kind="disk", target="x", alias="vda"), "<d/>", None),
        (
            Device(kind="hostdev"),
            "<h><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></h>",
            5,
        ),
        (Device(kind="hostdev", alias="hostdev1"), "<h/>", 6),
        (Device(kind="lease"), "<l><key>key-1</key></l>", 7),
        (Device(kind="rng", alias="rng0"), "<r/>", 8),
        (Device(kind="rng"), "<r/>", None),
    ],
)
def test_ovirt_finds_a_device_by_all_attributes_it_gives(
    device: Device, xml: str, position: int | None
) -> None:
    """MAC, alias, UUID, or the element with its name; without any attribute, none is meant."""
    expected = None if position is None else DESCRIBED[position]
    assert ovirt_device(DESCRIBED, device, fromstring(xml)) is expected


NAMES = st.sampled_from(
    [
        *(
            f"{{{uri}}}{name}"
            for uri in (OVIRT, TUNE)
            for name in ("vm", "qos", "device", "custom")
        ),
        *(f"{{{OVIRT}}}{name}" for name in ("startTime", "specParams", "payload", "exitCode")),
        *(f"{{{TUNE}}}{name}" for name in ("vcpuLimit", "ioTune", "maximum", "total_iops_sec")),
        *(f"{{{NOVA}}}{name}" for name in ("instance", "flavor", "memory", "image", "properties")),
        *(f"{{{NOVA}}}{name}" for name in ("ports", "port", "ip", "owner", "user", "creationTime")),
        *(f"{{{INSTANCE}}}{name}" for name in ("instance", "value", "item")),
        *(f"{{{KUBEVIRT}}}{name}" for name in ("kubevirt", "migration", "failed", "graceperiod")),
        *(f"{{{OSINFO}}}{name}" for name in ("libosinfo", "os")),
        *("value", "item", "x"),
    ]
)
TEXTS = st.sampled_from(
    ["", " ", "1", "-1", "1e999", "nan", "9" * 40, "True", "10L", "{}", "x" * (MAX_FACT + 1)]
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["type", "key", "index", "name", "uuid", "alias", "devtype", "id"]),
    TEXTS | st.sampled_from(["int", "float", "bool", "str", "dict", "list", "vda"]),
    max_size=4,
)


def _element(tag: str, attributes: dict[str, str], text: str, children: list[Any]) -> Element:
    element = Element(tag, attributes)
    element.text = text
    element.extend(children)
    return element


ELEMENTS = st.recursive(
    st.builds(_element, NAMES, ATTRIBUTES, TEXTS, st.just([])),
    lambda children: st.builds(_element, NAMES, ATTRIBUTES, TEXTS, st.lists(children, max_size=3)),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(ELEMENTS, max_size=4))
def test_no_metadata_harms_the_domain(elements: list[Element]) -> None:
    """Whatever stands there, the domain is read, can be recorded, and is the same again."""
    tree = _element("metadata", {}, "", elements)
    xml = (
        "<domain><name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
        f"{tostring(tree, encoding='unicode')}<devices><disk><target dev='vda'/></disk></devices>"
        "</domain>"
    )
    found = parse_domain(xml)
    assert found.name == "a"
    assert msgspec.json.decode(msgspec.json.encode(found), type=DomainInfo) == found
