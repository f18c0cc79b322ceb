"""A service without libvirt, for what stands before it: routes, limits and the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence, Set
from gzip import compress

import httpx
from msgspec.structs import replace

from libvirt_exporter.catalogue import SAMPLE_METRICS
from libvirt_exporter.config import Config
from libvirt_exporter.contract import (
    Exposition,
    NotFoundError,
    QueryAnswer,
    QueryRequest,
    ScrapeRequest,
)
from libvirt_exporter.model import HostSample
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.query.overview import Overview, overview
from libvirt_exporter.render.exposition import OPENMETRICS, TEXT
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.uri import redacted
from libvirt_exporter.web.app import create_app

EMPTY = HostSample(timestamp=1.0, duration=0.01, up=True)


class FakeService:
    """Answers from its attributes and keeps the requests that it got; its own only target."""

    def __init__(self, sample: HostSample = EMPTY) -> None:
        self.sample = sample
        self.before: HostSample | None = None
        """An earlier sample, for the rates of the pages."""
        self._overview: Overview | None = None
        self.config = Config()
        self.body = b"libvirt_up 1\n"
        """The text of every exposition."""
        self.failure: Exception | None = None
        """Raised for every request."""
        self.is_ready = True
        self.holds_scrapes = False
        """Whether scrapes, like queries that wait, wait for `release`."""
        self.holds_everything = False
        """Whether everything that needs a sample waits for `release`."""
        self.lets_through: int | None = None
        """How many domains the configuration lets through; None: all."""
        self.release = asyncio.Event()
        self.arrived = asyncio.Event()
        """Set by whoever begins to wait for `release`."""
        self.waiting = 0
        """How many have begun to wait."""
        self.ended: list[str] = []
        """How their waits ended, "released" or "cancelled"."""
        self.aliases: Set[str] = {""}
        self.targets: list[str] = []
        """The aliases that were asked for."""
        self.requests: list[ScrapeRequest] = []
        self.queries: list[QueryRequest] = []
        self.read_again: list[str] = []
        """VMs whose applications are to be read again."""
        self.reloads = 0

    async def _wait(self) -> None:
        self.waiting += 1
        self.arrived.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("released")

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def target(self, alias: str = "") -> FakeService:
        if alias not in self.aliases:
            raise NotFoundError(f"there is no target {alias}")
        self.targets.append(alias)
        return self

    async def make_way(self) -> None:
        """Nothing goes first here."""

    async def own(self, request: ScrapeRequest) -> Exposition:
        return Exposition(parts=(b"own 1\n",), content_type=TEXT)

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        self.requests.append(request)
        self._fail()
        if self.holds_scrapes or self.holds_everything:
            await self._wait()
        return Exposition(
            parts=(compress(self.body) if request.gzip else self.body,),
            content_type=OPENMETRICS if request.openmetrics else TEXT,
            content_encoding="gzip" if request.gzip else "",
        )

    async def query(self, request: QueryRequest) -> QueryAnswer:
        self.queries.append(request)
        self._fail()
        if request.wait or self.holds_everything:
            await self._wait()
        return QueryAnswer(body=b"{}", content_encoding="gzip" if request.gzip else "")

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        self._fail()
        if self.holds_everything:
            await self._wait()
        return QueryAnswer(body=json.dumps({"asked": vm_id}).encode())

    async def applications(self, vm_id: str) -> QueryAnswer:
        self._fail()
        if self.holds_everything:
            await self._wait()
        return QueryAnswer(body=json.dumps({"asked": vm_id}).encode(), version="1a2b")

    async def read_applications(self, vm_id: str) -> QueryAnswer:
        self._fail()
        self.read_again.append(vm_id)
        return QueryAnswer(body=b'{"hash":null}')

    @property
    def fields(self) -> Sequence[VmField]:
        return FIELDS

    async def overview(self) -> Overview:
        if self.holds_everything:
            await self._wait()
        if self._overview is None or self._overview.sample is not self.sample:
            metrics = frozenset(row.name for row in SAMPLE_METRICS)
            self._overview = overview(self.sample, self.before, metrics)
        return self._overview

    @property
    def name(self) -> str:
        return self.config.libvirt.name or redacted(self.config.libvirt.uri)

    def shown(self, sample: HostSample) -> HostSample:
        return replace(sample, domains=sample.domains[: self.lets_through])

    @property
    def latest(self) -> HostSample | None:
        return self.sample if self.is_ready else None

    @property
    def waits_for_first_samples(self) -> int:
        return 0 if self.is_ready else len(self.aliases)

    async def reload(self) -> None:
        self.reloads += 1
        self._fail()


def client(
    service: FakeService, *, max_requests: int = 40, telemetry: Telemetry | None = None
) -> httpx.AsyncClient:
    """A client of the app on this service, without a socket."""
    app = create_app(service, max_requests=max_requests, telemetry=telemetry)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    # httpx adds Accept and Accept-Encoding of its own unless told otherwise.
    headers = {"Accept": "", "Accept-Encoding": ""}
    return httpx.AsyncClient(transport=transport, base_url="http://exporter", headers=headers)
