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
    refuse_several(parameters, TARGET)
    return parameters.get(TARGET, "")


def refuse_several(parameters: QueryParams, name: str, *lists: str) -> None:
    """Raise RequestError for a parameter that is given several times, and is none of `lists`."""
    times = len(parameters.getlist(name))
    if times > 1 and name not in lists:
        raise RequestError(f"{name} is given {times} times", "ask for one at a time")
