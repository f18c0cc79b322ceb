"""The 59 fields of the design, and the exporter's own: what each says of which sample."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from libvirt_exporter.catalogue import METRICS
from libvirt_exporter.model import (
    CpuTune,
    Device,
    Disk,
    DomainInfo,
    Graphics,
    Interface,
    NumaCell,
    OvirtInfo,
    Stats,
    VanishedDomain,
)
from libvirt_exporter.query.fields.field import VmField, VmView
from libvirt_exporter.query.fields.table import BY_NAME, FIELDS, explain, values
from libvirt_exporter.reference import fields as field_docs
from tests.contract.cases import cases
from tests.support.samples import TYPICAL_INFO, TYPICAL_STATS, UUID, domain
from tests.support.vm_views import NOW, QEMU, infos, later, running, stats, view, views


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


DESIGNED = words(
    """
acpiEnable appsList balloonInfo boot cdrom clientIp copyPasteEnable cpuShares cpuSys cpuType cpuUser
custom devices disks disksUsage display displayInfo displayIp displayPort displaySecurePort
displayType elapsedTime emulatedMachine exitCode exitMessage guestCPUCount guestFQDN guestIPs
keyboardLayout kvmEnable maxVCpus memGuaranteedSize memSize memUsage memoryStats migrationProgress
monitorResponse netIfaces network nicModel nice pauseCode pid serial session smp smpCoresPerSocket
smpThreadsPerCore statsAge status timeOffset transparentHugePages username vNodeRuntimeInfo vmId
vmJobs vmName vmType watchdogEvent
"""
)
SENSITIVE = words(
    """
username session clientIp guestIPs netIfaces guestFQDN appsList custom disksUsage displayIp
displayPort displaySecurePort displayInfo cdrom serial
"""
)
AGENT = words(
    """
appsList disksUsage guestCPUCount guestFQDN guestIPs netIfaces session username
"""
)
NAMES = [field.name for field in FIELDS]


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """Of the field's values."""
    return Draft202012Validator(BY_NAME[name].schema)


def value(view: VmView, name: str) -> Any:
    """A field's value, None when it has none."""
    return values(view, [name]).get(name)


def described(**facts: Any) -> VmView:
    """A domain of which only its XML is known."""
    return view(info=DomainInfo(uuid=UUID, name="web", **facts))


# The table.


def test_table_has_the_59_fields_of_the_design_in_its_order() -> None:
    """No name is missing or spelled otherwise, and the exporter's own come after."""
    assert len(DESIGNED) == 59
    assert NAMES[:59] == DESIGNED
    assert [field.name for field in FIELDS if not field.own] == DESIGNED
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_row_has_a_valid_schema_and_says_all_a_reader_needs(field: VmField) -> None:
    """Its schema is one, and meaning, source and reason of absence are sentences or terms."""
    Draft202012Validator.check_schema(field.schema)
    assert field.text.endswith(".")
    assert field.source
    assert field.why_absent.endswith(".")


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_metric_of_a_row_is_in_the_catalogue(field: VmField) -> None:
    """Where a row names a metric, there is one."""
    assert field.metric in {"", *(metric.name for metric in METRICS)}


MEASURED = [field for field in FIELDS if field.metric and field.unit]


@pytest.mark.parametrize("field", MEASURED, ids=lambda field: field.name)
def test_metric_of_a_row_measures_the_same(field: VmField) -> None:
    """Metrics have base units, whatever multiple of them the field has."""
    base = {"s": "seconds", "% of one CPU": "seconds", "KiB": "bytes", "MiB": "bytes", "%": "bytes"}
    assert base[field.unit] in field.metric.split("_")


def test_fields_that_name_persons_addresses_serials_or_paths_are_sensitive() -> None:
    """All of the design's list are, and of ours metadata as such, serials and addresses."""
    metadata = {"nova", "ovirt", "instance", "libosinfo", "kubevirt"}

    sensitive = {field.name for field in FIELDS if field.sensitive}

    assert sensitive == {*SENSITIVE, *metadata, "diskSerials", "lunGUIDs"}


def test_only_the_list_of_applications_must_be_named() -> None:
    """It is tens of kB for each VM."""
    assert [field.name for field in FIELDS if field.on_request] == ["appsList"]


@pytest.mark.parametrize("name", AGENT)
def test_fields_of_the_guest_agent_are_absent_with_the_reason(name: str) -> None:
    """They have their place in the table, and never a value."""
    assert BY_NAME[name].change == "agent"
    assert value(running(), name) is None
    assert "agent" in explain(running(), [name])[name]


# Whatever the sample.


@given(views)
def test_no_sample_makes_a_field_raise_or_break_its_schema(view: VmView) -> None:
    """Statistics of wrong kinds, any XML, vanished domains: absent, or of the promised form."""
    found = values(view, NAMES)

    for name, value in msgspec.json.decode(msgspec.json.encode(found)).items():
        validator(name).validate(value)
    assert found.keys() | explain(view, NAMES).keys() == {*NAMES}
    assert found.keys().isdisjoint(explain(view, NAMES))


@pytest.mark.parametrize("case", sorted(cases()))
def test_recorded_hosts_give_values_of_the_promised_form(case: str) -> None:
    """Each domain of each recording, with itself 10 s earlier."""
    host = cases()[case]
    for sample in host.domains:
        earlier = msgspec.structs.replace(sample, timestamp=sample.timestamp - 10)
        found = values(VmView(host, sample, earlier), NAMES)

        for name, value in found.items():
            validator(name).validate(value)
        assert {"vmId", "vmName", "state", "statsAge"} <= found.keys()


@given(infos, stats(), stats(), st.floats(0, 2e9))
def test_static_fields_depend_on_the_xml_alone(
    info: DomainInfo, some: Stats, other: Stats, time: float
) -> None:
    """So a poll need not look at them while a domain's XML is the same."""
    static = [field.name for field in FIELDS if field.change == "static"]
    sample = domain(some, info=info, timestamp=NOW)
    changed = domain(other, info=info, timestamp=time)

    assert values(VmView(QEMU, sample, None, NOW), static) == values(
        VmView(QEMU, changed, sample, time), static
    )


@given(views, st.floats(0, 2e9))
def test_only_fields_that_say_so_depend_on_the_clock(view: VmView, now: float) -> None:
    """The others are the same whenever a sample is looked at."""
    lasting = [field.name for field in FIELDS if field.change != "time" and not field.by_clock]
    at_another_time = msgspec.structs.replace(view, now=now)

    assert values(view, lasting) == values(at_another_time, lasting)


@given(views)
def test_only_sampled_fields_depend_on_the_earlier_sample(view: VmView) -> None:
    """What is called static or event is the same with the first sample as with the next."""
    settled = [field.name for field in FIELDS if field.change in ("static", "event")]
    first = msgspec.structs.replace(view, earlier=None)

    assert values(view, settled) == values(first, settled)


def test_unknown_names_are_left_out() -> None:
    """Who asks decides what to say of them."""
    assert values(running(), ["nonsense", "vmId"]) == {"vmId": UUID}
    assert explain(running(), ["nonsense"]) == {}


def test_order_is_that_of_the_names() -> None:
    """Answers are in the order in which fields were asked for."""
    assert [*values(running(), ["vmName", "status", "vmId"])] == ["vmName", "status", "vmId"]


# What the XML says.


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
        ("smpCoresPerSocket", {}, 1),
        ("smpThreadsPerCore", {"cpu_threads": 2}, 2),
        ("smpThreadsPerCore", {}, 1),
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
        ("transparentHugePages", {"hugepage_size": 2**21}, False),
        ("transparentHugePages", {"hugepage_size": 0}, False),
        ("transparentHugePages", {}, None),
        ("vmType", {"type": "lxc"}, "lxc"),
    ],
)
def test_field_says_what_the_xml_says(name: str, facts: dict[str, Any], expected: object) -> None:
    """In the field's own words and units; nothing where the XML says nothing."""
    assert value(described(**facts), name) == expected


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
    assert value(described(disks=disks), "cdrom") == expected


def test_host_nodes_of_a_guest_are_lists_in_ascending_order() -> None:
    """By the guest's node; of a guest without nodes nothing is said."""
    stats = {f"numa.{key}": True for key in ("1.node.10", "1.node.9", "0.node.0")}
    cells = (NumaCell(0, (0,)), NumaCell(1, (1,)))

    placed = view(stats, info=replace(TYPICAL_INFO, numa_cells=cells))
    assert value(placed, "vNodeRuntimeInfo") == {"0": [0], "1": [9, 10]}
    assert value(view(stats, info=TYPICAL_INFO), "vNodeRuntimeInfo") is None
    assert value(described(numa_cells=cells), "vNodeRuntimeInfo") is None


@pytest.mark.parametrize("enabled", [True, False])
def test_transparent_huge_pages_are_as_the_kernel_has_them(enabled: bool) -> None:
    """Unless hugetlbfs backs the memory."""
    stats: Stats = {"process.transparent_hugepages": enabled}
    plain = replace(TYPICAL_INFO, hugepage_size=None)
    assert value(view(stats, info=plain), "transparentHugePages") is enabled
    backed = replace(TYPICAL_INFO, hugepage_size=0)
    assert value(view(stats, info=backed), "transparentHugePages") is False


def test_displays_are_named_as_vdsm_named_them() -> None:
    """SPICE is qxl; all displays are listed, with null for ports they do not have."""
    found = values(
        described(
            graphics=(
                Graphics(type="spice", listen="10.0.0.1", tls_port=5901),
                Graphics(type="vnc", port=5900),
            )
        ),
        [name for name in NAMES if name.startswith("display")],
    )

    assert found == {
        "display": "qxl",
        "displayInfo": [
            {"type": "spice", "port": None, "tlsPort": 5901, "ipAddress": "10.0.0.1"},
            {"type": "vnc", "port": 5900, "tlsPort": None, "ipAddress": None},
        ],
        "displayIp": "10.0.0.1",
        "displayPort": -1,
        "displaySecurePort": 5901,
        "displayType": "qxl",
    }


def test_headless_vm_has_no_display_but_an_empty_list() -> None:
    """That there is none is known."""
    names = [name for name in NAMES if name.startswith("display")]

    assert values(described(), names) == {"displayInfo": []}


def test_nic_models_are_joined_in_xml_order() -> None:
    """An interface without a model is passed over."""
    nics = tuple(
        Interface(device=f"vnet{i}", model=m) for i, m in enumerate(("e1000", "", "virtio"))
    )

    assert value(described(interfaces=nics), "nicModel") == "e1000,virtio"
    assert value(described(), "nicModel") is None


def test_devices_have_what_the_xml_says_of_them() -> None:
    """Each one under VDSM's keys, without empty ones."""
    devices = (
        Device(kind="disk", type="cdrom", target="sda", address={"type": "drive", "unit": "0"}),
        Device(kind="memballoon", model="virtio", alias="balloon0"),
    )

    assert value(described(devices=devices), "devices") == [
        {
            "type": "disk",
            "device": "cdrom",
            "name": "sda",
            "address": {"type": "drive", "unit": "0"},
        },
        {"type": "memballoon", "model": "virtio", "alias": "balloon0"},
    ]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"ovirt": {"custom": {"hugepages": "2048"}}}, {"hugepages": "2048"}),
        ({"ovirt": {}}, None),
        (
            {
                "nova": {
                    "image": {"properties": {"os_distro": "ubuntu"}},
                    "flavor": {"name": "m1", "extraSpecs": {"hw_rng:allowed": "true"}},
                }
            },
            {"os_distro": "ubuntu", "hw_rng:allowed": "true"},
        ),
        ({"nova": {"flavor": {"name": "m1"}}}, None),
        ({"libosinfo": {"os": {"id": "x"}}}, None),
    ],
)
def test_custom_properties_are_ovirts_or_novas(metadata: Any, expected: object) -> None:
    """Flat, and absent where no system wrote any."""
    assert value(described(metadata=metadata), "custom") == expected


def test_metadata_is_shown_by_system() -> None:
    """Each system's field holds what it wrote and nothing else."""
    metadata = {"nova": {"name": "web"}, "kubevirt": {"uid": "u"}}

    assert values(described(metadata=metadata), ["nova", "kubevirt", "ovirt"]) == metadata


def test_disk_serials_are_by_target() -> None:
    """Only those that have one."""
    disks = (Disk(device="vda", serial="s1"), Disk(device="vdb"))

    assert value(described(disks=disks), "diskSerials") == {"vda": "s1"}
    assert value(described(), "diskSerials") is None


# CPU and memory.

KVM = DomainInfo(uuid=UUID, name="web", type="kvm")
TCG = DomainInfo(uuid=UUID, name="web", type="qemu")
SECOND = 10**9


def cpu(guest: int, total: int, vcpus: int) -> Stats:
    """CPU times in seconds: of the guest by /proc, of the process, of each of two vCPUs."""
    return {
        "process.guest.time": guest * SECOND,
        "cpu.time": total * SECOND,
        "vcpu.maximum": 2,
        "vcpu.0.time": vcpus * SECOND,
        "vcpu.1.time": vcpus * SECOND,
    }


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (KVM, {"cpuUser": 80.0, "cpuSys": 40.0}),
        (TCG, {"cpuUser": 100.0, "cpuSys": 20.0}),
        (None, {"cpuUser": 100.0, "cpuSys": 20.0}),
    ],
    ids=["kvm", "tcg", "unknown"],
)
def test_cpu_usage_is_the_growth_of_cpu_times(
    info: DomainInfo | None, expected: dict[str, float]
) -> None:
    """Guest code by /proc with KVM, else by the vCPUs' times, and the rest is QEMU's own."""
    both = later(10, cpu(10, 100, 50), cpu(18, 112, 55), info=info)

    assert values(both, ["cpuUser", "cpuSys"]) == expected


def test_cpu_usage_without_proc_is_that_of_the_vcpus() -> None:
    """A host over the network has no guest time."""
    now = {**cpu(0, 112, 55)}
    del now["process.guest.time"]

    assert value(later(10, cpu(0, 100, 50), now, info=KVM), "cpuUser") == 100.0


def test_vcpu_that_was_plugged_in_meanwhile_does_not_count_yet() -> None:
    """Its time before is not known."""
    before = {"vcpu.maximum": 2, "vcpu.0.time": 0}
    now = {"vcpu.maximum": 2, "vcpu.0.time": SECOND, "vcpu.1.time": 7 * SECOND}

    assert value(later(10, before, now), "cpuUser") == 10.0


@pytest.mark.parametrize(
    ("before", "now", "more"),
    [
        ({}, {}, {"active": False}),
        ({"process.pid": 1}, {"process.pid": 2}, {}),
        ({"start.time": 1}, {"start.time": 2}, {}),
    ],
    ids=["inactive", "other process", "other start"],
)
def test_there_are_no_rates_across_runs(before: Stats, now: Stats, more: dict[str, Any]) -> None:
    """Two runs of a domain have nothing to do with each other."""
    both = later(10, {**TYPICAL_STATS, **before}, {**TYPICAL_STATS, **now}, **more)

    assert values(both, ["cpuUser", "cpuSys"]) == {}
    assert "readRate" not in value(both, "disks")["vda"]


def test_counter_that_starts_again_gives_no_rate() -> None:
    """Rather none than a wrong one."""
    both = later(10, cpu(9, 9, 9), cpu(9, 8, 8), info=TCG)

    assert values(both, ["cpuUser", "cpuSys"]) == {}


def test_rates_are_absent_with_the_first_sample_and_when_samples_are_too_close() -> None:
    """Absent everywhere, inside disks and network too."""
    for first in (running(), later(0.2, TYPICAL_STATS, TYPICAL_STATS)):
        found = values(first, NAMES)
        text = repr(found)

        assert found.keys().isdisjoint({"cpuUser", "cpuSys"})
        assert not any(word in text for word in ("Rate", "Latency", "PerSecond", "swap_", "flt"))


def test_balloon_is_in_kib_with_what_ovirt_wants_of_it() -> None:
    """Its own figures as libvirt's, oVirt's from the metadata."""
    stats: Stats = {"balloon.maximum": 2048, "balloon.current": 1024}
    ovirt = OvirtInfo(guaranteed_memory=2**20, balloon_target=2**19, ballooning_enabled=False)
    device = DomainInfo(uuid=UUID, name="web", balloon_model="virtio")

    assert value(view(stats), "balloonInfo") == {"balloon_max": 2048, "balloon_cur": 1024}
    assert value(view(stats, info=device), "balloonInfo")["ballooning_enabled"] is True
    assert value(view(stats, info=msgspec.structs.replace(device, ovirt=ovirt)), "balloonInfo") == {
        "balloon_max": 2048,
        "balloon_min": 1024,
        "balloon_cur": 1024,
        "balloon_target": 512,
        "ballooning_enabled": False,
    }
    assert value(view({}), "balloonInfo") is None


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({"balloon.usable": 250, "balloon.available": 1000, "balloon.unused": 1}, 75),
        ({"balloon.unused": 100, "balloon.disk_caches": 100, "balloon.available": 1000}, 80),
        ({"balloon.unused": 500, "balloon.maximum": 1000}, 50),
        ({"balloon.unused": 2000, "balloon.maximum": 1000}, 0),
        ({"balloon.maximum": 1000, "balloon.current": 1000, "balloon.rss": 900}, None),
        ({"balloon.usable": 0, "balloon.available": 0}, None),
    ],
)
def test_memory_usage_is_of_what_the_guest_reports(stats: Stats, expected: int | None) -> None:
    """The memory that QEMU holds on the host stands in for nothing."""
    assert value(view(stats), "memUsage") == expected


def test_memory_statistics_are_in_kib_and_per_second() -> None:
    """Sizes as reported, swapping and faults as rates of three digits."""
    before: Stats = {
        **{f"balloon.{key}": 0 for key in ("swap_in", "swap_out", "major_fault")},
        "balloon.minor_fault": 0,
    }
    now: Stats = {
        "balloon.available": 1000,
        "balloon.unused": 200,
        "balloon.disk_caches": 100,
        "balloon.swap_in": 40,
        "balloon.swap_out": 0,
        "balloon.major_fault": 25,
        "balloon.minor_fault": 123456,
    }

    assert value(later(10, before, now), "memoryStats") == {
        "mem_total": 1000,
        "mem_unused": 200,
        "mem_free": 300,
        "swap_in": 4,
        "swap_out": 0,
        "majflt": 2,
        "minflt": 12300,
        "pageflt": 12302,
    }
    assert value(view({"balloon.current": 1, "balloon.rss": 1}), "memoryStats") is None


# Disks and network.


def block(index: int, name: str, reads: int, path: str = "") -> Stats:
    """A disk after so many reads of 4 KiB, each of which took 1 ms."""
    found: dict[str, Any] = {
        "name": name,
        "rd.reqs": reads,
        "rd.bytes": reads * 4096,
        "rd.times": reads * 1_000_000,
        "physical": 8192,
    }
    if path:
        found["path"] = path
    return {f"block.{index}.{key}": value for key, value in found.items()}


def test_disk_has_sizes_totals_rates_and_latencies() -> None:
    """What libvirt does not tell of it is absent, and one without requests has latency 0."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(
            Disk(device="vda", source_type="file", image_id="image", serial="secret"),
            Disk(device="sdb", source_type="block", lun_guid="lun"),
        ),
    )
    count: Stats = {"block.count": 2}
    before = {**count, **block(0, "vda", 0), **block(1, "sdb", 5)}
    now = {**count, **block(0, "vda", 1234), **block(1, "sdb", 5)}

    assert value(later(10, before, now, info=info), "disks") == {
        "vda": {
            "truesize": 8192,
            "readOps": 1234,
            "readBytes": 1234 * 4096,
            "readRate": 505_000,
            "readLatency": 1_000_000,
            "imageID": "image",
        },
        "sdb": {
            "truesize": 8192,
            "apparentsize": 8192,
            "readOps": 5,
            "readBytes": 5 * 4096,
            "readRate": 0,
            "readLatency": 0,
        },
    }


def test_disk_of_which_only_the_name_is_known_is_left_out() -> None:
    """A QEMU that does not answer leaves nothing else; to have no disk is something to know."""
    hung: Stats = {"block.count": 1, "block.0.name": "vda"}
    both: Stats = {"block.count": 2, "block.0.name": "vda", **block(1, "vdb", 1)}

    assert value(view(hung), "disks") is None
    assert value(view(both), "disks").keys() == {"vdb"}
    assert value(view({"block.count": 0}), "disks") == {}


def test_guids_of_luns_have_a_field_of_their_own() -> None:
    """They are sensitive, which statistics are not."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(Disk(device="vda"), Disk(device="sda", lun_guid="lun")),
    )

    assert value(view(info=info), "lunGUIDs") == {"sda": "lun"}
    assert BY_NAME["lunGUIDs"].sensitive


@given(st.permutations(["vda", "vdb", "vdc"]), st.permutations(["vda", "vdb", "vdc"]))
def test_devices_are_matched_by_name_whatever_their_number(
    order: list[str], before: list[str]
) -> None:
    """A hot-unplugged disk shifts the numbers of those behind it."""
    total = {"vda": 100, "vdb": 200, "vdc": 300}
    first: Stats = {"block.count": 3}
    second: Stats = {"block.count": 3}
    for index, name in enumerate(before):
        first = {**first, **block(index, name, 0)}
    for index, name in enumerate(order):
        second = {**second, **block(index, name, total[name])}

    found = value(later(4096, first, second), "disks")

    assert {name: disk["readRate"] for name, disk in found.items()} == total


def test_rates_of_a_disk_are_those_of_its_top_image() -> None:
    """Lower images of its chain come after, under the same name."""
    stats = {"block.count": 2, **block(0, "vda", 7), **block(1, "vda", 1)}

    assert value(view(stats), "disks")["vda"]["readOps"] == 7


def test_disk_that_was_plugged_in_meanwhile_has_no_rates_yet() -> None:
    """Its totals are there at once."""
    before = {"block.count": 0}
    now = {"block.count": 1, **block(0, "vda", 7)}

    assert value(later(10, before, now), "disks") == {
        "vda": {"truesize": 8192, "readOps": 7, "readBytes": 7 * 4096}
    }


def test_vm_without_disks_has_an_empty_map_and_one_not_asked_has_none() -> None:
    """Known to be empty is not unknown."""
    assert value(view({"block.count": 0, "net.count": 0}), "disks") == {}
    assert value(view({"block.count": 0, "net.count": 0}), "network") == {}
    assert values(view({}), ["disks", "network"]) == {}


@pytest.mark.parametrize(("model", "speed", "percent"), [("virtio", 1000, 10.0), ("", 100, 100.0)])
def test_network_rates_are_percent_of_a_speed_that_vdsm_made_up(
    model: str, speed: int, percent: float
) -> None:
    """And bytes per second, which need no such thing."""
    nic = Interface(device="vnet0", mac="52:54:00:00:00:01", model=model, link_state="down")
    info = DomainInfo(uuid=UUID, name="web", interfaces=(nic,))
    before: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 0}
    now: Stats = {
        "net.count": 1,
        "net.0.name": "vnet0",
        "net.0.rx.bytes": 125_000_000,
        "net.0.tx.bytes": 9,
        "net.0.rx.drop": 3,
    }

    assert value(later(10, before, now, info=info), "network") == {
        "vnet0": {
            "name": "vnet0",
            "macAddr": "52:54:00:00:00:01",
            "speed": speed,
            "state": "down",
            "rxDropped": 3,
            "rx": 125_000_000,
            "tx": 9,
            "rxRate": percent,
            "rxBytesPerSecond": 12_500_000,
        }
    }


def test_network_without_the_xml_has_no_speed_and_so_no_percentages() -> None:
    """What depends on the model is not guessed."""
    stats: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 8}

    assert value(later(10, stats, stats), "network") == {
        "vnet0": {"name": "vnet0", "rx": 8, "rxBytesPerSecond": 0}
    }


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.floats(1, 1e6))
def test_rates_have_three_digits_and_are_right_to_that(
    start: int, growth: int, seconds: float
) -> None:
    """Within half a percent, or half a unit, of the exact rate."""
    before: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": start}
    now: Stats = {**before, "net.0.rx.bytes": start + growth}
    both = later(seconds, before, now)
    exact = growth / (NOW - (NOW - seconds))

    rate = value(both, "network")["vnet0"]["rxBytesPerSecond"]

    assert abs(rate - exact) <= max(0.005 * exact, 0.51)
    assert len(str(rate).rstrip("0")) <= 3


# Explanations.


def test_explanation_says_what_stands_in_the_way() -> None:
    """A domain that is gone, or off, or whose XML is not known, before the field's own reason."""
    gone = VmView(QEMU, VanishedDomain(uuid=UUID, name="web", timestamp=NOW))

    assert "not exist" in explain(gone, ["memUsage"])["memUsage"]
    assert "not active" in explain(view({}, active=False), ["memUsage"])["memUsage"]
    assert "XML" in explain(view({}), ["boot"])["boot"]
    assert explain(described(), ["boot"]) == {"boot": BY_NAME["boot"].why_absent}
    assert explain(running(), ["vmName"]) == {}


# The document.


def test_document_names_every_field_and_every_part() -> None:
    """A part has a row below the heading of its field."""
    text = field_docs.markdown()
    headings = text.split("\n### ")

    for field in FIELDS:
        assert f"\n| `{field.name}`" in text
    disks = next(part for part in headings if part.startswith("disks\n"))
    assert "| `readLatency` | integer | ns per operation" in disks


def test_tables_of_the_document_have_as_many_cells_as_their_heads() -> None:
    """No text of the table of fields breaks the document's."""
    rows = [
        line.replace(r"\|", "").count("|") if line.startswith("|") else 0
        for line in field_docs.markdown().splitlines()
    ]
    tables = [list(group) for is_table, group in itertools.groupby(rows, bool) if is_table]

    assert tables
    assert all(len({*table}) == 1 for table in tables)
