"""A choice spares: what an answer does not need is not asked of any QEMU.

The state of all domains is asked in every sample; the tests look at what is asked beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import pytest

from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Api, Domains, Groups, Libvirt
from libvirt_exporter.contract import QueryRequest, ScrapeRequest
from libvirt_exporter.query.overview import ASKS
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.service.workers import Workers
from tests.support.fake_libvirt import FakeDomain, FakeHost
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

Asked = Mapping[str, AbstractSet[str]]
"""Groups by name of the domain."""
Action = Callable[[Target, FakeHost], Awaitable[object]]

MONITOR: Final = {"balloon", "block", "cpu-total", "vcpu"}
DEFAULT: Final = {*MONITOR, "interface"}
"""What all fields need of the domains of the fake libvirt, once their XML is known."""
SCRAPED: Final = {*DEFAULT, "perf"}
"""What a scrape asks by default: a first perf event shows in the call for the interfaces."""
NOBODY: Final[Asked] = {}
NAMES: Final = ("vm0", "vm1", "vm2")


def everybody(groups: AbstractSet[str]) -> Asked:
    return dict.fromkeys(NAMES, groups)


@pytest.fixture
def workers() -> Iterator[Workers]:
    """What computes for targets."""
    with contextlib.closing(Workers()) as workers:
        yield workers


class Tenant(FakeDomain):
    """A domain of which Nova wrote whose it is."""

    def xml(self, *, definition: bool = False) -> str:
        project = f"project{self.name[-1]}"
        metadata = (
            "<metadata><i:instance xmlns:i='http://openstack.org/xmlns/libvirt/nova/1.1'>"
            f"<i:owner><i:project uuid='{project}'>{project}</i:project></i:owner>"
            "</i:instance></metadata>"
        )
        xml = super().xml(definition=definition)
        return xml.replace("<devices>", f"{metadata}<devices>")


def host() -> FakeHost:
    fake = FakeHost(0)
    for number in range(3):
        fake.add(Tenant(number))
    return fake


def asked(fake: FakeHost) -> Asked:
    """What each domain was asked beside its state."""
    found: dict[str, set[str]] = {}
    for _, groups, names in fake.calls:
        for name in names if groups - {"state"} else ():
            found.setdefault(name, set()).update(groups - {"state"})
    return found


@contextlib.asynccontextmanager
async def serving(
    fake: FakeHost, workers: Workers, *, warm: bool = True, **sections: Any
) -> AsyncIterator[Target]:
    """A target on this libvirt, of which nothing has been asked that a test counts."""
    config = Config(libvirt=Libvirt(timeout=PATIENCE), **sections)
    target = Target(config, Telemetry(process=False).of(""), workers, connect=fake.connect)
    try:
        if warm:
            # From the second sample on the XML tells which groups the domains have.
            await target.scrape(ScrapeRequest())
            fake.calls.clear()
        yield target
    finally:
        target.close()


def scrape(**request: Any) -> Action:
    return lambda target, _: target.scrape(ScrapeRequest(**request))


def query(**request: Any) -> Action:
    return lambda target, _: target.query(QueryRequest(**request), anew=True)


async def diagnostics(target: Target, fake: FakeHost) -> None:
    await target.diagnostics(fake[1].uuid)


async def overview(target: Target, _: FakeHost) -> None:
    target.latest = None
    await target.overview()


async def table(target: Target, _: FakeHost) -> None:
    await target.sample(ASKS)


async def waiting(target: Target, _: FakeHost) -> None:
    """A client that waits for three samples, and learns nothing by them."""
    answer = json.loads((await target.query(QueryRequest(fields=("vmName",)))).body)
    request = QueryRequest(fields=("vmName",), changed_since=answer["queryStamp"], wait=2.5)
    assert json.loads((await target.query(request)).body)["dataList"] == []


UUID_1: Final = FakeDomain(1).uuid

ACTIONS: Final[Mapping[str, tuple[Action, Asked]]] = {
    "all": (scrape(), everybody(SCRAPED)),
    "domain[] by name": (scrape(domains=("vm1",)), {"vm1": SCRAPED}),
    "domain[] by UUID": (scrape(domains=(UUID_1.upper(),)), {"vm1": SCRAPED}),
    "domain[] twice": (scrape(domains=("vm0", "vm1")), {"vm0": SCRAPED, "vm1": SCRAPED}),
    "domain[] of nobody": (scrape(domains=("other",)), NOBODY),
    "collect[]": (scrape(collect=("interface", "state")), everybody({"interface"})),
    "collect[] of what no statistics tell": (scrape(collect=("info", "event", "node")), NOBODY),
    "collect[] and domain[]": (
        scrape(collect=("balloon",), domains=("vm1",)),
        {"vm1": {"balloon"}},
    ),
    "exclude[]": (scrape(exclude=("block", "vcpu")), everybody(SCRAPED - {"block", "vcpu"})),
    "names": (query(fields=("vmName",)), NOBODY),
    "ids": (query(fields=("vmId",)), NOBODY),
    "unknown fields": (query(fields=("colour",)), NOBODY),
    "states": (query(fields=("state", "stateReason", "exitCode")), NOBODY),
    "what the XML says": (query(fields=("memSize", "devices", "boot", "cpuType")), NOBODY),
    "status": (query(fields=("status",)), NOBODY),
    "status of one": (query(fields=("status",), vm_ids=(UUID_1,)), NOBODY),
    "CPU": (query(fields=("cpuUser",)), everybody({"vcpu"})),
    "CPU of one": (query(fields=("cpuSys",), vm_ids=(UUID_1,)), {"vm1": {"vcpu", "cpu-total"}}),
    "memory": (query(fields=("memUsage", "status")), everybody({"balloon"})),
    "disks of one": (query(fields=("disks",), vm_ids=(UUID_1.upper(),)), {"vm1": {"block"}}),
    "network": (query(fields=("network",)), everybody({"interface"})),
    "all fields": (query(), everybody(DEFAULT)),
    "all fields of one": (query(vm_ids=(UUID_1,)), {"vm1": DEFAULT}),
    "all fields but some": (
        query(exclude=("disks", "network", "monitorResponse")),
        everybody(DEFAULT - {"block", "interface"}),
    ),
    "fields of nobody": (query(fields=("disks",), vm_ids=("x",)), NOBODY),
    "explain": (query(fields=("memUsage",), explain=True), everybody({"balloon"})),
    "diagnostics": (diagnostics, {"vm1": DEFAULT - {"cpu-total"}}),
    "the page": (overview, everybody(ASKS)),
    "the table": (table, everybody(DEFAULT)),
}


@pytest.mark.parametrize("way", ACTIONS)
async def test_only_what_an_answer_needs_is_asked(way: str, workers: Workers) -> None:
    """Of just the domains and groups that it is about."""
    act, expected = ACTIONS[way]
    fake = host()
    async with serving(fake, workers) as target:
        if way == "diagnostics":
            # The sample that came before would do.
            target._queries.apply(target._display.terms)
        await act(target, fake)
        assert asked(fake) == expected


CONFIGURATIONS: Final[Mapping[str, tuple[dict[str, Any], Asked]]] = {
    "include by name": ({"domains": Domains(include=("vm1",))}, {"vm1": DEFAULT}),
    "include by UUID": ({"domains": Domains(include=(f"uuid:{UUID_1}",))}, {"vm1": DEFAULT}),
    "exclude by name": ({"domains": Domains(exclude=("vm[02]",))}, {"vm1": DEFAULT}),
    "exclude by state": ({"domains": Domains(exclude=("state:running",))}, NOBODY),
    "include by metadata": (
        {"domains": Domains(include=("metadata:openstack.project=project1",))},
        {"vm1": DEFAULT},
    ),
    "exclude by metadata": (
        {"domains": Domains(exclude=("metadata:openstack.project=project[02]",))},
        {"vm1": DEFAULT},
    ),
    "include and exclude": (
        {"domains": Domains(include=("vm[01]",), exclude=("vm0",))},
        {"vm1": DEFAULT},
    ),
    "groups": ({"groups": Groups(include=("state", "balloon"))}, everybody({"balloon"})),
    "groups without monitor": ({"groups": Groups(include=("info", "event"))}, NOBODY),
    "all groups but those of disks": (
        {"groups": Groups(include=("all",), exclude=("block", "vm", "dirtyrate"))},
        everybody(DEFAULT - {"block"}),
    ),
}


@pytest.mark.parametrize("way", CONFIGURATIONS)
async def test_what_the_configuration_hides_is_not_asked(way: str, workers: Workers) -> None:
    """By no scrape, the first one included, by no query, and not for the page for people."""
    sections, expected = CONFIGURATIONS[way]
    fake = host()
    async with serving(fake, workers, warm=False, **sections) as target:
        await target.scrape(ScrapeRequest())
        # Whether domains have iothreads or are of KVM is known from the second one on.
        idle = {"iothread", "vm", "perf", "memory"}
        first = {name: groups - idle for name, groups in asked(fake).items()}
        assert {name: groups for name, groups in first.items() if groups} == expected
        for act, perf in ((scrape(), {"perf"}), (query(), set())):
            fake.calls.clear()
            await act(target, fake)
            assert asked(fake) == {
                name: groups | perf if "interface" in groups else groups
                for name, groups in expected.items()
            }
        fake.calls.clear()
        await overview(target, fake)
        page = {name: groups & ASKS for name, groups in expected.items()}
        assert asked(fake) == {name: groups for name, groups in page.items() if groups}


async def test_the_xml_of_those_who_are_never_shown_is_not_read(workers: Workers) -> None:
    """Nor are their snapshots counted, events or not; metadata take the XML of all."""
    for include, read in (("vm1", {"vm1"}), ("metadata:openstack.project=project1", {*NAMES})):
        fake = host()
        async with serving(fake, workers, domains=Domains(include=(include,))) as target:
            for _ in range(2):
                await target.scrape(ScrapeRequest())
            found = {domain.name for domain in fake.domains.values() if domain.xml_reads}
            assert found == read


async def test_what_is_shown_of_late_is_asked_from_then_on(workers: Workers) -> None:
    """A reload shows another domain, with all there is of it."""
    fake = host()
    async with serving(fake, workers, domains=Domains(include=("vm1",))) as target:
        assert (await fields(target, "disks")).keys() == {"vm1"}
        others = Config(libvirt=Libvirt(timeout=PATIENCE), domains=Domains(include=("vm2",)))
        fake.calls.clear()
        await target.apply(others)
        found = await fields(target, "disks")
        assert found.keys() == {"vm2"}
        assert found["vm2"]
        assert asked(fake) == {"vm2": {"block"}}


async def fields(target: Target, *names: str) -> dict[str, dict[str, Any]]:
    """These fields of all VMs, by their names."""
    answer = json.loads((await target.query(QueryRequest(fields=("vmName", *names)))).body)
    return {
        row.pop("vmName"): {key: value for key, value in row.items() if key != "vmId"}
        for row in answer["dataList"]
    }


async def test_a_client_that_waits_for_names_has_nothing_asked(workers: Workers) -> None:
    """However many samples are taken for it."""
    fake = host()
    async with serving(fake, workers, api=Api(max_age=1.0)) as target:
        await waiting(target, fake)
        assert sum(call == "getAllDomainStats" for call, _, _ in fake.calls) >= 2
        assert asked(fake) == NOBODY


async def test_those_who_ask_for_different_things_share_samples_in_a_while(
    workers: Workers,
) -> None:
    """Two clients that take turns have libvirt asked as often as one, each for what it needs."""
    fake = host()
    async with serving(fake, workers, api=Api(max_age=600.0)) as target:
        target._queries.apply(target._display.terms)
        for _ in range(5):
            await target.query(QueryRequest(fields=("memUsage",), vm_ids=(UUID_1,)))
            await target.query(QueryRequest(fields=("network",)))
        assert sum(call == "getAllDomainStats" for call, _, _ in fake.calls) == 2
        assert asked(fake) == {
            "vm0": {"interface"},
            "vm1": {"interface", "balloon"},
            "vm2": {"interface"},
        }


async def test_scrapes_of_different_domains_at_the_same_time_share_a_sample(
    workers: Workers,
) -> None:
    """Which asks of each domain what the one that is about it needs."""
    fake = host()
    async with serving(fake, workers) as target:
        in_flight = asyncio.ensure_future(target.scrape(ScrapeRequest(collect=("info",))))
        bodies = await asyncio.gather(
            target.scrape(ScrapeRequest(collect=("balloon",), domains=("vm0",))),
            target.scrape(ScrapeRequest(collect=("interface",), domains=("vm1",))),
        )
        await in_flight
        assert asked(fake) == {"vm0": {"balloon"}, "vm1": {"interface"}}
        assert b'domain="vm1"' not in bodies[0].body
        assert b"libvirt_domain_balloon_current_bytes" in bodies[0].body
        assert b"libvirt_domain_interface_receive_bytes_total" in bodies[1].body


async def test_no_job_is_looked_for_in_domains_that_nobody_asks_about(workers: Workers) -> None:
    """The lane goes on where it was, once somebody asks about all again."""
    fake = host()
    async with serving(fake, workers, warm=False, groups=Groups(include=("job",))) as target:
        for _ in range(3):
            await target.scrape(ScrapeRequest(domains=("vm1",)))
        assert {vm.name for vm in fake.domains.values() if "jobStats" in vm.own_calls} == {"vm1"}
        for _ in range(2):
            await target.scrape(ScrapeRequest())
        assert {vm.name for vm in fake.domains.values() if "jobStats" in vm.own_calls} == {*NAMES}


async def test_a_domain_without_xml_waits_to_be_asked(workers: Workers) -> None:
    """As long as metadata decide and are not known it is neither shown nor asked."""
    fake = host()
    fake[1].readable.clear()
    chosen = Domains(include=("metadata:openstack.project=.*",))
    async with serving(fake, workers, warm=False, domains=chosen) as target:
        try:
            body = (await target.scrape(ScrapeRequest())).body
            assert b'domain="vm1"' not in body
            assert b"libvirt_scrape_hidden_domains 1" in body
            assert asked(fake).keys() == {"vm0", "vm2"}
        finally:
            fake[1].readable.set()
