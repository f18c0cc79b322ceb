"""One served libvirt: what is asked of it, sampled, rendered and answered."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import asdict, replace

from libvirt_exporter.config import Config
from libvirt_exporter.contract import (
    Exposition,
    NotFoundError,
    QueryAnswer,
    QueryRequest,
    ScrapeRequest,
    UnavailableError,
    normalised_uuid,
)
from libvirt_exporter.hypervisor.connection.session import Connect, open_read_only
from libvirt_exporter.hypervisor.connection.settings import (
    ApplicationsSettings,
    GuestAgentSettings,
    HostSettings,
)
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import STATE, SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.patterns.labels import LabelFact, compile_label
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.need import Need, Scope
from libvirt_exporter.query.overview import ASKS, Overview
from libvirt_exporter.service.display import Choice, Display, named
from libvirt_exporter.service.overviews import Overviews
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.telemetry import TargetTelemetry
from libvirt_exporter.service.unmatched import is_complete, unmatched
from libvirt_exporter.service.workers import Views, Workers
from libvirt_exporter.shared import Shared
from libvirt_exporter.uri import redacted

log = logging.getLogger(__name__)

_FIRST_MOMENT = 0.5
"""Seconds in which a host that has not answered of late may begin to."""


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
        self._views = Views()
        self._connect = connect
        self._display = Display(config, telemetry.registry)
        self._queries = Queries(
            self._display.terms,
            sample=self._sample_for_queries,
            workers=workers,
            applications=lambda uuid: self._host.applications(uuid),
        )
        self._host = self._start_host()
        self._bodies = Shared[Exposition]()
        """By sample and what decides how it is shown."""
        self._overviews = Overviews(lambda: self.sample(ASKS), workers)
        self.latest: HostSample | None = None
        """The last sample with all that is configured, of all domains."""
        self._examined: Display | None = None
        """The last one whose choices were compared with what the host has."""
        self._examination: asyncio.Task[None] | None = None

    def _start_host(self) -> Host:
        loop = asyncio.get_running_loop()

        def happened() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queries.happened)

        host = Host(
            _host_settings(self._display),
            observer=self._telemetry,
            connect=self._connect,
            on_event=happened,
        )
        self._telemetry.watch(host)
        host.start()
        return host

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._display.config

    @property
    def name(self) -> str:
        """What people call it: a name, or its URI without secrets."""
        libvirt = self.config.libvirt
        return libvirt.name or redacted(libvirt.uri)

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""
        return self._queries.fields

    def ready(self) -> bool:
        """Whether a first sample has been taken, libvirt answering or not."""
        return self.latest is not None

    async def sample(self, asks: Collection[str] | None = None) -> HostSample:
        """Take a sample of all domains now, with the groups and the time that are configured.

        `asks`: take those only of libvirt's groups, and nothing slow. The first one waits for what
        the domains' XML says.
        """
        everything = self._display.need
        need = everything
        if asks is not None:
            need = Need(groups=everything.groups.intersection(asks))
        return await self._sample(frozenset({need}), self.config.libvirt.timeout)

    def shown(self, sample: HostSample) -> HostSample:
        """The sample with those domains only that the configuration lets through."""
        return replace(sample, domains=tuple(self._display.shown(sample).domains))

    async def overview(self) -> Overview:
        """The visible domains of late, for the pages for people."""
        await self._workers.turn()
        return await self._overviews.get(self.latest, self._display)

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        """Sample the host and render it; RequestError for what the client got wrong.

        A scrape of all that is configured goes before any other work. Of others it is
        UnavailableError when their turn does not come in time.
        """
        display = self._display
        choice = display.choice(request)
        if choice is display.everything and not request.domains:
            with self._workers.scraping(self._needs()):
                return await self._exposition(display, choice, request)
        known = choice.renderer.knows_domains and not request.domains
        try:
            async with asyncio.timeout(display.timeout(request)):
                if self.latest is not None and not self.latest.up:
                    # An answer without domains costs nothing, and nobody has to wait for it.
                    return await self._exposition(display, choice, request)
                async with self._views.turn(known=known):
                    return await self._exposition(display, choice, request)
        except TimeoutError:
            raise UnavailableError(
                "the sample of these groups and domains was not complete in time", "try again later"
            ) from None

    def _needs(self) -> float:
        """Seconds for which a scrape of everything goes before other work."""
        if self.latest is None or not self.latest.up:
            # A host that does not answer leaves nothing to compute.
            return _FIRST_MOMENT
        return _FIRST_MOMENT + 2 * self.latest.duration

    async def _exposition(
        self, display: Display, choice: Choice, request: ScrapeRequest
    ) -> Exposition:
        selection = choice.selection
        need = Need(
            groups=selection.asks,
            lanes=selection.lanes,
            vm_ids=named(request.domains) or None,
        )
        if choice is display.everything and not request.domains:
            need = display.need
        sample = await self._sample(
            frozenset({need}), display.timeout(request), backing=selection.backing
        )
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

    async def _sample(
        self,
        scope: Scope,
        seconds: float,
        *,
        backing: bool | None = None,
        for_queries: bool = False,
    ) -> HostSample:
        """Take a sample; `backing`: of whole chains of images, by default if that is configured."""
        display = self._display
        if backing is None:
            backing = display.everything.selection.backing
        parts = [SampleRequest(need.groups, backing, need.lanes, need.vm_ids) for need in scope]
        request = parts[0] if len(parts) == 1 else SampleRequest(STATE, beside=frozenset(parts))
        sample = await asyncio.wrap_future(self._host.sample(request, timeout=seconds))
        whole = scope == {display.need} and backing == display.everything.selection.backing
        if whole:
            self.latest = sample
            if display is not self._examined and sample.domains and is_complete(sample):
                self._examined = display
                self._examination = asyncio.create_task(self._examine(display.config, sample))
        if for_queries or (whole and not sample.partial):
            # By another configuration other domains were asked for other things.
            self._queries.saw(sample, scope if display is self._display else frozenset())
        return sample

    async def _examine(self, config: Config, sample: HostSample) -> None:
        """Log what the configuration chooses and this host does not have."""
        pause = self._workers.pause
        for found in await self._workers.other(lambda: [*unmatched(config, sample, pause)]):
            if found.alone:
                log.warning("%s; %s", found.what, found.remedy)

    async def _sample_for_queries(self, scope: Scope) -> HostSample:
        return await self._sample(scope, self.config.libvirt.timeout, for_queries=True)

    async def query(self, request: QueryRequest, *, anew: bool = False) -> QueryAnswer:
        """Fields of VMs, of which `api.sensitive_fields` and `domains` decide what exists.

        `anew`: from a sample that is taken for this.
        """
        return await self._queries.answer(request, anew=anew)

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of one of the visible domains."""
        return await self._queries.diagnostics(vm_id)

    async def applications(self, vm_id: str) -> QueryAnswer:
        """What is installed in one of the visible domains; its version is the list's hash."""
        if (answer := await self._queries.applications(vm_id)) is None:
            raise NotFoundError(
                "the application list of this VM is not known",
                "requires applications.enabled, and a guest agent that has answered",
            )
        return answer

    async def read_applications(self, vm_id: str) -> QueryAnswer:
        """Have the list of a visible domain read again, sooner or later; says which is known."""
        before = await self._queries.applications(vm_id)
        if not self.config.applications.enabled:
            raise NotFoundError(
                "lists of applications are not collected", "set applications.enabled"
            )
        uuid = normalised_uuid(vm_id)
        self._host.want_applications(uuid)
        need = Need(lanes=frozenset({"applications"}), vm_ids=frozenset({uuid}))
        await self._sample(frozenset({need}), self.config.libvirt.timeout)
        version = before.version if before is not None else None
        return QueryAnswer(body=msgspec.json.encode({"hash": version}))

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
        display = Display(config, self._telemetry.registry)
        settings = _host_settings(display)
        self._display = display
        if self._host.takes(settings):
            self._host.apply(settings)
        else:
            old, self._host = self._host, self._start_host()
            await asyncio.to_thread(old.close)
            self._queries.forget()
        self._queries.apply(self._display.terms)

    def close(self, *, process_ends: bool = False) -> None:
        """Stop sampling; never waits for libvirt. `process_ends`: as in Host."""
        self._host.close(process_ends=process_ends)


def _host_settings(display: Display) -> HostSettings:
    """What a host needs of the configuration: the options that HostSettings names alike."""
    names = {field.name for field in dataclasses.fields(HostSettings)}
    config = display.config
    agent, applications = asdict(config.guest_agent), asdict(config.applications)
    asks = agent.pop("enabled")
    keeps = applications.pop("enabled") and asks
    return HostSettings(
        guest_agent=GuestAgentSettings(**agent) if asks else None,
        applications=ApplicationsSettings(**applications) if keeps else None,
        labels=tuple(
            LabelFact(label.name, label.metadata)
            if label.metadata
            else compile_label(label.name, label.xpath, label.namespaces)
            for label in config.labels.custom
        ),
        shown=display.only,
        **{
            name: value
            for section in (config.libvirt, config.scrape, config.events)
            for name, value in asdict(section).items()
            if name in names
        },
    )
