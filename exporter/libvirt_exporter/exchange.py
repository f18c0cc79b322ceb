"""What `web` asks of `service` and what it gets back."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from libvirt_exporter.model import HostSample


class ScrapeRequest(Struct, frozen=True, kw_only=True):
    """One request for an exposition, as the client put it; nothing in it has been validated."""

    collect: tuple[str, ...] = ()
    """Groups to show, and no others; empty: what the configuration says."""
    exclude: tuple[str, ...] = ()
    """Groups to leave out; never given together with `collect`."""
    domains: tuple[str, ...] = ()
    """Names or UUIDs of the only domains to show; empty: all."""
    timeout: float | None = None
    """The scraper's own timeout in seconds, from which no offset has been subtracted."""
    openmetrics: bool = False
    """OpenMetrics 1.0.0 instead of the text format 0.0.4."""
    gzip: bool = False
    """Whether the client accepts a gzip body."""


class Exposition(Struct, frozen=True, kw_only=True):
    """One answer to a `ScrapeRequest`, ready to be sent."""

    body: bytes
    content_type: str
    content_encoding: str = ""
    """`gzip` when the body is compressed, else ''."""


class RequestError(Exception):
    """The client asked for something that cannot be: what is wrong, and what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Service(Protocol):
    """What the HTTP layer needs of the composition root; all of it runs on the event loop."""

    async def scrape(self, request: ScrapeRequest) -> Exposition:
        """Sample and render; `RequestError` for an unknown group or domain."""
        ...

    async def overview(self) -> HostSample:
        """The host a few seconds ago at most, for the page for people."""
        ...

    def ready(self) -> bool:
        """Whether the first sample has been taken."""
        ...

    async def reload(self) -> None:
        """Read the configuration again; `config.ConfigError` leaves the old one in force."""
        ...
