"""One value of each field; what else a field may say is in the tests of the file that holds it."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from libvirt_exporter.model import (
    Applications,
    CpuTune,
    Device,
    Disk,
    DomainInfo,
    Graphics,
    Interface,
    NumaCell,
    Stats,
)
from libvirt_exporter.query.fields.field import VmView
from libvirt_exporter.query.fields.table import BY_NAME, values
from tests.contract.synthetic import GUEST
from tests.support.samples import UUID
from tests.support.vm_views import NOW, SECOND, described, explain, later, running, view


def counting(before: Stats, now: Stats, **facts: Any) -> VmView:
    """A domain with two samples, 10 s apart."""
    return later(10, before, now, info=DomainInfo(uuid=UUID, name="web", **facts))


def written(system: str, content: dict[str, Any]) -> VmView:
    """A domain with the metadata of one system."""
    return described(metadata={system: content})


DISPLAY = described(graphics=(Graphics(type="spice", listen="10.0.0.1", tls_port=5901),))
ENDED = view({"exit.code": 1, "exit.reason": 2, "exit.message": "lost"}, active=False)
PAUSED = view({"state.state": 3, "state.reason": 5, "pause.code": 1})
STARTED = view({"start.time": int(NOW - 90.5) * SECOND, "process.pid": 4711})
CPU = counting(
    {"process.guest.time": 0, "cpu.time": 0},
    {"process.guest.time": 8 * SECOND, "cpu.time": 12 * SECOND},
    type="kvm",
)
MEMORY = view(
    {
        "balloon.current": 1024,
        "balloon.maximum": 2048,
        "balloon.available": 1000,
        "balloon.usable": 250,
        "balloon.unused": 200,
    }
)

LISTED = Applications(
    hash=str(GUEST["guest.apps.hash"]),
    source="dpkg",
    changed=NOW,
    read=NOW,
    names=("apt-2.6.1", "bash-5.2"),
)

CASES: dict[str, tuple[VmView, object]] = {
    "appsList": (
        replace(view(GUEST), applications={UUID: LISTED}.get),
        ["apt-2.6.1", "bash-5.2"],
    ),
    "disksUsage": (
        view(GUEST),
        [{"path": "/", "fs": "ext4", "total": 61_629_440, "used": 4_207_616}],
    ),
    "guestCPUCount": (view(GUEST), 2),
    "guestFQDN": (view(GUEST), "lab-guest"),
    "guestIPs": (view(GUEST), "192.0.2.10"),
    "netIfaces": (
        view(GUEST),
        [
            {
                "name": "eth0",
                "hw": "52:54:00:97:eb:6d",
                "inet": ["192.0.2.10"],
                "inet6": ["fe80::5054:ff:fe97:eb6d"],
            }
        ],
    ),
    "session": (view(GUEST), "UserLoggedOn"),
    "username": (view(GUEST), "ann"),
    "acpiEnable": (described(acpi=True), True),
    "balloonInfo": (MEMORY, {"balloon_max": 2048, "balloon_cur": 1024}),
    "boot": (described(boot="cdn"), "cdn"),
    "cdrom": (
        described(disks=(Disk(device="sda", kind="cdrom", source="/iso/a"),)),
        "/iso/a",
    ),
    "clientIp": (
        view({"graphics.clients": 1, "graphics.client.address": "192.0.2.1"}),
        "192.0.2.1",
    ),
    "copyPasteEnable": (described(clipboard=False), False),
    "cpuShares": (described(cpu_tune=CpuTune(shares=512)), 512),
    "cpuSys": (CPU, 40.0),
    "cpuType": (described(cpu_mode="host-model"), "hostModel"),
    "cpuUser": (CPU, 80.0),
    "custom": (written("ovirt", {"custom": {"hugepages": "2048"}}), {"hugepages": "2048"}),
    "devices": (
        described(devices=(Device(kind="disk", type="cdrom", target="sda"),)),
        [{"type": "disk", "device": "cdrom", "name": "sda"}],
    ),
    "diskSerials": (described(disks=(Disk(device="vda", serial="s1"),)), {"vda": "s1"}),
    "disks": (
        view({"block.count": 1, "block.0.name": "vda", "block.0.rd.reqs": 7}),
        {"vda": {"readOps": 7}},
    ),
    "display": (DISPLAY, "qxl"),
    "displayInfo": (
        DISPLAY,
        [{"type": "spice", "port": None, "tlsPort": 5901, "ipAddress": "10.0.0.1"}],
    ),
    "displayIp": (DISPLAY, "10.0.0.1"),
    "displayPort": (DISPLAY, -1),
    "displaySecurePort": (DISPLAY, 5901),
    "displayType": (DISPLAY, "qxl"),
    "elapsedTime": (STARTED, 91),
    "emulatedMachine": (described(machine="pc-q35-7.2"), "pc-q35-7.2"),
    "exitCode": (ENDED, 1),
    "exitMessage": (ENDED, "lost"),
    "exitReason": (ENDED, 2),
    "instance": (written("instance", {"id": "a"}), {"id": "a"}),
    "keyboardLayout": (described(keymap="de"), "de"),
    "kubevirt": (written("kubevirt", {"uid": "u"}), {"uid": "u"}),
    "kvmEnable": (described(type="kvm"), True),
    "libosinfo": (written("libosinfo", {"os": {"id": "x"}}), {"os": {"id": "x"}}),
    "lunGUIDs": (described(disks=(Disk(device="sda", lun_guid="lun"),)), {"sda": "lun"}),
    "maxVCpus": (described(vcpus_maximum=8), 8),
    "memGuaranteedSize": (described(memory_guarantee=2**29), 512),
    "memSize": (described(memory_maximum=2**31), 2048),
    "memUsage": (MEMORY, 75),
    "memoryStats": (MEMORY, {"mem_total": 1000, "mem_unused": 200, "mem_free": 200}),
    "migrationProgress": (
        view({"job.operation": 5, "job.data_total": 1000, "job.data_remaining": 505}),
        50,
    ),
    "monitorResponse": (view({"monitor.responsive": False}), -1),
    "network": (
        view({"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 8}),
        {"vnet0": {"name": "vnet0", "rx": 8}},
    ),
    "nice": (described(cpu_tune=CpuTune(shares=51)), 19),
    "nicModel": (described(interfaces=(Interface(device="vnet0", model="e1000"),)), "e1000"),
    "nova": (written("nova", {"name": "web"}), {"name": "web"}),
    "ovirt": (written("ovirt", {"custom": {}}), {"custom": {}}),
    "pauseCode": (PAUSED, "ENOSPC"),
    "pid": (STARTED, 4711),
    "serial": (described(system_serial="S1"), "S1"),
    "smp": (view({"vcpu.current": 4}), 4),
    "smpCoresPerSocket": (described(cpu_cores=6), 6),
    "smpThreadsPerCore": (described(cpu_threads=2), 2),
    "startTime": (STARTED, float(int(NOW - 90.5))),
    "state": (PAUSED, "paused"),
    "stateReason": (PAUSED, "ioerror"),
    "statsAge": (view(timestamp=NOW - 2.5), 2.5),
    "status": (PAUSED, "Paused"),
    "timeOffset": (described(clock_offset="variable", clock_adjustment=-3600), -3600),
    "transparentHugePages": (view({"process.transparent_hugepages": True}), True),
    "vNodeRuntimeInfo": (
        view(
            {"numa.0.node.1": True},
            info=DomainInfo(uuid=UUID, name="web", numa_cells=(NumaCell(0, (0,)),)),
        ),
        {"0": [1]},
    ),
    "vmId": (running(), UUID),
    "vmJobs": (
        view({"blockjob.count": 1, "blockjob.0.name": "vda", "blockjob.0.type": 1}),
        {"vda": {"id": "vda", "jobType": "block", "blockJobType": "pull", "drive": "vda"}},
    ),
    "vmName": (running(), "web"),
    "vmType": (described(type="lxc"), "lxc"),
    "watchdogEvent": (
        view({"event.watchdog.last.time": 5 * SECOND, "event.watchdog.last.action": 1}),
        {"time": 5.0, "action": "pause"},
    ),
}


def test_every_field_has_a_case() -> None:
    """A value that nothing checks may be any."""
    missing = BY_NAME.keys() - CASES.keys()

    assert not missing, (
        f"no case checks the value of {sorted(missing)}: add a view and the value that it gives to "
        "CASES in tests/unit/query/fields/test_values.py, then `pytest tests/unit/query/fields`"
    )


@pytest.mark.parametrize("name", CASES)
def test_field_has_its_value(name: str) -> None:
    """Of the type that the table says, and in the words and units of the field."""
    view, expected = CASES[name]

    found = values(view, [name])

    assert found == {name: expected}
    assert type(found[name]) is type(expected)
    Draft202012Validator(BY_NAME[name].schema).validate(expected)


@pytest.mark.parametrize(
    ("name", "stats", "expected"),
    [
        ("session", {"guest.answer.users.time": 1, "guest.users": 0}, "LoggedOff"),
        ("username", {"guest.answer.users.time": 1, "guest.users": 0}, "None"),
        (
            "username",
            {
                "guest.answer.users.time": 1,
                "guest.user.0.name": "ann",
                "guest.user.0.domain": "CORP",
                "guest.user.1.name": "bob",
            },
            "ann@CORP, bob",
        ),
        ("disksUsage", {"guest.answer.filesystems.time": 1}, []),
        (
            "guestIPs",
            {
                "guest.answer.interfaces.time": 1,
                **{f"guest.if.{n}.name": f"if{n}" for n in range(3)},
                **{f"guest.if.{n}.addr.0.type": "ipv4" for n in range(3)},
                "guest.if.0.addr.0.addr": "127.0.0.1",
                "guest.if.1.addr.0.addr": "192.0.2.7",
                "guest.if.2.addr.0.addr": "192.0.2.8",
            },
            "192.0.2.7 192.0.2.8",
        ),
    ],
)
def test_fields_of_the_guest_have_their_words(name: str, stats: Stats, expected: object) -> None:
    """Nobody is logged on, several users are, loopback addresses, no file system with a size."""
    assert values(view(stats), [name]) == {name: expected}


@pytest.mark.parametrize("name", ["disksUsage", "guestCPUCount", "session", "username"])
def test_what_an_agent_has_not_answered_is_absent(name: str) -> None:
    """Not empty: nobody knows."""
    silent = {"guest.agent.up": False, "guest.agent.answered": 1}
    assert values(view(silent), [name]) == {}
    assert "guest_agent.enabled" in explain(view(silent), [name])[name]
