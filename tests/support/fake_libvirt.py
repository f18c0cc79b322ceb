"""A libvirt whose faults can be timed: what a real one cannot be made to do on demand.

It imitates the QEMU driver as far as the sampler goes: one job per domain, NOWAIT replies without
it, monitors that hang, locks that are held, calls that fail as a whole, a daemon that is away,
frozen or restarted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import libvirt

from libvirt_exporter.hypervisor.sampling.stats_groups import BITS, WITH_MONITOR

WATCHDOG = "<watchdog model='i6300esb' action='pause'/>"
HOST_UUID = "4c4c4544-0042-3510-8052-b4c04f4e4732"
NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
ACTIVE = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE

WITHOUT_JOB: dict[str, dict[str, Any]] = {
    "state": {"state.state": 1, "state.reason": 1},
    "cpu-total": {"cpu.time": 1},
    "balloon": {"balloon.current": 1},
    "vcpu": {"vcpu.current": 1},
    "interface": {"net.count": 1, "net.0.name": "tap0", "net.0.rx.bytes": 1},
    "block": {"block.count": 1, "block.0.name": "vda"},
    "perf": {"perf.cmt": 1},
    "memory": {"memory.bandwidth.monitor.count": 1},
}
WITH_JOB: dict[str, dict[str, Any]] = {
    "balloon": {"balloon.rss": 1},
    "block": {"block.0.rd.reqs": 1},
    "iothread": {"iothread.count": 1},
    "dirtyrate": {"dirtyrate.calc_status": 0},
}


MEASURED = (
    "<perf><event name='cmt' enabled='yes'/></perf>"
    "<cputune><memorytune vcpus='0'><monitor vcpus='0'/></memorytune></cputune>"
)
"""What makes a domain have the groups perf and memory."""


AGENT = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"


def _keys(known: dict[str, dict[str, Any]], groups: set[str]) -> dict[str, Any]:
    """The keys of the groups, in libvirt's order."""
    answers = (known.get(group, {}) for group in BITS if group in groups)
    return {key: value for answer in answers for key, value in answer.items()}


def libvirt_error(code: int, message: str = "as told", domain: int = 0) -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error = libvirt.libvirtError(message)
    error.args = (message,)  # the constructor prefers this thread's last real error
    error.err = (code, domain, message, 2, message, None, None, -1, -1)
    return error


class FakeDomain:
    """One domain of a FakeHost; set its attributes to make things go wrong."""

    def __init__(self, number: int, *, active: bool = True, iothreads: int = 0) -> None:
        self.uuid = str(UUID(int=number + 1))
        self.name = f"vm{number}"
        self.active = active
        self.iothreads = iothreads
        self.markless = False
        """Replies never hold the keys that need a job."""
        self.busy_replies = 0
        """NOWAIT replies that find the job held by another client."""
        self.failing: set[str] = set()
        """Groups that fail the whole call."""
        self.xml_broken = False
        self.shares: int | None = None
        """CPU shares in force; None: there is no control group."""
        self.deprecated: list[str] = []
        """What it was started with that is deprecated."""
        self.cpu_mode = ""
        """As its definition has it; custom while it runs."""
        self.run = 1
        """Number of its run."""
        self.persistent = True
        self.has_control_group = True
        self.measured = False
        """Whether its XML names perf events and a resctrl monitor."""
        self.has_agent = False
        """Whether an agent in the guest has opened its channel."""
        self.has_monitor = True
        self.late = 0.0
        """Seconds that a call takes after its monitor has answered."""
        self.monitor_contacts = 0
        self.xml_reads = 0
        self.answers = threading.Event()
        self.answers.set()
        self.unlocked = threading.Event()
        self.unlocked.set()
        self.readable = threading.Event()
        """Unless set, whoever reads its XML waits, as for a job since libvirt 11."""
        self.readable.set()
        self.xml_waiters = 0
        self.job_since: float | None = None
        self.job: dict[str, Any] = {"type": libvirt.VIR_DOMAIN_JOB_NONE}
        """What jobStats says."""
        self.block_jobs: dict[str, dict[str, int]] = {}
        """What blockJobInfo says, by device."""
        self.disk_errors: dict[str, int] = {}
        self.refusals: dict[str, libvirt.libvirtError] = {}
        """Errors of its own calls, by name."""
        self.messages_reads = 0
        self.own_calls: list[str] = []
        """Names of the calls that were made for it alone."""

    def xml(self, *, definition: bool = False) -> str:
        if self.xml_broken:
            return "<domain"
        live = self.active and not definition
        run = f"id='{self.run}'" if live else ""
        mode = "custom" if live and self.cpu_mode == "host-model" else self.cpu_mode
        cpu = f"<cpu mode='{mode}'/>" if mode else ""
        return (
            f"<domain type='qemu' {run}><name>{self.name}</name><uuid>{self.uuid}</uuid>{cpu}"
            f"<iothreads>{self.iothreads}</iothreads>{MEASURED if self.measured else ''}"
            f"<devices>{WATCHDOG}{AGENT if self.has_agent else ''}</devices></domain>"
        )

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Its QEMU does not answer."""
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody destroys it: whatever needs its lock waits."""
        self.unlocked.clear()
        try:
            yield
        finally:
            self.unlocked.set()

    def statistics(self, groups: set[str], flags: int) -> dict[str, Any]:
        """What the bulk call says; blocks as it would."""
        self.unlocked.wait()
        if failing := groups & self.failing:
            raise libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, f"cannot read {failing}")
        asked = groups if self.active else groups - WITH_MONITOR - {"interface"}
        stats = _keys(WITHOUT_JOB, asked)
        if not self.active:
            return stats | {"state.state": 5}
        if groups & WITH_MONITOR and (not self.has_monitor or self._take_job(flags)):
            stats |= _keys(WITH_JOB, groups)
        return stats

    def _take_job(self, flags: int) -> bool:
        assert flags & NOWAIT, "a call without NOWAIT may wait for any client's job"
        if self.busy_replies:
            self.busy_replies -= 1
            return False
        if self.job_since is not None:
            return False
        self.job_since = time.monotonic()
        self.monitor_contacts += 1
        self.answers.wait()
        self.job_since = None
        time.sleep(self.late)
        return not self.markless

    def control(self) -> list[int]:
        self.unlocked.wait()
        if self.job_since is None:
            return [0, 0, 0]
        return [2, 0, int((time.monotonic() - self.job_since) * 1000)]


class FakeHost:
    """A libvirt with domains; `connect` is the factory that a Host takes."""

    def __init__(self, size: int = 3, *, lacking: frozenset[str] = frozenset()) -> None:
        """`lacking`: groups that the bulk call does not answer; with any it is no QEMU driver."""
        self.driver = "Xen" if lacking else "QEMU"
        self.lacking = lacking
        self.domains = {domain.uuid: domain for domain in map(FakeDomain, range(size))}
        for domain in self.domains.values():
            domain.has_monitor = not lacking
        self.connections: list[FakeConnection] = []
        self.attempts = 0
        self.refusal: libvirt.libvirtError | None = None
        self.thawed = threading.Event()
        self.thawed.set()
        self.version_known = threading.Event()
        self.version_known.set()
        self.calls: list[tuple[str, frozenset[str], tuple[str, ...]]] = []
        """Statistics calls: name, groups, names of the domains asked."""
        self.before: Callable[[str], None] = lambda _: None
        """Told before a call what it is about: each group of a statistics call, or its own name."""

    def __getitem__(self, number: int) -> FakeDomain:
        return list(self.domains.values())[number]

    def add(self, domain: FakeDomain) -> None:
        self.domains[domain.uuid] = domain

    def connect(self, _uri: str) -> Any:
        self.attempts += 1
        self.thawed.wait()
        if self.refusal is not None:
            raise self.refusal
        connection = FakeConnection(self)
        self.connections.append(connection)
        return connection

    def drop_connections(self) -> None:
        """The daemon was restarted: all connections end."""
        for connection in self.connections:
            connection.end()
        self.connections.clear()

    def emit(self, domain: FakeDomain, event_id: int, *details: object) -> None:
        """Deliver an event to whoever registered for it."""
        for connection in self.connections:
            for known_id, callback in connection.callbacks.values():
                if known_id == event_id:
                    callback(connection, FakeHandle(connection, domain), *details, None)


class FakeConnection:
    """What the hypervisor package uses of virConnect."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.alive = True
        self.closed = False
        self.callbacks: dict[int, tuple[int, Callable[..., None]]] = {}
        self.close_callback: Callable[..., None] | None = None

    def end(self) -> None:
        self.alive = False
        if self.close_callback is not None:
            self.close_callback(self, libvirt.VIR_CONNECT_CLOSE_REASON_EOF, None)

    def check(self) -> None:
        self.host.thawed.wait()
        if not self.alive:
            raise libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed")

    def isAlive(self) -> int:  # noqa: N802
        return int(self.alive)

    def getType(self) -> str:  # noqa: N802
        self.check()
        return self.host.driver

    def getVersion(self) -> int:  # noqa: N802
        self.host.version_known.wait()
        return 7_002_022

    def getHostname(self) -> str:  # noqa: N802
        return "kvm1"

    def getCapabilities(self) -> str:  # noqa: N802
        return f"<capabilities><host><uuid>{HOST_UUID}</uuid></host></capabilities>"

    def getLibVersion(self) -> int:  # noqa: N802
        return 9_000_000

    def lookupByUUIDString(self, uuid: str) -> FakeHandle:  # noqa: N802
        self.check()
        if uuid not in self.host.domains:
            raise libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found")
        self.host.domains[uuid].unlocked.wait()
        return FakeHandle(self, self.host.domains[uuid])

    def getAllDomainStats(self, stats: int = 0, flags: int = 0) -> list[Any]:  # noqa: N802
        handles = [FakeHandle(self, domain) for domain in list(self.host.domains.values())]
        return self._statistics("getAllDomainStats", handles, stats, flags)

    def domainListGetStats(  # noqa: N802
        self, doms: list[FakeHandle], stats: int = 0, flags: int = 0
    ) -> list[Any]:
        assert all(handle.connection is self for handle in doms), "handles of another connection"
        return self._statistics("domainListGetStats", doms, stats, flags)

    def _statistics(
        self, call: str, handles: list[FakeHandle], stats: int, flags: int
    ) -> list[Any]:
        self.check()
        groups = {group for group, bit in BITS.items() if bit & stats}
        if flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS:
            if groups & self.host.lacking:
                raise libvirt_error(libvirt.VIR_ERR_CONFIG_UNSUPPORTED)
            return []
        for group in groups:
            self.host.before(group)
        names = tuple(handle.domain.name for handle in handles)
        self.host.calls.append((call, frozenset(groups), names))
        rows = []
        for handle in handles:
            domain = handle.domain
            if domain.uuid in self.host.domains and (domain.active or not flags & ACTIVE):
                rows.append((handle, domain.statistics(groups, flags)))
        self.check()
        return rows

    def domainEventRegisterAny(  # noqa: N802
        self, _domain: None, event_id: int, callback: Callable[..., None], _opaque: None
    ) -> int:
        self.check()
        self.callbacks[len(self.callbacks)] = event_id, callback
        return len(self.callbacks) - 1

    def domainEventDeregisterAny(self, callback_id: int) -> None:  # noqa: N802
        assert not self.closed
        del self.callbacks[callback_id]

    def registerCloseCallback(self, callback: Callable[..., None], _opaque: None) -> None:  # noqa: N802
        self.close_callback = callback

    def unregisterCloseCallback(self) -> None:  # noqa: N802
        self.close_callback = None

    def close(self) -> None:
        self.host.thawed.wait()
        self.closed = True


class FakeHandle:
    """What the hypervisor package uses of virDomain."""

    def __init__(self, connection: FakeConnection, domain: FakeDomain) -> None:
        self.connection = connection
        self.domain = domain

    def UUIDString(self) -> str:  # noqa: N802
        return self.domain.uuid

    def name(self) -> str:
        return self.domain.name

    def ID(self) -> int:  # noqa: N802
        return 1 if self.domain.active else -1

    def isActive(self) -> int:  # noqa: N802
        self.domain.unlocked.wait()
        return int(self.domain.active)

    def isPersistent(self) -> int:  # noqa: N802
        return int(self.domain.persistent)

    def autostart(self) -> int:
        raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)

    def state(self) -> list[int]:
        self.domain.unlocked.wait()
        return [1 if self.domain.active else 5, 1]

    def info(self) -> list[int]:
        self.connection.check()
        self.connection.host.before("info")
        self.domain.unlocked.wait()
        return [1 if self.domain.active else 5, 2048, 1024, 2, 10]

    def getCPUStats(self, _total: bool) -> list[dict[str, int]]:  # noqa: N802
        if not self.domain.has_control_group:
            raise libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID, "CPUACCT is not mounted")
        return [{"cpu_time": 13, "user_time": 8, "system_time": 4}]

    def vcpusFlags(self, flags: int) -> int:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_VCPU_MAXIMUM
        return 4

    def vcpus(self) -> tuple[list[tuple[int, ...]], list[tuple[bool, ...]]]:
        return [(0, 1, 6, 0), (1, 1, 7, 1)], [(True,), (True,)]

    def controlInfo(self) -> list[int]:  # noqa: N802
        self.connection.check()
        if not self.domain.active:
            raise libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running")
        return self.domain.control()

    def _own_call(self, name: str) -> None:
        """A call that takes the domain's job."""
        self.connection.check()
        self.domain.own_calls.append(name)
        self.connection.host.before(name)
        self.domain.unlocked.wait()
        if name in self.domain.refusals:
            raise self.domain.refusals[name]
        self.domain.answers.wait()

    def jobStats(self, flags: int = 0) -> dict[str, Any]:  # noqa: N802
        assert flags == 0, "COMPLETED erases the figures for everybody else"
        self._own_call("jobStats")
        return dict(self.domain.job)

    def blockJobInfo(self, device: str, flags: int = 0) -> dict[str, int]:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES
        self._own_call(f"blockJobInfo {device}")
        return dict(self.domain.block_jobs.get(device, {}))

    def diskErrors(self) -> dict[str, int]:  # noqa: N802
        self._own_call("diskErrors")
        return dict(self.domain.disk_errors)

    def snapshotNum(self) -> int:  # noqa: N802
        raise libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)

    def listAllCheckpoints(self) -> list[Any]:  # noqa: N802
        if (refusal := self.domain.refusals.get("listAllCheckpoints")) is not None:
            raise refusal
        return []

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        definition = flags == libvirt.VIR_DOMAIN_XML_INACTIVE
        assert definition or flags == 0, "more needs a read-write connection"
        self.connection.check()
        if self.domain.uuid not in self.connection.host.domains:
            raise libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found")
        self.domain.unlocked.wait()
        self.domain.xml_waiters += 1
        self.domain.readable.wait()
        self.domain.xml_waiters -= 1
        if definition:
            self.domain.own_calls.append("definition")
        else:
            self.domain.xml_reads += 1
        return self.domain.xml(definition=definition)

    def messages(self, _flags: int = 0) -> list[str]:
        self.connection.check()
        self.domain.messages_reads += 1
        if (refusal := self.domain.refusals.get("messages")) is not None:
            raise refusal
        return [f"deprecated configuration: {what}" for what in self.domain.deprecated]

    def schedulerParameters(self) -> dict[str, int]:  # noqa: N802
        self.connection.check()
        self.domain.own_calls.append("schedulerParameters")
        if (refusal := self.domain.refusals.get("schedulerParameters")) is not None:
            raise refusal
        if self.domain.shares is None:
            raise libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID, "no CPU controller")
        return {"cpu_shares": self.domain.shares, "vcpu_quota": -1}
