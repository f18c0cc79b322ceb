"""Nova, oVirt and libosinfo metadata, as libvirt 9.0 gives it back and as it should not be."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from libvirt_exporter.hypervisor.domain_xml import parse_domain
from libvirt_exporter.hypervisor.metadata import openstack, os_id, ovirt, remove_secrets
from libvirt_exporter.label_path import compile_label
from libvirt_exporter.model import DomainInfo, OpenStackInfo, OvirtInfo

FIXTURES = Path(__file__).parent / "fixtures" / "xml"
NOVA = "http://openstack.org/xmlns/libvirt/nova/1.1"
OVIRT = "http://ovirt.org/vm/1.0"


def recorded(name: str) -> str:
    """Return a recorded domain's XML."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def info(name: str) -> DomainInfo:
    """Return what is read from a recorded domain's XML."""
    return parse_domain(recorded(name))


def metadata(inner: str) -> Element:
    """Return a `<metadata>` element whose prefixes are nothing like the usual ones."""
    return fromstring(f"<metadata xmlns:x='{NOVA}' xmlns:y='{OVIRT}'>{inner}</metadata>")


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
    nova = openstack(metadata(inner))
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
    found = ovirt(metadata(f"<y:vm>{old}{new}</y:vm>"))
    assert found is not None
    assert found.guaranteed_memory == 512 << 20


@pytest.mark.parametrize(
    ("text", "truth"),
    [("true", True), ("True", True), ("1", True), ("0", False), ("no", False), ("", None)],
)
def test_ovirt_truth_is_true_in_any_case_or_an_integer(text: str, truth: bool | None) -> None:
    """Everything else is false, and an empty value is none."""
    leaf = f"<y:ballooningEnabled>{text}</y:ballooningEnabled>"
    found = ovirt(metadata(f"<y:vm>{leaf}</y:vm>"))
    assert found is not None
    assert found.ballooning_enabled is truth


def test_either_ovirt_element_is_enough() -> None:
    """A VM with only one of `<vm>` and `<qos>` is an oVirt VM, one with neither is not."""
    assert ovirt(metadata("<y:vm/>")) == OvirtInfo()
    qos = "<qos xmlns='http://ovirt.org/vm/tune/1.0'><vcpulimit>25</vcpulimit></qos>"
    assert ovirt(metadata(qos)) == OvirtInfo(vcpu_limit=0.25)
    assert ovirt(metadata("")) is None


def test_the_namespace_decides_not_the_prefix() -> None:
    """The usual names in another namespace, or in none, mean nothing."""
    other = "<nova:instance xmlns:nova='http://else.example'/><vm/><qos/><libosinfo><os id='o'/>"
    found = metadata(f"{other}</libosinfo>")
    assert (openstack(found), ovirt(found), os_id(found)) == (None, None, "")


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01 00:00:00", "9" * 30])
def test_a_wrong_time_costs_the_time_only(text: str) -> None:
    """A creation time that is none leaves the rest of the instance in place."""
    inner = f"<x:name>n</x:name><x:creationTime>{text}</x:creationTime>"
    assert openstack(metadata(f"<x:instance>{inner}</x:instance>")) == OpenStackInfo(
        instance_name="n"
    )


def test_hostile_values_cost_themselves_only() -> None:
    """Too long, too large, negative or not a number: absent, and the neighbours stay."""
    inner = (
        f"<x:name>{'n' * 5000}</x:name><x:owner><x:project uuid='{'p' * 5000}'>ok</x:project>"
        "</x:owner><x:flavor name='f'><x:memory>99999999999999999999</x:memory>"
        "<x:disk>9000000000000000000</x:disk><x:swap>-1</x:swap><x:vcpus>NaN</x:vcpus></x:flavor>"
    )
    assert openstack(metadata(f"<x:instance>{inner}</x:instance>")) == OpenStackInfo(
        flavor="f", project_name="ok"
    )
    found = ovirt(
        metadata(
            "<y:vm><y:startTime>inf</y:startTime><y:balloonTarget/></y:vm>"
            "<qos xmlns='http://ovirt.org/vm/tune/1.0'><vcpuLimit>-5</vcpuLimit></qos>"
        )
    )
    assert found == OvirtInfo()


def test_only_so_many_children_are_looked_at() -> None:
    """An endless list of items costs what stands behind it, not the domain."""
    items = "<y:device/>" * 20_000
    found = ovirt(
        metadata(
            f"<y:vm><y:cpuPolicy>none</y:cpuPolicy>{items}<y:clusterVersion>4</y:clusterVersion>"
            "</y:vm>"
        )
    )
    assert found == OvirtInfo(cpu_policy="none")


@pytest.mark.parametrize(
    "xpath", ["//o:payload/o:file", "//o:file", "//*[@path]", "//o:payload/@x", "//*[.='c2VjcmV0']"]
)
def test_no_expression_reaches_the_payload(xpath: str) -> None:
    """What initialises the guest is secret, and an operator's label cannot find it either."""
    xml = recorded("ovirt.xml").replace("<ovirt-vm:payload>", "<ovirt-vm:payload x='c2VjcmV0'>")
    assert "c2VjcmV0" in xml
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
