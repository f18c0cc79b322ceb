"""Which guests are asked what, when; what is kept, shown and removed."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from msgspec.structs import replace

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import (
    ApplicationsSettings,
    GuestAgentSettings,
    HostSettings,
)
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources import agents
from libvirt_exporter.hypervisor.sources.agents import Agents
from libvirt_exporter.hypervisor.sources.applications import conversation, lane
from libvirt_exporter.hypervisor.sources.applications.lane import ApplicationsLane
from libvirt_exporter.model import DomainInfo, Stats
from tests.support.fake_libvirt import libvirt_error
from tests.support.virtual_time import Clock
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ANN, BOB = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
DISABLED = libvirt_error(
    libvirt.VIR_ERR_INTERNAL_ERROR,
    "internal error: unable to execute QEMU agent command 'guest-exec': Command guest-exec has "
    "been disabled for this instance",
)
TIMEOUT = libvirt_error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding")


class Guest:
    """A guest with an agent, and dpkg; the handle of its domain too."""

    def __init__(self) -> None:
        self.packages = ["apt-2.6", "bash-5.2"]
        self.changes = 0
        """Of the database; its time of change."""
        self.system = "debian"
        self.may_exec = True
        self.failures: dict[str, Exception] = {}
        """By command."""
        self.asked: Counter[str] = Counter()
        """Commands, and programs that were started."""
        self.looks = 0
        """Times that a program is seen to run before it has ended."""
        self._programs: dict[int, list[Any]] = {}

    def install(self, package: str) -> None:
        self.packages.append(package)
        self.changes += 1

    def carry_out(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked[command] += 1
        if command in self.failures:
            raise self.failures[command]
        match command:
            case "guest-info":
                names = ("guest-exec", "guest-exec-status")
                commands = [{"name": name, "enabled": self.may_exec} for name in names]
                return {"version": "7.2", "supported_commands": commands}
            case "guest-get-osinfo":
                return {"id": self.system, "kernel-release": "6.1"}
            case "guest-exec":
                path = arguments["path"]
                self.asked[path] += 1
                pid = len(self._programs)
                self._programs[pid] = [self.looks, self._output(path)]
                return {"pid": pid}
            case "guest-exec-status":
                program = self._programs[arguments["pid"]]
                program[0] -= 1
                if program[0] >= 0:
                    return {"exited": False}
                output = base64.b64encode(program[1].encode()).decode()
                return {"exited": True, "exitcode": 0, "out-data": output}
        raise AssertionError(command)

    def _output(self, path: str) -> str:
        match path:
            case "stat":
                return f"/var/lib/dpkg/status {self.changes} 1 1000 7\n"
            case "dpkg-query":
                return "".join(f"install ok installed\t{package}\n" for package in self.packages)
            case "cmd.exe":
                return f"versions {self.changes}"
            case "powershell.exe":
                return "Tool\t1.0\r\n"
        raise AssertionError(path)


class Kept:
    """The lane over guests, and what is known and shown of them."""

    def __init__(self, directory: Path, *uuids: str) -> None:
        self.directory = directory
        self.guests = {uuid: Guest() for uuid in uuids}
        self.infos = {
            uuid: DomainInfo(uuid=uuid, name=uuid[-1], id=1, agent_channel="connected")
            for uuid in uuids
        }
        self.hidden: set[str] = set()
        self.silent: set[str] = set()
        self.lane = self.restarted()

    def restarted(self) -> ApplicationsLane:
        """The lane of an exporter that begins."""
        self.connections = Connections("qemu:///system", Observer(), self.connect, read_only=False)
        settings = HostSettings(
            uri="qemu:///system",
            shown=self,
            guest_agent=GuestAgentSettings(),
            applications=ApplicationsSettings(state_directory=str(self.directory)),
        )
        known = Agents(self.connections, settings, info=self.infos.get, stuck=lambda: ())
        self.lane = ApplicationsLane(known, silent=self.silent.__contains__)
        self.lane._whole = True
        return self.lane

    def connect(self, _uri: str) -> Any:
        """It is its own connection."""
        return self

    def isAlive(self) -> int:  # noqa: N802
        return 1

    def close(self) -> None:
        pass

    def lookupByUUIDString(self, uuid: str) -> Guest:  # noqa: N802
        return self.guests[uuid]

    def matches(self, _name: str, uuid: str, _state: str, _info: DomainInfo | None) -> bool:
        return uuid not in self.hidden

    async def read(self, *, active: bool = True) -> dict[str, Stats]:
        """What the lane says of each guest after a reading."""
        drafts = [
            DomainDraft(uuid, uuid[-1], active=active, state={"state.state": 1}, timestamp=1.0)
            for uuid in self.infos
        ]
        await self.lane.read(drafts, Deadline.within(5))
        return {draft.uuid: self.lane.domain_stats(draft) for draft in drafts}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (lane, agents):
        monkeypatch.setattr(module, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path) -> Iterator[Kept]:
    """One guest."""

    def command(guest: Guest, request: str, _seconds: int, _flags: int) -> str:
        told = json.loads(request)
        return json.dumps({"return": guest.carry_out(told["execute"], told.get("arguments", {}))})

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", command)
    monkeypatch.setattr(conversation, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(conversation, "LONGEST_PAUSE", 0.0)
    kept = Kept(tmp_path, ANN)
    yield kept
    kept.connections.close()


async def test_a_list_is_read_once_and_its_names_lie_on_the_disk(kept: Kept) -> None:
    """What is shown is number, hash, source and times."""
    before = time.time_ns()
    stats = (await kept.read())[ANN]

    listed = kept.lane.list_of(ANN)
    assert listed is not None
    assert listed.names == ("apt-2.6", "bash-5.2")
    assert stats["guest.apps.count"] == 2
    assert stats["guest.apps.hash"] == listed.hash
    assert stats["guest.apps.source"] == "dpkg"
    assert stats["guest.apps.errors"] == 0
    assert before - 1000 <= int(stats["guest.apps.changed"]) <= time.time_ns()
    assert not any("bash" in str(value) for value in stats.values())


async def test_nothing_is_read_again_while_nothing_changes(kept: Kept, clock: Clock) -> None:
    """The guest is looked at once in an interval; not more for a restart or a new agent."""
    guest = kept.guests[ANN]
    for _ in range(10):
        await kept.read()
        clock.now += 61
    assert (guest.asked["stat"], guest.asked["dpkg-query"]) == (5, 1)
    kept.restarted()
    stats = (await kept.read())[ANN]
    assert stats["guest.apps.count"] == 2
    kept.infos[ANN] = replace(kept.infos[ANN], id=2)
    await kept.read()
    assert (guest.asked["stat"], guest.asked["dpkg-query"]) == (7, 1)
    assert guest.asked["guest-info"] == 3


async def test_a_change_is_read_after_a_quiet_minute(kept: Kept, clock: Clock) -> None:
    """Number and hash change once, however many packages are installed meanwhile."""
    guest = kept.guests[ANN]
    first = (await kept.read())[ANN]
    seen = [first["guest.apps.count"]]
    for step in range(20):
        clock.now += 30
        if step in (3, 5, 6):
            guest.install(f"new-{step}")
        seen.append((await kept.read())[ANN]["guest.apps.count"])
    assert sorted({*seen}) == [2, 5]
    assert guest.asked["dpkg-query"] == 2
    last = (await kept.read())[ANN]
    assert last["guest.apps.hash"] != first["guest.apps.hash"]
    assert int(last["guest.apps.changed"]) > int(first["guest.apps.changed"])


async def test_while_a_change_waits_the_list_is_not_said_to_be_right(
    kept: Kept, clock: Clock
) -> None:
    """It was when it was last looked at."""
    checked = (await kept.read())[ANN]["guest.apps.checked"]
    kept.guests[ANN].install("new")
    clock.now += 121
    assert (await kept.read())[ANN]["guest.apps.checked"] == checked


async def test_a_guest_that_forbids_programs_gives_the_fallback(kept: Kept, clock: Clock) -> None:
    """And says why; it is not asked again for an hour, unless its agent is another one."""
    guest = kept.guests[ANN]
    guest.may_exec = False
    stats = (await kept.read())[ANN]
    listed = kept.lane.list_of(ANN)
    assert listed is not None
    assert listed.names == ("kernel-6.1", "qemu-guest-agent-7.2")
    assert "guest-exec" in listed.reason
    assert stats["guest.apps.source"] == "fallback"
    assert guest.asked["guest-exec"] == 0
    clock.now += 3000
    await kept.read()
    assert guest.asked["guest-info"] == 1
    guest.may_exec = True
    kept.infos[ANN] = replace(kept.infos[ANN], id=2)
    await kept.read()
    clock.now += 61
    assert (await kept.read())[ANN]["guest.apps.source"] == "dpkg"


async def test_a_guest_that_allows_programs_later_gives_its_list(kept: Kept, clock: Clock) -> None:
    """Its agent was restarted between two samples, so that nobody saw it."""
    guest = kept.guests[ANN]
    guest.may_exec = False
    assert (await kept.read())[ANN]["guest.apps.source"] == "fallback"
    guest.may_exec = True
    clock.now += 3601
    await kept.read()
    clock.now += 61
    assert (await kept.read())[ANN]["guest.apps.source"] == "dpkg"


async def test_a_guest_that_refuses_only_when_asked_gives_the_fallback_too(kept: Kept) -> None:
    """Agents say that they know a command which they then refuse."""
    kept.guests[ANN].failures["guest-exec"] = DISABLED
    stats = (await kept.read())[ANN]
    assert (stats["guest.apps.source"], stats["guest.apps.errors"]) == ("fallback", 0)


async def test_windows_is_asked_by_its_own_programs(kept: Kept) -> None:
    """By what its agent calls the system."""
    kept.guests[ANN].system = "mswindows"
    stats = (await kept.read())[ANN]
    listed = kept.lane.list_of(ANN)
    assert listed is not None
    assert listed.names == ("Tool-1.0",)
    assert stats["guest.apps.source"] == "windows"


async def test_an_agent_that_does_not_answer_is_left_alone_longer_and_longer(
    kept: Kept, clock: Clock
) -> None:
    """Each time is counted, and what was known stays with its time."""
    guest = kept.guests[ANN]
    known = (await kept.read())[ANN]
    guest.failures["guest-exec"] = TIMEOUT
    asked = []
    for _ in range(30):
        clock.now += 60
        stats = (await kept.read())[ANN]
        asked.append(guest.asked["guest-exec"])
    assert asked[-1] <= 9
    assert stats["guest.apps.errors"] == asked[-1] - 2
    assert stats["guest.apps.hash"] == known["guest.apps.hash"]
    assert stats["guest.apps.checked"] == known["guest.apps.checked"]
    guest.failures.clear()
    clock.now += 1000
    assert int((await kept.read())[ANN]["guest.apps.checked"]) > int(known["guest.apps.checked"])


async def test_a_program_that_never_ends_is_given_up(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs its guest an error."""
    monkeypatch.setattr(conversation, "PROGRAM_TIME", 0.0)
    kept.guests[ANN].looks = 1_000_000
    assert (await kept.read())[ANN] == {"guest.apps.errors": 1}


async def test_somebody_may_have_the_list_read_again(kept: Kept, clock: Clock) -> None:
    """A quiet minute after the last time at soonest, so that nobody keeps a guest busy."""
    guest = kept.guests[ANN]
    await kept.read()
    for _ in range(3):
        kept.lane.want(ANN)
        await kept.read()
    assert guest.asked["dpkg-query"] == 1
    clock.now += 61
    await kept.read()
    assert guest.asked["dpkg-query"] == 2
    clock.now += 61
    await kept.read()
    assert guest.asked["dpkg-query"] == 2


async def test_who_has_lists_read_again_does_not_hold_up_a_change(kept: Kept, clock: Clock) -> None:
    """However often, and for nothing."""
    guest = kept.guests[ANN]
    for _ in range(20):
        kept.lane.want(ANN)
        await kept.read()
        clock.now += 61
    guest.install("new")
    for _ in range(8):
        clock.now += 30
        stats = (await kept.read())[ANN]
    assert stats["guest.apps.count"] == 3


async def test_the_list_goes_with_the_vm(kept: Kept) -> None:
    """Not with a listing that is not whole, nor when the VM is shut off."""
    await kept.read()
    assert kept.lane.list_of(ANN) is not None
    await kept.read(active=False)
    info = kept.infos.pop(ANN)
    kept.lane._whole = False
    await kept.read()
    assert kept.lane.list_of(ANN) is not None
    kept.lane._whole = True
    await kept.read()
    await eventually(lambda: kept.lane.list_of(ANN) is None, "the list is removed")
    kept.infos[ANN] = info
    await kept.read()
    assert kept.guests[ANN].asked["dpkg-query"] == 2


@pytest.mark.parametrize("why", ["disconnected", "hidden", "silent", "off"])
async def test_a_guest_that_cannot_answer_or_is_not_shown_is_not_asked(
    kept: Kept, why: str
) -> None:
    """No program is run in it."""
    match why:
        case "disconnected":
            kept.infos[ANN] = replace(kept.infos[ANN], agent_channel="disconnected")
        case "hidden":
            kept.hidden.add(ANN)
        case "silent":
            kept.silent.add(ANN)
    await kept.read(active=why != "off")
    assert not kept.guests[ANN].asked


async def test_a_disk_that_cannot_be_written_costs_an_error(
    kept: Kept, tmp_path: Path, clock: Clock
) -> None:
    """Nothing is shown of a list that nobody could read; later it is tried again."""
    (tmp_path / "file").touch()
    kept.directory = tmp_path / "file"
    kept.restarted()
    assert (await kept.read())[ANN] == {"guest.apps.errors": 1}
    await kept.read()
    assert kept.guests[ANN].asked["dpkg-query"] == 1
