"""Rates and ratios from two samples of one domain."""

from __future__ import annotations

from typing import Final

from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.query.field import VmView, number

SHORTEST: Final = 1.0
"""Seconds below which two samples say nothing of a rate, as counters are read one by one."""
MOST_DEVICES: Final = 4096
"""Devices of one kind that are looked for, whatever the count says."""
_ONE_RUN: Final = ("process.pid", "start.time")


def interval(view: VmView) -> float | None:
    """Seconds between the two samples; None unless both are of the same run of the domain."""
    domain, earlier = view.domain, view.earlier
    if earlier is None or not isinstance(domain, DomainSample):
        return None
    if not (domain.active and earlier.active):
        return None
    for key in _ONE_RUN:
        now, before = domain.stats.get(key), earlier.stats.get(key)
        if now is not None and before is not None and now != before:
            return None
    seconds = domain.timestamp - earlier.timestamp
    return seconds if seconds >= SHORTEST else None


def increase(now: Stats, key: str, before: Stats, key_before: str = "") -> int | None:
    """By how much a counter grew; None when it is not in both samples or started again."""
    value, old = number(now, key), number(before, key_before or key)
    if value is None or old is None or value < old:
        return None
    return value - old


def rate(growth: int | None, seconds: float) -> int | None:
    """Growth per second, to three significant digits."""
    # What does not move costs nothing, and that is most of a fleet.
    return significant(growth / seconds) if growth else growth


def percent(growth: float, seconds: float) -> float:
    """Growth per second in percent, to a tenth."""
    return round(100 * growth / seconds, 1)


def significant(value: float) -> int:
    """An integer of three significant digits: more of them would be news at every sample."""
    whole = round(value)
    if whole < 1000:
        return whole
    unit: int = 10 ** (len(str(whole)) - 3)
    return round(value / unit) * unit


def devices(stats: Stats, kind: str) -> dict[str, str]:
    """The devices under `<kind>.<num>.`: name to the prefix of its keys.

    Numbers may mean other devices in the next sample; of the images of one disk the first is the
    top one.
    """
    found: dict[str, str] = {}
    for index in range(min(number(stats, f"{kind}.count") or 0, MOST_DEVICES)):
        prefix = f"{kind}.{index}."
        name = stats.get(f"{prefix}name")
        if isinstance(name, str):
            found.setdefault(name, prefix)
    return found


def vcpus(stats: Stats) -> list[int]:
    """Numbers of the vCPUs whose state or time is known, ascending."""
    return [
        index
        for index in range(min(number(stats, "vcpu.maximum") or 0, MOST_DEVICES))
        if f"vcpu.{index}.time" in stats or f"vcpu.{index}.state" in stats
    ]
