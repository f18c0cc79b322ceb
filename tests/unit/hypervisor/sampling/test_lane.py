"""Mistakes of ours in a lane are seen: in the log once, and in a counter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling import sources
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.hypervisor.sampling.request import Wishes
from libvirt_exporter.hypervisor.sources.walking_lane import WalkingLane
from tests.support.fake_libvirt import FakeHost, libvirt_error

pytestmark = pytest.mark.anyio

GOOD: Final = "good"
BAD: Final = "bad"


class Counting(Observer):
    """Counts what is left out."""

    def __init__(self) -> None:
        self.failures = 0

    def source_failed(self) -> None:
        self.failures += 1


class SomeLane(WalkingLane):
    """Visits two things, of which one fails, and then fails itself, as it is told."""

    name = "some"

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.of_bad: Exception | None = None
        self.of_all: Exception | None = None
        self.answers: dict[str, str] = {}

    def visit_one(self, _session: Session, thing: str) -> str:
        if thing == BAD and self.of_bad is not None:
            raise self.of_bad
        return thing

    async def read(self, domains: Iterable[DomainDraft], deadline: Deadline) -> None:
        result = await self.visit("reading", (BAD, GOOD), self.visit_one, deadline)
        self.answers = result.answers
        if self.of_all is not None:
            raise self.of_all


@pytest.fixture
def observer() -> Counting:
    return Counting()


@pytest.fixture
async def lane(observer: Counting) -> SomeLane:
    return SomeLane(Connections("qemu:///system", observer, FakeHost().connect))


async def read(lane: SomeLane) -> None:
    await lane.refresh(HostDraft(Wishes(()), Deadline.within(40)))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]


async def test_a_mistake_about_one_thing_is_told_once_and_counted_each_time(
    lane: SomeLane, observer: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are known; the log has a traceback, and says when it is over."""
    caplog.set_level("INFO", sources.__name__)
    lane.of_bad = KeyError("state")
    for _ in range(3):
        await read(lane)
    assert lane.answers == {GOOD: GOOD}
    assert observer.failures == 3
    (begun,) = caplog.records
    assert begun.getMessage() == (
        "lane some, reading of bad: data of SomeLane is missing until it works again"
    )
    assert "visit_one" in caplog.text
    lane.of_bad = None
    await read(lane)
    assert messages(caplog)[1:] == ["lane some, reading of bad: SomeLane no longer fails"]


async def test_a_mistake_in_a_reading_is_told_once_and_counted_each_time(
    lane: SomeLane, observer: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """What the lane read before stays, and grows old."""
    caplog.set_level("INFO", sources.__name__)
    await read(lane)
    read_at = lane.read_at
    lane.of_all = TypeError("not a number")
    for _ in range(2):
        await read(lane)
    assert lane.read_at == read_at
    assert observer.failures == 2
    lane.of_all = None
    await read(lane)
    assert messages(caplog) == [
        "lane some: data of SomeLane is missing until it works again",
        "lane some: SomeLane no longer fails",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        LookupError('Type value "9" not recognized'),
    ],
    ids=lambda answer: type(answer).__name__,
)
async def test_what_libvirt_answers_is_no_mistake(
    lane: SomeLane, observer: Counting, caplog: pytest.LogCaptureFixture, answer: Exception
) -> None:
    """Nor what its binding makes of it."""
    caplog.set_level("INFO")
    lane.of_bad = answer
    await read(lane)
    assert lane.answers == {GOOD: GOOD}
    assert (observer.failures, messages(caplog)) == (0, [])


async def test_a_failure_that_is_never_heard_of_again_is_forgotten(
    lane: SomeLane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thing that is gone leaves nothing behind; should it come back, it is told of anew."""
    monkeypatch.setattr(sources, "FORGOTTEN_AFTER", 0.0)
    failures = lane.failures
    for thing in ("a", "b", "a"):
        failures.failed(lane, thing, thing, ValueError())
    assert [message[0] for message in messages(caplog)] == ["a", "b", "a"]
