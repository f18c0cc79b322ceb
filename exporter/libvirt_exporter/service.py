"""The composition root: configuration, host and renderers as one thing that answers scrapes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from libvirt_exporter.catalogue import DOMAIN_METRICS, GROUPS, SAMPLE_METRICS
from libvirt_exporter.catalogue.exporter import PROCESS_METRICS, SCRAPE_METRICS
from libvirt_exporter.catalogue.metric import Fact
from libvirt_exporter.config import Config, ConfigError, Vocabulary, changed_keys, narrowing
from libvirt_exporter.contract import (
    Exposition,
    QueryAnswer,
    QueryRequest,
    RequestError,
    ScrapeRequest,
)
from libvirt_exporter.hypervisor.host import Host, HostSettings
from libvirt_exporter.hypervisor.sampling.sampler import SampleRequest
from libvirt_exporter.model import DomainSample, HostSample, Stats
from libvirt_exporter.patterns.domains import DomainFilter
from libvirt_exporter.patterns.labels import compile_label
from libvirt_exporter.queries import Queries, Terms
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.selection import Selection, UnknownGroupError, groups_named
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import DomainText, TextRenderer
from libvirt_exporter.telemetry import Telemetry

log = logging.getLogger(__name__)

VOCABULARY = Vocabulary(
    groups={group.name: group.default for group in GROUPS},
    fields=frozenset(
        name
        for row in SAMPLE_METRICS
        for name in ((row.name,) if isinstance(row, Fact) else (row.name, row.source))
    ),
    labels=frozenset(label for row in DOMAIN_METRICS for label in row.labels) - {"domain", "uuid"},
    always=frozenset(row.name for row in (*SCRAPE_METRICS, *PROCESS_METRICS)),
    vm_fields={field.name: field.sensitive for field in FIELDS},
)
"""What a configuration may name."""

_OVERVIEW_AGE = 2.0
_VIEWS = 8


class View(NamedTuple):
    """One way of looking at the host: which groups, and how they are rendered."""

    selection: Selection
    renderer: TextRenderer


class Shown(NamedTuple):
    """The domains of a sample that are shown, and how many could not be placed."""

    domains: list[DomainSample]
    hidden: int


class Active:
    """A configuration in force, with what was built from it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._groups = groups_named(config.groups.include, config.groups.exclude)
        self._groups_for_fields = groups_named(["all"], config.groups.exclude)
        self._labelled_by_xml = not {"domain", "uuid"}.issuperset(config.labels.identity)
        self.filter = DomainFilter(
            config.domains.include,
            config.domains.exclude,
            [label.name for label in config.labels.custom],
        )
        self.identity = Identity(config.labels.identity, config.limits.label_value_length)
        self._views: dict[frozenset[str], View] = {}
        self.everything = self._view(self._groups, fields_from=self._groups_for_fields)
        self.terms = Terms(config.api, lambda sample: self.shown(sample).domains)

    def host_settings(self) -> HostSettings:
        """What the host needs of the configuration."""
        libvirt, scrape = self.config.libvirt, self.config.scrape
        return HostSettings(
            uri=libvirt.uri,
            name=libvirt.name,
            parallel_calls=libvirt.parallel_calls,
            stuck_calls=libvirt.stuck_calls,
            info_refresh=scrape.info_refresh,
            state_directory=self.config.events.state_directory,
            all_counters=self.config.events.all_counters,
            labels=tuple(
                compile_label(label.name, label.xpath, label.namespaces)
                for label in self.config.labels.custom
            ),
        )

    def view(self, request: ScrapeRequest) -> View:
        """The selection that a request asks for; RequestError when it asks for what is not."""
        if request.collect and request.exclude:
            raise RequestError(
                "collect[] and exclude[] together",
                "use one of them: name what you want, or what not",
            )
        if not (request.collect or request.exclude):
            return self.everything
        enabled = self.everything.selection.groups
        collect = self._expand("collect[]", request.collect)
        exclude = self._expand("exclude[]", request.exclude)
        if disabled := {*request.collect} - {"all", "default"} - enabled:
            raise RequestError(
                f"collect[]: not enabled: {', '.join(sorted(disabled))}",
                "add it to groups.include of the configuration, beside `default` or what is there",
            )
        chosen = (collect & enabled if collect else enabled) - exclude
        if chosen not in self._views:
            if len(self._views) >= _VIEWS:
                del self._views[next(iter(self._views))]
            self._views[chosen] = self._view(self._groups & chosen, fields_from=chosen)
        return self._views[chosen]

    def _view(self, groups: frozenset[str], *, fields_from: frozenset[str]) -> View:
        fields = self.config.fields
        selection = Selection(groups, fields.include, fields.exclude, named_from=fields_from)
        return View(selection, self._renderer(selection))

    def _renderer(self, selection: Selection) -> TextRenderer:
        return TextRenderer(selection, self.identity, series_limit=self.config.limits.series)

    def rendered(
        self, view: View, domains: list[DomainSample], host_stats: Stats, *, all_of_them: bool
    ) -> DomainText:
        """The text of domains, which may be all that are shown or a few that were asked for."""
        # A view's renderer forgets the domains it is not shown, so a few get one of their own.
        renderer = view.renderer if all_of_them else self._renderer(view.selection)
        return renderer.render(domains, host_stats)

    def _expand(self, parameter: str, names: Iterable[str]) -> frozenset[str]:
        try:
            return groups_named(names)
        except UnknownGroupError as error:
            known = [group.name for group in GROUPS]
            meant = get_close_matches(str(error), known, n=1)
            hint = f"did you mean {meant[0]}? " if meant else ""
            raise RequestError(
                f"{parameter}: unknown group {error}", f"{hint}groups are: {', '.join(known)}"
            ) from None

    def timeout(self, request: ScrapeRequest) -> float:
        """Seconds for one sample: the scraper's own time less the way back, else configured."""
        if request.timeout is None:
            return self.config.libvirt.timeout
        return max(request.timeout - self.config.scrape.timeout_offset, request.timeout / 2)

    def shown(self, sample: HostSample, wanted: Sequence[str] = ()) -> Shown:
        """The sample's domains that the configuration and `domain[]` let through.

        What cannot be decided without a domain's XML is decided against it: nothing may come out
        that is excluded, and no series may change its identity with the next scrape.
        """
        names = {*wanted, *map(_normalised, wanted)}
        domains, hidden = [], 0
        for domain in sample.domains:
            if names and not (domain.name in names or domain.uuid in names):
                continue
            matches = self.filter.matches(domain.name, domain.uuid, domain.state, domain.info)
            waits = domain.info is None and domain.uuid not in sample.unparsable
            if matches is None or (matches and self._labelled_by_xml and waits):
                hidden += 1
            elif matches:
                domains.append(domain)
        return Shown(domains, hidden)

    def crashed(self, sample: HostSample, wanted: Sequence[str] = ()) -> list[DomainSample]:
        """The last of those domains that crashed and are not listed any more, for alerts.

        A domain that is not defined permanently is gone at the moment of its crash.
        """
        listed = {domain.name for domain in sample.domains}
        told_by_name = "uuid" not in self.identity.labels
        gone = (
            DomainSample(
                uuid=domain.uuid,
                name=domain.name,
                active=False,
                stats=domain.stats,
                timestamp=domain.timestamp,
            )
            for domain in sample.vanished
            if "event.last.crash" in domain.stats and not (told_by_name and domain.name in listed)
        )
        return self.shown(replace(sample, domains=tuple(gone)), wanted).domains


def _tell_narrowing(config: Config) -> None:
    if found := narrowing(config, VOCABULARY):
        log.info("%s; %s", *found)


def _normalised(name_or_uuid: str) -> str:
    try:
        return str(UUID(name_or_uuid))
    except ValueError:
        return name_or_uuid


class Exporter:
    """Answers scrapes of one host; the `Service` of `web`. Lives on one event loop."""

    def __init__(self, load: Callable[[], Config], telemetry: Telemetry) -> None:
        """`load` reads the configuration, now and at every reload; it raises ConfigError."""
        self._load = load
        self._telemetry = telemetry
        self._active = Active(load())
        _tell_narrowing(self._active.config)
        telemetry.configuration_loaded()
        # Renderers and queries keep state, so one thread computes; it never waits for libvirt.
        self._render = ThreadPoolExecutor(1, "render")
        self._queries = Queries(self._active.terms, sample=self.sample, thread=self._render)
        self._host = self._start_host()
        telemetry.watch_stuck(
            calls=lambda: self._host.stuck_calls, domains=lambda: len(self._host.stuck_domains)
        )
        telemetry.watch_events(
            connected=lambda: self._host.events_connected,
            alive_age=lambda: self._host.events_alive_age,
        )
        self._bodies: dict[Hashable, asyncio.Task[Exposition]] = {}
        self._latest: HostSample | None = None
        self._latest_at = 0.0

    def _start_host(self) -> Host:
        loop = asyncio.get_running_loop()

        def happened() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queries.happened)

        host = Host(self._active.host_settings(), observer=self._telemetry, on_event=happened)
        host.start()
        return host

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._active.config

    def ready(self) -> bool:
        """Whether a first sample has been taken, libvirt answering or not."""
        return self._latest is not None

    @property
    def latest(self) -> HostSample | None:
        """The last sample that was taken, of all domains; None before the first."""
        return self._latest

    async def sample(self) -> HostSample:
        """Take a sample of all domains now, with the groups and the time that are configured.

        The first one makes the exporter ready, and waits for what the domains' XML says.
        """
        return await self._sample(self._active.everything, self.config.libvirt.timeout)

    async def warm_up(self) -> None:
        """Take the first sample, and make the plans that every later rendering needs.

        What lives by then lives as long as the exporter, and is no concern of the garbage
        collector's any more.
        """
        sample = await self.sample()
        await self._body(self._active, self._active.everything, sample, ScrapeRequest())
        gc.collect()
        gc.freeze()

    def shown(self, sample: HostSample) -> HostSample:
        """The sample with those domains only that the configuration lets through."""
        return replace(sample, domains=tuple(self._active.shown(sample).domains))

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        """Sample the host and render it; RequestError for what the client got wrong."""
        active = self._active
        view = active.view(request)
        sample = await self._sample(view, active.timeout(request))
        # Those who share a sample get it at the same moment, and share its rendering too.
        key = (id(sample), id(view), request.domains, request.openmetrics, request.gzip)
        if key not in self._bodies:
            body = asyncio.ensure_future(self._body(active, view, sample, request))
            body.add_done_callback(lambda _: self._bodies.pop(key))
            self._bodies[key] = body
        # Shielded: others may wait for the same body when this client goes away.
        return await asyncio.shield(self._bodies[key])

    async def _body(
        self, active: Active, view: View, sample: HostSample, request: ScrapeRequest
    ) -> Exposition:
        def render() -> Exposition:
            shown = active.shown(sample, request.domains)
            domains = [*shown.domains, *active.crashed(sample, request.domains)]
            return expose(
                sample,
                active.rendered(view, domains, sample.stats, all_of_them=not request.domains),
                self._telemetry.registry,
                series_limit=active.config.limits.series,
                hidden=shown.hidden,
                as_openmetrics=request.openmetrics,
                compress=request.gzip,
            )

        return await asyncio.get_running_loop().run_in_executor(self._render, render)

    async def _sample(self, view: View, seconds: float) -> HostSample:
        selection = view.selection
        request = SampleRequest(selection.asks, selection.backing, selection.lanes)
        sample = await asyncio.wrap_future(self._host.sample(request, timeout=seconds))
        if view is self._active.everything:
            self._latest, self._latest_at = sample, time.monotonic()
            self._queries.saw(sample)
        return sample

    async def query(self, request: QueryRequest) -> QueryAnswer:
        """Fields of VMs, of which `api.sensitive_fields` and `domains` decide what exists."""
        return await self._queries.answer(request)

    async def diagnostics(self, vm_id: str) -> QueryAnswer:
        """Nova's diagnostics of one of the visible domains."""
        return await self._queries.diagnostics(vm_id)

    @property
    def fields(self) -> Sequence[VmField]:
        """The fields that clients may ask for."""
        return self._queries.fields

    def end_waiting(self) -> None:
        """Answer those who wait for a change: the exporter is being stopped."""
        self._queries.end()

    async def overview(self) -> HostSample:
        """The host's visible domains, two seconds ago at most, for the page for people."""
        if self._latest is None or time.monotonic() - self._latest_at > _OVERVIEW_AGE:
            return self.shown(await self.sample())
        return self.shown(self._latest)

    async def reload(self) -> None:
        """Read the configuration again; ConfigError leaves the old one in force.

        Listening addresses and the web configuration file's name need a restart.
        """
        try:
            active = Active(self._load())
        except ConfigError as error:
            self._telemetry.configuration_refused()
            log.error("configuration not reloaded, the old one stays:\n%s", error)
            raise
        before, self._active = self._active, active
        changed = changed_keys(before.config, active.config)
        if waiting := [key for key in changed if key.startswith("web.")]:
            log.warning("%s changed: that takes a restart", ", ".join(waiting))
        settings = active.host_settings()
        if self._host.takes(settings):
            self._host.apply(settings)
        else:
            old, self._host = self._host, self._start_host()
            await asyncio.to_thread(old.close)
            self._queries.forget()
        self._queries.apply(active.terms)
        self._telemetry.configuration_loaded()
        log.info("configuration reloaded")
        _tell_narrowing(active.config)

    def close(self) -> None:
        """Stop sampling; never waits for libvirt."""
        self._queries.end()
        self._host.close()
        self._render.shutdown(wait=False, cancel_futures=True)
