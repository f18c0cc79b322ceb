"""Which guests' agents are asked for what, when, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
import pytest
from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, NoAnswerError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings, HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sources import agents, guest_agent
from libvirt_exporter.hypervisor.sources.agents import Agents
from libvirt_exporter.hypervisor.sources.guest_agent import GuestAgentLane
from libvirt_exporter.model import DomainInfo, Stats
from tests.support.fake_libvirt import FakeHost, libvirt_error
from tests.support.virtual_time import Clock
from tests.support.waiting import eventually, wait_until

pytestmark = pytest.mark.anyio

RUNNING, PAUSED = 1, 3
KINDS = {1: "users", 2: "os", 8: "hostname", 16: "filesystems", 128: "load", 256: "drivers"}
"""By the bit of virDomainGetGuestInfo."""
SLOW = {"os", "hostname", "interfaces"}
QUICK = {"filesystems", "load", "cpus", "users"}

TIMEOUT = libvirt_error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding")
DISABLED = libvirt_error(
    libvirt.VIR_ERR_INTERNAL_ERROR,
    "internal error: unable to execute QEMU agent command 'guest-get-fsinfo': "
    "Command guest-get-fsinfo has been disabled for this instance",
)
TOO_OLD = libvirt_error(libvirt.VIR_ERR_INVALID_ARG, "unsupported guest information types '0x80'")


class Guest:
    """A guest with an agent; the handle of its domain too."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.asked: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.empty: set[str] = set()
        """Kinds that libvirt answers with nothing."""
        self.used = 1
        self.system = "lab"
        self.answers = threading.Event()
        self.answers.set()
        self.timeouts: list[int] = []

    def _answer(self, kind: str, answer: dict[str, Any]) -> Any:
        self.asked.append(kind)
        self.answers.wait()
        if kind in self.failures:
            raise self.failures[kind]
        return answer

    def agentSetResponseTimeout(self, seconds: int) -> int:  # noqa: N802
        self.timeouts.append(seconds)
        return 0

    def guestInfo(self, types: int) -> Any:  # noqa: N802
        kind = KINDS[types]
        answers: dict[str, dict[str, Any]] = {
            "filesystems": {
                "fs.count": 1,
                "fs.0.name": "vda",
                "fs.0.mountpoint": "/",
                "fs.0.fstype": "ext4",
                "fs.0.total-bytes": 100,
                "fs.0.used-bytes": self.used,
            },
            "hostname": {"hostname": f"host-{self.uuid}"},
            "users": {"user.count": 0},
            "os": {"os.id": self.system},
            "load": {"load.1m": 0.5},
            "drivers": {
                "device.count": 1,
                "device.0.driverName": "VirtIO",
                "device.0.driverDate": 10**18,
                "device.0.driverVersion": "1.2",
            },
        }
        return self._answer(kind, {} if kind in self.empty else answers.get(kind, {}))

    def guestVcpus(self) -> Any:  # noqa: N802
        return self._answer("cpus", {"vcpus": "0-1", "online": "0-1", "offlinable": ""})

    def interfaceAddresses(self, _source: int) -> Any:  # noqa: N802
        return self._answer("interfaces", {})


class Daemon:
    """A libvirt with guests a, b, c …; its read-write connections are itself."""

    def __init__(self, *uuids: str) -> None:
        self.guests = {uuid: Guest(uuid) for uuid in uuids}
        self.refusal: libvirt.libvirtError | None = None
        self.alive = True
        self.opened = 0

    def connect(self, _uri: str) -> Any:
        self.opened += 1
        if self.refusal is not None:
            raise self.refusal
        return self

    def isAlive(self) -> int:  # noqa: N802
        return int(self.alive)

    def close(self) -> None:
        pass

    def lookupByUUIDString(self, uuid: str) -> Any:  # noqa: N802
        return self.guests[uuid]


class Asked:
    """The lane over a daemon, and what is known and shown of its guests."""

    def __init__(self, daemon: Daemon, settings: GuestAgentSettings, budget: StuckBudget) -> None:
        self.infos = {
            uuid: DomainInfo(uuid=uuid, name=f"vm-{uuid}", id=1, agent_channel="connected")
            for uuid in daemon.guests
        }
        self.states = dict.fromkeys(daemon.guests, RUNNING)
        self.hidden: set[str] = set()
        self.stuck: set[str] = set()
        self.connections = Connections(
            "qemu:///system", Observer(), daemon.connect, budget=budget, read_only=False
        )
        self.lane = GuestAgentLane(
            Agents(
                self.connections,
                HostSettings(uri="qemu:///system", guest_agent=settings, shown=self),
                info=self.infos.get,
                stuck=lambda: self.stuck,
            )
        )

    def matches(self, _name: str, uuid: str, _state: str, _info: DomainInfo | None) -> bool:
        """Whether a guest is shown."""
        return uuid not in self.hidden

    def drafts(self) -> list[DomainDraft]:
        return [
            DomainDraft(
                uuid, f"vm-{uuid}", active=True, state={"state.state": state}, timestamp=time.time()
            )
            for uuid, state in self.states.items()
        ]

    async def read(self, seconds: float = 5.0) -> dict[str, Stats]:
        """What the lane says of each guest after a reading."""
        await self.lane.read(self.drafts(), Deadline.within(seconds))
        return {draft.uuid: self.lane.domain_stats(draft) for draft in self.drafts()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(guest_agent, "monotonic", clock.monotonic)
    monkeypatch.setattr(agents, "monotonic", clock.monotonic)
    return clock


@contextmanager
def asked(daemon: Daemon, *, budget: StuckBudget | None = None, **settings: Any) -> Iterator[Asked]:
    """The lane, over a daemon."""
    found = Asked(daemon, GuestAgentSettings(**settings), budget or StuckBudget())
    yield found
    for guest in daemon.guests.values():
        guest.answers.set()
    found.connections.close()


async def test_a_guest_is_asked_for_everything_and_what_it_said_is_shown_with_its_time() -> None:
    """libvirt is told first how long it may wait."""
    daemon = Daemon("a")
    before = time.time_ns()
    with asked(daemon, response_timeout=3.0) as lane:
        stats = (await lane.read())["a"]
    assert set(daemon.guests["a"].asked) == QUICK | SLOW
    assert daemon.guests["a"].timeouts == [3]
    assert stats["guest.agent.up"] is True
    assert stats["guest.fs.0.used-bytes"] == 1
    assert stats["guest.cpus.online"] == 2
    first, last = stats["guest.answer.filesystems.time"], stats["guest.agent.answered"]
    assert isinstance(first, int)
    assert isinstance(last, int)
    assert before - 1000 <= first <= last <= time.time_ns()
    assert {k: v for k, v in stats.items() if ".errors." in k} == {
        f"guest.agent.errors.{error}": 0 for error in ("timeout", "refused", "denied", "other")
    }


async def test_each_question_has_its_interval(clock: Clock) -> None:
    """And nothing is asked before."""
    daemon = Daemon("a")
    guest = daemon.guests["a"]
    with asked(daemon, interval=60, slow_interval=600) as lane:
        await lane.read()
        for later, expected in ((59, set()), (61, QUICK), (70, set()), (601, QUICK | SLOW)):
            guest.asked.clear()
            clock.now = 1000.0 + later
            await lane.read()
            assert set(guest.asked) == expected
    assert guest.timeouts == [2]


@pytest.mark.parametrize("why", ["paused", "no agent", "disconnected", "hidden", "stuck"])
async def test_a_guest_that_cannot_answer_or_is_not_shown_is_not_asked(why: str) -> None:
    """Nor is any connection opened for it."""
    daemon = Daemon("a")
    with asked(daemon) as lane:
        match why:
            case "paused":
                lane.states["a"] = PAUSED
            case "no agent":
                lane.infos["a"] = replace(lane.infos["a"], agent_channel="")
            case "disconnected":
                lane.infos["a"] = replace(lane.infos["a"], agent_channel="disconnected")
            case "hidden":
                lane.hidden.add("a")
            case "stuck":
                lane.stuck.add("a")
        await lane.read()
    assert daemon.guests["a"].asked == []
    assert daemon.opened == 0


async def test_only_windows_is_asked_for_its_drivers(clock: Clock) -> None:
    """No other agent knows that; which system it is, is known after the first visit."""
    daemon = Daemon("a", "b")
    daemon.guests["b"].system = "mswindows"
    with asked(daemon) as lane:
        await lane.read()
        stats = await lane.read()
    assert "drivers" not in daemon.guests["a"].asked
    assert daemon.guests["b"].asked.count("drivers") == 1
    assert stats["b"]["guest.driver.0.date"] == 10**18


async def test_an_agent_that_does_not_answer_is_left_alone_longer_and_longer(clock: Clock) -> None:
    """It is asked one question then, and the other guests as ever."""
    daemon = Daemon("a", "b")
    slow = daemon.guests["a"]
    slow.failures = dict.fromkeys((*QUICK, *SLOW), TIMEOUT)
    with asked(daemon) as lane:
        stats = await lane.read()
        assert stats["a"]["guest.agent.up"] is False
        assert stats["a"]["guest.agent.errors.timeout"] == 1
        assert stats["b"]["guest.agent.up"] is True
        for later, questions in (
            (59, 1),
            (61, 2),
            (61 + 119, 2),
            (61 + 121, 3),
            (61 + 121 + 200, 3),
        ):
            clock.now = 1000.0 + later
            await lane.read()
            assert len(slow.asked) == questions
        slow.failures.clear()
        clock.now += 1000
        assert (await lane.read())["a"]["guest.agent.up"] is True
    assert slow.timeouts == [2, 2, 2, 2]


async def test_one_question_that_hangs_an_agent_does_not_keep_the_others_from_it(
    clock: Clock,
) -> None:
    """After the pause the others come first."""
    daemon = Daemon("a")
    daemon.guests["a"].failures["filesystems"] = TIMEOUT
    with asked(daemon) as lane:
        await lane.read()
        clock.now += 61
        stats = (await lane.read())["a"]
    assert stats["guest.cpus.online"] == 2
    assert stats["guest.agent.errors.timeout"] == 2
    assert stats["guest.agent.up"] is False


async def test_what_an_agent_refuses_is_asked_once_an_hour(clock: Clock) -> None:
    """It is up all the same; what libvirt itself does not know is no error."""
    daemon = Daemon("a")
    guest = daemon.guests["a"]
    guest.failures = {"filesystems": DISABLED, "load": TOO_OLD}
    with asked(daemon) as lane:
        stats = (await lane.read())["a"]
        for _ in range(58):
            clock.now += 60
            await lane.read()
    assert stats["guest.agent.up"] is True
    assert stats["guest.agent.errors.refused"] == 1
    assert stats["guest.agent.errors.other"] == 0
    assert (guest.asked.count("filesystems"), guest.asked.count("load")) == (1, 1)
    assert guest.asked.count("cpus") == 59


async def test_nothing_is_wrong_with_an_agent_when_libvirt_knows_no_question(clock: Clock) -> None:
    """It is neither up nor down."""
    daemon = Daemon("a")
    daemon.guests["a"].failures = dict.fromkeys((*QUICK, *SLOW), TOO_OLD)
    with asked(daemon) as lane:
        stats = (await lane.read())["a"]
    assert "guest.agent.up" not in stats


async def test_a_guest_that_may_not_be_asked_costs_one_call_an_hour(clock: Clock) -> None:
    """Access control may allow some domains only."""
    daemon = Daemon("a", "b")
    denied = libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED, "access denied")
    daemon.guests["a"].failures = dict.fromkeys((*QUICK, *SLOW), denied)
    with asked(daemon) as lane:
        stats = await lane.read()
        clock.now += 3500
        await lane.read()
    assert stats["a"]["guest.agent.errors.denied"] == 1
    assert len(daemon.guests["a"].asked) == 1
    assert stats["b"]["guest.agent.up"] is True


async def test_a_guest_that_may_not_be_asked_any_more_is_neither_up_nor_down(
    clock: Clock,
) -> None:
    """As one that never could be."""
    daemon = Daemon("a")
    denied = libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED, "access denied")
    with asked(daemon) as lane:
        assert (await lane.read())["a"]["guest.agent.up"] is True
        daemon.guests["a"].failures = dict.fromkeys((*QUICK, *SLOW), denied)
        clock.now += 61
        stats = (await lane.read())["a"]
    assert "guest.agent.up" not in stats
    assert stats["guest.agent.errors.denied"] == 1


@pytest.mark.parametrize(
    "failure",
    [
        libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: cannot parse json"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
async def test_garbage_costs_the_question_only(failure: Exception) -> None:
    """The next one is asked."""
    daemon = Daemon("a")
    daemon.guests["a"].failures["filesystems"] = failure
    with asked(daemon) as lane:
        stats = (await lane.read())["a"]
    assert stats["guest.agent.errors.other"] == 1
    assert stats["guest.agent.up"] is True
    assert stats["guest.cpus.online"] == 2


@pytest.mark.parametrize(("seconds", "in_time"), [(2.0, False), (0.5, True)])
async def test_an_empty_answer_that_comes_late_is_none(
    clock: Clock, seconds: float, in_time: bool
) -> None:
    """libvirt 9.0 gives one where the agent did not answer in time; and where there is nothing."""
    daemon = Daemon("a")
    guest = daemon.guests["a"]
    guest.empty = {"filesystems"}
    ask = guest.guestInfo

    def after(types: int) -> Any:
        if KINDS[types] == "filesystems":
            clock.now += seconds
        return ask(types)

    guest.guestInfo = after  # type: ignore[method-assign]
    with asked(daemon) as lane:
        stats = (await lane.read())["a"]
    assert stats["guest.agent.errors.timeout"] == (not in_time)
    assert ("guest.answer.filesystems.time" in stats) == in_time
    assert stats["guest.agent.up"] is in_time


async def test_what_was_said_too_long_ago_is_not_shown(clock: Clock) -> None:
    """Each answer has three of its intervals."""
    daemon = Daemon("a")
    with asked(daemon, interval=60, slow_interval=600) as lane:
        await lane.read()
        daemon.guests["a"].failures = dict.fromkeys((*QUICK, *SLOW), TIMEOUT)
        clock.now += 181
        stats = (await lane.read())["a"]
        assert "guest.fs.0.used-bytes" not in stats
        assert "guest.answer.filesystems.time" not in stats
        assert stats["guest.hostname"] == "host-a"
        clock.now += 1800
        assert "guest.hostname" not in (await lane.read())["a"]


async def test_an_agent_that_comes_back_is_asked_anew(clock: Clock) -> None:
    """What it said before is gone with it, however often it failed."""
    daemon = Daemon("a")
    with asked(daemon) as lane:
        await lane.read()
        lane.infos["a"] = replace(lane.infos["a"], agent_channel="disconnected")
        gone = (await lane.read())["a"]
        assert {key for key in gone if ".errors." not in key} == {"guest.agent.answered"}
        lane.infos["a"] = replace(lane.infos["a"], agent_channel="connected")
        daemon.guests["a"].used = 2
        assert (await lane.read())["a"]["guest.fs.0.used-bytes"] == 2
        lane.infos["a"] = replace(lane.infos["a"], id=2)
        daemon.guests["a"].used = 3
        assert (await lane.read())["a"]["guest.fs.0.used-bytes"] == 3
    assert daemon.guests["a"].timeouts == [2, 2, 2]


async def test_what_an_agent_said_is_gone_with_it_at_once() -> None:
    """A reading that goes on for long does not keep it."""
    daemon = Daemon("a")
    with asked(daemon) as lane:
        await lane.read()
        (draft,) = lane.drafts()
        assert "guest.fs.0.used-bytes" in lane.lane.domain_stats(draft)
        lane.infos["a"] = replace(lane.infos["a"], agent_channel="disconnected")
        shown = lane.lane.domain_stats(draft)
    assert {key for key in shown if ".errors." not in key} == {"guest.agent.answered"}


async def test_what_an_agent_says_is_not_taken_for_what_the_next_one_says() -> None:
    """The guest was started anew while its agent was asked; the new one is asked at once."""
    daemon = Daemon("a")
    guest = daemon.guests["a"]
    guest.answers.clear()
    with asked(daemon) as lane:
        reading = asyncio.create_task(lane.read())
        await eventually(lambda: guest.asked, "the old agent is asked")
        lane.infos["a"] = replace(lane.infos["a"], id=2)
        (draft,) = lane.drafts()
        lane.lane.domain_stats(draft)
        guest.answers.set()
        shown = (await reading)["a"]
        assert "guest.agent.up" not in shown
        assert "guest.fs.0.used-bytes" not in shown
        guest.used = 77
        assert (await lane.read())["a"]["guest.fs.0.used-bytes"] == 77


async def test_an_agent_that_disconnects_while_others_are_asked_is_not_asked() -> None:
    """It has not failed."""
    daemon = Daemon("a", "b")
    daemon.guests["a"].answers.clear()
    with asked(daemon, parallel_calls=1) as lane:
        reading = asyncio.create_task(lane.read())
        await eventually(lambda: daemon.guests["a"].asked, "the first one is asked")
        lane.infos["b"] = replace(lane.infos["b"], agent_channel="disconnected")
        lane.lane.domain_stats(lane.drafts()[1])
        daemon.guests["a"].answers.set()
        stats = (await reading)["b"]
    assert daemon.guests["b"].asked == []
    assert "guest.agent.up" not in stats
    assert stats.get("guest.agent.errors.timeout", 0) == 0


async def test_a_connection_that_does_not_open_is_not_the_fault_of_a_guest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has been asked; it is logged once."""
    monkeypatch.setattr(guest_agent, "CALL_MARGIN", -5.9)  # of 3 × 2 s
    daemon = Daemon("a", "b")
    opens = threading.Event()

    def connect(_uri: str) -> Any:
        opens.wait()
        return daemon

    monkeypatch.setattr(daemon, "connect", connect)
    with asked(daemon) as lane:
        with pytest.raises(CallError, match="does not open"):
            await lane.read()
        stats = {draft.uuid: lane.lane.domain_stats(draft) for draft in lane.drafts()}
        opens.set()
    for told in stats.values():
        assert "guest.agent.up" not in told
        assert told["guest.agent.errors.timeout"] == 0
    assert len(caplog.records) == 1


async def test_a_mistake_of_ours_costs_the_guest_that_brings_it_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged once, and the others are asked."""
    daemon = Daemon("a", "b")
    daemon.guests["a"].failures["filesystems"] = ZeroDivisionError()
    with asked(daemon) as lane:
        stats = await lane.read()
    assert stats["a"]["guest.agent.up"] is False
    assert stats["b"]["guest.agent.up"] is True
    assert "the guest agent of domain a" in caplog.text


async def test_a_call_that_does_not_come_back_is_given_up_and_its_guest_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until it has come back; no more than three such calls are ever there."""
    monkeypatch.setattr(guest_agent, "CALL_MARGIN", -5.9)  # of 3 × 2 s
    monkeypatch.setattr(agents, "FIRST_PAUSE", 0.0)
    daemon = Daemon("a", "b", "c", "d", "e")
    for guest in daemon.guests.values():
        guest.answers.clear()
    budget = StuckBudget()
    with asked(daemon, budget=budget) as lane:
        await lane.read()
        await lane.read()
        assert budget.stuck == 3
        hung = [uuid for uuid, guest in daemon.guests.items() if guest.asked]
        assert all(len(daemon.guests[uuid].asked) == 1 for uuid in hung)
        for guest in daemon.guests.values():
            guest.answers.set()
        await eventually(lambda: not budget.stuck, "the calls have come back")
        stats = await lane.read()
    assert {uuid: told["guest.agent.up"] for uuid, told in stats.items()} == dict.fromkeys(
        daemon.guests, True
    )
    assert stats[hung[0]]["guest.agent.errors.timeout"] == 1


async def test_statistics_keep_their_room_for_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are asked only when all calls of a sample could still be begun."""
    monkeypatch.setattr(agents, "TURN", 0.001)
    daemon = Daemon("a")
    budget = StuckBudget(4)

    class Busy:
        busy = True

    other = Busy()
    budget.use(other)
    with asked(daemon, budget=budget) as lane:
        await lane.read(seconds=0.05)
        assert daemon.guests["a"].asked == []
        budget.let_go(other)
        await lane.read()
    assert daemon.guests["a"].asked


async def test_without_a_connection_it_is_told_once_and_tried_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The statistics go on without."""
    daemon = Daemon("a")
    daemon.refusal = libvirt_error(libvirt.VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable")
    with asked(daemon, parallel_calls=1) as lane:
        with pytest.raises(CallError):
            await lane.read()
        with pytest.raises(NoAnswerError):
            await lane.read()
        assert daemon.opened == 1
        await asyncio.sleep(0.01)  # the pool has a pause of its own
        clock.now += 61
        with pytest.raises(CallError):
            await lane.read()
        assert len(caplog.records) == 1
        assert "docs/guest-agent.md" in caplog.text
        daemon.refusal = None
        clock.now += 61
        await eventually_reads(lane, clock)
    assert daemon.guests["a"].asked


async def eventually_reads(lane: Asked, clock: Clock) -> None:
    """Read until the pool tries to connect again."""
    for _ in range(200):
        try:
            await lane.read()
        except (CallError, NoAnswerError):
            clock.now += 61
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("never read")


async def test_a_guest_that_is_gone_or_hidden_is_forgotten() -> None:
    """Its counters too."""
    daemon = Daemon("a", "b")
    with asked(daemon) as lane:
        await lane.read()
        lane.hidden.add("a")
        del lane.states["b"]
        stats = await lane.read()
        assert stats == {"a": {}}
        lane.hidden.clear()
        lane.states["b"] = RUNNING
        await lane.read()
    assert daemon.guests["a"].asked.count("filesystems") == 2
    assert daemon.guests["b"].asked.count("filesystems") == 2


def test_agents_are_asked_where_the_configuration_says_so() -> None:
    """Otherwise no read-write connection is opened, whatever is sampled; a reload changes that."""
    fake = FakeHost(1)
    fake[0].has_agent = True
    opened: list[str] = []

    def connect(uri: str) -> Any:
        opened.append(uri)
        raise libvirt_error(libvirt.VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable")

    def sample() -> None:
        request = SampleRequest(frozenset({"state"}), lanes=frozenset({"guest_agent"}))
        host.sample(request, 2.0).result(5)

    settings = HostSettings(uri="qemu:///system", pid_directory=None)
    host = Host(settings, connect=fake.connect, connect_read_write=connect)
    host.start()
    try:
        for _ in range(3):
            sample()
        assert opened == []
        host.apply(dataclasses.replace(settings, guest_agent=GuestAgentSettings()))
        sample()
        wait_until(lambda: opened, "a read-write connection was tried")
    finally:
        host.close()
