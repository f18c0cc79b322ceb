"""Metadata that is too much costs bounded time."""

from __future__ import annotations

import time
from xml.etree.ElementTree import fromstring

import msgspec
import pytest

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.domains.metadata.metadata import remove_secrets

NOVA = "http://openstack.org/xmlns/libvirt/nova/1.1"
OVIRT = "http://ovirt.org/vm/1.0"
TUNE = "http://ovirt.org/vm/tune/1.0"
INSTANCE = "http://ovirt.org/vm/instance/1.0"
PREFIXES = f"xmlns:x='{NOVA}' xmlns:y='{OVIRT}' xmlns:z='{TUNE}' xmlns:i='{INSTANCE}'"


def test_many_secrets_cost_no_more_than_parsing_them() -> None:
    """Taking out 400,000 siblings is linear, so far less than what the XML costs anyway."""
    start = time.process_time()
    tree = fromstring(
        f"<metadata {PREFIXES}><y:vm>{'<y:payload/>' * 400_000}<y:cpuPolicy/></y:vm></metadata>"
    )
    parsed = time.process_time()
    remove_secrets(tree)
    removed = time.process_time()
    assert [element.tag for element in tree[0]] == [f"{{{OVIRT}}}cpuPolicy"]
    assert removed - parsed < 3 * (parsed - start)


@pytest.mark.parametrize(
    "hostile",
    [
        "<y:vm>" + "<y:a>" * 100_000 + "</y:a>" * 100_000 + "</y:vm>",
        "<i:instance><value type='list'>"
        + "<item type='list' index='0'>" * 100_000
        + "</item>" * 100_000
        + "</value></i:instance>",
        f"<y:vm><y:jobs>{'x' * (10 << 20)}</y:jobs></y:vm>",
        f"<x:instance><x:name a='{'x' * (10 << 20)}'/></x:instance>",
        "<x:instance><x:ports>" + "<x:port/>" * 400_000 + "</x:ports></x:instance>",
        "<y:vm>" + "<y:device devtype='disk' name='vda'/>" * 200_000 + "</y:vm>",
        "<z:qos><z:ioTune>" + "<z:device><z:maximum/></z:device>" * 90_000 + "</z:ioTune></z:qos>",
    ],
    ids=["deep", "deep items", "long text", "long attribute", "ports", "devices", "limits"],
)
def test_hostile_metadata_costs_itself_only(hostile: str) -> None:
    """Too deep, too long or too many: the rest of the domain is what it is, in bounded time."""
    xml = (
        "<domain><name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
        f"<metadata {PREFIXES}>{hostile}</metadata>"
        "<devices><disk><target dev='vda'/></disk></devices></domain>"
    )
    before = time.process_time()
    found = parse_domain(xml)
    assert time.process_time() - before < 30
    assert (found.name, [disk.device for disk in found.disks]) == ("a", ["vda"])
    assert len(msgspec.json.encode(found)) < 1 << 20
