"""Who is asked for jobs, and for how long the answers are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import libvirt
import pytest

from libvirt_exporter.catalogue import job as catalogue
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.events.names import BLOCK_JOB_TYPES
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources import jobs, walking_lane
from libvirt_exporter.hypervisor.sources.jobs import LOOK_AGAIN, LOOK_EVERY, LOOKS, STALE, JobsLane
from libvirt_exporter.model import JOB_OPERATIONS, Disk, DomainInfo, StatValue
from tests.support.fake_libvirt import FakeDomain, FakeHost, libvirt_error
from tests.support.samples import value
from tests.support.virtual_time import Clock

pytestmark = pytest.mark.anyio

NO_JOB = {"blockjob.count": 0}
MIGRATION = {"type": 2, "operation": 5, "time_elapsed": 1000, "data_remaining": 4096}
COPY = {"type": 2, "bandwidth": 0, "cur": 10, "end": 20}
RUNNING = (1, 1)


class Case:
    """A lane over a fake host, and what it is told from elsewhere."""

    def __init__(self, fake: FakeHost, clock: Clock) -> None:
        self.fake = fake
        self.clock = clock
        self.suspected: set[str] = set()
        self.stuck: set[str] = set()
        self.states = dict.fromkeys(fake.domains, RUNNING)
        self.missing: dict[str, frozenset[str]] = {}
        self.excused: set[str] = set()
        self.infos = {
            uuid: DomainInfo(uuid=uuid, name=domain.name, disks=(Disk(device="vda", source="/a"),))
            for uuid, domain in fake.domains.items()
        }
        self.connections = Connections("qemu:///system", Observer(), fake.connect)
        self.lane = JobsLane(
            self.connections,
            info=self.infos.get,
            suspected=self.suspected.__contains__,
            stuck=lambda: self.stuck,
        )

    def draft(self, domain: FakeDomain) -> DomainDraft:
        state, reason = self.states[domain.uuid]
        stats = {"state.state": state, "state.reason": reason}
        return DomainDraft(
            domain.uuid, domain.name, active=domain.active, state=stats, timestamp=0.0
        )

    async def sample(self) -> list[str]:
        """Have one reading made; the names of the domains whose jobs were asked for."""
        for domain in self.fake.domains.values():
            domain.own_calls.clear()
        drafts = [self.draft(domain) for domain in self.fake.domains.values()]
        await self.lane.read(drafts, Deadline.within(10))
        for draft in drafts:  # a sample goes on after its lanes have begun
            draft.missing = self.missing.get(draft.uuid, frozenset())
            draft.excused = draft.uuid in self.excused
        domains = self.fake.domains.values()
        return [domain.name for domain in domains if "jobStats" in domain.own_calls]

    async def settle(self) -> None:
        """Go on until every domain has been looked at."""
        await self.sample()
        while await self.sample():
            self.clock.now += LOOKS * LOOK_EVERY

    def stats(self, domain: FakeDomain) -> dict[str, object]:
        return dict(self.lane.domain_stats(self.draft(domain)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(jobs, "monotonic", found.monotonic)
    return found


@contextmanager
def case(clock: Clock, size: int = 3) -> Iterator[Case]:
    found = Case(FakeHost(size), clock)
    try:
        yield found
    finally:
        found.connections.close()


async def test_every_domain_is_looked_at_once_a_few_in_a_while(clock: Clock) -> None:
    """Nobody before one sample has shown who answers; then all in turn, however often that is."""
    with case(clock, 2 * LOOKS + 1) as found:
        asked = []
        for seconds in (0, 0, 0, 3 * LOOK_EVERY, 0, 20 * LOOK_EVERY, 10 * LOOK_EVERY):
            clock.now += seconds
            asked.append(await found.sample())

        assert [len(names) for names in asked] == [0, LOOKS, 0, 3, 0, LOOKS - 2, 0]
        assert set(chain(*asked)) == {domain.name for domain in found.fake.domains.values()}


async def test_a_look_is_repeated_after_a_while(clock: Clock) -> None:
    """The start of a backup or pull has no sign: it is found at the next look."""
    with case(clock) as found:
        await found.settle()
        domain = found.fake[1]
        domain.job = {"type": 2, "operation": 9}
        clock.now += LOOK_AGAIN / 2

        assert await found.sample() == []
        assert found.stats(domain) == NO_JOB

        clock.now += LOOK_AGAIN / 2 + 1

        assert len(await found.sample()) == 3
        assert found.stats(domain) == NO_JOB | {"job.type": 2, "job.operation": 9}


async def test_a_reconnect_has_everybody_looked_at_again(clock: Clock) -> None:
    """Events may have been missed."""
    with case(clock) as found:
        await found.settle()
        found.lane.look_again()

        assert len(await found.sample()) == 3


async def test_a_job_is_followed_in_every_sample_until_it_is_over(clock: Clock) -> None:
    """Its figures are gone as soon as libvirt knows of none."""
    with case(clock) as found:
        domain = found.fake[0]
        domain.job = MIGRATION
        await found.sample()
        await found.sample()
        figures = {f"job.{key}": value for key, value in MIGRATION.items()}
        assert found.stats(domain) == NO_JOB | figures

        domain.job = MIGRATION | {"time_elapsed": 2000}
        assert await found.sample() == [domain.name]
        assert found.stats(domain)["job.time_elapsed"] == 2000

        domain.job = {"type": 0}
        assert await found.sample() == [domain.name]
        assert found.stats(domain) == NO_JOB
        assert await found.sample() == []


async def test_a_job_of_a_driver_that_does_not_say_which_is_one_of_an_unknown_kind(
    clock: Clock,
) -> None:
    """Xen's; without an operation the job would have no info series."""
    with case(clock) as found:
        found.fake[0].job = {"type": 2, "time_elapsed": 5000}
        await found.sample()
        await found.sample()
        stats = found.stats(found.fake[0])
    assert (stats["job.type"], stats["job.operation"]) == (2, 0)


@pytest.mark.parametrize(
    "state", [(3, 0), (3, 2), (3, 3), (3, 4), (3, 9), (3, 11), (3, 12), (3, 13), (1, 10), (1, 11)]
)
async def test_reasons_that_come_with_a_job_are_a_sign(
    clock: Clock, state: tuple[int, int]
) -> None:
    """The domain is asked in the very sample that shows the reason."""
    with case(clock) as found:
        await found.settle()
        found.states[found.fake[2].uuid] = state

        assert await found.sample() == ["vm2"]


@pytest.mark.parametrize("state", [(1, 2), (3, 1), (3, 5), (3, 6), (3, 10), (4, 1), (99, 3)])
async def test_other_reasons_are_none(clock: Clock, state: tuple[int, int]) -> None:
    """A domain that arrived by migration keeps that reason for ever."""
    with case(clock) as found:
        await found.settle()
        found.states[found.fake[2].uuid] = state

        assert await found.sample() == []


async def test_events_mirrors_and_another_clients_job_are_signs(clock: Clock) -> None:
    """Each of them has its domain asked at once."""
    with case(clock) as found:
        await found.settle()
        iterating, mirrored, busy = found.fake.domains
        found.suspected.add(iterating)
        disk = Disk(device="vda", source="/a", mirror_job="copy")
        found.infos[mirrored] = DomainInfo(uuid=mirrored, name="vm1", disks=(disk,))

        assert await found.sample() == ["vm0", "vm1"]

        found.missing[busy] = frozenset({"block"})
        await found.sample()

        assert await found.sample() == ["vm2"]


async def test_a_sign_without_a_job_is_not_asked_about_in_every_sample(clock: Clock) -> None:
    """After a cancelled migration the events go on to suggest one; another sign counts."""
    with case(clock, 1) as found:
        (uuid,) = found.fake.domains
        found.suspected.add(uuid)

        assert await found.sample() == ["vm0"]
        assert await found.sample() == []

        found.states[uuid] = (3, 2)

        assert await found.sample() == ["vm0"]

        clock.now += jobs.DOUBT + 1

        assert await found.sample() == ["vm0"]


@pytest.mark.parametrize("how", ["stuck", "excused", "excused before", "inactive"])
async def test_a_domain_that_cannot_answer_is_never_asked(clock: Clock, how: str) -> None:
    """Not for any sign, nor for a job that it had."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        found.suspected.add(domain.uuid)
        domain.job = MIGRATION
        if how == "excused before":
            found.excused.add(domain.uuid)
        await found.sample()
        draft = found.draft(domain)
        if how == "stuck":
            found.stuck.add(domain.uuid)
        draft.excused = how == "excused"
        draft.active = how != "inactive"
        domain.own_calls.clear()

        await found.lane.read([draft], Deadline.within(10))

        assert domain.own_calls == []
        assert bool(found.lane.domain_stats(draft)) == (how != "inactive")


async def test_a_domain_that_was_missing_something_is_not_looked_at(clock: Clock) -> None:
    """A look without a sign may not wait for anybody."""
    with case(clock, 1) as found:
        (uuid,) = found.fake.domains
        found.missing[uuid] = frozenset({"block"})
        found.excused.add(uuid)

        assert [await found.sample() for _ in range(3)] == [[], [], []]


async def test_old_figures_are_not_shown(clock: Clock) -> None:
    """While a domain cannot be asked its last figures grow old, then they end."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        found.suspected.add(domain.uuid)
        domain.job = MIGRATION
        await found.sample()
        found.stuck.add(domain.uuid)
        clock.now += STALE - 1
        await found.sample()
        assert found.stats(domain)

        clock.now += 2
        assert found.stats(domain) == {}


async def test_block_jobs_are_numbered_and_named(clock: Clock) -> None:
    """Disks without a job, or without an image, take no number."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        disks = tuple(Disk(device=device, source="/a") for device in ("vda", "vdb", "vdc"))
        disks = (*disks, Disk(device="sda", kind="cdrom"))
        found.infos[domain.uuid] = DomainInfo(uuid=domain.uuid, name="vm0", disks=disks)
        domain.block_jobs = {"vdb": COPY, "vdc": COPY | {"type": 9}}
        found.suspected.add(domain.uuid)

        await found.sample()

        assert found.stats(domain) == {
            "blockjob.count": 2,
            "blockjob.0.name": "vdb",
            "blockjob.0.type.name": "copy",
            **{f"blockjob.0.{key}": value for key, value in COPY.items()},
            "blockjob.1.name": "vdc",
            "blockjob.1.type.name": "unknown_9",
            **{f"blockjob.1.{key}": value for key, value in (COPY | {"type": 9}).items()},
        }
        assert "blockJobInfo sda" not in domain.own_calls


def of_disks(domain: FakeDomain, mirrored: str = "") -> DomainInfo:
    """The XML of a domain with disks without, with, and with unknown lower images."""
    disks = tuple(
        Disk(
            device=device,
            source="/a",
            chain_depth=depth,
            mirror_job="copy" if device == mirrored else "",
        )
        for device, depth in (("vda", 1), ("vdb", 2), ("vdc", None))
    )
    return DomainInfo(uuid=domain.uuid, name=domain.name, disks=disks)


async def test_a_look_leaves_out_disks_that_can_have_no_job_without_a_sign(clock: Clock) -> None:
    """A pull or commit requires a lower image, and the XML shows a copy."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        found.infos[domain.uuid] = of_disks(domain)
        await found.sample()
        await found.sample()

        assert domain.own_calls == ["jobStats", "blockJobInfo vdb", "blockJobInfo vdc"]
        assert found.stats(domain) == NO_JOB


async def test_no_disk_is_left_out_where_there_is_a_job_or_a_sign_of_one(clock: Clock) -> None:
    """A backup is the domain's job, and one of each of its disks."""
    with case(clock, 2) as found:
        backed_up, copied = found.fake[0], found.fake[1]
        backed_up.job = {"type": 2, "operation": 9}
        found.infos |= {
            backed_up.uuid: of_disks(backed_up),
            copied.uuid: of_disks(copied, mirrored="vda"),
        }
        for domain in (backed_up, copied):
            domain.block_jobs = {"vda": COPY}

        await found.sample()
        await found.sample()

        for domain in (backed_up, copied):
            assert found.stats(domain)["blockjob.count"] == 1
            assert found.stats(domain)["blockjob.0.name"] == "vda"


async def test_a_job_that_a_look_finds_has_all_disks_asked_in_the_next_reading(
    clock: Clock,
) -> None:
    """Whatever comes first in the XML; the look itself asks those that may have one."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.block_jobs = {"vda": COPY, "vdb": COPY}
        found.infos[domain.uuid] = of_disks(domain)
        await found.sample()
        counts = []
        for _ in range(2):
            await found.sample()
            counts.append(found.stats(domain)["blockjob.count"])

        assert counts == [1, 2]


async def test_a_disk_is_followed_although_the_sign_of_its_job_is_gone(clock: Clock) -> None:
    """The XML may be read just before the job is over."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.block_jobs = {"vda": COPY}
        found.infos[domain.uuid] = of_disks(domain, mirrored="vda")
        await found.sample()
        found.infos[domain.uuid] = of_disks(domain)

        await found.sample()

        assert found.stats(domain)["blockjob.count"] == 1


async def test_a_block_job_of_unknown_length_is_followed_without_figures(clock: Clock) -> None:
    """libvirt says that it ends at 1 until QEMU can tell."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.block_jobs = {"vda": COPY | {"cur": 0, "end": 1}}
        found.suspected.add(domain.uuid)

        assert await found.sample() == ["vm0"]
        assert found.stats(domain) == {}

        domain.block_jobs = {"vda": COPY}

        assert await found.sample() == ["vm0"]
        assert found.stats(domain)["blockjob.0.end"] == 20


async def test_the_destination_of_a_migration_tells_nothing_and_that_is_no_error(
    clock: Clock,
) -> None:
    """Its block jobs are known all the same."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        found.states[domain.uuid] = (3, 2)
        unsupported = libvirt_error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
        domain.refusals["jobStats"] = unsupported

        assert await found.sample() == ["vm0"]
        assert await found.sample() == []
        assert found.stats(domain) == NO_JOB

        domain.block_jobs = {"vda": COPY}
        clock.now += jobs.DOUBT + 1
        await found.sample()

        assert found.stats(domain)["blockjob.0.name"] == "vda"


async def test_a_disk_that_fails_costs_only_itself(clock: Clock) -> None:
    """A device that libvirt does not find, say, because it was unplugged."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.job = MIGRATION
        domain.refusals["blockJobInfo vda"] = libvirt_error(libvirt.VIR_ERR_INVALID_ARG)
        found.suspected.add(domain.uuid)

        await found.sample()

        assert found.stats(domain)["job.operation"] == 5


async def test_a_domain_that_ended_has_no_job(clock: Clock) -> None:
    """What was read before is dropped at once."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.job = MIGRATION
        found.suspected.add(domain.uuid)
        await found.sample()
        domain.refusals["jobStats"] = libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID)

        await found.sample()

        assert found.stats(domain) == {}


async def test_a_hanging_domain_costs_one_call_and_the_others_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jobStats may wait for a monitor during a job."""
    monkeypatch.setattr(walking_lane, "PATIENCE", 1.0)
    with case(clock) as found:
        found.suspected.update(found.fake.domains)
        hanging, others = found.fake[0], (found.fake[1], found.fake[2])
        for domain in (hanging, *others):
            domain.job = MIGRATION
        with hanging.hung():
            await found.sample()
            clock.now += jobs.DOUBT + 1

            assert await found.sample() == ["vm1", "vm2"]
            assert found.stats(hanging) == {}
            assert all(found.stats(domain) for domain in others)


async def test_a_lost_connection_is_an_error_of_the_reading(clock: Clock) -> None:
    """The lane says so, so that the age of what it knows grows."""
    with case(clock) as found:
        found.suspected.update(found.fake.domains)
        found.fake.refusal = libvirt_error(libvirt.VIR_ERR_NO_CONNECT)

        with pytest.raises(CallError):
            await found.sample()


async def test_what_is_gone_is_forgotten(clock: Clock) -> None:
    """A domain that comes back has no old figures."""
    with case(clock, 1) as found:
        domain = found.fake[0]
        domain.job = MIGRATION
        found.suspected.add(domain.uuid)
        await found.sample()
        await found.lane.read([], Deadline.within(10))

        assert found.stats(domain) == {}


def test_names_are_those_of_libvirts_numbers() -> None:
    """In figures and in events alike."""
    for number, name in enumerate(JOB_OPERATIONS):
        assert getattr(libvirt, f"VIR_DOMAIN_JOB_OPERATION_{name.upper()}", number) == number
    assert catalogue.OPERATION.values == dict(enumerate(JOB_OPERATIONS))
    assert BLOCK_JOB_TYPES[libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT] == "active_commit"
    assert catalogue.TYPES[libvirt.VIR_DOMAIN_JOB_UNBOUNDED] == "unbounded"


@pytest.mark.parametrize(
    ("operation", "job_type", "labels"),
    [
        (5, 2, 'operation="migration_out",job_type="unbounded"'),
        (99, 2, 'operation="unknown_99",job_type="unbounded"'),
        (9, 99, 'operation="backup",job_type="unknown_99"'),
    ],
)
def test_a_job_is_shown_by_names(operation: int, job_type: int, labels: str) -> None:
    """Numbers newer than this exporter keep what is known of the other."""
    stats: dict[str, StatValue] = {"job.operation": operation, "job.type": job_type}

    assert value(stats, "libvirt_domain_job_info", labels) == "1"


def test_figures_of_a_job_are_shown_in_base_units() -> None:
    """Milliseconds become seconds, percent a ratio; a total of 0 is not known yet."""
    stats: dict[str, StatValue] = {
        "job.time_elapsed": 1500,
        "job.auto_converge_throttle": 20,
        "job.data_total": 0,
    }

    assert value(stats, "libvirt_domain_job_elapsed_seconds") == "1.5"
    assert value(stats, "libvirt_domain_job_auto_converge_throttle_ratio") == "0.2"
    assert value(stats, "libvirt_domain_job_data_total_bytes") is None
