"""Values as they stand in libvirt's XML, and in the metadata that others put there.

What does not hold such a value gives None: one odd value costs that value only.
"""

from __future__ import annotations

import math
import re
from typing import Final

MAX_CPUS: Final = 16_384
"""CPU numbers end here; libvirt's own protocol takes no more."""

_INTEGER = re.compile(r"\s*([+-]?\d{1,19})\s*", re.ASCII)
_ADDRESS = re.compile(r"\s*(?:0[xX]([0-9a-fA-F]{1,8})|(\d{1,9}))\s*", re.ASCII)
_NUMBER = re.compile(
    r"\s*([+-]?\d{1,19}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?)\s*", re.ASCII | re.IGNORECASE
)
_CPUS = re.compile(r"\s*(\^?)(\d{1,5})(?:-(\d{1,5}))?\s*", re.ASCII)
_SCALE = re.compile(r"([kmgtpe])(ib|b)?", re.ASCII | re.IGNORECASE)
_POWERS = "kmgtpe"
_LIMIT = 1 << 63
_YEAR_10000 = 253_402_300_800


def bounded(value: int) -> int | None:
    """Return an integer that fits into 64 bits with a sign, as JSON and other readers need it."""
    return value if -_LIMIT <= value < _LIMIT else None


def integer(text: str | None) -> int | None:
    """Read a decimal integer of up to 64 bits."""
    match = _INTEGER.fullmatch(text) if text else None
    return bounded(int(match[1])) if match else None


def hexadecimal(text: str | None) -> int | None:
    """Read an integer as addresses have them, `0x3b` or decimal, of up to 32 bits; no text is 0."""
    match = _ADDRESS.fullmatch(text) if text else None
    if match is None:
        return None if text else 0
    return int(match[1], 16) if match[1] else int(match[2])


def number(text: str | None) -> float | None:
    """Read a finite decimal number."""
    match = _NUMBER.fullmatch(text) if text else None
    value = float(match[1]) if match else math.inf
    return value if math.isfinite(value) else None


def unix_time(text: str | None) -> float | None:
    """Read a Unix time that a calendar can show, so that it may also be counted in ns."""
    value = number(text)
    return value if value is not None and 0 <= value < _YEAR_10000 else None


def scaled(text: str | None, factor: int) -> int | None:
    """Read a non-negative count of units that are `factor` bytes each; bytes."""
    value = integer(text)
    return bounded(value * factor) if value is not None and value >= 0 else None


def scaled_bytes(text: str | None, unit: str | None) -> int | None:
    """Read one of libvirt's scaled integers, `<memory unit='KiB'>1024</memory>`; bytes.

    `unit` is b, byte or bytes; or a letter of KMGTPE for powers of 1024, also written with iB;
    with B, powers of 1000; all in any case. Without one it is KiB.
    """
    if not unit:
        return scaled(text, 1024)
    if unit.lower() in ("b", "byte", "bytes"):
        return scaled(text, 1)
    match = _SCALE.fullmatch(unit)
    if match is None:
        return None
    base = 1000 if (match[2] or "").lower() == "b" else 1024
    return scaled(text, base ** (_POWERS.index(match[1].lower()) + 1))


def cpu_set(text: str) -> tuple[int, ...] | None:
    """Read libvirt's set of CPU numbers, `0-3,^2,8`; ascending."""
    cpus: set[int] = set()
    for part in text.split(",") if text else ():
        match = _CPUS.fullmatch(part)
        if match is None:
            return None
        first, last = int(match[2]), int(match[3] or match[2])
        if not first <= last < MAX_CPUS:
            return None
        if match[1]:
            cpus.difference_update(range(first, last + 1))
        else:
            cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))
