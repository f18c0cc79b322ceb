"""The figures of the invented VMs, pools and host at a moment, under libvirt's keys and units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import libvirt

from libvirt_exporter.hypervisor.invented import story
from libvirt_exporter.hypervisor.invented.load import DAY, Load
from libvirt_exporter.hypervisor.invented.machines import (
    HOST_CPUS,
    HOST_MEMORY,
    KIB,
    MACHINES,
    Disk,
    Machine,
)
from libvirt_exporter.model import StatValue

_NS: Final = 10**9
_READ: Final = 0.4
"""Share of the disk traffic that is read; of the network's, that is received."""
_REQUEST: Final = 24 * KIB
"""Bytes of a request, and …"""
_PACKET: Final = 900
"""… of a packet, in the mean."""
_LATENCY: Final = 0.0009
"""Seconds that a request takes."""
_NO_SPACE: Final = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
_WORKS: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)

Figures = dict[str, StatValue]


def is_active(machine: Machine, now: float) -> bool:
    """Whether it has a QEMU."""
    return story.moment(machine.story, now).episode.state in _WORKS


def statistics(machine: Machine, now: float, groups: Collection[str]) -> Figures:
    """What the bulk call says of a VM in these groups; of one without QEMU its state only."""
    episode = story.moment(machine.story, now).episode
    found: Figures = {}
    if "state" in groups:
        found |= {"state.state": episode.state, "state.reason": episode.reason}
    if is_active(machine, now):
        for group, figures in _GROUPS.items():
            if group in groups:
                found |= figures(machine, now)
    return found


def cpu_times(machine: Machine, now: float) -> tuple[int, int, int]:
    """CPU time in all, of user and of system, in ns."""
    total = int(story.done(machine.story, machine.cpu, now) * _NS)
    return total, total * 85 // 100, total * 12 // 100


def _cpu(machine: Machine, now: float) -> Figures:
    total, user, system = cpu_times(machine, now)
    return {"cpu.time": total, "cpu.user": user, "cpu.system": system}


def _balloon(machine: Machine, now: float) -> Figures:
    available = int(machine.memory * 0.97)
    # Memory follows what is done, slowly.
    moves = Load(machine.used, daily=0.12, wave=0.04, period=1900)
    usable = int(available * (1 - min(moves.at(now), 0.96)))
    unused = usable // 3
    busy = story.done(machine.story, machine.disk, now)
    return {
        "balloon.current": machine.memory // KIB,
        "balloon.maximum": machine.memory // KIB,
        "balloon.swap_in": 0,
        "balloon.swap_out": 0,
        "balloon.major_fault": int(busy / 4e8),
        "balloon.minor_fault": int(busy / 3e4),
        "balloon.unused": unused // KIB,
        "balloon.available": available // KIB,
        "balloon.usable": usable // KIB,
        "balloon.last-update": int(now - now % 10),
        "balloon.disk_caches": (usable - unused) // KIB,
        "balloon.hugetlb_pgalloc": 0,
        "balloon.hugetlb_pgfail": 0,
        "balloon.rss": int(machine.memory * 0.9) // KIB,
    }


def _vcpus(machine: Machine, now: float) -> Figures:
    total = int(story.done(machine.story, machine.cpu, now) * _NS * 0.93)
    running = story.moment(machine.story, now).episode.activity > 0
    found: Figures = {
        "vcpu.current": machine.vcpus,
        "vcpu.maximum": machine.vcpus_maximum or machine.vcpus,
    }
    for number in range(machine.vcpus):
        # The first ones do more than the last ones.
        share = 2 * (machine.vcpus - number) / (machine.vcpus * (machine.vcpus + 1))
        spent = int(total * share)
        found |= {
            f"vcpu.{number}.state": libvirt.VIR_VCPU_RUNNING,
            f"vcpu.{number}.time": spent,
            f"vcpu.{number}.wait": 0,
            f"vcpu.{number}.halted": not running,
            f"vcpu.{number}.delay": int(spent * machine.steal),
        }
    return found


def _interfaces(machine: Machine, now: float) -> Figures:
    moved = story.done(machine.story, machine.net, now)
    found: Figures = {"net.count": 1, "net.0.name": machine.interface}
    for way, share in (("rx", _READ), ("tx", 1 - _READ)):
        found |= {
            f"net.0.{way}.bytes": int(moved * share),
            f"net.0.{way}.pkts": int(moved * share / _PACKET),
            f"net.0.{way}.errs": 0,
            f"net.0.{way}.drop": int(moved * share / _PACKET / 2e6),
        }
    return found


def _disks(machine: Machine, now: float) -> Figures:
    found: Figures = {"block.count": len(machine.disks)}
    for number, disk in enumerate(machine.disks):
        occupied = image_size(machine, disk, now)
        moved = story.done(machine.story, machine.disk, now) * disk.share
        figures: Figures = {
            "name": disk.device,
            "backingIndex": number + 1,
            "path": machine.path(disk),
            "fl.reqs": int(moved / _REQUEST / 30),
            "fl.times": int(moved / _REQUEST / 30 * _LATENCY * 2 * _NS),
            "allocation": occupied,
            "capacity": disk.capacity,
            "physical": occupied,
        }
        for way, share in (("rd", _READ), ("wr", 1 - _READ)):
            figures |= {
                f"{way}.reqs": int(moved * share / _REQUEST),
                f"{way}.bytes": int(moved * share),
                f"{way}.times": int(moved * share / _REQUEST * _LATENCY * _NS),
            }
        found |= {f"block.{number}.{key}": value for key, value in figures.items()}
    return found


def _iothreads(machine: Machine, _now: float) -> Figures:
    found: Figures = {"iothread.count": machine.iothreads}
    for number in range(1, machine.iothreads + 1):
        found |= {
            f"iothread.{number}.poll-max-ns": 32768,
            f"iothread.{number}.poll-grow": 0,
            f"iothread.{number}.poll-shrink": 0,
        }
    return found


def _dirty_rate(_machine: Machine, _now: float) -> Figures:
    # Nobody has had it measured.
    return {"dirtyrate.calc_status": 0, "dirtyrate.calc_start_time": 0, "dirtyrate.calc_period": 0}


_GROUPS: Final[Mapping[str, Callable[[Machine, float], Figures]]] = {
    "cpu-total": _cpu,
    "balloon": _balloon,
    "vcpu": _vcpus,
    "interface": _interfaces,
    "block": _disks,
    "iothread": _iothreads,
    "dirtyrate": _dirty_rate,
}


def image_size(machine: Machine, disk: Disk, now: float) -> int:
    """Bytes that an image occupies. One that is to be full grows until it is."""
    fills = any((episode.state, episode.reason) == _NO_SPACE for episode in machine.story)
    if not (fills and disk == machine.disks[-1]):
        return int(disk.capacity * disk.filled)
    return int(disk.capacity * (0.7 + 0.3 * _fullness(now)))


def _fullness(now: float) -> float:
    """How far a disk has filled up since room was made for it, up to 1."""
    growing = story.CYCLE - story.FULL_DISK_UNTIL + story.FULL_DISK_SINCE
    since = (now - story.FULL_DISK_UNTIL) % story.CYCLE
    return min(since / growing, 1.0)


def allocated(pool: str, now: float) -> int:
    """Bytes that a pool's images occupy, and what else lies there."""
    images = (
        image_size(machine, disk, now)
        for machine in MACHINES
        for disk in machine.disks
        if disk.pool == pool
    )
    return sum(images) + _BESIDE[pool]


_BESIDE: Final = {"images": 1800 * 2**30, "scratch": 76 * 2**30}
"""Bytes in the pools that belong to no VM."""


def job(machine: Machine, now: float) -> Figures:
    """What virDomainGetJobStats says: `type` 0 without a job."""
    name, at, begun, share = _job(machine, now)
    if not name:
        return {"type": libvirt.VIR_DOMAIN_JOB_NONE}
    common: Figures = {
        "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
        "time_elapsed": int((at - begun) * 1000),
    }
    if name == "backup":
        total = sum(disk.capacity for disk in machine.disks)
        return common | {
            "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP,
            "disk_total": total,
            "disk_processed": int(total * share),
            "disk_remaining": total - int(total * share),
        }
    total = int(machine.memory * 1.1)
    processed = int(total * share)
    return common | {
        "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        "downtime": 84,
        "setup_time": 3,
        "data_total": total,
        "data_processed": processed,
        "data_remaining": total - processed,
        "memory_total": total,
        "memory_processed": processed,
        "memory_remaining": total - processed,
        "memory_bps": 50 * 2**20,
        "memory_iteration": 1 if share < 0.6 else 2,
        "memory_dirty_rate": 1700,
        "memory_page_size": 4096,
    }


def disk_errors(machine: Machine, now: float) -> dict[str, int]:
    """What virDomainGetDiskErrors says: the last disk of who is paused by an I/O error is full."""
    episode = story.moment(machine.story, now).episode
    if (episode.state, episode.reason) != _NO_SPACE:
        return {}
    return {machine.disks[-1].device: libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE}


def block_job(machine: Machine, device: str, now: float) -> dict[str, int]:
    """What virDomainGetBlockJobInfo says of a disk; nothing without a job."""
    name, _, _, share = _job(machine, now)
    if name != "backup":
        return {}
    capacity = next(disk.capacity for disk in machine.disks if disk.device == device)
    return {
        "type": libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP,
        "bandwidth": 0,
        "cur": int(capacity * share),
        "end": capacity,
    }


def _job(machine: Machine, now: float) -> tuple[str, float, float, float]:
    """The job that is going on, now and its beginning in the cycle, and how much of it is done."""
    episode = story.moment(machine.story, now).episode
    at = now % story.CYCLE
    if not episode.job:
        return "", at, at, 0.0
    parts = [part.begins for part in machine.story if part.job]
    ends = min(
        part.begins for part in machine.story if not part.job and part.begins > episode.begins
    )
    return episode.job, at, parts[0], (at - parts[0]) / (ends - parts[0])


_HOST: Final = Load(9.5, daily=0.5, wave=0.1)
"""CPUs of the host in use, its VMs among them."""


def host_cpu_times(now: float) -> dict[str, int]:
    """CPU times of the host in ns, since the beginning of a month."""
    began = now - now % story.MONTH
    busy = _HOST.done(began, now)
    waits = 0.03 * busy
    idle = HOST_CPUS * (now - began) - busy - waits
    times = {"kernel": 0.2 * busy, "user": 0.8 * busy, "idle": idle, "iowait": waits}
    return {mode: int(seconds * _NS) for mode, seconds in times.items()}


def host_memory(now: float) -> dict[str, int]:
    """Memory of the host in KiB."""
    used = sum(int(machine.memory * 0.9) for machine in MACHINES if is_active(machine, now))
    cached = 14 * 2**30 + int(2**30 * (now % DAY) / DAY)
    free = HOST_MEMORY - used - cached - 3 * 2**30
    sizes = {"total": HOST_MEMORY, "free": free, "buffers": 2**29, "cached": cached}
    return {kind: size // KIB for kind, size in sizes.items()}
