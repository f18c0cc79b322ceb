"""What the pages for people show, and what is sampled for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Domains
from libvirt_exporter.model import HostSample
from libvirt_exporter.service.display import Display
from libvirt_exporter.service.overviews import Overviews
from libvirt_exporter.service.workers import Workers
from tests.support.samples import typical

pytestmark = pytest.mark.anyio


class Host:
    """A host that is sampled at a time of the test's own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.taken = 0
        self.duration = 0.0

    async def sample(self) -> HostSample:
        await asyncio.sleep(0)
        self.taken += 1
        return HostSample(
            timestamp=self.now,
            duration=self.duration,
            up=True,
            domains=(typical(),),
        )


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    with patch.object(time, "time", lambda: host.now):
        yield host


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def display() -> Display:
    return Display(Config(), CollectorRegistry())


async def test_those_who_look_together_or_soon_after_see_the_same(
    host: Host, display: Display, workers: Workers
) -> None:
    """One sample and one overview for all, until it is too old."""
    overviews = Overviews(host.sample, workers)
    first = await overviews.get(None, display)
    host.now += 1.5
    assert all(
        [await overviews.get(None, display) is first for _ in range(3)],
    )
    assert host.taken == 1
    host.now += 1.0
    assert await overviews.get(None, display) is not first
    assert host.taken == 2


async def test_what_was_sampled_for_others_is_taken_first(
    host: Host, display: Display, workers: Workers
) -> None:
    """Libvirt is asked for nobody who only looks, while somebody scrapes."""
    overviews = Overviews(host.sample, workers)
    scraped = await host.sample()
    assert (await overviews.get(scraped, display)).sample.timestamp == scraped.timestamp
    assert host.taken == 1


async def test_a_host_that_takes_long_is_asked_the_less_often(
    host: Host, display: Display, workers: Workers
) -> None:
    """A sample may be shown for five times as long as it took."""
    host.duration = 4.0
    overviews = Overviews(host.sample, workers)
    await overviews.get(None, display)
    host.now += 23.9
    await overviews.get(None, display)
    assert host.taken == 1
    host.now += 0.2
    await overviews.get(None, display)
    assert host.taken == 2


@pytest.mark.parametrize(("age", "rates"), [(2.5, True), (500.0, True), (700.0, False)])
async def test_rates_are_taken_against_the_last_sample_unless_it_is_old(
    host: Host, display: Display, workers: Workers, age: float, rates: bool
) -> None:
    """Whoever had it taken."""
    overviews = Overviews(host.sample, workers)
    scraped = await host.sample()
    host.now += age
    made = await overviews.get(scraped, display)
    assert bool(made.earlier) is rates


async def test_another_configuration_shows_another_host(
    host: Host, display: Display, workers: Workers
) -> None:
    """From the next look on, although nothing was sampled anew."""
    overviews = Overviews(host.sample, workers)
    assert (await overviews.get(None, display)).rows
    hidden = Display(Config(domains=Domains(exclude=("web",))), CollectorRegistry())
    assert not (await overviews.get(None, hidden)).rows
    assert host.taken == 1


async def test_what_nobody_looks_at_is_forgotten(
    host: Host, display: Display, workers: Workers
) -> None:
    """Two samples are much to keep for nobody."""
    overviews = Overviews(host.sample, workers)
    await overviews.get(None, display)
    assert overviews._forgetting is not None
    assert overviews._forgetting.when() <= asyncio.get_running_loop().time() + 60
    overviews._forget()
    assert overviews._made is None
    await overviews.get(None, display)
    assert host.taken == 2
