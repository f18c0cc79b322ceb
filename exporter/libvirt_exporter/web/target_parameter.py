"""The parameter that names one of several served hosts, always by its alias, never by a URI."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import QueryParams

from libvirt_exporter.contract import RequestError

PROBE: Final = "/probe"
"""The path at which a target is scraped."""
TARGET: Final = "target"


def only_target(parameters: QueryParams) -> str:
    """The alias that a request names, '' where it names none; RequestError for several."""
    named = parameters.getlist(TARGET)
    if len(named) > 1:
        raise RequestError(f"{TARGET} is given {len(named)} times", "ask for one at a time")
    return named[0] if named else ""
