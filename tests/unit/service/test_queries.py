"""When a query is answered, from which sample, and what exists for clients."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from libvirt_exporter.config.schema import Api
from libvirt_exporter.contract import NotFoundError, QueryRequest, RequestError, UnavailableError
from libvirt_exporter.model import Disk, DomainInfo, DomainSample, HostSample, Stats
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.query.need import MOST_IDS, Need, Scope, covers
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.workers import Workers
from tests.support.needs import ALL, WHOLE
from tests.support.virtual_time import run_virtually

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
NOBODY = "99999999-9999-4999-8999-999999999999"
NEED_OF_MEMORY = Need(groups=frozenset({"balloon"}), vm_ids=frozenset({ONE}))
MEMORY: Stats = {"balloon.available": 100, "balloon.usable": 50}
SOON = 20.0
"""Seconds of the loop, which pass at once, in which everything happens."""


def domain(uuid: str, state: int = 1, **info: Any) -> DomainSample:
    return DomainSample(
        uuid=uuid,
        name=f"vm-{uuid[0]}",
        active=True,
        stats={"state.state": state, "state.reason": 1},
        timestamp=time.time(),
        info=DomainInfo(uuid=uuid, name=f"vm-{uuid[0]}", **info),
    )


def all_of(sample: HostSample) -> Sequence[DomainSample]:
    """The domains that are shown where the configuration hides none."""
    return sample.domains


class Desk:
    """Queries of a made-up host, which is what `domains` says when it is sampled."""

    def __init__(self, *domains: DomainSample, **api: Any) -> None:
        self.domains = domains
        self.up = True
        self.samples = 0
        self.scopes: list[Scope] = []
        """What each of them was taken for."""
        self._sampled = asyncio.Condition()
        self.hidden: set[str] = set()
        self.workers = Workers()
        self.queries = Queries(self.terms(**api), sample=self.sample, workers=self.workers)

    def terms(self, **api: Any) -> Terms:
        hidden = frozenset(self.hidden)

        def shown(sample: HostSample) -> Sequence[DomainSample]:
            return [each for each in sample.domains if each.uuid not in hidden]

        return Terms(Api(**api), shown, ALL)

    async def sample(self, scope: Scope = WHOLE, at: float | None = None) -> None:
        self.samples += 1
        self.scopes.append(scope)
        async with self._sampled:
            self._sampled.notify_all()
        now = time.time() if at is None else at
        self.queries.saw(
            HostSample(
                timestamp=now,
                began=asyncio.get_running_loop().time(),
                duration=0.0,
                up=self.up,
                domains=tuple(replace(each, timestamp=now) for each in self.domains),
                error="" if self.up else "the socket is not there",
                error_code=0 if self.up else 38,
            ),
            scope,
        )

    async def sampled(self, times: int) -> None:
        """Wait until it has been sampled so often."""
        async with self._sampled:
            await self._sampled.wait_for(lambda: self.samples >= times)

    async def ask(self, **request: Any) -> dict[str, Any]:
        answer = await self.queries.answer(QueryRequest(**request))
        decoded: dict[str, Any] = json.loads(answer.body)
        return decoded

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.queries.end()
        self.workers.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtually(work(), SOON)


def names(answer: dict[str, Any]) -> set[str]:
    """The fields of the first VM of an answer."""
    return {*answer["dataList"][0]} - {"vmId"}


# What exists


def test_an_answer_has_all_its_parts() -> None:
    """The first one is full, and says what of the question it did not understand."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            answer = await desk.ask(fields=("state", "colour"), vm_ids=(ONE, NOBODY, "x"))
            assert answer.pop("queryStamp").count("-") == 2
            assert answer == {
                "dataList": [{"vmId": ONE, "state": "running"}],
                "full": True,
                "removed": [],
                "unknownFields": ["colour"],
                "unknownVmIds": [NOBODY, "x"],
            }

    run(work)


def test_uuids_are_understood_however_they_are_written() -> None:
    """Upper case and without dashes they name the same VM."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            for spelt in (ONE.upper(), ONE.replace("-", "")):
                answer = await desk.ask(fields=("state",), vm_ids=(spelt,))
                assert [row["vmId"] for row in answer["dataList"]] == [ONE]
                assert answer["unknownVmIds"] == []

    run(work)


def test_what_was_sampled_before_an_event_is_too_old() -> None:
    """However young it is; one sample is enough for all events until then."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=60.0) as desk:
            await desk.ask()
            await asyncio.sleep(0.25)
            await desk.ask()
            assert desk.samples == 1
            desk.queries.happened()
            await desk.ask()
            await desk.ask()
            assert desk.samples == 2

    run(work)


def test_unknown_fields_alone_are_not_all_fields() -> None:
    """What is left of the choice is nothing but the ids."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            answer = await desk.ask(fields=("colour",))
            assert answer["dataList"] == [{"vmId": ONE}]
            assert (await desk.ask(fields=("vmId",)))["dataList"] == [{"vmId": ONE}]

    run(work)


def test_exclude_takes_from_fields_and_from_all() -> None:
    """vmId stays, and a name that means nothing takes nothing."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            everything = names(await desk.ask())
            rest = names(await desk.ask(exclude=("state", "colour", "vmId")))
            assert rest == everything - {"state"}
            few = await desk.ask(fields=("state", "status"), exclude=("state",))
            assert few["dataList"] == [{"vmId": ONE, "status": "Up"}]
            assert few["unknownFields"] == []

    run(work)


def test_sensitive_fields_do_not_exist_until_they_are_configured() -> None:
    """Off, they are unknown like any nonsense, also to strict and explain; on, they are there."""
    secret = [field.name for field in FIELDS if field.sensitive]

    async def work() -> None:
        vm = domain(ONE, system_serial="S3CR3T", metadata={"nova": {"name": "S3CR3T"}})
        async with Desk(vm) as desk:
            answer = await desk.ask(explain=True)
            assert "S3CR3T" not in json.dumps(answer)
            assert not {*secret} & names(answer)
            assert not {*secret} & {*answer["explanations"][ONE]}
            named = await desk.ask(fields=("serial", "status"), explain=True)
            assert named["unknownFields"] == ["serial"]
            assert names(named) == {"status"}
            assert named["explanations"] == {ONE: {}}
            with pytest.raises(RequestError) as refused:
                await desk.ask(fields=("seria",), strict=True)
            assert not any(name in refused.value.hint for name in secret)
            assert not {*secret} & {field.name for field in desk.queries.fields}

            desk.queries.apply(desk.terms(sensitive_fields=("serial",)))
            answer = await desk.ask()
            assert answer["dataList"][0]["serial"] == "S3CR3T"
            assert "nova" not in names(answer)

    run(work)


def test_strict_refuses_what_it_does_not_know() -> None:
    """With the nearest name that there is; in exclude too."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            for request in ({"fields": ("status", "stat")}, {"exclude": ("stat",)}):
                with pytest.raises(RequestError) as refused:
                    await desk.ask(**request, strict=True)
                assert refused.value.message == "unknown field stat"
                assert refused.value.hint == "did you mean state?"
            with pytest.raises(RequestError) as refused:
                await desk.ask(fields=("displayIp",), strict=True)
            assert "api.sensitive_fields" in refused.value.hint
            with pytest.raises(RequestError) as refused:
                await desk.ask(fields=("x" * 10_000,), strict=True)
            assert len(refused.value.message) < 100

    run(work)


def test_explain_says_of_each_absent_field_what_it_takes() -> None:
    """Each field has a value or an explanation, and never both."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            answer = await desk.ask(fields=("state", "cpuUser", "elapsedTime"), explain=True)
            assert names(answer) == {"state"}
            assert answer["explanations"][ONE].keys() == {"cpuUser", "elapsedTime"}
            assert all(answer["explanations"][ONE].values())
            assert "explanations" not in await desk.ask()

    run(work)


def test_a_hidden_vm_does_not_exist() -> None:
    """Neither in answers nor for diagnostics; one that comes to be hidden is removed."""

    async def work() -> None:
        async with Desk(domain(ONE), domain(TWO)) as desk:
            before = await desk.ask(fields=("state",))
            desk.hidden = {TWO}
            desk.queries.apply(desk.terms())
            answer = await desk.ask(fields=("state",), changed_since=before["queryStamp"])
            assert (answer["dataList"], answer["removed"]) == ([], [TWO])
            answer = await desk.ask(vm_ids=(TWO,))
            assert (answer["dataList"], answer["unknownVmIds"]) == ([], [TWO])
            for vm_id in (TWO, NOBODY, "../etc"):
                with pytest.raises(NotFoundError):
                    await desk.queries.diagnostics(vm_id)
            assert b'"running"' in (await desk.queries.diagnostics(ONE.upper())).body

    run(work)


def test_guids_of_luns_are_told_nowhere_until_they_are_configured() -> None:
    """Neither among the fields nor in explanations nor in diagnostics."""
    disk = Disk(device="sda", lun_guid="3600140secret")
    vm = replace(domain(ONE, disks=(disk,)), stats={"block.count": 1, "block.0.name": "sda"})

    async def bodies(*sensitive: str) -> list[bytes]:
        async with Desk(vm, sensitive_fields=[*sensitive]) as desk:
            fields = await desk.queries.answer(QueryRequest(explain=True))
            return [fields.body, (await desk.queries.diagnostics(ONE)).body]

    async def work() -> None:
        for body in await bodies():
            assert b"3600140secret" not in body
        assert b"3600140secret" in (await bodies("lunGUIDs"))[0]

    run(work)


def test_a_name_that_is_no_utf_8_costs_no_vm_its_answer() -> None:
    """libvirt-python decodes stray bytes to lone surrogates, which JSON in UTF-8 cannot hold."""
    odd = replace(domain(ONE), name="vm-\udcff\u00e9")
    stats: Stats = {"net.count": 1, "net.0.name": "\udcff", "net.0.rx.bytes": 1}

    async def work() -> None:
        async with Desk(replace(odd, stats=stats), domain(TWO)) as desk:
            answer = await desk.ask(fields=("vmName", "network"))
            rows = {row["vmId"]: row for row in answer["dataList"]}
            assert rows[ONE]["vmName"] == "vm-?\u00e9"
            assert rows[ONE]["network"] == {"?": {"name": "?", "rx": 1}}
            assert rows[TWO]["vmName"] == "vm-2"

    run(work)


def test_a_body_is_compressed_where_that_makes_it_shorter() -> None:
    """An answer to many VMs is; one that says that nothing changed is not."""

    async def work() -> None:
        many = [domain(f"{number:08}-0000-4000-8000-000000000000") for number in range(50)]
        async with Desk(*many) as desk:
            plain = await desk.queries.answer(QueryRequest())
            packed = await desk.queries.answer(QueryRequest(gzip=True))
            assert packed.content_encoding == "gzip"
            assert len(packed.body) < len(plain.body) / 5
            answer = json.loads(gzip.decompress(packed.body))
            assert answer.keys() == json.loads(plain.body).keys()
            nothing = await desk.queries.answer(
                QueryRequest(gzip=True, changed_since=answer["queryStamp"])
            )
            assert nothing.content_encoding == ""
            assert json.loads(nothing.body)["dataList"] == []

    run(work)


# From which sample


def test_a_sample_that_is_fresh_enough_is_used_again() -> None:
    """Whoever had it taken; an older one is not."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=1000.0) as desk:
            await desk.sample()
            await desk.ask()
            await desk.ask(fields=("state",))
            assert desk.samples == 1
            desk.queries.apply(desk.terms(max_age=0.0))
            await desk.ask()
            assert desk.samples == 2

    run(work)


def test_a_vm_that_is_gone_is_remembered_as_long_as_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who asks again in that time learns which it is; later everything is told anew."""

    async def removed(after: float) -> list[str] | None:
        now = 1e9
        monkeypatch.setattr(
            "libvirt_exporter.query.answers.time", SimpleNamespace(time=lambda: now)
        )
        async with Desk(domain(ONE), domain(TWO), max_age=0.0, tombstones=600.0) as desk:
            stamp = (await desk.ask())["queryStamp"]
            desk.domains = desk.domains[:1]
            await desk.ask()
            now += after
            answer = await desk.ask(changed_since=stamp)
            return None if answer["full"] else answer["removed"]

    async def work() -> None:
        assert await removed(after=590.0) == [TWO]
        assert await removed(after=610.0) is None

    run(work)


def test_a_host_that_does_not_answer_loses_no_vm() -> None:
    """The query fails, without libvirt's words; after that everything is as before."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.0) as desk:
            stamp = (await desk.ask())["queryStamp"]
            desk.up = False
            with pytest.raises(UnavailableError) as failed:
                await desk.ask(changed_since=stamp)
            assert failed.value.message == "libvirt does not answer (libvirt's error 38)"
            with pytest.raises(UnavailableError):
                await desk.queries.diagnostics(ONE)
            desk.up = True
            answer = await desk.ask(changed_since=stamp)
            assert (answer["dataList"], answer["removed"], answer["full"]) == ([], [], False)

    run(work)


def test_who_has_little_time_is_told_that_libvirt_takes_longer() -> None:
    """The sample goes on without it, and answers the next one who asks."""

    async def work() -> None:
        answering = asyncio.Event()

        async def slow(scope: Scope) -> None:
            await answering.wait()
            await desk.sample(scope)

        async with Desk(domain(ONE), max_age=60.0) as desk:
            patient = desk.queries
            desk.queries = Queries(desk.terms(max_age=60.0), sample=slow, workers=desk.workers)
            for _ in range(3):
                with pytest.raises(UnavailableError, match="did not answer within"):
                    await desk.ask(timeout=0.05)
            answering.set()
            await desk.sampled(1)
            assert names(await desk.ask(fields=("state",), timeout=SOON)) == {"state"}
            assert desk.samples == 1
            patient.end()

    run(work)


def test_another_host_is_answered_in_full() -> None:
    """Stamps of the one before are worth nothing."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            stamp = (await desk.ask())["queryStamp"]
            desk.domains = (domain(TWO),)
            desk.queries.forget()
            answer = await desk.ask(changed_since=stamp)
            assert answer["full"]
            assert [row["vmId"] for row in answer["dataList"]] == [TWO]

    run(work)


def test_a_query_outlives_the_exchange_of_the_host() -> None:
    """The sample that it waits for comes to nothing, and the new host's is taken."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            taken = 0

            async def sample(scope: Scope) -> None:
                nonlocal taken
                taken += 1
                if taken == 1:
                    desk.queries.forget()
                else:
                    await desk.sample(scope)

            desk.queries = Queries(desk.terms(), sample=sample, workers=desk.workers)
            assert (await desk.ask())["dataList"]

    run(work)


def test_rates_come_with_a_sample_that_is_old_enough() -> None:
    """Scrapes count as samples too; before the first query none is kept."""

    async def work() -> None:
        vm = domain(ONE)
        async with Desk(vm) as desk:
            used, now = 0, time.time()

            async def sample(seconds: float) -> dict[str, Any]:
                nonlocal used
                used += int(seconds * 1e9)
                stats = {**vm.stats, "cpu.time": used, "vcpu.maximum": 1, "vcpu.0.time": used}
                desk.domains = (replace(vm, stats=stats),)
                await desk.sample(at=now + seconds)
                answer = await desk.ask(fields=("cpuUser",), vm_ids=(ONE,))
                row: dict[str, Any] = answer["dataList"][0]
                return row

            assert await sample(0.0) == {"vmId": ONE}
            await asyncio.sleep(3)
            assert await sample(3.0) == {"vmId": ONE}
            await asyncio.sleep(3)
            assert await sample(6.0) == {"vmId": ONE, "cpuUser": 150.0}

    run(work)


# Waiting


def test_a_wait_ends_with_the_change() -> None:
    """Samples are taken meanwhile, and the first one with something new is answered."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.05) as desk:
            stamp = (await desk.ask(fields=("state",)))["queryStamp"]
            waiting = asyncio.create_task(
                desk.ask(fields=("state",), changed_since=stamp, wait=SOON)
            )
            taken = desk.samples
            await desk.sampled(taken + 2)
            assert not waiting.done()
            desk.domains = (domain(ONE, state=3),)
            answer = await waiting
            assert answer["dataList"] == [{"vmId": ONE, "state": "paused"}]
            assert not answer["full"]

    run(work)


def test_a_wait_without_a_change_ends_in_time() -> None:
    """With nothing, and a stamp to go on from; never later than may be waited."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.05, longest_wait=0.3) as desk:
            stamp = (await desk.ask())["queryStamp"]
            loop = asyncio.get_running_loop()
            started = loop.time()
            answer = await desk.ask(changed_since=stamp, wait=1000.0)
            assert loop.time() - started == pytest.approx(0.3, abs=0.01)
            assert (answer["dataList"], answer["full"]) == ([], False)
            again = await desk.ask(changed_since=answer["queryStamp"])
            assert not again["full"]

    run(work)


def test_nobody_waits_who_has_something_to_learn() -> None:
    """Without a good stamp, or with changes since, the answer comes at once."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=SOON) as desk:
            stamp = (await desk.ask(wait=SOON))["queryStamp"]
            desk.domains = (domain(ONE, state=3),)
            await desk.sample()
            assert (await desk.ask(changed_since=stamp, wait=SOON))["dataList"]
            assert (await desk.ask(changed_since="x", wait=SOON))["full"]
            assert desk.samples == 2

    run(work)


def test_an_event_ends_the_wait_for_the_next_sample() -> None:
    """Far sooner than a sample would be due."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=1000.0) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting = asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON))
            await asyncio.sleep(0.05)
            assert desk.samples == 1
            desk.domains = (domain(ONE, state=3),)
            desk.queries.happened()
            assert (await waiting)["dataList"]
            assert desk.samples == 2

    run(work)


def test_a_storm_of_events_is_no_storm_of_samples() -> None:
    """However much happens, samples keep a distance."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=1000.0, longest_wait=1.5) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting = asyncio.create_task(desk.ask(changed_since=stamp, wait=1.5))
            while not waiting.done():
                desk.queries.happened()
                await asyncio.sleep(0.001)
            assert 2 <= desk.samples <= 10

    run(work)


def test_those_who_wait_share_samples() -> None:
    """Fifty clients cost as many samples as one, and all hear of the change."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.3) as desk:
            stamp = (await desk.ask())["queryStamp"]
            clients = [
                asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON)) for _ in range(50)
            ]
            await desk.sampled(3)
            desk.domains = (domain(ONE, state=3),)
            answers = await asyncio.gather(*clients)
            assert all(answer["dataList"] for answer in answers)
            assert desk.samples == 4

    run(work)


def test_nothing_is_sampled_when_nobody_waits() -> None:
    """The last one to go, answered or not, ends it."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.02) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting = asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON))
            await desk.sampled(3)
            waiting.cancel()
            await asyncio.sleep(0.5)
            taken = desk.samples
            await asyncio.sleep(0.3)
            assert desk.samples == taken

    run(work)


def test_a_host_that_goes_away_does_not_end_a_wait() -> None:
    """The client hears when the host answers again, or when its time is up."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=0.02) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting = asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON))
            await desk.sampled(4)
            desk.up = False
            await desk.sampled(desk.samples + 3)
            assert not waiting.done()
            desk.up, desk.domains = True, (domain(ONE, state=3),)
            assert (await waiting)["dataList"]

    run(work)


def test_the_end_of_the_exporter_ends_all_waits() -> None:
    """At once, and those that would begin later."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=1000.0) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting: list[Awaitable[dict[str, Any]]] = [
                asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON)) for _ in range(3)
            ]
            await asyncio.sleep(0.05)
            desk.queries.end()
            for answer in await asyncio.gather(*waiting):
                assert (answer["dataList"], answer["full"]) == ([], False)
            assert not (await desk.ask(changed_since=stamp, wait=SOON))["full"]

    run(work)


def test_a_new_configuration_ends_a_wait_with_what_it_shows() -> None:
    """A client whose choice has another meaning now is told everything."""

    async def work() -> None:
        async with Desk(domain(ONE, system_serial="7"), max_age=0.05) as desk:
            stamp = (await desk.ask())["queryStamp"]
            waiting = asyncio.create_task(desk.ask(changed_since=stamp, wait=SOON))
            await asyncio.sleep(0.1)
            desk.queries.apply(desk.terms(max_age=0.05, sensitive_fields=("serial",)))
            answer = await waiting
            assert answer["full"]
            assert answer["dataList"][0]["serial"] == "7"

    run(work)


# What a sample is taken for


def test_a_sample_is_taken_for_what_was_asked_of_late_and_for_those_who_wait() -> None:
    """So that all of them are answered from one, and nobody from one that lacks something."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=60.0) as desk:
            await desk.ask(fields=("vmName",))
            stamp = (await desk.ask(fields=("memUsage",), vm_ids=(ONE,)))["queryStamp"]
            assert desk.scopes == [
                {Need()},
                {Need(), Need(groups=frozenset({"balloon"}), vm_ids=frozenset({ONE}))},
            ]
            await desk.ask(fields=("vmName",))
            await desk.ask(fields=("memUsage",), vm_ids=(ONE,))
            assert desk.samples == 2

            desk.queries.apply(desk.terms(max_age=60.0))
            since = {"fields": ("memUsage",), "vm_ids": (ONE,), "changed_since": stamp}
            waiting = asyncio.create_task(desk.ask(**since, wait=SOON))
            await desk.sampled(3)
            await asyncio.sleep(0)
            desk.queries.happened()
            await desk.sampled(4)
            assert all(covers(scope, NEED_OF_MEMORY) for scope in desk.scopes[2:])
            # For others something else may be sampled, which is no news.
            await desk.sample(frozenset({Need()}))
            desk.domains = (domain(ONE),)
            desk.domains = (replace(desk.domains[0], stats=MEMORY),)
            desk.queries.happened()
            assert (await waiting)["dataList"][0]["memUsage"] == 50

    run(work)


def test_a_sample_that_was_shared_with_others_answers_both() -> None:
    """Whoever is told first that it was taken."""

    async def work() -> None:
        for scopes in ((WHOLE, frozenset({Need()})), (frozenset({Need()}), WHOLE)):
            async with Desk(domain(ONE), max_age=60.0) as desk:
                for scope in scopes:
                    await desk.sample(scope, at=1000.0)
                await desk.ask()
                await desk.ask(fields=("vmName",))
                assert desk.samples == 2

    run(work)


@pytest.mark.parametrize("up", [True, False])
def test_a_complete_sample_replaces_what_somebody_in_a_hurry_got_of_it(up: bool) -> None:
    """A scrape whose time was up was told of the same sample before."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=60.0) as desk:
            await desk.ask()
            now = time.time()
            partial = HostSample(timestamp=now, duration=4.0, up=up, partial=True, error="late")
            desk.queries.saw(partial, WHOLE)
            whole = HostSample(timestamp=now, duration=6.0, up=True, domains=(domain(TWO),))
            desk.queries.saw(whole, WHOLE)
            answer = await desk.ask(fields=("state",))
            assert [row["vmId"] for row in answer["dataList"]] == [TWO]
            assert desk.samples == 1

    run(work)


@pytest.mark.parametrize(
    ("step", "against"), [(0.0, [1000.0]), (0.4, [1000.0]), (3600.0, []), (-3.0, [])]
)
def test_no_rate_is_taken_across_a_step_of_the_clock(step: float, against: list[float]) -> None:
    """Times of samples are those of the host's clock, which somebody may set."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            await desk.ask()
            await desk.sample(at=1000.0)
            await asyncio.sleep(10)
            await desk.sample(at=1010.0 + step)
            latest = desk.queries._latest
            assert latest is not None
            assert [old.timestamp for old in latest.earlier] == against

    run(work)


def test_what_was_asked_for_is_forgotten_although_no_sample_is_taken() -> None:
    """Scrapes keep the latest one fresh; a need has up to 1,000 UUIDs."""

    async def work() -> None:
        async with Desk(domain(ONE), max_age=5.0) as desk:
            for number in range(15):
                await desk.sample()
                await desk.ask(fields=("memUsage",), vm_ids=(str(UUID(int=number)),))
                await asyncio.sleep(1)
            assert desk.samples == 15
            assert len(desk.queries._asked) <= 7

    run(work)


def test_who_asks_for_applications_has_guests_asked() -> None:
    """Where nobody scrapes, nobody else does."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            api = Api(sensitive_fields=("appsList",))
            desk.queries.apply(Terms(api, all_of, Need(lanes=frozenset({"applications"}))))
            for _ in range(2):
                assert await desk.queries.applications(ONE) is None
            assert [{need.lanes for need in scope} for scope in desk.scopes] == [
                {frozenset({"applications"})}
            ]

    run(work)


def test_a_query_for_very_many_vms_has_all_of_them_sampled() -> None:
    """What many VMs each need is not compared with each other while scrapes wait."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            ids = tuple(str(UUID(int=number)) for number in range(MOST_IDS))
            await desk.ask(fields=("memUsage",), vm_ids=ids)
            answer = await desk.ask(fields=("memUsage", "status"), vm_ids=(*ids, ONE))
            assert [row["vmId"] for row in answer["dataList"]] == [ONE]
            first, second = ({need.vm_ids for need in scope} for scope in desk.scopes)
            assert first == {frozenset(ids)}
            assert None in second

    run(work)


def test_fields_whose_groups_are_not_enabled_are_not_asked_for() -> None:
    """What the configuration excludes is absent, and says why."""

    async def work() -> None:
        async with Desk(domain(ONE)) as desk:
            desk.queries.apply(Terms(Api(), all_of, Need(groups=frozenset({"state"}))))
            answer = await desk.ask(fields=("memUsage", "status"), explain=True)
            assert names(answer) == {"status"}
            assert answer["explanations"][ONE].keys() == {"memUsage"}
            assert desk.scopes == [{Need()}]

    run(work)
