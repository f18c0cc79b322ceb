"""Answers that say what is wrong: JSON on the API, a line or two of text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse, Response

from libvirt_exporter.contract import NotFoundError, RequestError, UnavailableError
from libvirt_exporter.query.fields.field import encoded

API: Final = "/api/"
"""What the paths of the API begin with."""


class BusyError(RequestError):
    """As many requests are being answered as may be."""


class TooLargeError(RequestError):
    """The body is longer than it may be."""


_REFUSALS: Final[Mapping[type[RequestError], tuple[int, Mapping[str, str]]]] = {
    NotFoundError: (404, {}),
    UnavailableError: (503, {"Retry-After": "5"}),
    BusyError: (503, {"Retry-After": "1"}),
    TooLargeError: (413, {}),
}
"""Status and headers of the answers to requests that are refused; of others they are 400 and none.
"""


def refused(path: str, error: RequestError) -> Response:
    """The answer to a request for `path` that is refused."""
    status, headers = _REFUSALS.get(type(error), (400, {}))
    return problem(path, status, error.message, error.hint, headers)


def problem(
    path: str, status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request for `path`: what is wrong, and what to do about it."""
    if path.startswith(API):
        body = encoded({"error": error, "hint": hint})
        kept = {"Cache-Control": "no-store", **(headers or {})}
        return Response(body, status, kept, media_type="application/json")
    text = "".join(f"{line}\n" for line in (error, hint) if line)
    return PlainTextResponse(text, status, headers)
