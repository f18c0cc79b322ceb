"""Which disks have failed is asked of the domains that an I/O error has paused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources import walking_lane
from libvirt_exporter.hypervisor.sources.disk_errors import DiskErrorsLane
from tests.support.fake_libvirt import FakeDomain, FakeHost, libvirt_error

pytestmark = pytest.mark.anyio

RUNNING, IO_ERROR = (1, 1), (3, 5)


class Case:
    """A lane over a fake host, and what it is told from elsewhere."""

    def __init__(self, fake: FakeHost) -> None:
        self.fake = fake
        self.events: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.states = dict.fromkeys(fake.domains, RUNNING)
        self.connections = Connections("qemu:///system", Observer(), fake.connect)
        self.lane = DiskErrorsLane(
            self.connections, io_error_reason=self.events.get, stuck=lambda: self.stuck
        )

    def draft(self, domain: FakeDomain) -> DomainDraft:
        state, reason = self.states[domain.uuid]
        stats = {"state.state": state, "state.reason": reason}
        return DomainDraft(
            domain.uuid, domain.name, active=domain.active, state=stats, timestamp=0.0
        )

    async def read(self) -> None:
        drafts = [self.draft(domain) for domain in self.fake.domains.values()]
        await self.lane.read(drafts, Deadline.within(10))

    def stats(self, domain: FakeDomain) -> dict[str, object]:
        return dict(self.lane.domain_stats(self.draft(domain)))


@contextmanager
def case(size: int = 3) -> Iterator[Case]:
    found = Case(FakeHost(size))
    try:
        yield found
    finally:
        found.connections.close()


async def test_only_domains_paused_by_an_io_error_are_asked() -> None:
    """Everybody has a code all the same, and disks in the order of their names."""
    with case() as found:
        failed, fine, off = (found.fake[number] for number in range(3))
        found.states[failed.uuid] = IO_ERROR
        failed.disk_errors = {"vdb": 1, "vda": 2}
        off.active = False

        await found.read()

        assert found.stats(failed) == {
            "pause.code": 1,
            "diskerror.0.name": "vda",
            "diskerror.0.error": 2,
            "diskerror.1.name": "vdb",
            "diskerror.1.error": 1,
        }
        assert found.stats(fine) == {"pause.code": 0}
        assert found.stats(off) == {}
        assert (failed.own_calls, fine.own_calls, off.own_calls) == (["diskErrors"], [], [])


async def test_without_anybody_to_ask_there_is_no_connection() -> None:
    """A healthy host notices nothing of this lane."""
    with case() as found:
        await found.read()

        assert found.fake.attempts == 0


async def test_an_answer_ends_with_the_pause() -> None:
    """A domain that runs again has no error, and a new pause is asked about anew."""
    with case(1) as found:
        domain = found.fake[0]
        found.states[domain.uuid] = IO_ERROR
        domain.disk_errors = {"vda": 2}
        await found.read()
        found.states[domain.uuid] = RUNNING

        assert found.stats(domain) == {"pause.code": 0}

        await found.read()
        found.states[domain.uuid] = IO_ERROR

        assert found.stats(domain) == {}


async def test_unknown_is_not_no_error() -> None:
    """Before the disks have answered only an event tells the code."""
    with case(1) as found:
        domain = found.fake[0]
        found.states[domain.uuid] = IO_ERROR

        assert found.stats(domain) == {}

        found.events[domain.uuid] = "enospc"

        assert found.stats(domain) == {"pause.code": 1}


async def test_a_stuck_domain_is_not_asked() -> None:
    """What was known of it before it hung stays."""
    with case(1) as found:
        domain = found.fake[0]
        found.states[domain.uuid] = IO_ERROR
        domain.disk_errors = {"vda": 1}
        await found.read()
        found.stuck.add(domain.uuid)

        await found.read()

        assert domain.own_calls == ["diskErrors"]
        assert found.stats(domain)["pause.code"] == 2


async def test_a_domain_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of one, and the hang of another, leave the third with its answer."""
    monkeypatch.setattr(walking_lane, "PATIENCE", 1.0)
    with case() as found:
        failing, hanging, answering = (found.fake[number] for number in range(3))
        found.states = dict.fromkeys(found.states, IO_ERROR)
        failing.refusals["diskErrors"] = libvirt_error(libvirt.VIR_ERR_OPERATION_TIMEOUT)
        answering.disk_errors = {"vda": 2}
        with hanging.hung():
            await found.read()
            await found.read()

            assert (found.stats(failing), found.stats(hanging)) == ({}, {})
            assert found.stats(answering)["pause.code"] == 1
            assert len(hanging.own_calls) == 1


async def test_a_lost_connection_is_an_error_of_the_reading() -> None:
    """The lane says so, so that the age of what it knows grows."""
    with case(1) as found:
        found.states = dict.fromkeys(found.states, IO_ERROR)
        found.fake.refusal = libvirt_error(libvirt.VIR_ERR_NO_CONNECT)

        with pytest.raises(CallError):
            await found.read()


async def test_a_domain_whose_state_is_not_known_has_no_code() -> None:
    """A locked domain is listed without its state."""
    with case(1) as found:
        draft = found.draft(found.fake[0])
        draft.state = {}

        assert found.lane.domain_stats(draft) == {}
