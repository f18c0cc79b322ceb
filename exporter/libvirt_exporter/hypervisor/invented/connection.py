"""The invented host as a connection: what `hypervisor` uses of virConnect and its objects.

It answers as libvirt's QEMU driver does, read-only, at once and without errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.invented import figures, story
from libvirt_exporter.hypervisor.invented.load import DAY
from libvirt_exporter.hypervisor.invented.machines import (
    HOST_CPUS,
    HOST_MEMORY,
    HOST_NAME,
    HOST_UUID,
    KIB,
    MACHINES,
    NETWORKS,
    POOLS,
    Machine,
    Network,
    Pool,
    domain_xml,
)

_TICK: Final = 0.5
"""Seconds after which it is looked for what has happened."""
_OBJECTS: Final = {
    "domain": libvirt.VIR_ERR_NO_DOMAIN,
    "storage pool": libvirt.VIR_ERR_NO_STORAGE_POOL,
    "network": libvirt.VIR_ERR_NO_NETWORK,
}

_GROUPS: Final = {
    "state": libvirt.VIR_DOMAIN_STATS_STATE,
    "cpu-total": libvirt.VIR_DOMAIN_STATS_CPU_TOTAL,
    "balloon": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "vcpu": libvirt.VIR_DOMAIN_STATS_VCPU,
    "interface": libvirt.VIR_DOMAIN_STATS_INTERFACE,
    "block": libvirt.VIR_DOMAIN_STATS_BLOCK,
    "iothread": libvirt.VIR_DOMAIN_STATS_IOTHREAD,
    "dirtyrate": libvirt.VIR_DOMAIN_STATS_DIRTYRATE,
}

Callback = Callable[..., None]


def refused(uri: str) -> libvirt.libvirtError:
    """What a read-write connection fails with: there are no guests whose agents could be asked."""
    return _error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, f"{uri} has no guest agents")


def _error(code: int, message: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.args = (message,)
    error.err = (code, 0, message, libvirt.VIR_ERR_ERROR, message, None, None, -1, -1)
    return error


class InventedConnection:
    """What is used of virConnect."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now`: Unix time, of which everything is a function."""
        self.now = now
        self._callbacks: dict[int, tuple[str, Callback]] = {}
        self._number = 0
        self._closed = threading.Event()

    # The connection.

    def isAlive(self) -> int:  # noqa: N802
        return int(not self._closed.is_set())

    def close(self) -> int:
        self._closed.set()
        return 0

    def registerCloseCallback(self, callback: Callback, opaque: object) -> int:  # noqa: N802
        return 0

    def unregisterCloseCallback(self) -> int:  # noqa: N802
        return 0

    def getType(self) -> str:  # noqa: N802
        return "QEMU"

    def getVersion(self) -> int:  # noqa: N802
        return 10_000_002

    def getLibVersion(self) -> int:  # noqa: N802
        return 11_003_000

    def getHostname(self) -> str:  # noqa: N802
        return HOST_NAME

    def getCapabilities(self) -> str:  # noqa: N802
        return f"<capabilities><host><uuid>{HOST_UUID}</uuid></host></capabilities>"

    # The host.

    def getInfo(self) -> list[Any]:  # noqa: N802
        return ["x86_64", HOST_MEMORY // KIB**2, HOST_CPUS, 2600, 1, 1, HOST_CPUS // 2, 2]

    def getCPUStats(self, _cpu: int) -> dict[str, int]:  # noqa: N802
        return figures.host_cpu_times(self.now())

    def getMemoryStats(self, _cell: int) -> dict[str, int]:  # noqa: N802
        return figures.host_memory(self.now())

    # Domains.

    def lookupByUUIDString(self, uuid: str) -> InventedDomain:  # noqa: N802
        machine = _found("domain", uuid, MACHINES)
        return InventedDomain(self, machine)

    def getAllDomainStats(self, stats: int = 0, flags: int = 0) -> list[Any]:  # noqa: N802
        return self.domainListGetStats(
            [InventedDomain(self, machine) for machine in MACHINES], stats, flags
        )

    def domainListGetStats(  # noqa: N802
        self, doms: Sequence[InventedDomain], stats: int = 0, flags: int = 0
    ) -> list[Any]:
        now = self.now()
        groups = [group for group, bit in _GROUPS.items() if stats & bit or not stats]
        only_active = flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        return [
            (domain, figures.statistics(domain.machine, now, groups))
            for domain in doms
            if not only_active or figures.is_active(domain.machine, now)
        ]

    # Events.

    def domainEventRegisterAny(  # noqa: N802
        self, _domain: None, event_id: int, callback: Callback, _opaque: object
    ) -> int:
        name = _EVENT_NAMES.get(event_id, "")
        first = not self._callbacks
        self._number += 1
        self._callbacks[self._number] = name, callback
        if first:
            threading.Thread(target=self._follow, name="demo-events", daemon=True).start()
        return self._number

    def domainEventDeregisterAny(self, callback_id: int) -> int:  # noqa: N802
        self._callbacks.pop(callback_id, None)
        return 0

    def _follow(self) -> None:
        since = self.now()
        while not self._closed.wait(_TICK):
            until = self.now()
            self.deliver(since, until)
            since = max(since, until)

    def deliver(self, since: float, until: float) -> None:
        """Call back for what happened after `since`, up to `until`, in order."""
        for machine, event, details in _happened(since, until):
            for name, callback in list(self._callbacks.values()):
                if name == event:
                    callback(self, InventedDomain(self, machine), *details, None)

    # Storage pools and networks.

    def listAllStoragePools(self) -> list[InventedPool]:  # noqa: N802
        return [InventedPool(self, pool) for pool in POOLS.values()]

    def storagePoolLookupByUUIDString(self, uuid: str) -> InventedPool:  # noqa: N802
        return InventedPool(self, _found("storage pool", uuid, tuple(POOLS.values())))

    def listAllNetworks(self) -> list[InventedNetwork]:  # noqa: N802
        return [InventedNetwork(network) for network in NETWORKS.values()]

    def networkLookupByUUIDString(self, uuid: str) -> InventedNetwork:  # noqa: N802
        return InventedNetwork(_found("network", uuid, tuple(NETWORKS.values())))


_EVENT_NAMES: Final = {
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: "lifecycle",
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT: "reboot",
    libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: "io_error_reason",
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: "agent_lifecycle",
    libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION: "migration_iteration",
    libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED: "job_completed",
}
"""Those that ever happen here."""


def _happened(since: float, until: float) -> Iterator[tuple[Machine, str, story.Details]]:
    found = [
        (at, machine, event, details)
        for machine in MACHINES
        for at, event, details in story.happenings(machine.story, since, until)
    ]
    for _, machine, event, details in sorted(found, key=lambda each: each[0]):
        yield machine, event, details


def _found(kind: str, uuid: str, among: Sequence[Any]) -> Any:
    """The one with that UUID. Raises libvirt.libvirtError."""
    for each in among:
        if each.uuid == uuid:
            return each
    raise _error(_OBJECTS[kind], f"{kind} not found: no {kind} with matching uuid '{uuid}'")


class InventedDomain:
    """What is used of virDomain."""

    def __init__(self, connection: InventedConnection, machine: Machine) -> None:
        self.connection = connection
        self.machine = machine

    def _episode(self) -> story.Episode:
        return story.moment(self.machine.story, self.connection.now()).episode

    def UUIDString(self) -> str:  # noqa: N802
        return self.machine.uuid

    def name(self) -> str:
        return self.machine.name

    def ID(self) -> int:  # noqa: N802
        now = self.connection.now()
        if not figures.is_active(self.machine, now):
            return -1
        # Another one for each run.
        runs = int(story.run_began(self.machine.story, now) // story.CYCLE)
        return runs % 1000 * 100 + self.machine.number

    def isActive(self) -> int:  # noqa: N802
        return int(figures.is_active(self.machine, self.connection.now()))

    def isPersistent(self) -> int:  # noqa: N802
        return 1

    def autostart(self) -> int:
        return int(self.machine.autostart)

    def state(self) -> list[int]:
        episode = self._episode()
        return [episode.state, episode.reason]

    def info(self) -> list[int]:
        machine, now = self.machine, self.connection.now()
        memory, active = machine.memory // KIB, self.isActive()
        cpu_time = figures.cpu_times(machine, now)[0] if active else 0
        return [self._episode().state, memory, memory, machine.vcpus, cpu_time]

    def getCPUStats(self, _total: bool) -> list[dict[str, int]]:  # noqa: N802
        total, user, system = figures.cpu_times(self.machine, self.connection.now())
        return [{"cpu_time": total, "user_time": user, "system_time": system}]

    def controlInfo(self) -> list[int]:  # noqa: N802
        return [libvirt.VIR_DOMAIN_CONTROL_OK, 0, 0]

    def jobStats(self, flags: int = 0) -> dict[str, Any]:  # noqa: N802
        return dict(figures.job(self.machine, self.connection.now()))

    def blockJobInfo(self, device: str, flags: int = 0) -> dict[str, int]:  # noqa: N802
        return figures.block_job(self.machine, device, self.connection.now())

    def diskErrors(self) -> dict[str, int]:  # noqa: N802
        return figures.disk_errors(self.machine, self.connection.now())

    def snapshotNum(self) -> int:  # noqa: N802
        return int(self.machine.snapshot_days > 0)

    def listAllSnapshots(self, flags: int = 0) -> list[InventedSnapshot]:  # noqa: N802
        days = self.machine.snapshot_days
        today = self.connection.now() // DAY * DAY
        return [InventedSnapshot(int(today - days * DAY))] if days else []

    def listAllCheckpoints(self, flags: int = 0) -> list[InventedSnapshot]:  # noqa: N802
        return []

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        run = None if flags & libvirt.VIR_DOMAIN_XML_INACTIVE else self.ID()
        agent = self.machine.agent and self._episode().agent
        return domain_xml(self.machine, run if run != -1 else None, agent=agent)

    def messages(self, flags: int = 0) -> list[str]:
        return []

    def schedulerParameters(self) -> dict[str, int]:  # noqa: N802
        return {"cpu_shares": 100}


class InventedSnapshot:
    """What is used of virDomainSnapshot."""

    def __init__(self, created: int) -> None:
        self._created = created

    def getXMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        return f"<domainsnapshot><creationTime>{self._created}</creationTime></domainsnapshot>"


class InventedPool:
    """What is used of virStoragePool."""

    def __init__(self, connection: InventedConnection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool

    def UUIDString(self) -> str:  # noqa: N802
        return self._pool.uuid

    def name(self) -> str:
        return self._pool.name

    def isPersistent(self) -> int:  # noqa: N802
        return 1

    def autostart(self) -> int:
        return 1

    def info(self) -> list[int]:
        capacity = self._pool.capacity
        used = min(figures.allocated(self._pool.name, self._connection.now()), capacity)
        return [libvirt.VIR_STORAGE_POOL_RUNNING, capacity, used, capacity - used]

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        return (
            f'<pool type="dir"><name>{self._pool.name}</name>'
            f"<target><path>{self._pool.path}</path></target></pool>"
        )


class InventedNetwork:
    """What is used of virNetwork."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def UUIDString(self) -> str:  # noqa: N802
        return self._network.uuid

    def name(self) -> str:
        return self._network.name

    def isActive(self) -> int:  # noqa: N802
        return 1

    def isPersistent(self) -> int:  # noqa: N802
        return 1

    def autostart(self) -> int:
        return 1

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        return (
            f'<network><name>{self._network.name}</name><forward mode="nat"/>'
            f'<bridge name="{self._network.bridge}"/></network>'
        )
