"""A VM's diagnostics as OpenStack Nova gives them since its API 2.48: these keys and no others.

What the hypervisor's driver does not know is null. Lists go by the definition, so that they are
complete for a VM that is shut off, or whose QEMU does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from libvirt_exporter.model import DomainSample
from libvirt_exporter.query.fields.field import VmView, number
from libvirt_exporter.query.fields.figures import memory_in_use
from libvirt_exporter.query.fields.lifetime import start_time
from libvirt_exporter.query.fields.rates import MOST_DEVICES, devices, increase, interval, vcpus

KIBIBYTES_IN_MEBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * 1024
NANOSECONDS_IN_PERCENT: Final = 10_000_000
"""Of a second."""

ASKS: Final = frozenset({"balloon", "block", "interface", "vcpu"})
"""libvirt's statistics groups that it takes."""
LANES: Final = frozenset({"processes"})
"""Its other needs, as of a field."""

_STATES: Final = (
    "pending",
    "running",
    "running",
    "paused",
    "shutdown",
    "shutdown",
    "crashed",
    "suspended",
)
"""By virDomainState; Nova has no words for BLOCKED and SHUTOFF."""
_DRIVERS_ON_LINUX: Final = frozenset({"QEMU", "KVM", "LXC", "Xen", "CH"})
_MAC: Final = re.compile("(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


def diagnostics(view: VmView) -> dict[str, Any]:
    """Nova's object; sizes of memory in MiB, times in ns, rates in bytes/s, all of them integers.

    `used` memory is what the guest has in use by its own account, else the balloon's size.
    """
    cpus, nics, disks = _cpus(view), _nics(view), _disks(view)
    info, start = view.info, start_time(view)
    state = number(view.domain.stats, "state.state")
    if not isinstance(view.domain, DomainSample):
        state = _STATES.index("shutdown")
    driver = view.host.host.driver if view.host.host is not None else ""
    return {
        "state": _STATES[state] if state is not None and state < len(_STATES) else "pending",
        "driver": "libvirt",
        "hypervisor": (info.type or None) if info is not None else None,
        "hypervisor_os": "linux" if driver in _DRIVERS_ON_LINUX else None,
        "uptime": None if start is None else max(int(view.now - start), 0),
        "config_drive": info is not None and info.config_drive,
        "num_cpus": len(cpus),
        "num_nics": len(nics),
        "num_disks": len(disks),
        "memory_details": _memory(view),
        "cpu_details": cpus,
        "nic_details": nics,
        "disk_details": disks,
    }


def _memory(view: VmView) -> dict[str, int | None]:
    stats, info = view.domain.stats, view.info
    maximum = _mebibytes(number(stats, "balloon.maximum"))
    if maximum is None and info is not None and info.memory_maximum is not None:
        maximum = info.memory_maximum // MEBIBYTE
    used = memory_in_use(stats)
    if used is None:
        used = number(stats, "balloon.current")
    return {"maximum": maximum, "used": _mebibytes(used) if view.active else None}


def _mebibytes(kibibytes: int | None) -> int | None:
    return None if kibibytes is None else kibibytes // KIBIBYTES_IN_MEBIBYTE


def _cpus(view: VmView) -> list[dict[str, int | None]]:
    stats, info = view.domain.stats, view.info
    known = vcpus(stats)
    if not known and info is not None:
        known = [*range(min(info.vcpus_current or 0, MOST_DEVICES))]
    seconds, before = interval(view), view.before
    found = []
    for vcpu in known:
        key = f"vcpu.{vcpu}.time"
        growth = None if seconds is None else increase(stats, key, before)
        usage = None
        if growth is not None and seconds is not None:
            usage = round(growth / seconds / NANOSECONDS_IN_PERCENT)
        found.append({"id": vcpu, "time": number(stats, key), "utilisation": usage})
    return found


def _nics(view: VmView) -> list[dict[str, Any]]:
    stats, info = view.domain.stats, view.info
    prefixes = devices(stats, "net")
    seconds, before = interval(view, monitor=False), view.before
    earlier = devices(before, "net") if seconds is not None else {}
    addresses: Mapping[str, str] = dict.fromkeys(prefixes, "")
    if info is not None:
        addresses = {nic.device: nic.mac for nic in info.interfaces}
    found = []
    for name, mac in addresses.items():
        nic: dict[str, Any] = {"mac_address": mac if _MAC.fullmatch(mac) else None}
        prefix = prefixes.get(name)
        for way in ("rx", "tx"):
            for what, key in _NIC_COUNTERS.items():
                nic[f"{way}_{what}"] = prefix and number(stats, f"{prefix}{way}.{key}")
            growth = None
            if prefix is not None and name in earlier:
                octets = f"{way}.bytes"
                growth = increase(stats, prefix + octets, before, earlier[name] + octets)
            nic[f"{way}_rate"] = round(growth / seconds) if growth is not None and seconds else None
        found.append(nic)
    return found


_NIC_COUNTERS: Final[Mapping[str, str]] = {
    "octets": "bytes",
    "errors": "errs",
    "drop": "drop",
    "packets": "pkts",
}
_DISK_COUNTERS: Final[Mapping[str, str]] = {
    "read_bytes": "rd.bytes",
    "read_requests": "rd.reqs",
    "write_bytes": "wr.bytes",
    "write_requests": "wr.reqs",
    "errors_count": "errors",
}


def _disks(view: VmView) -> list[dict[str, int | None]]:
    stats, info = view.domain.stats, view.info
    prefixes = devices(stats, "block")
    names = [*prefixes] if info is None else [disk.device for disk in info.disks]
    return [
        {
            what: number(stats, prefixes[name] + key) if name in prefixes else None
            for what, key in _DISK_COUNTERS.items()
        }
        for name in names
    ]
