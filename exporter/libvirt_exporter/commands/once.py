"""What commands have in common that sample hosts for a moment: configuration, hosts, exporter."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from libvirt_exporter.commands import logs
from libvirt_exporter.commands.arguments import options
from libvirt_exporter.commands.process import run
from libvirt_exporter.config import Config, ConfigError, Problem, load, of_target, override
from libvirt_exporter.nearest import nearest
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry


def configuration(arguments: Namespace) -> Config:
    """The configuration file, if one is named, with the flags on top. Raises ConfigError."""
    file: Path | None = arguments.config_file
    config = Config() if file is None else load(file)
    return override(config, options(arguments))


def known(config: Config, alias: str) -> str:
    """The alias, if it is one. Raises ConfigError."""
    if alias not in config.targets:
        hint = nearest(alias, config.targets) if config.targets else "none is configured"
        raise ConfigError([Problem("--target", 0, f"there is no target {alias}", hint)])
    return alias


def run_with_target(arguments: Namespace, use: Callable[[Target], Coroutine[Any, Any, int]]) -> int:
    """Run a command that samples one host and ends. Raises ConfigError."""
    config = configuration(arguments)
    alias = "" if arguments.target is None else known(config, arguments.target)
    if not (alias or config.libvirt.uri):
        hint = f"--target names one of {', '.join(config.targets)}"
        raise ConfigError([Problem("libvirt.uri", 0, "is empty", hint)])
    config = of_target(config, alias)
    return run_with_exporter(arguments, config, lambda exporter: use(exporter.target()))


def run_with_exporter(
    arguments: Namespace, config: Config, use: Callable[[Exporter], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that samples hosts and ends."""
    # The state is the running exporter's: a moment has nothing to add, and root would own the file.
    config = replace(
        config,
        events=replace(config.events, state_directory=""),
        applications=replace(config.applications, enabled=False),
        # Counters of a moment would say that nothing has ever happened.
        groups=replace(config.groups, exclude=(*config.groups.exclude, "event")),
    )
    # The command itself says what failed.
    level = config.log.level if "log.level" in options(arguments) else "error"
    logs.setup(level, config.log.format)

    async def used() -> int:
        # Without process_*: node_exporter, which may read the output, has its own.
        with contextlib.closing(Exporter(lambda: config, Telemetry(process=False))) as exporter:
            return await use(exporter)

    return run(used())
