"""Calls for one domain after the other, where any may block, and how many of them may be stuck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection import budget
from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import CallError, ErrorClass
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.walk import BLOCKED_LIMIT, Walk, walk
from tests.support.fake_libvirt import FakeHost, libvirt_error
from tests.support.hosts import settled

pytestmark = pytest.mark.anyio

PURPOSES = ("xml", "jobs", "errors", "storage", "networks")
LONG = 10.0
"""Patience, in seconds, that no answer ever needs."""


@pytest.fixture
async def gate() -> AsyncIterator[threading.Event]:
    """What blocks every visit until it is set."""
    gate = threading.Event()
    yield gate
    gate.set()


def connections_with(budget: StuckBudget | int) -> Connections:
    budget = budget if isinstance(budget, StuckBudget) else StuckBudget(budget)
    return Connections("qemu:///system", Observer(), FakeHost().connect, budget=budget)


async def walk_on(
    connections: Connections,
    purpose: str,
    gate: threading.Event,
    *,
    patience: float = 0.05,
    always: bool = False,
) -> Walk[bool]:
    def visit(_session: Session, _uuid: str) -> bool:
        return gate.wait(30)

    return await walk(
        connections,
        purpose,
        "visit",
        [f"{purpose}-{number}" for number in range(8)],
        visit,
        deadline=Deadline.within(20),
        patience=patience,
        always=always,
    )


@pytest.mark.parametrize("limit", [1, 2, 4, 12])
async def test_all_purposes_together_get_no_more_calls_stuck_than_allowed(
    gate: threading.Event, limit: int
) -> None:
    """What one of them has under way may get stuck too, and is room that no other one has."""
    connections = connections_with(limit)
    walks = await asyncio.gather(*(walk_on(connections, purpose, gate) for purpose in PURPOSES))
    assert connections.budget.stuck == limit
    assert sum(len(result.blocked) for result in walks) == limit
    assert not any(result.answers for result in walks)
    gate.set()
    await settled(connections)
    assert len((await walk_on(connections, "xml", gate, patience=LONG)).answers) == 8


async def test_two_pools_of_one_uri_share_what_may_get_stuck(gate: threading.Event) -> None:
    """A second pool, say of read-write connections, doubles nothing, and frees for the first."""
    budget = StuckBudget(4)
    pools = [connections_with(budget), connections_with(budget)]
    walks = await asyncio.gather(
        *(walk_on(pool, purpose, gate) for pool in pools for purpose in ("xml", "jobs"))
    )
    assert sum(len(result.blocked) for result in walks) == budget.stuck == 4
    assert all(budget.is_stuck(at) for result in walks for at in result.blocked.values())
    for pool in pools:
        assert not (await walk_on(pool, "storage", gate)).blocked
        assert (pool.budget.full, pool.budget.room) == (True, 0)
    gate.set()
    await settled(pools[0])
    assert budget.room == 4
    assert len((await walk_on(pools[1], "xml", gate, patience=LONG)).answers) == 8


async def test_what_one_pool_has_under_way_is_no_room_for_another(gate: threading.Event) -> None:
    """It may get stuck too; what a closed pool had under way is nobody's any more."""
    budget = StuckBudget(1)
    first, second = connections_with(budget), connections_with(budget)
    call = first.of("state").call("getType", lambda _: gate.wait(30))
    assert (second.budget.room, second.budget.full) == (0, False)
    first.close()
    assert second.budget.room == 1
    gate.set()
    assert await call


async def test_one_walk_gets_stuck_at_a_few_things_only(gate: threading.Event) -> None:
    """It is not to use up what others need."""
    connections = connections_with(12)
    result = await walk_on(connections, "xml", gate)
    assert len(result.blocked) == connections.budget.stuck == BLOCKED_LIMIT


async def test_a_walk_waits_for_room_that_another_call_takes_for_a_moment(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only calls that are stuck end it."""
    monkeypatch.setattr(budget, "TURN", 0.0)
    connections = connections_with(1)
    other = connections.of("monitor-0").call("domainListGetStats", lambda _: gate.wait(30))
    walking = asyncio.create_task(walk_on(connections, "xml", gate, patience=LONG))
    for _ in range(20):  # each is another look
        await asyncio.sleep(0)
    assert not walking.done()
    assert (connections.budget.room, connections.budget.full) == (0, False)
    gate.set()
    assert len((await walking).answers) == 8
    assert await other


async def test_what_is_asked_always_is_asked_at_the_limit_too(gate: threading.Event) -> None:
    """By state and control a domain is seen to answer again."""
    connections = connections_with(1)
    await walk_on(connections, "xml", gate)
    assert connections.budget.full
    answers = threading.Event()
    answers.set()
    assert not (await walk_on(connections, "jobs", answers)).answers
    asked = await walk_on(connections, "control", answers, patience=LONG, always=True)
    assert len(asked.answers) == 8


async def test_an_error_costs_its_thing_only_as_long_as_the_connection_lives() -> None:
    """Whatever its code: that of a lost connection means other things too."""
    fake = FakeHost()
    connections = Connections("qemu:///system", Observer(), fake.connect)
    lost = False

    def visit(_session: Session, thing: str) -> str:
        if thing == "b":
            if lost:
                fake.drop_connections()
            raise libvirt_error(libvirt.VIR_ERR_NO_CONNECT)
        return thing

    async def walk_through() -> Walk[str]:
        return await walk(
            connections, "xml", "visit", "abc", visit, deadline=Deadline.within(20), patience=LONG
        )

    result = await walk_through()
    assert result.answers.keys() == {"a", "c"}
    assert result.failures.keys() == {"b"}
    lost = True
    with pytest.raises(CallError) as raised:
        await walk_through()
    assert raised.value.error_class is ErrorClass.DISCONNECTED
