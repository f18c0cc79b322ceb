"""What is known of each domain's XML, and when it is read again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.budget import StuckBudget
from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.errors import ErrorClass, NoAnswerError
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.domains import inventory as inventory_module
from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.domains.inventory import Inventory
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.labels import compile_label
from tests.support.fake_libvirt import FakeDomain, FakeHost, libvirt_error
from tests.support.hosts import following_host_of
from tests.support.waiting import eventually, wait_until

pytestmark = pytest.mark.anyio

STATE = SampleRequest(frozenset({"state"}))
SETTINGS = HostSettings(uri="qemu:///system")


@asynccontextmanager
async def inventory_of(
    fake: FakeHost,
    refresh: float = 300.0,
    stuck: Callable[[], Container[str]] = tuple,
    observer: Observer | None = None,
) -> AsyncIterator[Inventory]:
    """An inventory that reads a fake host, and has heard of all its domains."""
    connections = Connections("qemu:///system", observer or Observer(), fake.connect)
    inventory = Inventory(connections, replace(SETTINGS, info_refresh=refresh), stuck=stuck)
    task = asyncio.create_task(inventory.run())
    inventory.reconcile(names(fake))
    await settle(inventory, fake)
    try:
        yield inventory
    finally:
        task.cancel()
        connections.close()


def names(fake: FakeHost) -> dict[str, str]:
    return {uuid: domain.name for uuid, domain in fake.domains.items()}


async def settle(inventory: Inventory, fake: FakeHost) -> None:
    await inventory.settled(fake.domains, asyncio.get_running_loop().time() + 5)


async def test_each_domain_is_read_once() -> None:
    """A listing that says nothing new reads nothing."""
    fake = FakeHost(3)
    async with inventory_of(fake) as inventory:
        for _ in range(3):
            inventory.reconcile(names(fake))
            await settle(inventory, fake)
        assert [domain.xml_reads for domain in fake.domains.values()] == [1, 1, 1]
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert (info.name, info.persistent, info.autostart) == ("vm0", True, None)


async def test_a_marked_domain_is_read_again() -> None:
    """After an event only its domain is read."""
    fake = FakeHost(2)
    async with inventory_of(fake) as inventory:
        fake[0].iothreads = 4
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert info.iothreads == 4
        assert fake[1].xml_reads == 1


async def test_an_equal_info_stays_the_same_object() -> None:
    """Plans are kept for it, so reading again without any change must cost nothing."""
    fake = FakeHost(1)
    async with inventory_of(fake) as inventory:
        before = inventory.get(fake[0].uuid)
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        assert fake[0].xml_reads == 2
        assert inventory.get(fake[0].uuid) is before


async def test_the_same_text_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked beside it is taken over all the same; another text is parsed."""
    texts: list[str] = []
    parse = parse_domain

    def counted(xml: str, **options: Any) -> DomainInfo:
        texts.append(xml)
        return parse(xml, **options)

    monkeypatch.setattr(inventory_module, "parse_domain", counted)
    fake = FakeHost(1)
    fake[0].shares = 1024
    async with inventory_of(fake) as inventory:
        fake[0].shares, fake[0].persistent = 510, False
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert (info.cpu_tune.shares, info.persistent) == (510, False)
        assert (fake[0].xml_reads, len(texts)) == (2, 1)
        fake[0].iothreads = 4
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert (info.iothreads, len(texts)) == (4, 2)


async def test_shares_that_the_kernel_tells_no_more_are_not_kept() -> None:
    """Although the XML is the same."""
    fake = FakeHost(1)
    fake[0].shares = 1024
    async with inventory_of(fake) as inventory:
        assert shares(inventory, fake[0]) == 1024
        fake[0].shares = None
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        assert shares(inventory, fake[0]) is None


async def test_other_labels_have_everything_read_again_and_waited_for() -> None:
    """Until then what is known is shown as it was, under the old labels."""
    fake = FakeHost(2)
    async with inventory_of(fake) as inventory:
        before = inventory.get(fake[0].uuid)
        inventory.apply(replace(SETTINGS, labels=(compile_label("vm", "name", {}),)))
        assert inventory.unread == set(fake.domains)
        assert inventory.get(fake[0].uuid) is before
        await settle(inventory, fake)
        assert inventory.unread == set()
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert info.custom_labels == (("vm", "vm0"),)


async def test_the_same_labels_read_nothing_again() -> None:
    """A reload that changes something else leaves the inventory alone."""
    fake = FakeHost(2)
    async with inventory_of(fake) as inventory:
        inventory.apply(replace(SETTINGS, info_refresh=60.0))
        await settle(inventory, fake)
        assert [domain.xml_reads for domain in fake.domains.values()] == [1, 1]


async def test_a_renamed_domain_is_read_again() -> None:
    """The listing shows a rename even where no event told of it."""
    fake = FakeHost(1)
    async with inventory_of(fake) as inventory:
        fake[0].name = "renamed"
        inventory.reconcile(names(fake))
        await settle(inventory, fake)
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert info.name == "renamed"


async def test_a_domain_that_is_gone_is_forgotten() -> None:
    """No info outlives its domain."""
    fake = FakeHost(2)
    async with inventory_of(fake) as inventory:
        gone = fake[0].uuid
        del fake.domains[gone]
        inventory.reconcile(names(fake))
        assert inventory.get(gone) is None
        assert inventory.get(fake[0].uuid) is not None


async def test_unparsable_xml_costs_its_domain_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others are known, and the log is not filled by repetition."""
    fake = FakeHost(2)
    fake[0].xml_broken = True
    with caplog.at_level(logging.WARNING):
        async with inventory_of(fake) as inventory:
            inventory.mark(fake[0].uuid)
            await settle(inventory, fake)
            assert inventory.unparsable == (fake[0].uuid,)
            assert inventory.get(fake[0].uuid) is None
            assert inventory.get(fake[1].uuid) is not None
            fake[0].xml_broken = False
            inventory.mark(fake[0].uuid)
            await settle(inventory, fake)
            assert not inventory.unparsable
    assert len(caplog.records) == 1


async def test_a_mistake_in_reading_one_domain_costs_that_domain_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reading goes on, for the others and for those that come later."""

    def odd(**_definition: bool) -> str:
        raise RecursionError("too deep")

    fake = FakeHost(2)
    monkeypatch.setattr(fake[0], "xml", odd)
    with caplog.at_level(logging.WARNING):
        async with inventory_of(fake) as inventory:
            fake.add(FakeDomain(7))
            inventory.mark(fake[0].uuid)
            inventory.reconcile(names(fake))
            await settle(inventory, fake)
            assert inventory.unparsable == (fake[0].uuid,)
            assert inventory.get(fake[1].uuid) is not None
            assert inventory.get(fake[2].uuid) is not None
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_snapshots_that_cannot_be_read_cost_themselves() -> None:
    """A checkpoint may be deleted just when it is to be read; the XML is known all the same."""
    fake = FakeHost(1)
    fake[0].refusals["listAllCheckpoints"] = libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR)
    async with inventory_of(fake) as inventory:
        info = inventory.get(fake[0].uuid)
        assert info is not None
        assert (info.name, info.checkpoints) == ("vm0", None)


async def test_shares_in_force_are_read_beside_the_xml() -> None:
    """What the kernel gives a domain for which nobody chose any; read again when they change."""
    fake = FakeHost(2)
    fake[0].shares = 1024
    async with inventory_of(fake) as inventory:
        assert shares(inventory, fake[0]) == 1024
        assert shares(inventory, fake[1]) is None
        assert inventory.get(fake[1].uuid) is not None
        fake[0].shares = 510
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        assert shares(inventory, fake[0]) == 510


async def test_no_shares_are_asked_of_who_does_not_run() -> None:
    """libvirt (9.0) would say 0."""
    fake = FakeHost(1)
    fake[0].active, fake[0].shares = False, 0
    async with inventory_of(fake) as inventory:
        assert shares(inventory, fake[0]) is None
        assert fake[0].own_calls == []


async def test_a_driver_without_shares_is_asked_for_them_once() -> None:
    """Each refusal would be a line in its daemon's log."""
    fake = FakeHost(2)
    for domain in fake.domains.values():
        domain.refusals["schedulerParameters"] = libvirt_error(
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED
        )
    async with inventory_of(fake):
        assert [*fake[0].own_calls, *fake[1].own_calls] == ["schedulerParameters"]


async def test_what_is_deprecated_is_known_of_a_domain_that_runs() -> None:
    """In libvirt's words, without the beginning that is the same for all."""
    fake = FakeHost(2)
    fake[0].deprecated = ["machine type 'pc-i440fx-1.5'", "CPU model 'a: b'"]
    fake[1].deprecated, fake[1].active = ["machine type 'pc-i440fx-1.5'"], False
    async with inventory_of(fake) as inventory:
        found = [inventory.get(domain.uuid) for domain in fake.domains.values()]
    assert [info and [one.setting for one in info.deprecated] for info in found] == [
        ["machine type 'pc-i440fx-1.5'", "CPU model 'a: b'"],
        [],
    ]


async def test_what_is_deprecated_is_asked_once_in_a_run() -> None:
    """libvirt noted it when the domain was started."""
    fake = FakeHost(1)
    async with inventory_of(fake) as inventory:
        for run, asked in ((fake[0].run, 1), (fake[0].run + 1, 2)):
            fake[0].run = run
            inventory.mark(fake[0].uuid)
            await settle(inventory, fake)
            assert fake[0].messages_reads == asked


async def test_what_is_deprecated_is_asked_again_of_a_host_that_was_away() -> None:
    """It may have been started anew, and number the runs of its domains from 1 again."""
    fake = FakeHost(1)
    async with inventory_of(fake) as inventory:
        fake[0].deprecated = ["machine type 'pc-i440fx-1.5'"]
        for connection in fake.connections:
            connection.alive = False
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        info = inventory.get(fake[0].uuid)
    assert info is not None
    assert [one.setting for one in info.deprecated] == ["machine type 'pc-i440fx-1.5'"]


async def test_a_libvirt_without_messages_knows_nothing_deprecated() -> None:
    """Before 7.1; everything else is read."""
    fake = FakeHost(1)
    fake[0].refusals["messages"] = libvirt_error(libvirt.VIR_ERR_NO_SUPPORT)
    async with inventory_of(fake) as inventory:
        info = inventory.get(fake[0].uuid)
    assert info is not None
    assert (info.name, info.deprecated) == ("vm0", ())


def shares(inventory: Inventory, domain: FakeDomain) -> int | None:
    info = inventory.get(domain.uuid)
    assert info is not None
    return info.cpu_tune.shares


def mode(inventory: Inventory, domain: FakeDomain) -> str:
    info = inventory.get(domain.uuid)
    assert info is not None
    return info.cpu_mode


async def test_host_model_is_known_of_a_domain_that_runs() -> None:
    """Although its XML shows what came of it; and asked for once in each run."""
    fake = FakeHost(2)
    for domain in fake.domains.values():
        domain.cpu_mode = "host-model"
    fake[1].persistent = False
    async with inventory_of(fake) as inventory:
        assert mode(inventory, fake[0]) == "host-model"
        assert mode(inventory, fake[1]) == "custom", "libvirt has forgotten"
        for domain in fake.domains.values():
            inventory.mark(domain.uuid)
        await settle(inventory, fake)
        assert mode(inventory, fake[0]) == "host-model"
        assert fake[0].own_calls.count("definition") == 1
        assert "definition" not in fake[1].own_calls


async def test_a_mode_defined_while_the_domain_runs_counts_from_its_next_start() -> None:
    """In either direction."""
    fake = FakeHost(2)
    fake[0].cpu_mode, fake[1].cpu_mode = "host-model", "custom"
    async with inventory_of(fake) as inventory:
        fake[0].cpu_mode, fake[1].cpu_mode = "custom", "host-model"
        for run, modes in ((1, ["host-model", "custom"]), (2, ["custom", "host-model"])):
            for domain in fake.domains.values():
                domain.run = run
                inventory.mark(domain.uuid)
            await settle(inventory, fake)
            assert [mode(inventory, domain) for domain in fake.domains.values()] == modes


async def test_host_model_is_known_of_a_domain_once_it_has_a_definition() -> None:
    """One that is migrated here runs before it has one; if that goes, what it told stays."""
    fake = FakeHost(1)
    fake[0].cpu_mode, fake[0].persistent = "host-model", False
    async with inventory_of(fake) as inventory:
        for persistent, known in ((False, "custom"), (True, "host-model"), (False, "host-model")):
            fake[0].persistent = persistent
            for _ in range(2):
                inventory.mark(fake[0].uuid)
                await settle(inventory, fake)
                assert mode(inventory, fake[0]) == known
        assert fake[0].own_calls.count("definition") == 1


async def test_nobody_waits_for_xml_that_may_not_be_asked_for() -> None:
    """As many calls are stuck as may be; the XML is read when one has come back."""
    fake = FakeHost(1)
    connections = Connections("qemu:///system", Observer(), fake.connect, budget=StuckBudget(1))
    gate = threading.Event()
    with pytest.raises(NoAnswerError):
        await connections.ask("jobs", "stuck", lambda _: gate.wait(), Deadline.within(0.05))
    inventory = Inventory(connections, SETTINGS)
    task = asyncio.create_task(inventory.run())
    inventory.reconcile(names(fake))
    await eventually(lambda: not inventory.unread, "all XML has been read")
    assert fake[0].xml_reads == 0
    gate.set()
    await eventually(lambda: inventory.get(fake[0].uuid) is not None, "the domain is known")
    task.cancel()
    connections.close()


async def test_a_domain_that_blocks_holds_up_nobody_else() -> None:
    """The others' XML is read around a domain whose lock is held."""
    fake = FakeHost(4)
    with fake[1].locked():
        async with inventory_of(fake) as inventory:
            known = [inventory.get(domain.uuid) is not None for domain in fake.domains.values()]
            assert known == [True, False, True, True]


async def test_a_domain_that_blocks_costs_one_connection_however_often_it_changes() -> None:
    """Nobody is sent to wait beside the first who waits."""
    fake = FakeHost(2)
    with fake[1].locked():
        async with inventory_of(fake) as inventory:
            before = len(fake.connections)
            for _ in range(3):
                inventory.mark(fake[1].uuid)
                inventory.mark(fake[0].uuid)
                await settle(inventory, fake)
            assert fake[0].xml_reads == 4
            # One more at most: the lane's fresh connection after the stuck one.
            assert len(fake.connections) <= before + 1


async def test_the_slow_timer_reads_without_any_event() -> None:
    """What no event tells is known after the refresh time."""
    fake = FakeHost(1)
    async with inventory_of(fake, refresh=0.01):
        await eventually(lambda: fake[0].xml_reads >= 2, "the XML is read again")


async def test_everything_is_read_again_within_the_refresh_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each domain at a time of its own."""
    given: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        given.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    async with inventory_of(FakeHost(3)):
        assert len(given) == 3
    ((low, high),) = set(given)
    assert low < high <= 1


async def test_readings_of_the_timer_share_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are due nearly together cost one call, not one each."""
    shares = iter([0.91, 0.95, 1.0])
    monkeypatch.setattr("random.uniform", lambda _low, _high: next(shares, 100.0))
    monkeypatch.setattr(inventory_module, "SHORTEST_PAUSE", 0.01)
    calls: list[str] = []

    class Counting(Observer):
        def call_finished(self, call: str, seconds: float, error: ErrorClass | None) -> None:
            calls.append(call)

    fake = FakeHost(3)
    async with inventory_of(fake, refresh=0.5, observer=Counting()):
        assert calls.count("XMLDesc") == 1
        await eventually(lambda: all(d.xml_reads > 1 for d in fake.domains.values()), "read again")
        assert calls.count("XMLDesc") == 2


async def test_the_slow_timer_leaves_a_stuck_domain_alone() -> None:
    """Its XML might hold the call (libvirt 11); what an event tells is read all the same."""
    fake = FakeHost(2)
    stuck: set[str] = set()
    async with inventory_of(fake, refresh=0.01, stuck=lambda: stuck) as inventory:
        stuck.add(fake[0].uuid)
        before = fake[0].xml_reads
        await eventually(lambda: fake[1].xml_reads >= 4, "the other is read again")
        assert fake[0].xml_reads <= before + 1, "one reading may have been under way"
        inventory.mark(fake[0].uuid)
        await settle(inventory, fake)
        assert fake[0].xml_reads > before


async def test_a_stuck_domain_of_which_nothing_is_known_is_read() -> None:
    """As after a start of the exporter: before libvirt 11 its XML can be had."""
    fake = FakeHost(1)
    async with inventory_of(fake, stuck=lambda: {fake[0].uuid}) as inventory:
        assert inventory.get(fake[0].uuid) is not None


@pytest.mark.parametrize(
    ("event_id", "details"),
    [
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, (libvirt.VIR_DOMAIN_EVENT_DEFINED, 0)),
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, (libvirt.VIR_DOMAIN_EVENT_STARTED, 0)),
        (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, ("net1",)),
        (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, ("net1",)),
        (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, (1, None)),
        (libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE, ({},)),
        (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, (1, 2)),
        (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, ("vda", 4, 0)),
        (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, ("sda", 0)),
    ],
)
def test_events_that_change_the_xml_have_it_read(event_id: int, details: tuple[object]) -> None:
    """Each such event leads to one more reading of its domain."""
    fake = FakeHost(2)
    with following_host_of(fake) as host:
        host.sample(STATE, 5).result(10)
        wait_until(
            lambda: all(domain.xml_reads == 1 for domain in fake.domains.values()),
            "each XML is read once",
        )
        fake.emit(fake[0], event_id, *details)
        wait_until(lambda: fake[0].xml_reads == 2, "the XML is read again")


def test_missed_events_are_made_good_after_a_reconnect() -> None:
    """A change while the connection was down is known soon after it is back."""
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        host.sample(STATE, 5).result(10)
        wait_until(lambda: fake[0].xml_reads == 1, "the XML is read")
        fake.drop_connections()
        wait_until(lambda: fake[0].xml_reads > 1, "the XML is read again")


def test_a_domain_that_appears_is_known_in_the_next_sample() -> None:
    """Its definition is an event, so its XML is there before anybody samples it."""
    fake = FakeHost(1)
    with following_host_of(fake) as host:
        host.sample(STATE, 5).result(10)
        added = FakeDomain(7)
        fake.add(added)
        fake.emit(added, 0, libvirt.VIR_DOMAIN_EVENT_DEFINED, 0)
        wait_until(lambda: added.xml_reads == 1, "the XML is read")
        sample = host.sample(STATE, 5).result(10)
    assert {domain.name: domain.info is not None for domain in sample.domains}["vm7"]


def test_a_real_metadata_event_changes_the_info() -> None:
    """libvirt's test driver: a new title arrives through its event."""
    host = Host(HostSettings(uri="test:///default"))
    host.start()
    assert host.sample(STATE, 5).result(10).domains[0].info is not None
    # The binding does not annotate that None is allowed, which removes the title.
    domain: Any = libvirt.open("test:///default").lookupByName("test")
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "renamed by a test", None, None, 0)

    def title() -> str:
        info = host.sample(STATE, 5).result(10).domains[0].info
        return info.title if info else ""

    try:
        wait_until(lambda: title() == "renamed by a test", "the new title is known")
    finally:
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None, None, None, 0)
        host.close()
