"""A host that says everything that libvirt 12.8 declares, and something that no libvirt does yet.

No machine of the tests has a libvirt that new, nor Xen, s390x, resctrl or hardware counters. The
keys are those of `libvirt_stats.json`, which names their source; the values are made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import (
    Deprecation,
    DomainSample,
    GroupOutcome,
    HostInfo,
    HostSample,
    StatValue,
    ThrottleGroup,
)
from libvirt_exporter.patterns.labels import compile_label
from tests.contract.numbers import number_of
from tests.contract.synthetic_events import ENDED, HAPPENED

HERE: Final = Path(__file__).parent
XML: Final = HERE.parent / "unit" / "fixtures" / "xml"


class StatsKey(NamedTuple):
    """One row of `libvirt_stats.json`."""

    key: str
    """Pattern with placeholders, `block.<num>.rd.bytes`."""
    group: str
    c_type: str
    unit: str
    semantic: str
    since: str


def stats_keys() -> list[StatsKey]:
    """What libvirt declares."""
    declared = json.loads((HERE / "libvirt_stats.json").read_text())
    return [StatsKey(**row) for row in declared["stats"]]


PLACEHOLDERS: Final = {
    "num": ("0", "1"),
    "id": ("1",),
    "index": ("0",),
    "feature": ("core_energy", "activity", "uncore_energy"),
    "name": ("exits", "halt_wait_ns"),
    "i": ("0", "1", "2"),
}
"""What stands for each placeholder."""

STRINGS: Final = {
    "block": "vda",
    "net": "vnet0",
    "vcpus": "0-1",
    "path": "/images/vda.qcow2",
    "calc_mode": "dirty-ring",
}
"""Strings, by the first part of their key or by its last."""

NUMBERS: Final = {
    "backingIndex": (2, 1),
    "interval": (60, 600, 3600),
    "start": (0, 100_000, 10_000_000),
    "id": (0,),
    "state": (1, 0),
    "reason": (5,),
    "calc_status": (2,),
}
"""Numbers that mean something, by the last part of their key and their last index."""


IOTUNE: Final = {
    f"{operations}_{what}_sec{burst}": 1000 * position
    for position, (burst, operations, what) in enumerate(
        product(("", "_max", "_max_length"), ("total", "read", "write"), ("bytes", "iops")), start=1
    )
} | {"size_iops_sec": 4096}


JOBS: Final[dict[str, StatValue]] = {
    "job.operation": 5,
    "job.time_elapsed": 9203,
    "job.time_remaining": 2000,
    "job.downtime": 2766,
    "job.setup_time": 4,
    "job.data_total": 201859072,
    "job.data_processed": 102408627,
    "job.data_remaining": 39161856,
    "job.memory_total": 201859072,
    "job.memory_processed": 102408627,
    "job.memory_remaining": 39161856,
    "job.memory_bps": 16789240,
    "job.memory_constant": 25184,
    "job.memory_normal": 24898,
    "job.memory_normal_bytes": 101982208,
    "job.memory_dirty_rate": 1698,
    "job.memory_iteration": 2,
    "job.memory_postcopy_requests": 0,
    "job.memory_page_size": 4096,
    "job.disk_total": 1073741824,
    "job.disk_processed": 4194304,
    "job.disk_remaining": 1069547520,
    "job.disk_bps": 8388608,
    "job.auto_converge_throttle": 20,
    "job.type": 2,
    "blockjob.0.name": "vda",
    "blockjob.0.type.name": "copy",
    "blockjob.0.type": 2,
    "blockjob.0.bandwidth": 8388608,
    "blockjob.0.cur": 16777216,
    "blockjob.0.end": 1073741824,
    "blockjob.1.name": "vdb",
    "blockjob.1.type.name": "pull",
    "blockjob.1.type": 1,
    "blockjob.1.bandwidth": 0,
    "blockjob.1.cur": 524288,
    "blockjob.1.end": 1073741824,
    "lastjob.migration_out.time": 1_700_000_000_123_456_789,
    "lastjob.migration_out.time_elapsed": 11839,
    "lastjob.migration_out.downtime": 106,
    "lastjob.migration_out.data_processed": 201859072,
    "lastjob.migration_out.memory_processed": 201859072,
    "lastjob.backup.time": 1_700_000_000_123_456_789,
    "lastjob.backup.success": 0,
    "lastjob.backup.time_elapsed": 36076,
}
"""A migration, block jobs and finished jobs as the lane `jobs` reads them: the keys and most values
are those of libvirt 9.0 with QEMU 7.2, put together from several guests."""

IO_ERROR: Final[dict[str, StatValue]] = {
    "state.state": 3,
    "state.reason": 5,
    "pause.code": 1,
    "diskerror.0.name": "vda",
    "diskerror.0.error": 2,
}
"""A guest whose disk has no space, as libvirt 9.0 tells of it."""


PROCESS: Final[dict[str, StatValue]] = {
    "process.pid": 4711,
    "process.guest.time": 86_400_010_000_000,
    "process.transparent_hugepages": True,
    "start.time": 1_699_900_000_000_000_000,
}

NUMA: Final[dict[str, StatValue]] = {
    "numa.0.node.0": True,
    "numa.1.node.0": True,
    "numa.1.node.1": True,
}
"""A guest with two NUMA nodes, one of which is spread over two of the host's."""

GUEST: Final[dict[str, StatValue]] = {
    "guest.agent.up": True,
    "guest.agent.answered": 1_699_999_990_000_000_000,
    "guest.agent.errors.timeout": 2,
    "guest.agent.errors.refused": 0,
    "guest.agent.errors.denied": 0,
    "guest.agent.errors.other": 1,
    "guest.answer.filesystems.time": 1_699_999_990_000_000_000,
    "guest.fs.0.mountpoint": "/",
    "guest.fs.0.fstype": "ext4",
    "guest.fs.0.name": "vda1",
    "guest.fs.0.target": "vda",
    "guest.fs.0.total-bytes": 61_629_440,
    "guest.fs.0.used-bytes": 4_207_616,
    "guest.fs.1.mountpoint": '/mnt/"a"\n\\b',
    "guest.fs.1.fstype": "nfs4",
    "guest.fs.1.name": "server:/export",
    "guest.dropped.filesystems": 3,
    "guest.answer.load.time": 1_699_999_990_000_000_000,
    "guest.load.1m": 0.25,
    "guest.load.5m": 0.5,
    "guest.load.15m": 0.125,
    "guest.answer.cpus.time": 1_699_999_990_000_000_000,
    "guest.cpus.online": 2,
    "guest.answer.users.time": 1_699_999_990_000_000_000,
    "guest.user.0.name": "ann",
    "guest.user.0.domain": "",
    "guest.dropped.users": 0,
    "guest.users": 1,
    "guest.answer.os.time": 1_699_999_500_000_000_000,
    "guest.os.id": "debian",
    "guest.os.name": "Debian GNU/Linux",
    "guest.os.pretty-name": "Debian GNU/Linux 12 (bookworm)",
    "guest.os.version": "12 (bookworm)",
    "guest.os.version-id": "12",
    "guest.os.variant": "",
    "guest.os.kernel-release": "6.1.0-57-amd64",
    "guest.os.kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-3 (2026-11-26)",
    "guest.os.machine": "x86_64",
    "guest.answer.hostname.time": 1_699_999_500_000_000_000,
    "guest.hostname": "lab-guest",
    "guest.answer.interfaces.time": 1_699_999_500_000_000_000,
    "guest.if.0.name": "eth0",
    "guest.if.0.hwaddr": "52:54:00:97:eb:6d",
    "guest.if.0.addr.0.addr": "192.0.2.10",
    "guest.if.0.addr.0.type": "ipv4",
    "guest.if.0.addr.1.addr": "fe80::5054:ff:fe97:eb6d",
    "guest.if.0.addr.1.type": "ipv6",
    "guest.dropped.interfaces": 0,
    "guest.dropped.addresses": 0,
    "guest.answer.drivers.time": 1_699_999_500_000_000_000,
    "guest.driver.0.name": "Red Hat VirtIO Ethernet Adapter",
    "guest.driver.0.version": "100.92.104.22900",
    "guest.driver.0.date": 1_679_270_400_000_000_000,
    "guest.dropped.drivers": 0,
    "guest.apps.errors": 1,
    "guest.apps.count": 412,
    "guest.apps.hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "guest.apps.source": "dpkg",
    "guest.apps.changed": 1_699_990_000_000_000_000,
    "guest.apps.checked": 1_699_999_900_000_000_000,
}
"""What the lane `guest_agent` knows of a guest: values are those of libvirt 9.0 with qemu-ga 7.2,
and a hostile mount point; the load is as libvirt 11.2 gives it, and the driver is made up after
the keys of libvirt 12.7 (VIR_DOMAIN_GUEST_INFO_DEVICE_* in libvirt-domain.h)."""

HOST: Final[dict[str, StatValue]] = {
    "node.cpus": 2,
    "node.numa.nodes": 1,
    "node.topology.sockets": 1,
    "node.topology.cores": 2,
    "node.topology.threads": 1,
    "node.cpu.frequency": 2_445_000_000,
    "node.cpu.kernel.time": 4_745_900_000_000,
    "node.cpu.user.time": 7_990_950_000_000,
    "node.cpu.idle.time": 11_177_680_000_000,
    "node.cpu.iowait.time": 46_780_000_000,
    "node.memory.total": 24_682_416,
    "node.memory.free": 22_069_172,
    "node.memory.available": 22_640_028,
    "node.memory.buffers": 7_944,
    "node.memory.cached": 865_388,
    "pool.0.name": "images",
    "pool.0.responsive": True,
    "pool.0.type": "dir",
    "pool.0.state": 2,
    "pool.0.persistent": True,
    "pool.0.autostart": True,
    "pool.0.capacity": 270_553_174_016,
    "pool.0.allocation": 25_089_769_472,
    "pool.0.available": 245_463_404_544,
    "pool.0.filesystem.visible": True,
    "pool.0.filesystem.size": 270_553_174_016,
    "pool.0.filesystem.available": 12_884_901_888,
    "pool.1.name": "off",
    "pool.1.responsive": True,
    "pool.1.type": "logical",
    "pool.1.state": 0,
    "pool.1.persistent": True,
    "pool.1.autostart": False,
    "pool.2.name": "stuck",
    "pool.2.responsive": False,
    "network.0.name": "default",
    "network.0.responsive": True,
    "network.0.bridge": "virbr0",
    "network.0.forward": "nat",
    "network.0.active": True,
    "network.0.persistent": True,
    "network.0.autostart": True,
}
"""A host, its storage pools and networks: keys and most values are those of libvirt 9.0."""


def _filled(pattern: str) -> Iterator[str]:
    """Every key that a pattern stands for here."""
    found = re.search(r"<(\w+)>", pattern)
    if found is None:
        yield pattern
        return
    for text in PLACEHOLDERS[found[1]]:
        yield from _filled(pattern.replace(found[0], text, 1))


def _value(key: str, declared: StatsKey) -> StatValue:
    parts = key.split(".")
    last = parts[-1]
    if declared.c_type == "string":
        return STRINGS.get(last) or STRINGS.get(parts[0], f"{last}-{parts[-2]}")
    if last in NUMBERS:
        index = next((int(part) for part in reversed(parts) if part.isdigit()), 0)
        return NUMBERS[last][index % len(NUMBERS[last])]
    if declared.c_type == "bool":
        return True
    # By the key, so that another key changes no value but its own.
    number = number_of(declared.key)
    if declared.c_type == "double":
        return number + 0.25
    return (10**9 + 7) * number if declared.unit == "ns" else 1009 * number


def _everything() -> dict[str, StatValue]:
    return {
        key: _value(key, declared) for declared in stats_keys() for key in _filled(declared.key)
    }


def _domain(
    uuid: str, stats: dict[str, StatValue], xml: str, *, active: bool = True
) -> DomainSample:
    label = compile_label("owner", "title", {})
    info = parse_domain((XML / xml).read_text(), labels=(label,), autostart=True)
    # The XML files leave the whole domain and most of the disks unlimited, and libvirt 9.0 has no
    # throttle groups.
    info = replace(
        info,
        cpu_tune=replace(info.cpu_tune, global_period=0.1, global_quota=0.4),
        disks=tuple(
            replace(disk, iotune=IOTUNE, throttle_groups=("limit0",)) for disk in info.disks
        ),
        throttle_groups=(ThrottleGroup(name="limit0", limits=IOTUNE),) if info.disks else (),
        # As libvirt 9.0 tells of them beside the XML.
        deprecated=(Deprecation("machine type 'pc-q35-7.2'"),) if active else (),
        snapshots=2,
        oldest_snapshot=1_690_000_000.0,
        checkpoints=1,
        oldest_checkpoint=1_695_000_000.0,
        malformed_metadata=3,
    )
    return DomainSample(
        uuid=uuid,
        name=info.name,
        active=active,
        stats=stats,
        timestamp=1_700_000_000.0,
        info=info,
    )


SYNTHETIC: Final = HostSample(
    timestamp=1_700_000_000.0,
    duration=0.25,
    up=True,
    host=HostInfo(
        name="",
        driver="QEMU",
        hypervisor_version="11.1.3",
        hostname="kvm1.example",
        uuid="00000000-0000-4000-8000-0000000000aa",
        libvirt_version="12.8.0",
    ),
    domains=(
        _domain(
            "00000000-0000-4000-8000-000000000001",
            {
                **_everything(),
                **HAPPENED,
                **JOBS,
                **PROCESS,
                **NUMA,
                **GUEST,
                "pause.code": 0,
                "monitor.responsive": True,
            },
            "qemu_live.xml",
        ),
        _domain(
            "00000000-0000-4000-8000-000000000002",
            {"state.state": 99, "state.reason": 1, "cpu.time": 10**18, "cpu.new.thing": 1},
            "nova_1_1.xml",
        ),
        _domain(
            "00000000-0000-4000-8000-000000000003",
            {
                "state.state": 5,
                "state.reason": 99,
                "vcpu.0.new": "text",
                "monitor.responsive": False,
                "monitor.stuck.time": 12_500_000_000,
                "sample.missing.block": True,
                "sample.missing.cpu-total": True,
            },
            "ovirt.xml",
        ),
        _domain(
            "00000000-0000-4000-8000-000000000004",
            {"state.state": 5, "state.reason": 8, **ENDED},
            "qemu_inactive.xml",
            active=False,
        ),
        _domain("00000000-0000-4000-8000-000000000005", IO_ERROR, "nova_1_1.xml"),
    ),
    groups=(GroupOutcome(group="state", success=True, duration=0.125),),
    phases={"state": 0.125},
    stats=HOST,
    lanes={"node": 0.25, "storage": 30.5, "networks": 0.125},
)
