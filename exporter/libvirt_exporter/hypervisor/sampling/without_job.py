"""What libvirt tells of a QEMU domain that cannot be asked in bulk, because its monitor is stuck.

Every group of the bulk call that comes from libvirt's job begins with taking it, NOWAIT or not,
and whoever got the job of a stopped QEMU waits for ever; even `cpu-total` asks QEMU something
(libvirt 9.0). The older per-domain calls read /proc, the control group and libvirt's own notes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import libvirt

from libvirt_exporter.model import Stats, StatValue

GROUPS: Final = frozenset({"cpu-total", "balloon", "vcpu"})
"""The bulk call's groups of which something can be told without the domain's job."""

_CPU_KEYS: Final = {
    "cpu_time": "cpu.time",
    "user_time": "cpu.user",
    "system_time": "cpu.system",
}


def stats_without_job(domain: libvirt.virDomain, groups: Collection[str]) -> Stats:
    """The domain's figures under the keys, and from the sources, of the bulk call.

    Waits for the domain's lock, but neither for its job nor for its monitor. Empty when it does
    not run. Raises libvirt.libvirtError.
    """
    return dict(_stats(domain, groups))


def _stats(domain: libvirt.virDomain, groups: Collection[str]) -> Iterator[tuple[str, StatValue]]:
    facts: Any = domain.info()
    state, memory_maximum, memory, vcpus, process_time = facts
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return
    if "cpu-total" in groups:
        yield from _cpu(domain, process_time)
    if "balloon" in groups:
        yield "balloon.current", memory
        yield "balloon.maximum", memory_maximum
    if "vcpu" in groups:
        yield "vcpu.current", vcpus
        yield "vcpu.maximum", domain.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
        rows: Any = domain.vcpus()
        for number, running, time, _ in rows[0]:
            yield f"vcpu.{number}.state", running
            yield f"vcpu.{number}.time", time


def _cpu(domain: libvirt.virDomain, process_time: int) -> Iterator[tuple[str, int]]:
    try:
        rows: Any = domain.getCPUStats(True)
    except libvirt.libvirtError as error:
        # Without the control group the bulk call reads the process, as info() does.
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        yield "cpu.time", process_time
        return
    for name, key in _CPU_KEYS.items():
        if name in rows[0]:
            yield key, rows[0][name]
