"""The layer that asks who a client is, before any route."""

from __future__ import annotations

import math
from collections.abc import Container

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libvirt_exporter.web.problems import BusyError, problem
from libvirt_exporter.web.security.security import Security


class SecurityMiddleware:
    """Adds the configured headers, then refuses what is too often (429) or not admitted (401)."""

    def __init__(
        self, app: ASGIApp, security: Security, *, without_login: Container[str] = ()
    ) -> None:
        """`without_login`: paths that may be read without a password."""
        self._app = app
        self._security = security
        self._without_login = without_login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._security.follow()
        configured = self._security.config.http_server_config.headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                for name, value in configured.items():
                    if value:
                        headers[name] = value
            await send(message)

        answer = await self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], Headers(scope=scope)
        client, _ = scope.get("client") or ("", 0)
        if not self._security.within_rate():
            wait = math.ceil(self._security.config.rate_limit.seconds())
            text = "Too many requests: rate_limit of the web configuration is exceeded."
            return problem(path, 429, text, headers={"Retry-After": str(wait)})
        if scope["method"] in ("GET", "HEAD") and path in self._without_login:
            return None
        try:
            if await self._security.admits(headers.get("Authorization", ""), client):
                return None
        except BusyError as error:
            return problem(path, 503, error.message, headers={"Retry-After": "5"})
        return problem(
            path,
            401,
            "Unauthorized: user and password are required.",
            headers={"WWW-Authenticate": 'Basic realm="libvirt-exporter", charset="UTF-8"'},
        )
