"""What queries save on the wire, and what it costs to find out what changed."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from libvirt_exporter.config.schema import Api
from libvirt_exporter.contract import QueryRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.query.need import Scope
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.workers import Workers
from tests.bench.figures import Column, Spread, Table
from tests.bench.synthetic import samples
from tests.support.needs import ALL, WHOLE

POLL_INTERVAL: Final = 3.0
MINUTE: Final = 20
"""Polls."""
SHOWN: Final = [field for field in FIELDS if not (field.sensitive or field.on_request)]
STATISTICS: Final = tuple(field.name for field in SHOWN if field.change == "sampled")
REST: Final = tuple(field.name for field in SHOWN if field.change != "sampled")
EVERYTHING: Final = tuple(field.name for field in SHOWN)
NOTHING: Final = ("vmId",)
"""What never changes and costs nothing to compute."""

Stream = tuple[Sequence[str], int]
"""Fields, and at every how many polls they are asked for."""

SAVINGS: Final = (
    Column("fleet", "fleet"),
    Column("asked", "asked"),
    Column("full_bytes", "everything MB", 1e-6),
    Column("changed_bytes", "changes MB", 1e-6),
    Column("saved", "saved %", 100),
    Column("worst_poll", "worst poll %", 100),
)
COSTS: Final = (
    Column("fleet", "fleet"),
    Column("asked", "asked"),
    Column("first_seconds", "first answer ms", 1e3),
    Column("noting_seconds", "noting ms", 1e3),
    Column("values_seconds", "values ms", 1e3),
    Column("writing_seconds", "writing ms", 1e3),
    Column("poll_seconds", "poll ms", 1e3),
    Column("bytes", "answer bytes"),
)


def savings(vms: int, polls: int) -> Table:
    """Bytes of so many polls, against those of asking for everything each time."""
    whole: Stream = (EVERYTHING, 1)
    rows = [
        _saved("idle", "all", idle(vms), [whole], polls),
        _saved("busy", "all", busy(vms), [whole], polls),
        _saved(
            "busy",
            "statistics each minute, rest each poll",
            busy(vms),
            [(STATISTICS, MINUTE), (REST, 1)],
            polls,
        ),
    ]
    return Table(
        "query-savings",
        f"Queries: {polls} polls of {vms} VMs at {POLL_INTERVAL:g} s; bytes of uncompressed bodies",
        SAVINGS,
        rows,
        [
            "goal: idle ≥ 95 %; busy with the statistics each minute ≥ 75 %; worst poll ≤ 100 %",
            "idle: no statistic changes; busy: every counter of every VM does, in every sample",
            "worst poll: the longest answer after the first, beside everything at the same time",
        ],
    )


def costs(vms: int, rounds: int) -> Table:
    """CPU time from a sample to the answer, in process."""
    rows = [
        _cost("idle", "all", idle(vms), EVERYTHING, rounds),
        _cost("busy", "all but statistics", busy(vms), REST, rounds),
        _cost("busy", "all", busy(vms), EVERYTHING, rounds),
    ]
    return Table(
        "query-cost",
        f"Queries: {vms} VMs; CPU time of an answer, without HTTP",
        COSTS,
        rows,
        [
            "goal: noting and values ≤ 1 ms where nothing that is asked for changed, poll ≤ 1 ms",
            "noting: to take over a sample, and see which fields may have other values",
            "values: to compute those, and compare them with what they were",
            "writing: to compose and encode the answer of what changed",
            "poll: one that finds nothing, after another one of the same sample",
        ],
    )


def idle(vms: int) -> Iterator[HostSample]:
    """Samples that say the same, in objects of their own."""
    (first,) = islice(samples(vms), 1)
    return _timed(_copy(first) for _ in iter(int, 1))


def busy(vms: int) -> Iterator[HostSample]:
    """Samples in which every counter moves."""
    return _timed(samples(vms))


def _copy(sample: HostSample) -> HostSample:
    return replace(
        sample,
        domains=tuple(
            replace(domain, stats=json.loads(json.dumps(domain.stats))) for domain in sample.domains
        ),
    )


def _timed(samples: Iterator[HostSample]) -> Iterator[HostSample]:
    """The samples, POLL_INTERVAL apart."""
    for number, sample in enumerate(samples):
        at = 1e9 + number * POLL_INTERVAL
        domains = tuple(replace(domain, timestamp=at) for domain in sample.domains)
        yield replace(sample, timestamp=at, duration=0.0, domains=domains)


class _Client:
    """Asks a host that is sampled when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._workers = Workers()
        terms = Terms(Api(max_age=1e9), lambda sample: sample.domains, ALL)
        self._queries = Queries(terms, sample=self._no_sample, workers=self._workers)

    async def _no_sample(self, _scope: Scope) -> None:
        raise AssertionError("there is one")

    def see(self, sample: HostSample) -> None:
        async def see() -> None:
            self._queries.saw(sample, WHOLE)

        self._loop.run_until_complete(see())

    def ask(self, fields: Sequence[str], stamp: str = "") -> bytes:
        request = QueryRequest(fields=tuple(fields), changed_since=stamp)
        return self._loop.run_until_complete(self._queries.answer(request)).body

    def close(self) -> None:
        self._workers.close()
        self._loop.close()


def _saved(
    fleet: str, asked: str, host: Iterator[HostSample], streams: Sequence[Stream], polls: int
) -> list[Any]:
    client = _Client()
    stamps = [""] * len(streams)
    everything = changes = 0
    worst = 0.0
    for poll, sample in enumerate(islice(host, polls)):
        client.see(sample)
        full = len(client.ask(EVERYTHING))
        told = 0
        for number, (fields, every) in enumerate(streams):
            if poll % every == 0:
                body = client.ask(fields, stamps[number])
                stamps[number] = json.loads(body)["queryStamp"]
                told += len(body)
        everything, changes = everything + full, changes + told
        if poll:
            worst = max(worst, told / full)
    client.close()
    return [fleet, asked, everything, changes, 1 - changes / everything, worst]


def _cost(
    fleet: str, asked: str, host: Iterator[HostSample], fields: Sequence[str], rounds: int
) -> list[Any]:
    client = _Client()
    taken = list(islice(host, rounds + 3))
    client.see(taken[0])
    gc.collect()
    first, body = _cpu(partial(client.ask, fields))
    told = client.ask(NOTHING)
    parts = []
    for sample in taken[1:]:
        ask_nothing, stamp = partial(client.ask, NOTHING, _stamp(told)), _stamp(body)
        client.see(sample)
        # The sample is noted for the first who asks, values are computed for the first who wants
        # them, and who asks with the same stamp again has the same answer written again.
        noted, told = _cpu(ask_nothing)
        nothing, _ = _cpu(ask_nothing)
        computed, body = _cpu(partial(client.ask, fields, stamp))
        written, _ = _cpu(partial(client.ask, fields, stamp))
        poll, _ = _cpu(partial(client.ask, fields, _stamp(body)))
        parts.append((noted - nothing, computed - written, written - poll, poll))
    client.close()
    # The first two have no rates yet.
    spreads = [Spread.of(figures) for figures in zip(*parts[2:], strict=True)]
    return [fleet, asked, first, *spreads, len(body)]


def _stamp(body: bytes) -> str:
    stamp: str = json.loads(body)["queryStamp"]
    return stamp


def _cpu(work: Callable[[], bytes]) -> tuple[float, bytes]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result
