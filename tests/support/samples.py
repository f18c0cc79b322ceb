"""Samples that the tests of rendering start from."""

from __future__ import annotations

from typing import Any

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.model import (
    CpuTune,
    Disk,
    DomainInfo,
    DomainSample,
    Interface,
    Stats,
    StatValue,
    Watchdog,
)
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer

UUID = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"

DEFAULT = Selection({group.name for group in GROUPS if group.default})
ALL = Selection({group.name for group in GROUPS}, include=["*"])

GUEST_MEMORY = (
    "swap_in",
    "swap_out",
    "major_fault",
    "minor_fault",
    "unused",
    "available",
    "usable",
    "disk_caches",
    "hugetlb_pgalloc",
    "hugetlb_pgfail",
    "rss",
    "last-update",
)

DISK = (
    *(f"{kind}.{what}" for kind in ("rd", "wr") for what in ("reqs", "bytes", "times")),
    *("fl.reqs", "fl.times", "allocation", "capacity", "physical"),
)

TYPICAL_STATS: Stats = {
    "state.state": 1,
    "state.reason": 1,
    "cpu.time": 5_000_000_000,
    "cpu.user": 1_000_000_000,
    "cpu.system": 2_000_000_000,
    "cpu.haltpoll.success.time": 10,
    "cpu.haltpoll.fail.time": 20,
    "balloon.current": 1024,
    "balloon.maximum": 2048,
    **{f"balloon.{key}": 512 for key in GUEST_MEMORY},
    "vcpu.current": 2,
    "vcpu.maximum": 2,
    **{f"vcpu.{vcpu}.state": 1 for vcpu in range(2)},
    **{f"vcpu.{vcpu}.{key}": 7 for vcpu in range(2) for key in ("time", "wait", "delay")},
    **{f"vcpu.{vcpu}.stat{number}.sum": 1 for vcpu in range(2) for number in range(42)},
    "net.count": 1,
    "net.0.name": "vnet0",
    **{
        f"net.0.{way}.{key}": 3 for way in ("rx", "tx") for key in ("bytes", "pkts", "errs", "drop")
    },
    "block.count": 2,
    "block.0.name": "vda",
    "block.1.name": "vdb",
    **{f"block.{disk}.backingIndex": 1 + disk for disk in range(2)},
    **{f"block.{disk}.path": f"/images/{disk}" for disk in range(2)},
    **{f"block.{disk}.{key}": 9 for disk in range(2) for key in DISK},
}
"""A running KVM guest of 2 vCPUs, 2 disks and 1 NIC that reports its memory."""

TYPICAL_INFO = DomainInfo(
    uuid=UUID,
    name="web",
    type="kvm",
    os_type="hvm",
    arch="x86_64",
    machine="pc-q35-9.0",
    cpu_mode="host-passthrough",
    vcpus_current=2,
    vcpus_maximum=2,
    memory_current=2**30,
    memory_maximum=2**31,
    cpu_tune=CpuTune(shares=1024),
    balloon_model="virtio",
    balloon_period=10,
    autostart=True,
    persistent=True,
    disks=(
        Disk(device="vda", bus="virtio", source_type="file", source="/images/0", format="qcow2"),
        Disk(device="vdb", bus="virtio", source_type="file", source="/images/1", format="qcow2"),
    ),
    interfaces=(Interface(device="vnet0", mac="52:54:00:00:00:01", type="bridge", bridge="br0"),),
    watchdogs=(Watchdog("i6300esb", "pause", "watchdog0"),),
)


def domain(stats: Stats | None = None, **changes: Any) -> DomainSample:
    """A domain named web; `changes` are fields of DomainSample."""
    fields: dict[str, Any] = {
        "uuid": UUID,
        "name": "web",
        "active": True,
        "stats": {} if stats is None else stats,
        "timestamp": 0.0,
    }
    return DomainSample(**fields | changes)


def typical(**changes: Any) -> DomainSample:
    """A typical domain; `changes` are fields of DomainSample."""
    return domain(TYPICAL_STATS, **{"info": TYPICAL_INFO, **changes})


def series(
    *domains: DomainSample,
    selection: Selection = ALL,
    identity: Identity | None = None,
) -> dict[str, str]:
    """What the text shows: series as written, to values as written."""
    rendered = TextRenderer(selection, identity or Identity(labels=("domain",))).render(domains)
    lines = [line for _, lines in rendered.families for line in lines.decode().split("\n")[1:]]
    return dict(line.rsplit(" ", 1) for line in lines)


def value(
    stats: dict[str, StatValue], name: str, labels: str = "", *, selection: Selection = ALL
) -> str | None:
    """The value of one series of a domain with these statistics; None when there is none."""
    own = f",{labels}" if labels else ""
    return series(domain(stats), selection=selection).get(f'{name}{{domain="web"{own}}}')
