"""The routes for whoever runs the exporter: whether it lives, whether it is ready, reload."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from libvirt_exporter.config import ConfigError
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.service import Service

HEALTH: Final = ("/-/healthy", "/-/ready")
"""Paths that tell how the process is, and nothing of a host."""


class Management:
    """Answers the requests below `/-/`."""

    def __init__(self, service: Service, security: Security) -> None:
        self._service = service
        self._security = security

    def routes(self) -> list[Route]:
        """All routes below `/-/`."""
        return [
            *map(Route, HEALTH, (self.healthy, self.ready)),
            Route("/-/reload", self.reload, methods=["POST"]),
        ]

    async def healthy(self, _request: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("Healthy.\n")

    async def ready(self, _request: Request) -> Response:
        """Whether the first sample has been taken."""
        if self._service.target().ready():
            return PlainTextResponse("Ready.\n")
        return PlainTextResponse("Not ready: the first sample is still to come.\n", status_code=503)

    async def reload(self, _request: Request) -> Response:
        """Read both configurations again, and list what is wrong with them."""
        problems = []
        try:
            await self._security.reload()
        except ConfigError as error:
            problems.append(str(error))
        try:
            await self._service.reload()
        except ConfigError as error:
            problems.append(str(error))
        if not problems:
            return PlainTextResponse("Configuration reloaded.\n")
        text = "\n".join(["Configuration refused, the old one stays in force:", *problems, ""])
        return PlainTextResponse(text, status_code=500)
