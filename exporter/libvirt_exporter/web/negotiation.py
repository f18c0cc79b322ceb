"""Which format and encoding a client asked for (RFC 9110 §12.5, OpenMetrics 1.0)."""

from __future__ import annotations

from collections.abc import Mapping


def accepts_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is what an `Accept` header prefers among what this exporter speaks.

    Versions 0.0.1 and 1.0.0 ask for it, and so does no version. Whatever cannot be satisfied falls
    back to the text format: a scrape is never refused for its `Accept`.
    """
    ranges = [entry for entry in _weighted(accept) if entry[2] > 0]
    ranges.sort(key=lambda entry: (-entry[2], entry[0].count("*")))
    for media_type, parameters, _ in ranges:
        if media_type == "application/openmetrics-text":
            if parameters.get("version", "1.0.0") in {"0.0.1", "1.0.0"}:
                return True
        elif media_type in {"text/plain", "text/*", "*/*"}:
            return False
    return False


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip; without a header it does not."""
    weights = {coding: weight for coding, _, weight in _weighted(accept_encoding)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weighted(header: str) -> list[tuple[str, Mapping[str, str], float]]:
    """The entries of a header as (value, parameters, weight), without those of a bad weight."""
    entries: list[tuple[str, Mapping[str, str], float]] = []
    for item in header.split(","):
        value, *rest = (part.strip() for part in item.split(";"))
        parameters = {}
        for part in rest:
            name, _, content = part.partition("=")
            parameters[name.strip().lower()] = content.strip().strip('"')
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if value and 0 <= weight <= 1:
            entries.append((value.lower(), parameters, weight))
    return entries
