"""Made-up domains: samples for the renderer, and hosts for libvirt's test driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import DomainSample, HostInfo, HostSample, Stats, StatValue


def domain_xml(number: int) -> str:
    """A running domain with 2 vCPUs, 2 disks and 1 NIC."""
    disks = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
        f"<source file='/var/lib/libvirt/images/vm{number}-{device}.qcow2'/>"
        f"<target dev='{device}' bus='virtio'/></disk>"
        for device in ("vda", "vdb")
    )
    return f"""<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>vm{number:05}</name>
  <uuid>{_uuid(number)}</uuid>
  <memory unit='GiB'>4</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>{disks}
    <interface type='bridge'>
      <mac address='52:54:{number.to_bytes(4).hex(":")}'/>
      <source bridge='br0'/><target dev='tap{number}'/><model type='virtio'/>
    </interface>
    <memballoon model='virtio'><stats period='10'/></memballoon>
  </devices>
  <test:runstate>1</test:runstate>
</domain>"""


def write_host(path: Path, size: int) -> None:
    """Write a host of so many domains for `test://PATH`."""
    path.write_text(
        "<node><cpu><mhz>2600</mhz><model>x86_64</model><active>64</active><nodes>1</nodes>"
        "<sockets>1</sockets><cores>64</cores><threads>1</threads></cpu><memory>1073741824</memory>"
        f"{''.join(map(domain_xml, range(size)))}</node>"
    )


def samples(size: int) -> Iterator[HostSample]:
    """Samples of one host of so many domains, every number different from one to the next."""
    infos = [parse_domain(domain_xml(number)) for number in range(size)]
    step = 0
    while True:
        step += 1
        yield HostSample(
            timestamp=1e9 + step,
            duration=1.0,
            up=True,
            host=HostInfo(name="", driver="QEMU"),
            domains=tuple(
                DomainSample(
                    uuid=info.uuid,
                    name=info.name,
                    active=True,
                    stats=_stats(number, step),
                    timestamp=1e9 + step,
                    info=info,
                )
                for number, info in enumerate(infos)
            ),
        )


def _stats(number: int, step: int) -> Stats:
    """What the QEMU driver says of such a domain: 65 values."""
    grown = 1_000_003 * step + number
    stats: dict[str, StatValue] = {
        "state.state": 1,
        "state.reason": 1,
        "cpu.time": 440_000_000 + grown,
        "cpu.user": 140_000_000 + grown,
        "cpu.system": 300_000_000 + grown,
        "cpu.cache.monitor.count": 0,
        "cpu.haltpoll.success.time": grown,
        "cpu.haltpoll.fail.time": grown,
        "vcpu.current": 2,
        "vcpu.maximum": 2,
    }
    for name in ("current", "maximum", "swap_in", "swap_out", "major_fault", "minor_fault"):
        stats[f"balloon.{name}"] = 4_194_304 + grown
    for name in ("unused", "available", "usable", "last-update", "disk_caches", "rss"):
        stats[f"balloon.{name}"] = 2_097_152 + grown
    for vcpu in range(2):
        stats[f"vcpu.{vcpu}.state"] = 1
        for name in ("time", "wait", "delay"):
            stats[f"vcpu.{vcpu}.{name}"] = 10_000_000_000 + grown
    stats |= {"net.count": 1, "net.0.name": f"tap{number}"}
    for direction in ("rx", "tx"):
        for name in ("bytes", "pkts", "errs", "drop"):
            stats[f"net.0.{direction}.{name}"] = 5_000_000_000 + grown
    stats["block.count"] = 2
    for index, device in enumerate(("vda", "vdb")):
        stats[f"block.{index}.name"] = device
        stats[f"block.{index}.path"] = f"/var/lib/libvirt/images/vm{number}-{device}.qcow2"
        for operation in ("rd", "wr"):
            for name in ("reqs", "bytes", "times"):
                stats[f"block.{index}.{operation}.{name}"] = 70_000_000_000 + grown
        for name in ("fl.reqs", "allocation", "capacity", "physical"):
            stats[f"block.{index}.{name}"] = 1_073_741_824 + grown
    # Strings of its own for every domain of every sample, as libvirt-python makes them.
    copy: Stats = json.loads(json.dumps(stats))
    return copy


def _uuid(number: int) -> UUID:
    return UUID(int=0x5E1A4C0E << 96 | number)
