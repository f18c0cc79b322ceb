"""`process.*` and `start.time`: a domain's QEMU process, and since when the domain runs."""

from __future__ import annotations

from typing import Final
from weakref import WeakSet

import libvirt

from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcess, QemuProcesses
from libvirt_exporter.hypervisor.sampling.sources import DomainSource
from libvirt_exporter.model import DomainInfo, Stats, StatValue

OLDEST: Final = 10.0
"""Seconds by which a process's time may be older than the domain's other figures."""

_MIGRATED: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
_FROM_FILE: Final = (
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_RESTORED),
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT),
)


class ProcessStats:
    """A DomainSource of what the process says, and for the start what metadata and events do."""

    def __init__(
        self,
        inventory: Inventory,
        processes: QemuProcesses | None,
        events: DomainSource | None = None,
    ) -> None:
        """`processes`: None where they cannot be seen. `events`: who knows `event.last.started`."""
        self._inventory = inventory
        self._processes = processes
        self._events = events
        self._begun: WeakSet[QemuProcess] = WeakSet()

    def domain_stats(self, domain: DomainDraft) -> Stats:
        """Times in ns: `start.time` since the epoch, `process.guest.time` of KVM guests only."""
        if not domain.active:
            return {}
        info = self._inventory.get(domain.uuid)
        process = self._processes.process(domain.uuid) if self._processes is not None else None
        stats: dict[str, StatValue] = {}
        if process is not None:
            stats["process.pid"] = process.pid
            fresh = domain.timestamp - process.read_at <= OLDEST
            if fresh and info is not None and info.type == "kvm":
                stats["process.guest.time"] = process.guest_time
        elif self._processes is not None:
            unseen = self._processes.unseen(domain.uuid)
            if unseen is not None:
                stats["process.unseen"] = unseen
        huge_pages = self._huge_pages(info, process)
        if huge_pages is not None:
            stats["process.transparent_hugepages"] = huge_pages
        started = self._started(domain, info, process)
        if started is not None:
            stats["start.time"] = started
        return stats

    def _huge_pages(self, info: DomainInfo | None, process: QemuProcess | None) -> bool | None:
        """Whether the kernel may put the guest's memory into transparent huge pages."""
        if info is None:
            return None
        if info.hugepages:
            return False
        if info.memory_shared or info.memory_source not in ("", "anonymous"):
            return None  # for shared memory the kernel has another setting, for files none
        if process is None or self._processes is None:
            return None
        settings = self._processes.huge_pages, process.may_have_huge_pages
        return None if None in settings else all(settings)

    def _started(
        self, domain: DomainDraft, info: DomainInfo | None, process: QemuProcess | None
    ) -> int | None:
        """When the domain was started; None when all that is known is when it arrived here."""
        if info is not None and info.ovirt is not None and info.ovirt.start_time is not None:
            return int(info.ovirt.start_time * 10**9)
        state = domain.state.get("state.state"), domain.state.get("state.reason")
        if process is not None:
            # The reason goes with the next pause, the process and its command line stay.
            if not process.incoming or state in _FROM_FILE:
                self._begun.add(process)
            return process.started if process in self._begun else None
        if self._events is None or state == _MIGRATED:
            return None
        started = self._events.domain_stats(domain).get("event.last.started")
        return started if isinstance(started, int) else None
