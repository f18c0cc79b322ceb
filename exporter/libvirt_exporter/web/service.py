"""What the routes need of the service behind them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from libvirt_exporter.config import Config
from libvirt_exporter.contract import Exposition, QueryAnswer, QueryRequest, ScrapeRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.overview import Overview


class Target(Protocol):
    """What the routes need of one served libvirt; all of it runs on the event loop."""

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        """Sample and render; `RequestError` for an unknown group."""

    async def query(self, request: QueryRequest) -> QueryAnswer:
        """Fields of VMs; `RequestError` for what `strict` refuses, `UnavailableError`."""

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of a VM; `NotFoundError`, `UnavailableError`."""

    async def applications(self, vm_id: str) -> QueryAnswer:
        """What is installed in a VM; `NotFoundError`, `UnavailableError`."""

    async def read_applications(self, vm_id: str) -> QueryAnswer:
        """Have that list read again, sooner or later; `NotFoundError`, `UnavailableError`."""

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""

    async def overview(self) -> Overview:
        """The host of late, for the pages for people; the same object until it is another one."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def name(self) -> str:
        """What people call it: a name, or its URI without secrets."""

    @property
    def latest(self) -> HostSample | None:
        """The last sample with all that is configured; None before the first."""

    def shown(self, sample: HostSample) -> HostSample:
        """The sample with those domains only that the configuration lets through."""


class Service(Protocol):
    """What the routes need of the composition root; all of it runs on the event loop."""

    def target(self, alias: str = "") -> Target:
        """The served libvirt of that alias, '' for the default one; `NotFoundError`."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def waits_for_first_samples(self) -> int:
        """Hosts of the start that have not been sampled once, libvirt answering or not."""

    @property
    def aliases(self) -> Set[str]:
        """All that is served, the default host as ''."""

    async def make_way(self) -> None:
        """Wait for a moment, before a piece of a large body, while something goes first."""

    async def own(self, request: ScrapeRequest) -> Exposition:
        """The exporter's own metrics alone, where it has no host of its own."""

    async def reload(self) -> None:
        """Read the configuration again; `config.ConfigError` leaves the old one in force."""
