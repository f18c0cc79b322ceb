"""The composition root: configuration, targets and telemetry as one thing that answers."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Set
from typing import Final

from libvirt_exporter.background import Worker
from libvirt_exporter.config import (
    Config,
    ConfigError,
    Problem,
    aliases,
    changed_keys,
    notes,
    of_target,
)
from libvirt_exporter.contract import Exposition, NotFoundError, RequestError, ScrapeRequest
from libvirt_exporter.nearest import nearest
from libvirt_exporter.render.exposition import expose_own
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.service.workers import Workers

log = logging.getLogger(__name__)

LOADING_TIME: Final = 5.0
"""Seconds that a reload may take to read the configuration."""
_COLLECTED_AFTER: Final = (50_000, 10, 10)
"""Objects more than before, and collections of the younger generation. A sample of 10,000 VMs makes
150,000 objects that live until the next one; with Python's own (700, 10, 10) it has the collector
look at all objects of the process for half a second."""
_MOMENT: Final = 0.1
"""Seconds that two pieces of a large body wait for scrapes at most."""
_LONGEST_ALIAS: Final = 64
"""Characters of one that is repeated in an answer."""


class Exporter:
    """Keeps the targets by alias, the default one as ''; the `Service` of `web`.

    Lives on one event loop.
    """

    def __init__(self, load: Callable[[], Config], telemetry: Telemetry) -> None:
        """`load` reads the configuration, now and at every reload; it raises ConfigError."""
        self._load = load
        self._telemetry = telemetry
        self.config = load()
        """The configuration in force."""
        self._workers = Workers()
        self._targets = {alias: self._made(self.config, alias) for alias in aliases(self.config)}
        self._unsampled = set(self._targets)
        telemetry.watch_targets(
            # A copy: a reload may bring targets while a thread reads the metrics.
            lambda: {alias: target.latest for alias, target in [*self._targets.items()] if alias}
        )
        self._reloading = asyncio.Lock()
        self._first_samples = set[asyncio.Task[Exposition]]()
        """Of targets that a reload brought."""
        self._reader = Worker("configuration")
        self._loaded()

    def _made(self, config: Config, alias: str) -> Target:
        return Target(of_target(config, alias), self._telemetry.of(alias), self._workers)

    @property
    def aliases(self) -> Set[str]:
        """All that is served, the default host as ''."""
        return self._targets.keys()

    @property
    def waits_for_first_samples(self) -> int:
        """Hosts of the start that have not been sampled once, libvirt answering or not."""
        self._unsampled = {
            alias
            for alias in self._unsampled & self._targets.keys()
            if not self._targets[alias].ready()
        }
        return len(self._unsampled)

    def target(self, alias: str = "") -> Target:
        """The served libvirt of that alias, '' for the default one; NotFoundError.

        RequestError where there is no default one.
        """
        if alias in self._targets:
            return self._targets[alias]
        if not alias:
            raise RequestError(
                "this exporter has no host of its own", "name one of its targets: target=ALIAS"
            )
        known = [each for each in self._targets if each]
        hint = (
            f"{nearest(alias, known)} /api/v1/targets lists them" if known else "none is configured"
        )
        raise NotFoundError(f"there is no target {alias[:_LONGEST_ALIAS]}", hint.lstrip())

    async def make_way(self) -> None:
        """Wait for a moment while somebody scrapes the usual view of a host."""
        await self._workers.turn(_MOMENT)

    async def own(self, request: ScrapeRequest) -> Exposition:
        """The exporter's own metrics alone, where it has no host of its own."""
        return expose_own(
            self._telemetry.registry, as_openmetrics=request.openmetrics, compress=request.gzip
        )

    async def warm_up(self) -> None:
        """Take the first samples, and make the plans that every later rendering needs.

        What lives by then, modules foremost, is no concern of the garbage collector's any more. On
        large hosts most XML comes later, and so does what a reload brings: therefore the collector
        comes seldom, too.
        """
        await asyncio.gather(*(target.scrape(ScrapeRequest()) for target in self._targets.values()))
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTED_AFTER)

    async def reload(self) -> None:
        """Read the configuration again; an exception leaves the old one in force.

        It is ConfigError for a mistake in the configuration, and for a file that is not read in
        time. Listening addresses and the web configuration file's name need a restart.
        """
        try:
            async with self._reloading:
                await self._reload()
        except Exception as error:
            self._telemetry.configuration_refused()
            reason = error if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
            log.error("configuration not reloaded; the previous one stays in force:\n%s", reason)
            raise

    async def _reload(self) -> None:
        config = await self._read()
        served = aliases(config)
        gone = [alias for alias in self._targets if alias not in served]
        for alias, target in [*self._targets.items()]:
            if alias not in gone:
                await target.apply(of_target(config, alias))
                # Scrapes go on meanwhile, however many targets there are.
                await asyncio.sleep(0)
        # Before others begin: one of them may be the same host by another alias.
        await asyncio.gather(*(self._end(alias) for alias in gone))
        for alias in served:
            if alias not in self._targets:
                self._begin(config, alias)
        before, self.config = self.config, config
        changed = changed_keys(before, config)
        if waiting := [key for key in changed if key.startswith("web.")]:
            log.warning("%s changed: restart the exporter to apply the change", ", ".join(waiting))
        log.info("configuration reloaded")
        self._loaded()

    async def _end(self, alias: str) -> None:
        target = self._targets.pop(alias)
        target.end_waiting()
        await asyncio.to_thread(target.close)
        self._telemetry.forget(alias)

    def _begin(self, config: Config, alias: str) -> None:
        target = self._targets[alias] = self._made(config, alias)
        # As at the start: its first answer is then as quick as any.
        task = asyncio.create_task(target.scrape(ScrapeRequest()))
        self._first_samples.add(task)
        task.add_done_callback(self._first_samples.discard)

    async def _read(self) -> Config:
        """Read the configuration on a thread, which a dead file system may keep for ever."""
        reading = asyncio.wrap_future(self._reader.run(self._load))
        try:
            return await asyncio.wait_for(reading, LOADING_TIME)
        except TimeoutError:
            problem = Problem("configuration", 0, f"was not read within {LOADING_TIME:g} s")
            raise ConfigError([problem]) from None

    def _loaded(self) -> None:
        self._telemetry.configuration_loaded()
        for _, what, remedy in notes(self.config):
            log.info("%s; %s", what, remedy)

    def end_waiting(self) -> None:
        """Answer those who wait for a change: the exporter is being stopped."""
        for target in self._targets.values():
            target.end_waiting()

    def close(self) -> None:
        """Stop sampling, as the process is about to end; never waits for libvirt."""
        for target in self._targets.values():
            target.end_waiting()
            target.close(process_ends=True)
        self._workers.close()
