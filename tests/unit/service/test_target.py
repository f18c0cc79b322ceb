"""One served libvirt as an object: several of them in one process do not know of each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import libvirt
import pytest
from msgspec.structs import replace

from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Domains, Libvirt
from libvirt_exporter.contract import NotFoundError, QueryRequest, ScrapeRequest
from libvirt_exporter.hypervisor.connection.session import Connect, open_read_only
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.service.workers import Workers
from tests.support.fake_libvirt import FakeHost
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.anyio

DOMAIN = """
  <domain type="test">
    <name>{name}</name><uuid>{uuid}</uuid><memory>1024</memory><vcpu>1</vcpu>
    <os><type>hvm</type></os>
  </domain>
"""


@pytest.fixture
def workers() -> Iterator[Workers]:
    """The threads that compute for all targets."""
    with contextlib.closing(Workers()) as workers:
        yield workers


def node(path: Path, names: Sequence[str]) -> str:
    """The URI of a test driver's host with these domains; their UUIDs count from 1."""
    domains = (
        DOMAIN.format(name=name, uuid=UUID(int=number)) for number, name in enumerate(names, 1)
    )
    path.write_text(f"<node>{''.join(domains)}</node>")
    return f"test://{path}"


class Frozen(threading.Event):
    """A daemon that answers no call until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        """Set by the first call."""

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.set()
        return super().wait(timeout)


def named(prefix: str, size: int) -> FakeHost:
    """A libvirt whose domains are called prefix-0 and so on."""
    host = FakeHost(size)
    for number in range(size):
        host[number].name = f"{prefix}-{number}"
    return host


@contextlib.contextmanager
def serving(
    uri: str, workers: Workers, telemetry: Telemetry, alias: str, connect: Connect = open_read_only
) -> Iterator[Target]:
    """A target of that URI."""
    config = Config(libvirt=Libvirt(uri=uri, timeout=PATIENCE))
    target = Target(config, telemetry.of(alias), workers, connect=connect)
    try:
        yield target
    finally:
        target.close()


async def series(target: Target) -> list[str]:
    """What a scrape shows, without the values."""
    exposition = await target.scrape(ScrapeRequest())
    return re.findall(r"^([a-z].*) \S+$", exposition.body.decode(), re.MULTILINE)


async def of_domains(target: Target) -> list[str]:
    """The series of domains that a scrape shows."""
    return [line for line in await series(target) if "domain=" in line]


async def domains(target: Target) -> set[str]:
    """The domains that a scrape shows."""
    return {re.findall(r'domain="(.*?)"', line)[0] for line in await of_domains(target)}


async def test_two_libvirts_in_one_process_answer_each_for_itself(
    tmp_path: Path, workers: Workers
) -> None:
    """Scrapes, queries and the page for people have the domains of their own host only."""
    telemetry = Telemetry(process=False)
    names = {"": ["one", "two"], "other": ["three"]}
    with contextlib.ExitStack() as stack:
        targets = {
            alias: stack.enter_context(
                serving(node(tmp_path / f"{alias}.xml", names[alias]), workers, telemetry, alias)
            )
            for alias in names
        }
        for alias, target in targets.items():
            assert not target.ready()
            assert await domains(target) == {*names[alias]}
            assert target.ready()
            answer = json.loads((await target.query(QueryRequest(fields=("vmName",)))).body)
            assert {row["vmName"] for row in answer["dataList"]} == {*names[alias]}
            overview = await target.overview()
            assert {row.name for row in overview.rows} == {*names[alias]}
        assert (await targets[""].diagnostics(str(UUID(int=2)))).body
        with pytest.raises(NotFoundError):
            await targets["other"].diagnostics(str(UUID(int=2)))


async def test_a_scrape_that_has_no_time_leaves_queries_their_whole_sample(
    workers: Workers,
) -> None:
    """What it saw in time is a part only."""
    fake = named("vm", 24)
    uri = "qemu:///system"
    with serving(uri, workers, Telemetry(process=False), "", fake.connect) as target:

        async def answered() -> int:
            answer = json.loads((await target.query(QueryRequest(fields=("disks",)))).body)
            return sum(bool(row.get("disks")) for row in answer["dataList"])

        assert await answered() == 24
        for each in fake.domains.values():
            each.late = 0.2
        hasty = await target.scrape(ScrapeRequest(timeout=0.4))
        assert b'libvirt_scrape_incomplete_domains{group="block"} 0' not in hasty.body
        assert await answered() == 24


async def test_what_counts_for_one_libvirt_stands_in_its_own_exposition(workers: Workers) -> None:
    """The default one is exposed with the process's metrics, the other without; no label tells."""
    telemetry = Telemetry(process=False)
    uri = "qemu:///system"
    with (
        serving(uri, workers, telemetry, "", FakeHost(1).connect) as default,
        serving(uri, workers, telemetry, "other", FakeHost(1).connect) as other,
    ):
        for target, of_process in ((default, True), (other, False)):
            shown = await series(target)
            assert shown.count("libvirt_exporter_samples_total") == 1
            assert ("libvirt_exporter_config_last_reload_successful" in shown) is of_process
        await other.sample()
        await other.sample()
    taken = [
        telemetry.of(alias).registry.get_sample_value("libvirt_exporter_samples_total")
        for alias in ("", "other")
    ]
    assert taken[1] == (taken[0] or 0) + 2


async def test_a_libvirt_that_hangs_leaves_the_scrapes_of_another_as_they_were(
    workers: Workers,
) -> None:
    """They end, complete, while a scrape of the one that hangs is still waiting."""
    telemetry = Telemetry(process=False)
    uri = "qemu:///system"
    good, bad = named("good", 2), named("bad", 3)
    with (
        serving(uri, workers, telemetry, "", good.connect) as healthy,
        serving(uri, workers, telemetry, "other", bad.connect) as hanging,
    ):
        # From the second sample on the XML tells which groups the domains have.
        await healthy.sample()
        before = await of_domains(healthy)
        assert await domains(hanging) == {"bad-0", "bad-1", "bad-2"}
        bad.thawed = frozen = Frozen()
        try:
            scrape = asyncio.ensure_future(domains(hanging))
            await eventually(frozen.asked.is_set, "the libvirt that hangs is asked")
            for _ in range(3):
                assert await of_domains(healthy) == before
                await healthy.query(QueryRequest())
            assert not scrape.done()
        finally:
            frozen.set()
        await scrape
        assert await domains(hanging) == {"bad-0", "bad-1", "bad-2"}


async def test_another_uri_is_another_host(workers: Workers) -> None:
    """The target is the same, and from then on shows the domains of the new one."""
    hosts = {"qemu:///system": named("old", 1), "qemu:///session": named("new", 2)}

    def connect(uri: str) -> libvirt.virConnect:
        connection: libvirt.virConnect = hosts[uri].connect(uri)
        return connection

    with serving("qemu:///system", workers, Telemetry(process=False), "", connect) as target:
        assert await domains(target) == {"old-0"}
        await target.apply(Config(libvirt=Libvirt(uri="qemu:///session", timeout=PATIENCE)))
        assert await domains(target) == {"new-0", "new-1"}
        answer = json.loads((await target.query(QueryRequest(fields=("vmName",)))).body)
        assert {row["vmName"] for row in answer["dataList"]} == {"new-0", "new-1"}


async def test_the_exporter_finds_targets_by_alias(tmp_path: Path) -> None:
    """The default one is there without a name; a name that is not configured is none."""
    config = Config(libvirt=Libvirt(uri=node(tmp_path / "node.xml", ["one"])))
    with contextlib.closing(Exporter(lambda: config, Telemetry(process=False))) as exporter:
        assert exporter.target() is exporter.target("")
        assert exporter.target().config is config
        with pytest.raises(NotFoundError, match="nowhere"):
            exporter.target("nowhere")


async def test_a_configuration_that_hides_every_vm_is_logged_once(
    tmp_path: Path, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """And again for another one."""
    uri = node(tmp_path / "node.xml", ["one", "two"])
    with serving(uri, workers, Telemetry(process=False), "") as target:
        await domains(target)
        for include in ("three", "four"):
            await target.apply(replace(target.config, domains=Domains(include=(include,))))
            for _ in range(3):
                assert not await domains(target)
            await eventually(lambda: len(caplog.messages) == 1, "one line in the log")
            assert "domains.include does not match any of the 2 VMs" in caplog.messages[0]
            caplog.clear()
