"""The XML of a VM as fields."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_exporter.model import CpuTune, Device, Disk, Hugepages, Interface, OvirtInfo
from tests.support.vm_views import described, value_of


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("acpiEnable", {"acpi": True}, True),
        ("acpiEnable", {"acpi": False}, False),
        ("boot", {"boot": "cdn"}, "cdn"),
        ("boot", {}, None),
        ("copyPasteEnable", {"clipboard": False}, False),
        ("copyPasteEnable", {}, None),
        ("cpuShares", {"cpu_tune": CpuTune(shares=512)}, 512),
        ("cpuShares", {}, None),
        ("cpuType", {"cpu_mode": "host-passthrough", "cpu_model": "EPYC"}, "hostPassthrough"),
        ("cpuType", {"cpu_mode": "host-model"}, "hostModel"),
        ("cpuType", {"cpu_mode": "maximum"}, "maximum"),
        (
            "cpuType",
            {
                "cpu_mode": "custom",
                "cpu_model": "Nehalem",
                "cpu_features_required": ("aes", "pcid"),
                "cpu_features_disabled": ("svm",),
            },
            "Nehalem,+aes,+pcid,-svm",
        ),
        ("cpuType", {}, None),
        ("emulatedMachine", {"machine": "pc-q35-7.2"}, "pc-q35-7.2"),
        ("emulatedMachine", {}, None),
        ("keyboardLayout", {"keymap": "de"}, "de"),
        ("keyboardLayout", {}, None),
        ("kvmEnable", {"type": "kvm"}, True),
        ("kvmEnable", {"type": "qemu"}, False),
        ("maxVCpus", {"vcpus_maximum": 8}, 8),
        ("memSize", {"memory_maximum": 2**31, "memory_nvdimm": 2**30}, 1024),
        ("memSize", {}, None),
        ("memGuaranteedSize", {"ovirt": OvirtInfo(guaranteed_memory=2**30)}, 1024),
        ("memGuaranteedSize", {"memory_guarantee": 2**29}, 512),
        ("memGuaranteedSize", {}, None),
        ("nice", {"cpu_tune": CpuTune(shares=1020)}, 0),
        ("nice", {"cpu_tune": CpuTune(shares=51)}, 19),
        ("nice", {"cpu_tune": CpuTune(shares=1024)}, None),
        ("nice", {"cpu_tune": CpuTune(shares=1071)}, None),
        ("nice", {"cpu_tune": CpuTune(shares=0)}, None),
        ("nice", {}, None),
        ("serial", {"system_serial": "S1"}, "S1"),
        ("serial", {}, None),
        ("smpCoresPerSocket", {"cpu_cores": 6}, 6),
        ("smpCoresPerSocket", {}, None),
        ("smpThreadsPerCore", {"cpu_threads": 2}, 2),
        ("smpThreadsPerCore", {}, None),
        ("timeOffset", {"clock_offset": "utc"}, 0),
        ("timeOffset", {"clock_offset": "variable", "clock_adjustment": -3600}, -3600),
        (
            "timeOffset",
            {"clock_offset": "variable", "clock_adjustment": 60, "clock_basis": "localtime"},
            None,
        ),
        (
            "timeOffset",
            {
                "clock_offset": "variable",
                "clock_adjustment": 60,
                "clock_basis": "localtime",
                "clock_zone_offset": 3600,
            },
            3660,
        ),
        ("timeOffset", {"clock_offset": "variable"}, None),
        ("timeOffset", {"clock_offset": "localtime"}, None),
        ("timeOffset", {"clock_offset": "localtime", "clock_zone_offset": -18000}, -18000),
        ("timeOffset", {"clock_offset": "timezone", "clock_zone_offset": 0}, 0),
        ("timeOffset", {"clock_offset": "absolute"}, None),
        ("transparentHugePages", {"hugepages": (Hugepages(2**21),)}, False),
        ("transparentHugePages", {"hugepages": (Hugepages(0),)}, False),
        ("transparentHugePages", {}, None),
        ("vmType", {"type": "lxc"}, "lxc"),
    ],
)
def test_field_says_what_the_xml_says(name: str, facts: dict[str, Any], expected: object) -> None:
    """In the field's own words and units; nothing where the XML says nothing."""
    assert value_of(described(**facts), name) == expected


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        ((), None),
        ((Disk(device="vda", source="/images/a"),), None),
        ((Disk(device="sda", kind="cdrom"),), ""),
        (
            (
                Disk(device="sdb", kind="cdrom", source="/iso/b"),
                Disk(device="sda", kind="cdrom", source="/iso/a"),
            ),
            "/iso/a",
        ),
    ],
)
def test_cdrom_is_the_first_drives_medium(disks: tuple[Disk, ...], expected: str | None) -> None:
    """By target, empty for an empty drive, absent without a drive."""
    assert value_of(described(disks=disks), "cdrom") == expected


def test_nic_models_are_joined_in_xml_order() -> None:
    """An interface without a model is passed over."""
    nics = tuple(
        Interface(device=f"vnet{i}", model=m) for i, m in enumerate(("e1000", "", "virtio"))
    )

    assert value_of(described(interfaces=nics), "nicModel") == "e1000,virtio"
    assert value_of(described(), "nicModel") is None


def test_devices_have_what_the_xml_says_of_them() -> None:
    """Each one under VDSM's keys, without empty ones."""
    devices = (
        Device(kind="disk", type="cdrom", target="sda", address={"type": "drive", "unit": "0"}),
        Device(kind="memballoon", model="virtio", alias="balloon0"),
    )

    assert value_of(described(devices=devices), "devices") == [
        {
            "type": "disk",
            "device": "cdrom",
            "name": "sda",
            "address": {"type": "drive", "unit": "0"},
        },
        {"type": "memballoon", "model": "virtio", "alias": "balloon0"},
    ]


def test_disk_serials_are_by_target() -> None:
    """Only those that have one."""
    disks = (Disk(device="vda", serial="s1"), Disk(device="vdb"))

    assert value_of(described(disks=disks), "diskSerials") == {"vda": "s1"}
    assert value_of(described(), "diskSerials") is None
