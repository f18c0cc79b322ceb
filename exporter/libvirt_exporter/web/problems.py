"""Answers that say what is wrong: JSON on the API, a line or two of text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse, Response

from libvirt_exporter.query.fields.field import encoded

API: Final = "/api/"
"""What the paths of the API begin with."""


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
