"""The routes for whoever runs the exporter: whether it lives, whether it is ready, reload."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from libvirt_exporter.config import ConfigError
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.service import Service

HEALTH: Final = ("/-/healthy", "/-/ready")
"""Paths that tell how the process is, and nothing of a host."""
_RELOAD_EVERY: Final = 1.0
"""Seconds from one reload to the next; reading a configuration takes time that scrapes need."""


class Management:
    """Answers the requests below `/-/`."""

    def __init__(self, service: Service, security: Security, *, reload: bool = True) -> None:
        """`reload`: whether clients may have the configuration read again."""
        self._service = service
        self._reload_allowed = reload
        self._security = security
        self._next: asyncio.Task[list[str]] | None = None
        """The reload that has not begun."""
        self._not_before = 0.0
        """Loop time."""

    def routes(self) -> list[Route]:
        return [
            *map(Route, HEALTH, (self.healthy, self.ready)),
            Route("/-/reload", self.reload, methods=["POST"]),
        ]

    async def healthy(self, _request: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("Healthy.\n")

    async def ready(self, _request: Request) -> Response:
        """Whether the first sample has been taken, of each of several hosts."""
        if not (waiting := self._service.waits_for_first_samples):
            return PlainTextResponse("Ready.\n")
        text = "Not ready: the first sample is not complete yet.\n"
        if (hosts := len(self._service.aliases)) > 1:
            text = (
                f"Not ready: the first sample of {waiting} of {hosts} hosts is not complete yet.\n"
            )
        return PlainTextResponse(text, status_code=503)

    async def reload(self, _request: Request) -> Response:
        """Read both configurations again, and list what is wrong with them.

        Once a second at most, for all who ask before it begins.
        """
        if not self._reload_allowed:
            text = "Reload over HTTP is off (web.reload: false); SIGHUP reloads.\n"
            return PlainTextResponse(text, status_code=403)
        if self._next is None:
            self._next = asyncio.create_task(self._reload())
        # Shielded: others may wait for the same when this client goes away.
        problems = await asyncio.shield(self._next)
        if not problems:
            return PlainTextResponse("Configuration reloaded.\n")
        text = "\n".join(
            ["Configuration rejected; the previous one stays in force:", *problems, ""]
        )
        return PlainTextResponse(text, status_code=500)

    async def _reload(self) -> list[str]:
        """What is wrong with the configurations."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        # Whoever asks from now on wants the files as they will be then.
        self._next, self._not_before = None, loop.time() + _RELOAD_EVERY
        problems = []
        try:
            await self._security.reload()
        except ConfigError as error:
            problems.append(str(error))
        try:
            await self._service.reload()
        except ConfigError as error:
            problems.append(str(error))
        return problems
