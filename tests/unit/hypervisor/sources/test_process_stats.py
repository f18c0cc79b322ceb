"""Since when a domain runs, and what its process says."""

from __future__ import annotations

from typing import Any, cast

import libvirt
import pytest

from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.qemu_process import QemuProcess, QemuProcesses
from libvirt_exporter.hypervisor.sources.process_stats import OLDEST, ProcessStats
from libvirt_exporter.model import DomainInfo, Hugepages, OvirtInfo, Stats, UnseenReason

UUID = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"
NOW = 1_800_000_000.0
STARTED = 1_700_000_000 * 10**9
RUNNING = libvirt.VIR_DOMAIN_RUNNING
BOOTED = (RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
MIGRATED = (RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
RESTORED = (RUNNING, libvirt.VIR_DOMAIN_RUNNING_RESTORED)
FROM_SNAPSHOT = (RUNNING, libvirt.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT)
UNPAUSED = (RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED)


class Known:
    """Stands for inventory, processes and events that know one domain."""

    def __init__(
        self,
        info: DomainInfo | None = None,
        process: QemuProcess | None = None,
        event: int | None = None,
        huge_pages: bool | None = None,
        unseen: UnseenReason | None = None,
    ) -> None:
        self.reason = unseen
        self.huge_pages = huge_pages
        self.info = info
        self.known_process = process
        self.event = event

    def get(self, uuid: str) -> DomainInfo | None:
        assert uuid == UUID
        return self.info

    def process(self, uuid: str) -> QemuProcess | None:
        assert uuid == UUID
        return self.known_process

    def unseen(self, uuid: str) -> UnseenReason | None:
        assert uuid == UUID
        return self.reason

    def domain_stats(self, domain: DomainDraft) -> Stats:
        return {} if self.event is None else {"event.last.started": self.event}

    def source(self, *, sees_processes: bool = True) -> ProcessStats:
        """A ProcessStats that asks this."""
        processes = cast(QemuProcesses, self) if sees_processes else None
        return ProcessStats(cast(Inventory, self), processes, self)


def draft(state: tuple[int, int] = BOOTED, *, active: bool = True) -> DomainDraft:
    """The domain in a sample."""
    stats = {"state.state": state[0], "state.reason": state[1]}
    return DomainDraft(UUID, "vm", active=active, state=stats, timestamp=NOW)


def info(kind: str = "kvm", start_time: float | None = None) -> DomainInfo:
    """What its XML says."""
    return DomainInfo(uuid=UUID, name="vm", type=kind, ovirt=OvirtInfo(start_time=start_time))


def process(*, incoming: bool = False, read_at: float = NOW) -> QemuProcess:
    """Its process."""
    return QemuProcess(4711, b"1", STARTED, incoming, 5_000_000_000, read_at)


def test_a_kvm_guest_has_its_time_and_its_process() -> None:
    """Numbers as /proc has them, in ns."""
    assert Known(info(), process()).source().domain_stats(draft()) == {
        "process.pid": 4711,
        "process.guest.time": 5_000_000_000,
        "start.time": STARTED,
    }


@pytest.mark.parametrize("known", [info("qemu"), None])
def test_without_kvm_there_is_no_guest_time(known: DomainInfo | None) -> None:
    """An emulated guest runs too, but the kernel counts 0; nor is it said of who knows what."""
    stats = Known(known, process()).source().domain_stats(draft())
    assert "process.guest.time" not in stats
    assert stats["process.pid"] == 4711


def test_an_old_reading_is_no_figure_of_this_sample() -> None:
    """A counter that stands still would pass for a guest that does."""
    old = process(read_at=NOW - OLDEST - 1)
    stats = Known(info(), old).source().domain_stats(draft())
    assert stats == {"process.pid": 4711, "start.time": STARTED}


def test_a_process_that_is_not_seen_is_named_with_the_reason() -> None:
    """Where it was looked for: what /proc would have told is absent, and this says why."""
    known = Known(info(), unseen="no_process")
    assert known.source().domain_stats(draft()) == {"process.unseen": "no_process"}
    assert known.source(sees_processes=False).domain_stats(draft()) == {}


def test_an_inactive_domain_has_nothing() -> None:
    """Whatever was known of it."""
    known = Known(info(start_time=5.0), process(), event=7)
    assert known.source().domain_stats(draft((5, 1), active=False)) == {}


def started(known: Known, *states: tuple[int, int], sees_processes: bool = True) -> object:
    """The start after samples of these states."""
    source = known.source(sees_processes=sees_processes)
    return [source.domain_stats(draft(state)) for state in states][-1].get("start.time")


def test_metadata_knows_the_start_best() -> None:
    """oVirt carries it along when it migrates a VM."""
    known = Known(info(start_time=1_600_000_000.5), process(incoming=True), event=7)
    assert started(known, MIGRATED) == 1_600_000_000_500_000_000


def test_the_process_knows_better_than_an_event() -> None:
    """It survives what the exporter does not."""
    assert started(Known(info(), process(), event=7), UNPAUSED) == STARTED


@pytest.mark.parametrize("state", [MIGRATED, UNPAUSED])
def test_after_an_arrival_the_process_does_not_know(state: tuple[int, int]) -> None:
    """The VM is older than its process here, also when it was paused and resumed since."""
    assert started(Known(info(), process(incoming=True), event=7), state) is None


@pytest.mark.parametrize("state", [RESTORED, FROM_SNAPSHOT])
def test_a_guest_from_a_file_was_started_with_its_process(state: tuple[int, int]) -> None:
    """And that is not forgotten when the reason is another one later."""
    assert started(Known(info(), process(incoming=True)), state, UNPAUSED) == STARTED


@pytest.mark.parametrize(
    ("host", "own", "memory", "expected"),
    [
        (True, True, {}, True),
        (True, True, {"memory_source": "anonymous"}, True),
        (False, True, {}, False),
        (True, False, {}, False),
        (True, True, {"hugepages": (Hugepages(2 << 20),)}, False),
        (True, True, {"memory_source": "memfd"}, None),
        (True, True, {"memory_source": "file"}, None),
        (True, True, {"memory_shared": True}, None),
        (None, True, {}, None),
        (True, None, {}, None),
    ],
)
def test_huge_pages_need_leave_of_host_and_process(
    host: bool | None, own: bool | None, memory: dict[str, Any], expected: bool | None
) -> None:
    """And memory that is neither of hugetlbfs nor shared; what is not known is not said."""
    found = process()
    found.may_have_huge_pages = own
    known = Known(DomainInfo(uuid=UUID, name="vm", **memory), found, huge_pages=host)
    stats = known.source().domain_stats(draft())
    assert stats.get("process.transparent_hugepages") is expected


@pytest.mark.parametrize(("pages", "expected"), [((), None), ((Hugepages(0),), False)])
def test_of_another_machine_only_hugetlbfs_is_known(
    pages: tuple[Hugepages, ...], expected: bool | None
) -> None:
    """The XML names it."""
    known = Known(DomainInfo(uuid=UUID, name="vm", hugepages=pages))
    stats = known.source(sees_processes=False).domain_stats(draft())
    assert stats.get("process.transparent_hugepages") is expected


def test_another_process_is_another_start() -> None:
    """Restored, then migrated away and back."""
    known = Known(info(), process(incoming=True))
    source = known.source()
    assert "start.time" in source.domain_stats(draft(RESTORED))
    known.known_process = process(incoming=True)
    assert "start.time" not in source.domain_stats(draft(MIGRATED))


@pytest.mark.parametrize(("state", "expected"), [(BOOTED, 7), (UNPAUSED, 7), (MIGRATED, None)])
def test_where_processes_are_not_seen_the_event_counts(
    state: tuple[int, int], expected: int | None
) -> None:
    """Unless the domain was started here to take over a guest."""
    known = Known(info(), process(), event=7)
    assert started(known, state, sees_processes=False) == expected


def test_nobody_knows_is_no_start() -> None:
    """Absent, not 0."""
    assert started(Known(info()), BOOTED) is None
