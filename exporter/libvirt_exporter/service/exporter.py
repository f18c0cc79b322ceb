"""The composition root: configuration, targets and telemetry as one thing that answers."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Final

from libvirt_exporter.background import Worker
from libvirt_exporter.config import Config, ConfigError, Problem, changed_keys, notes
from libvirt_exporter.contract import NotFoundError, ScrapeRequest
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.service.workers import Workers

log = logging.getLogger(__name__)

LOADING_TIME: Final = 5.0
"""Seconds that a reload may take to read the configuration."""


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
        self._targets = {"": Target(self.config, telemetry.of(""), self._workers)}
        self._reloading = asyncio.Lock()
        self._reader = Worker("configuration")
        self._loaded()

    def target(self, alias: str = "") -> Target:
        """The served libvirt of that alias, '' for the default one; NotFoundError."""
        if alias not in self._targets:
            raise NotFoundError(f"there is no target {alias}")
        return self._targets[alias]

    async def warm_up(self) -> None:
        """Take the first samples, and make the plans that every later rendering needs.

        What lives by then lives as long as the exporter, and is no concern of the garbage
        collector's any more.
        """
        await asyncio.gather(*(target.scrape(ScrapeRequest()) for target in self._targets.values()))
        gc.collect()
        gc.freeze()

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
            log.error("configuration not reloaded, the old one stays:\n%s", reason)
            raise

    async def _reload(self) -> None:
        config = await self._read()
        for target in self._targets.values():
            await target.apply(config)
        before, self.config = self.config, config
        changed = changed_keys(before, config)
        if waiting := [key for key in changed if key.startswith("web.")]:
            log.warning("%s changed: restart the exporter to apply that", ", ".join(waiting))
        log.info("configuration reloaded")
        self._loaded()

    async def _read(self) -> Config:
        """Read the configuration on a thread, which a dead file system may keep for ever."""
        reading = asyncio.wrap_future(self._reader.run(self._load))
        try:
            return await asyncio.wait_for(reading, LOADING_TIME)
        except TimeoutError:
            problem = Problem("configuration", 0, f"has not been read within {LOADING_TIME:g} s")
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
            target.close()
        self._workers.close()
