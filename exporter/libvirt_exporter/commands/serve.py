"""The long-running process: what happens from the first signal handler to the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Callable, Coroutine, Sequence
from socket import socket
from typing import Any, Final

from libvirt_exporter import __version__
from libvirt_exporter.commands.service_manager import ServiceManager
from libvirt_exporter.config import Config, ConfigError
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.uri import redacted
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.listening import on_every_interface, urls
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.server import serve

log = logging.getLogger(__name__)

_OPEN_FILES: Final = 65536
"""Files that may be open: clients, connections to libvirt, XML of domains being read."""


async def run(
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
    raise_file_limit()
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
        unblock_signals()
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
        await serve(app, sockets, stop=stop, security=security, telemetry=telemetry)
    log.info("stopped")


def _shown(config: Config) -> str:
    """What is served, for the log: `qemu:///system and 3 targets`."""
    parts = [redacted(config.libvirt.uri)] if config.libvirt.uri else []
    if number := len(config.targets):
        parts.append("1 target" if number == 1 else f"{number} targets")
    return " and ".join(parts)


def unblock_signals() -> None:
    """Let through the signals that wait since the process began (`__main__`)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def raise_file_limit() -> None:
    """Allow as many open files as the hard limit does, up to 65536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
            log.error("background work failed", exc_info=error)


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
