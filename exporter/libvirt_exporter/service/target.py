"""One served libvirt: what is asked of it, sampled, rendered and answered."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Sequence

from msgspec.structs import asdict, replace

from libvirt_exporter.config import Config
from libvirt_exporter.contract import (
    Exposition,
    QueryAnswer,
    QueryRequest,
    ScrapeRequest,
    UnavailableError,
)
from libvirt_exporter.hypervisor.connection.session import Connect, open_read_only
from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings, HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.sampler import SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.patterns.labels import compile_label
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.service.display import Choice, Display
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.telemetry import TargetTelemetry
from libvirt_exporter.service.workers import Workers
from libvirt_exporter.shared import Shared

_OVERVIEW_AGE = 2.0


class Target:
    """One libvirt with its latest sample, the bodies that are being made of it, and its queries.

    Lives on one event loop.
    """

    def __init__(
        self,
        config: Config,
        telemetry: TargetTelemetry,
        workers: Workers,
        *,
        connect: Connect = open_read_only,
    ) -> None:
        """`workers` compute for all targets; `connect` is as in Host."""
        self._telemetry = telemetry
        self._workers = workers
        self._connect = connect
        self._display = Display(config, telemetry.registry)
        self._queries = Queries(self._display.terms, sample=self.sample, workers=workers)
        self._host = self._start_host()
        self._bodies = Shared[Exposition]()
        """By sample and what decides how it is shown."""
        self._overview: tuple[HostSample, Display, HostSample] | None = None
        """The last overview, after what it was made of."""
        self.latest: HostSample | None = None
        """The last sample that was taken, of all domains."""
        self._latest_at = 0.0

    def _start_host(self) -> Host:
        loop = asyncio.get_running_loop()

        def happened() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queries.happened)

        host = Host(
            _host_settings(self.config),
            observer=self._telemetry,
            connect=self._connect,
            on_event=happened,
            shown=lambda *domain: self._display.lets_through(*domain),
        )
        self._telemetry.watch(host)
        host.start()
        return host

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._display.config

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""
        return self._queries.fields

    def ready(self) -> bool:
        """Whether a first sample has been taken, libvirt answering or not."""
        return self.latest is not None

    async def sample(self) -> HostSample:
        """Take a sample of all domains now, with the groups and the time that are configured.

        The first one makes the target ready, and waits for what the domains' XML says.
        """
        everything = self._display.everything.selection
        return await self._sample(everything, self.config.libvirt.timeout)

    def shown(self, sample: HostSample) -> HostSample:
        """The sample with those domains only that the configuration lets through."""
        return replace(sample, domains=tuple(self._display.shown(sample).domains))

    async def overview(self) -> HostSample:
        """The visible domains, two seconds ago at most, for the page for people.

        As long as nothing is sampled anew it is the same object.
        """
        sample, display = self.latest, self._display
        if sample is None or time.monotonic() - self._latest_at > _OVERVIEW_AGE:
            sample = await self.sample()
        if self._overview is None or self._overview[:2] != (sample, display):
            self._overview = sample, display, self.shown(sample)
        return self._overview[2]

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        """Sample the host and render it; RequestError for what the client got wrong.

        A scrape of all that is configured goes before any other work. Of others it is
        UnavailableError when their turn does not come in time.
        """
        display = self._display
        choice = display.choice(request)
        if choice is display.everything and not request.domains:
            with self._workers.scraping():
                return await self._exposition(display, choice, request)
        known = choice.renderer.knows_domains and not request.domains
        try:
            async with asyncio.timeout(display.timeout(request)):
                if self.latest is not None and not self.latest.up:
                    # An answer without domains costs nothing, and nobody has to wait for it.
                    return await self._exposition(display, choice, request)
                async with self._workers.view(known=known):
                    return await self._exposition(display, choice, request)
        except TimeoutError:
            raise UnavailableError(
                "there was no time for this choice of groups and domains", "try again later"
            ) from None

    async def _exposition(
        self, display: Display, choice: Choice, request: ScrapeRequest
    ) -> Exposition:
        sample = await self._sample(choice.selection, display.timeout(request))
        # Those who share a sample get it at the same moment, and share its rendering too. The work
        # keeps the sample, whose id is in the key.
        key = (id(sample), choice, request.domains, request.openmetrics, request.gzip)
        return await self._bodies.get(key, lambda: self._render(display, choice, request, sample))

    async def _render(
        self, display: Display, choice: Choice, request: ScrapeRequest, sample: HostSample
    ) -> Exposition:
        workers = self._workers
        if choice is display.everything and not request.domains:
            return await workers.first(display.expose, sample, choice, request)
        return await workers.other(display.expose, sample, choice, request, pause=workers.pause)

    async def _sample(self, selection: Selection, seconds: float) -> HostSample:
        request = SampleRequest(selection.asks, selection.backing, selection.lanes)
        sample = await asyncio.wrap_future(self._host.sample(request, timeout=seconds))
        if selection is self._display.everything.selection:
            self.latest, self._latest_at = sample, time.monotonic()
            self._queries.saw(sample)
        return sample

    async def query(self, request: QueryRequest) -> QueryAnswer:
        """Fields of VMs, of which `api.sensitive_fields` and `domains` decide what exists."""
        return await self._queries.answer(request)

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of one of the visible domains."""
        return await self._queries.diagnostics(vm_id)

    def end_waiting(self) -> None:
        """Answer those who wait for a change: the exporter is being stopped."""
        self._queries.end()

    async def apply(self, config: Config) -> None:
        """Take over another configuration, with another Host where that is needed.

        Nothing has changed when it raises. The same one changes nothing, and costs no plan of a
        renderer.
        """
        if config == self.config:
            return
        display, settings = Display(config, self._telemetry.registry), _host_settings(config)
        self._display = display
        if self._host.takes(settings):
            self._host.apply(settings)
        else:
            old, self._host = self._host, self._start_host()
            await asyncio.to_thread(old.close)
            self._queries.forget()
        self._queries.apply(self._display.terms)

    def close(self) -> None:
        """Stop sampling; never waits for libvirt."""
        self._queries.end()
        self._host.close()


def _host_settings(config: Config) -> HostSettings:
    """What a host needs of the configuration: the options that HostSettings names alike."""
    names = {field.name for field in dataclasses.fields(HostSettings)}
    agent = asdict(config.guest_agent)
    enabled = agent.pop("enabled")
    return HostSettings(
        guest_agent=GuestAgentSettings(**agent) if enabled else None,
        labels=tuple(
            compile_label(label.name, label.xpath, label.namespaces)
            for label in config.labels.custom
        ),
        **{
            name: value
            for section in (config.libvirt, config.scrape, config.events)
            for name, value in asdict(section).items()
            if name in names
        },
    )
