"""Nova's standardised diagnostics."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from libvirt_exporter.model import (
    STATES,
    Disk,
    DomainInfo,
    HostInfo,
    HostSample,
    Interface,
    Stats,
    VanishedDomain,
)
from libvirt_exporter.query.diagnostics import diagnostics
from libvirt_exporter.query.fields.field import VmView
from tests.contract.cases import cases
from tests.support.samples import TYPICAL_STATS, UUID
from tests.support.vm_views import NOW, QEMU, SECOND, later, running, view, views

INTEGER: Final = {"type": ["integer", "null"]}
TEXT: Final = {"type": ["string", "null"]}
MAC: Final = {
    "oneOf": [
        {"type": "string", "pattern": "(?:[a-fA-F0-9]{2}:){5}[a-fA-F0-9]{2}"},
        {"type": "null"},
    ]
}


def exactly(**properties: Any) -> dict[str, Any]:
    """An object with these keys, all of them, and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*properties],
        "properties": properties,
    }


SCHEMA: Final = exactly(
    state={"enum": ["pending", "running", "paused", "shutdown", "crashed", "suspended"]},
    driver={"enum": ["libvirt", "xenapi", "vmwareapi", "ironic", "hyperv"]},
    hypervisor=TEXT,
    hypervisor_os=TEXT,
    uptime=INTEGER,
    config_drive={"type": "boolean"},
    num_cpus={"type": "integer"},
    num_nics={"type": "integer"},
    num_disks={"type": "integer"},
    memory_details=exactly(maximum=INTEGER, used=INTEGER),
    cpu_details={
        "type": "array",
        "items": exactly(id=INTEGER, time=INTEGER, utilisation=INTEGER),
    },
    nic_details={
        "type": "array",
        "items": exactly(
            mac_address=MAC,
            **{
                f"{way}_{what}": INTEGER
                for way in ("rx", "tx")
                for what in ("octets", "errors", "drop", "packets", "rate")
            },
        ),
    },
    disk_details={
        "type": "array",
        "items": exactly(
            read_bytes=INTEGER,
            read_requests=INTEGER,
            write_bytes=INTEGER,
            write_requests=INTEGER,
            errors_count=INTEGER,
        ),
    },
)
"""What Tempest checks of the API's answer from 2.48 on, restated."""

VALIDATOR: Final = Draft202012Validator(SCHEMA)


def valid(view: VmView) -> dict[str, Any]:
    """The diagnostics, which are what Nova's clients expect."""
    found = diagnostics(view)
    VALIDATOR.validate(found)
    assert found["num_cpus"] == len(found["cpu_details"])
    assert found["num_nics"] == len(found["nic_details"])
    assert found["num_disks"] == len(found["disk_details"])
    return found


@given(views)
def test_any_sample_gives_a_valid_object(view: VmView) -> None:
    """Statistics of wrong kinds, any XML, vanished domains."""
    valid(view)


@pytest.mark.parametrize("case", sorted(cases()))
def test_recorded_hosts_give_valid_objects(case: str) -> None:
    """QEMU's domains, running, paused and shut off, and the test driver's."""
    host = cases()[case]
    for domain in host.domains:
        found = valid(VmView(host, domain))

        assert found["num_disks"] == len(domain.info.disks if domain.info else ())
        if domain.info is not None:
            assert found["memory_details"]["maximum"] is not None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("nostate", "pending"),
        ("running", "running"),
        ("blocked", "running"),
        ("paused", "paused"),
        ("shutdown", "shutdown"),
        ("shutoff", "shutdown"),
        ("crashed", "crashed"),
        ("pmsuspended", "suspended"),
    ],
)
def test_state_is_novas_word(state: str, expected: str) -> None:
    """Every state of libvirt's has one."""
    assert valid(view({"state.state": STATES.index(state)}))["state"] == expected


def test_typical_guest_is_described_with_all_its_parts() -> None:
    """Counters as they are, null for what needs a second sample or is not known."""
    stats: Stats = {
        "state.state": 1,
        "start.time": int((NOW - 3600.5) * SECOND),
        "event.last.reboot": int((NOW - 5) * SECOND),
        "balloon.maximum": 2 * 1024 * 1024,
        "balloon.current": 1024 * 1024 + 1023,
        "vcpu.maximum": 2,
        "vcpu.0.state": 1,
        "vcpu.0.time": 17,
        "net.count": 1,
        "net.0.name": "vnet0",
        "net.0.rx.bytes": 1,
        "net.0.rx.errs": 2,
        "net.0.rx.drop": 3,
        "net.0.rx.pkts": 4,
        "block.count": 1,
        "block.0.name": "vda",
        "block.0.rd.bytes": 5,
        "block.0.rd.reqs": 6,
        "block.0.wr.bytes": 7,
        "block.0.wr.reqs": 8,
        "block.0.errors": -1,
    }
    info = DomainInfo(
        uuid=UUID,
        name="web",
        type="kvm",
        config_drive=True,
        disks=(Disk(device="vda"), Disk(device="sda", kind="cdrom")),
        interfaces=(
            Interface(device="vnet0", mac="52:54:00:00:00:01"),
            Interface(device="hostdev0", has_target=False, mac="52:54:00:00:00:02"),
        ),
    )
    nothing = dict.fromkeys(
        f"{way}_{what}"
        for way in ("rx", "tx")
        for what in ("octets", "errors", "drop", "packets", "rate")
    )

    assert valid(view(stats, info=info)) == {
        "state": "running",
        "driver": "libvirt",
        "hypervisor": "kvm",
        "hypervisor_os": "linux",
        "uptime": 3600,
        "config_drive": True,
        "num_cpus": 1,
        "num_nics": 2,
        "num_disks": 2,
        "memory_details": {"maximum": 2048, "used": 1024},
        "cpu_details": [{"id": 0, "time": 17, "utilisation": None}],
        "nic_details": [
            {
                **nothing,
                "mac_address": "52:54:00:00:00:01",
                "rx_octets": 1,
                "rx_errors": 2,
                "rx_drop": 3,
                "rx_packets": 4,
            },
            {**nothing, "mac_address": "52:54:00:00:00:02"},
        ],
        "disk_details": [
            {
                "read_bytes": 5,
                "read_requests": 6,
                "write_bytes": 7,
                "write_requests": 8,
                "errors_count": None,
            },
            dict.fromkeys(
                ("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count")
            ),
        ],
    }


def test_used_memory_is_the_guests_own_account_where_it_gives_one() -> None:
    """Caches that could be dropped are not in use."""
    stats: Stats = {
        "balloon.maximum": 4 * 2**20,
        "balloon.current": 4 * 2**20,
        "balloon.available": 3 * 2**20,
        "balloon.unused": 2**20,
        "balloon.disk_caches": 2**19,
    }

    assert valid(view(stats))["memory_details"] == {"maximum": 4096, "used": 1536}


def test_utilisation_and_rates_are_integers_from_two_samples() -> None:
    """Percent of a CPU, and bytes per second."""
    before = {**TYPICAL_STATS, "vcpu.0.time": 0, "vcpu.1.time": 9, "net.0.rx.bytes": 0}
    now = {
        **TYPICAL_STATS,
        "vcpu.0.time": 7_460_000_000,
        "vcpu.1.time": 8,
        "net.0.rx.bytes": 12_346,
    }

    found = valid(later(10, before, now))

    assert [cpu["utilisation"] for cpu in found["cpu_details"]] == [75, None]
    assert [(nic["rx_rate"], nic["tx_rate"]) for nic in found["nic_details"]] == [(1235, 0)]


def test_vm_that_is_off_is_described_by_its_definition() -> None:
    """Its devices are counted, its figures are null."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        type="qemu",
        vcpus_current=2,
        memory_maximum=2**30,
        disks=(Disk(device="vda"),),
        interfaces=(Interface(device="interface0", mac="nonsense"),),
    )

    found = valid(view({"state.state": 5, "state.reason": 1}, active=False, info=info))

    assert (found["state"], found["uptime"]) == ("shutdown", None)
    assert (found["num_cpus"], found["num_disks"], found["num_nics"]) == (2, 1, 1)
    assert found["memory_details"] == {"maximum": 1024, "used": None}
    assert found["cpu_details"][1] == {"id": 1, "time": None, "utilisation": None}
    assert found["nic_details"][0]["mac_address"] is None


def test_devices_are_those_of_the_statistics_while_the_xml_is_unknown() -> None:
    """Rather without addresses than not at all."""
    found = valid(running(info=None))

    assert (found["num_cpus"], found["num_disks"], found["num_nics"]) == (2, 2, 1)
    assert found["nic_details"][0]["mac_address"] is None
    assert found["nic_details"][0]["rx_octets"] == 3


def test_vanished_vm_is_shut_down_and_has_nothing() -> None:
    """All that is left of it is its end."""
    found = valid(VmView(QEMU, VanishedDomain(uuid=UUID, name="web", timestamp=NOW)))

    assert found["state"] == "shutdown"
    assert (found["num_cpus"], found["num_disks"], found["num_nics"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("driver", "expected"), [("QEMU", "linux"), ("LXC", "linux"), ("ESX", None), ("TEST", None)]
)
def test_hypervisors_system_is_named_where_the_driver_has_only_one(
    driver: str, expected: str | None
) -> None:
    """Nothing else tells it."""
    host = HostSample(timestamp=NOW, duration=0.0, up=True, host=HostInfo(name="", driver=driver))

    assert valid(VmView(host, running().domain))["hypervisor_os"] == expected
