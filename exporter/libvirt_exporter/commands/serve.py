"""The command `serve`: the long-running process, from its sockets to the last signal handler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from argparse import Namespace
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from socket import socket
from typing import Any

from libvirt_exporter import __version__
from libvirt_exporter.commands import logs, process
from libvirt_exporter.commands.arguments import options
from libvirt_exporter.commands.check_config import secured
from libvirt_exporter.commands.once import configuration
from libvirt_exporter.commands.service_manager import ServiceManager, inherited_sockets
from libvirt_exporter.config import FLAGS, Config, ConfigError, Place, place_of
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.uri import redacted
from libvirt_exporter.web import server
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.listening import listen, on_every_interface, remove, urls
from libvirt_exporter.web.security.security import Security

log = logging.getLogger(__name__)


def serve(arguments: Namespace) -> int:
    """Serve until a signal ends it."""

    def load() -> Config:
        config = configuration(arguments)
        logs.setup(config.log.level, config.log.format)
        return config

    config = load()
    by_flag = "web.config_file" in options(arguments)
    security = _security(config, None if by_flag else arguments.config_file)
    systemd, web = ServiceManager(os.environ, os.getpid()), config.web
    if web.systemd_socket:
        sockets = inherited_sockets(os.environ, os.getpid())
        return process.run(_run(load, sockets, security, systemd))
    sockets = listen(web.listen, int(web.socket_mode, 8))

    async def run() -> None:
        try:
            await _run(load, sockets, security, systemd)
        finally:
            remove(web.listen)

    return process.run(run())


def _security(config: Config, file: Path | None) -> Security:
    """The web configuration, which `file` names, or else a flag. Raises ConfigError."""
    option = "web.config_file"
    if file is None:
        return secured(config.web.config_file, Place(FLAGS[option], 0))
    return secured(config.web.config_file, place_of(option, file), option)


async def _run(
    load: Callable[[], Config],
    sockets: Sequence[socket],
    security: Security,
    systemd: ServiceManager,
) -> None:
    """Serve on `sockets` until SIGTERM or SIGINT; SIGHUP reloads what `load` reads.

    `systemd` hears when the first sample is there, of reloads and of the end.

    A libvirt that cannot be reached is no error. Raises ConfigError. Threads that are stuck in
    libvirt may be left behind, so the process has to be ended without waiting for them.
    """
    process.raise_file_limit()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    telemetry = Telemetry()
    with contextlib.closing(Exporter(load, telemetry)) as exporter:
        tasks = _Background()

        def end() -> None:
            systemd.stopping()
            stop.set()
            exporter.end_waiting()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        web = exporter.config.web
        addresses = ", ".join(urls(sockets, tls=security.config.tls_server_config.enabled))
        shown = _shown(exporter.config)
        status = f"Serving on {addresses}"
        loop.add_signal_handler(
            signal.SIGHUP, lambda: tasks.start(_reload(exporter, systemd, status))
        )
        process.unblock_signals()
        tasks.start(_warm_up(exporter, systemd, status))
        tasks.start(systemd.live())
        log.info("libvirt-exporter %s shows %s on %s", __version__, shown, addresses)
        if on_every_interface(sockets) and not security.asks_who_clients_are:
            log.info(
                "no password or client certificate is required, and the exporter listens on all "
                "addresses: set web.listen to one address, or users or client certificates in "
                "web.config_file"
            )
        if web.access_log:
            logging.getLogger("uvicorn.access").setLevel(logging.INFO)
        app = create_app(
            exporter,
            telemetry_path=web.telemetry_path,
            web_config=security,
            max_requests=web.max_requests,
            health_without_login=web.health_without_login,
            reload=web.reload,
            allowed_hosts=web.allowed_hosts,
            telemetry=telemetry,
        )
        await server.serve(app, sockets, stop=stop, security=security, telemetry=telemetry)
    log.info("stopped")


def _shown(config: Config) -> str:
    """What is served, for the log: `qemu:///system and 3 targets`."""
    parts = [redacted(config.libvirt.uri)] if config.libvirt.uri else []
    if number := len(config.targets):
        parts.append("1 target" if number == 1 else f"{number} targets")
    return " and ".join(parts)


class _Background:
    """Tasks that nobody waits for; what they fail with is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        # The loop itself keeps only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed", exc_info=error)


async def _warm_up(exporter: Exporter, systemd: ServiceManager, status: str) -> None:
    try:
        await exporter.warm_up()
    finally:
        systemd.ready(status)


async def _reload(exporter: Exporter, systemd: ServiceManager, status: str) -> None:
    systemd.reloading()
    try:
        # The exporter has logged and counted what is wrong; it stays as it was.
        with contextlib.suppress(ConfigError):
            await exporter.reload()
    finally:
        systemd.ready(status)
