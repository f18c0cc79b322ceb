"""Durations as people write them ↔ seconds."""

from __future__ import annotations

import re
from typing import Final

from libvirt_exporter.config.schema import DURATION_PATTERN

_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9.]+)([a-z]+)")


def parse_duration(text: str) -> float:
    """Return the seconds that `1m30s`, `500ms` or `9` stand for; ValueError for anything else."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


_UNITS: Final = {
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}


def meant_duration(text: str) -> str:
    """Return `10s` for `10 seconds`, `10S` and the like; '' for a duration, or anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", text.strip().lower())
    unit = next((unit for unit, words in _UNITS.items() if found and found[2] in words), "")
    meant = f"{found[1]}{unit}" if found and unit else ""
    return meant if meant != text and _DURATION.fullmatch(meant) else ""


def format_duration(seconds: float) -> str:
    """Return the seconds in the largest unit that needs no fraction, else rounded to 1 ms."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
