"""A host that says everything that libvirt 12.4 declares, and something that no libvirt does yet.

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

from libvirt_exporter.hypervisor.domain_xml import parse_domain
from libvirt_exporter.label_path import compile_label
from libvirt_exporter.model import DomainSample, GroupOutcome, HostInfo, HostSample, StatValue

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
    f"{operations}_{what}_sec": 1000 * position
    for position, (operations, what) in enumerate(
        product(("total", "read", "write"), ("bytes", "iops")), start=1
    )
}


def _filled(pattern: str) -> Iterator[str]:
    """Every key that a pattern stands for here."""
    found = re.search(r"<(\w+)>", pattern)
    if found is None:
        yield pattern
        return
    for text in PLACEHOLDERS[found[1]]:
        yield from _filled(pattern.replace(found[0], text, 1))


def _value(key: str, declared: StatsKey, position: int) -> StatValue:
    parts = key.split(".")
    last = parts[-1]
    if declared.c_type == "string":
        return STRINGS.get(last) or STRINGS.get(parts[0], f"{last}-{parts[-2]}")
    if last in NUMBERS:
        index = next((int(part) for part in reversed(parts) if part.isdigit()), 0)
        return NUMBERS[last][index % len(NUMBERS[last])]
    if declared.c_type == "bool":
        return True
    if declared.c_type == "double":
        return position + 0.25
    return (10**9 + 7) * position if declared.unit == "ns" else 1009 * position


def _everything() -> dict[str, StatValue]:
    return {
        key: _value(key, declared, position)
        for position, declared in enumerate(stats_keys(), start=1)
        for key in _filled(declared.key)
    }


def _domain(
    uuid: str, stats: dict[str, StatValue], xml: str, *, active: bool = True
) -> DomainSample:
    label = compile_label("owner", "title", {})
    info = parse_domain((XML / xml).read_text(), labels=(label,), autostart=True)
    # The XML files leave the whole domain and most of the disks unlimited.
    info = replace(
        info,
        cpu_tune=replace(info.cpu_tune, global_period=0.1, global_quota=0.4),
        disks=tuple(replace(disk, iotune=IOTUNE) for disk in info.disks),
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
    host=HostInfo(name="", driver="QEMU", hypervisor_version="11.0.0", libvirt_version="12.4.0"),
    domains=(
        _domain(
            "00000000-0000-4000-8000-000000000001",
            {**_everything(), "monitor.responsive": True},
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
            {"state.state": 5, "state.reason": 8},
            "qemu_inactive.xml",
            active=False,
        ),
    ),
    groups=(GroupOutcome(group="state", success=True, duration=0.125),),
    phases={"state": 0.125},
)
