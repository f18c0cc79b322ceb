"""oVirt's typed items are joined to the devices that they describe."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import DomainInfo
from libvirt_exporter.query.fields.table import values
from tests.support.vm_views import view

IDENTITY = "<name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
DISK = (
    "<disk type='file' device='disk'><source file='/rhev/{name}'/><target dev='{name}'/>"
    "<serial>s-{name}</serial><alias name='ua-{name}'/>"
    "<address type='drive' controller='0' bus='0' target='0' unit='{unit}'/></disk>"
)
DISKS = DISK.format(name="sda", unit=0) + DISK.format(name="sdb", unit=1)
NIC = "<interface type='bridge'><mac address='52:54:00:AA:00:01'/><target dev='vnet0'/></interface>"
DISPLAYS = "<graphics type='spice'/><graphics type='vnc'/>"


def item(**values: str) -> str:
    """A device among the items; a value that is XML stands as it is."""
    items = "".join(
        f"<i:item key='{key}' type='{'dict' if value.startswith('<') else 'str'}'>{value}</i:item>"
        for key, value in values.items()
    )
    return f"<i:item index='0' type='dict'>{items}</i:item>"


def entry(**values: str) -> str:
    """The inside of a dictionary."""
    return "".join(
        f"<i:item key='{key}' type='str'>{text}</i:item>" for key, text in values.items()
    )


def domain(*items: str, devices: str = DISKS + NIC + DISPLAYS) -> DomainInfo:
    """A domain with these items and devices."""
    return parse_domain(
        f"<domain>{IDENTITY}<metadata><i:instance xmlns:i='http://ovirt.org/vm/instance/1.0'>"
        "<i:value type='dict'><i:item key='devices' type='list'>"
        f"{''.join(items)}</i:item></i:value></i:instance></metadata>"
        f"<devices>{devices}</devices></domain>"
    )


def targets(info: DomainInfo) -> list[Any]:
    """What each item names as the device that it means."""
    return [one.get("target") for one in info.metadata["instance"]["devices"]]


ADDRESS = entry(type="drive", controller="0", bus="0", target="0", unit="1")


@pytest.mark.parametrize(
    "mark",
    [
        {"path": "/rhev/sdb"},
        {"deviceId": "S-SDB"},
        {"alias": "ua-sdb"},
        {"address": ADDRESS},
        {"path": "", "address": ADDRESS},
        {"path": "/rhev/sdb", "address": entry(type="drive", unit="0")},
        {"alias": "elsewhere", "path": "/rhev/sdb"},
    ],
)
def test_a_disk_has_the_image_of_the_item_that_means_it(mark: dict[str, str]) -> None:
    """By path, serial number, alias or address; an empty one means nothing."""
    info = domain(item(device="disk", type="disk", imageID="image-b", GUID="lun-b", **mark))

    assert targets(info) == ["sdb"]
    assert [(disk.image_id, disk.lun_guid) for disk in info.disks] == [
        ("", ""),
        ("image-b", "lun-b"),
    ]


def test_the_surer_mark_wins() -> None:
    """An address that is out of date names another disk than the path."""
    first = entry(type="drive", controller="0", bus="0", target="0", unit="0")
    info = domain(
        item(device="disk", path="/rhev/sdb", address=first, imageID="b"),
        item(device="disk", path="/rhev/sda", imageID="a"),
    )

    assert targets(info) == ["sdb", "sda"]
    assert [disk.image_id for disk in info.disks] == ["a", "b"]


def test_an_item_means_one_device_of_its_own_kind() -> None:
    """What means none stays as it is."""
    info = domain(
        item(device="bridge", type="interface", macAddr="52:54:00:aa:00:01", network="ovirtmgmt"),
        item(device="disk", type="disk", path="/rhev/other"),
        item(device="cdrom", type="disk", path=""),
        item(device="disk", type="interface", path="/rhev/sda"),
        item(device="disk", type="disk", deviceId="s-sda"),
        item(device="disk", type="disk", deviceId="s-sda", imageID="second"),
    )

    assert targets(info) == ["vnet0", None, None, None, "sda", None]
    assert info.disks[0].image_id == ""


def test_a_display_has_the_address_of_its_item_where_the_xml_gives_none() -> None:
    """Of the network that displays are on, before libvirt has an address for it."""
    address = {"specParams": entry(displayNetwork="ovirtmgmt", displayIp="192.0.2.53")}
    items = item(type="graphics", device="spice", **address), item(type="graphics", device="vnc")
    info = domain(*items)
    told = values(view(info=info), ["displayIp", "displayInfo"])

    assert targets(info) == ["graphics0", "graphics1"]
    assert told["displayIp"] == "192.0.2.53"
    assert [one["ipAddress"] for one in told["displayInfo"]] == ["192.0.2.53", None]
    own = "<graphics type='spice'><listen type='address' address='192.0.2.1'/></graphics>"
    assert domain(*items, devices=own).graphics[0].listen == "192.0.2.1"


@pytest.mark.parametrize("items", ["", "<i:item index='0' type='str'>disk</i:item>", item(path="")])
def test_items_that_describe_nothing_are_none(items: str) -> None:
    """Other items than dictionaries, and those without anything to go by."""
    assert [disk.image_id for disk in domain(items).disks] == ["", ""]


def test_items_need_not_be_a_dictionary_with_devices() -> None:
    """The form allows any value."""
    info = parse_domain(
        f"<domain>{IDENTITY}<metadata><instance xmlns='http://ovirt.org/vm/instance/1.0'>"
        "<value type='list'/></instance></metadata></domain>"
    )
    assert info.metadata["instance"] == []
