"""The composition root: configuration, host and renderers as one thing that answers scrapes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from libvirt_exporter.config import Config, ConfigError, changed_keys, narrowing
from libvirt_exporter.contract import (
    Exposition,
    QueryAnswer,
    QueryRequest,
    ScrapeRequest,
)
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.sampler import SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.service.view import Active, View

log = logging.getLogger(__name__)


_OVERVIEW_AGE = 2.0


def _tell_narrowing(config: Config) -> None:
    if found := narrowing(config):
        log.info("%s; %s", *found)


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
        self._bodies: dict[Hashable, asyncio.Task[Exposition]] = {}
        self._latest: HostSample | None = None
        self._latest_at = 0.0

    def _start_host(self) -> Host:
        loop = asyncio.get_running_loop()

        def happened() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queries.happened)

        figures = self._telemetry.of("")
        host = Host(self._active.host_settings(), observer=figures, on_event=happened)
        figures.watch(host)
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
