"""What is asked and answered: requests, expositions, answers to queries; plain data."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct


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

    parts: tuple[bytes, ...]
    """The body in parts of any size. Others share them, so that nobody copies a large body."""
    content_type: str
    content_encoding: str = ""
    """`gzip` when the body is compressed, else ''."""

    @property
    def body(self) -> bytes:
        """The body as a whole, made anew."""
        return b"".join(self.parts)


class QueryRequest(Struct, frozen=True, kw_only=True):
    """One question for fields of VMs, as the client put it; no name in it has been validated."""

    vm_ids: tuple[str, ...] = ()
    """UUIDs of the only VMs to answer for; empty: all."""
    fields: tuple[str, ...] = ()
    """Names of the only fields to answer with; empty: all."""
    exclude: tuple[str, ...] = ()
    """Names of fields to leave out."""
    changed_since: str = ""
    """Stamp of an earlier answer; blank: everything."""
    wait: float = 0.0
    """Seconds to wait for a change while there is none."""
    timeout: float = 0.0
    """Seconds to wait for libvirt at most; 0: for as long as the configuration says."""
    explain: bool = False
    """Whether to say of absent fields what it takes to have them."""
    strict: bool = False
    """Whether unknown names of fields are an error."""
    gzip: bool = False
    """Whether the client accepts a gzip body."""


class QueryAnswer(Struct, frozen=True, kw_only=True):
    """JSON, ready to be sent."""

    body: bytes
    content_encoding: str = ""
    """`gzip` when the body is compressed, else ''."""
    version: str = ""
    """What is another one whenever the content is; '' where nobody asks for that."""


class RequestError(Exception):
    """The client asked for something that cannot be: what is wrong, and what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFoundError(RequestError):
    """The client asked for a VM or a target that is not there."""


class UnavailableError(RequestError):
    """The host cannot be asked at the moment, and nobody knows what it would say."""

    def __init__(self, message: str, hint: str = "", *, reason: str = "") -> None:
        """`reason`: libvirt's own words, for the operator only; '' where it said nothing."""
        super().__init__(message, hint)
        self.reason = reason


def normalised_uuid(text: str) -> str:
    """A UUID as libvirt writes it, however the client did; any other text as it is."""
    try:
        return str(UUID(text))
    except ValueError:
        return text
