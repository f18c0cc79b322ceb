"""What is bounded for all lanes together that ask guest agents."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import NoAnswerError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings, HostSettings
from libvirt_exporter.hypervisor.sources.agents import Agents, NoTurnError
from libvirt_exporter.model import DomainInfo
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


class Daemon:
    """A libvirt whose calls to agents end when they may; it is its own connection."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.under_way: list[str] = []
        self.most = 0

    def connect(self, _uri: str) -> Any:
        return self

    def isAlive(self) -> int:  # noqa: N802
        return 1

    def close(self) -> None:
        pass

    def ask(self, uuid: str) -> None:
        self.under_way.append(uuid)
        self.most = max(self.most, len(self.under_way))
        self.may_end.wait(20)
        self.under_way.remove(uuid)


def agents_of(daemon: Daemon, budget: StuckBudget, parallel_calls: int = 2) -> Agents:
    infos: dict[str, DomainInfo] = {}
    connections = Connections(
        "qemu:///system", Observer(), daemon.connect, budget=budget, read_only=False
    )
    settings = HostSettings(
        uri="qemu:///system", guest_agent=GuestAgentSettings(parallel_calls=parallel_calls)
    )
    return Agents(connections, settings, info=infos.get, stuck=lambda: ())


@pytest.mark.parametrize(("parallel_calls", "most"), [(1, 3), (2, 3), (8, 8)])
async def test_of_hundreds_of_guests_that_hang_few_calls_are_stuck(
    parallel_calls: int, most: int
) -> None:
    """Whoever asks; the other calls are not begun, and a sample keeps its room."""
    daemon, budget = Daemon(), StuckBudget(16)
    agents = agents_of(daemon, budget, parallel_calls)
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        def function(_session: Session) -> None:
            daemon.ask(f"vm-{number}")

        try:
            await agents.ask(f"vm-{number}", function, Deadline.within(3), 0.01)
        except NoAnswerError:
            outcomes.append("given up")
        except NoTurnError:
            outcomes.append("not begun")

    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(ask(number))
    assert outcomes.count("given up") == budget.stuck == daemon.most == most
    assert outcomes.count("not begun") == 200 - most
    daemon.may_end.set()
    await eventually(lambda: not budget.stuck, "the calls have come back")


async def test_one_guest_gets_one_call_at_a_time() -> None:
    """A second one waits for its turn."""
    daemon = Daemon()
    agents = agents_of(daemon, StuckBudget())

    async def ask() -> str:
        def function(_session: Session) -> str:
            daemon.ask("a")
            return "answered"

        return await agents.ask("a", function, Deadline.within(20), 20)

    both = [asyncio.ensure_future(ask()) for _ in range(2)]
    await eventually(lambda: daemon.under_way, "the first is under way")
    daemon.may_end.set()
    assert await asyncio.gather(*both) == ["answered"] * 2
    assert daemon.most == 1
