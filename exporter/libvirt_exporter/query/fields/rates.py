"""Rates and ratios from two samples of one domain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.query.fields.field import VmView, number

SHORTEST: Final = 1.0
"""Seconds below which two samples say nothing of a rate, as counters are read one by one."""
MOST_DEVICES: Final = 4096
"""Devices of one kind that are looked for, whatever the count says."""
_ONE_RUN: Final = ("process.pid", "start.time")


def interval(view: VmView, *, monitor: bool = True) -> float | None:
    """Seconds between the two samples; None unless both are of the same run of the domain.

    `monitor`: between the calls that need the monitor, which may come late; else between those
    for interfaces and the looks at QEMU's process.
    """
    earlier, later = view.earlier, view.domain
    if earlier is None or not isinstance(later, DomainSample):
        return None
    comparable = same_run(earlier, later) and far_enough(earlier, later)
    return elapsed(earlier, later, monitor=monitor) if comparable else None


def same_run(earlier: DomainSample, later: DomainSample) -> bool:
    """Whether a domain was active in both samples and, as far as can be told, all the time."""
    if not (later.active and earlier.active):
        return False
    for key in _ONE_RUN:
        now, before = later.stats.get(key), earlier.stats.get(key)
        if now != before and now is not None and before is not None:
            return False
    return True


def far_enough(earlier: DomainSample, later: DomainSample) -> bool:
    """Whether there is enough time between two samples of a domain for rates of any kind."""
    return all(elapsed(earlier, later, monitor=monitor) >= SHORTEST for monitor in (True, False))


def elapsed(earlier: DomainSample, later: DomainSample, *, monitor: bool = True) -> float:
    """Seconds between the calls of two samples; `monitor` as for `interval`."""
    if monitor:
        return later.timestamp - earlier.timestamp
    return _without_monitor_at(later) - _without_monitor_at(earlier)


def _without_monitor_at(domain: DomainSample) -> float:
    at = domain.without_monitor_at
    return domain.timestamp if at is None else at


def numbers(stats: Stats, keys: Iterable[str]) -> list[int | None]:
    """`field.number` of each key."""
    values = map(stats.get, keys)
    return [value if type(value) is int and value >= 0 else None for value in values]


def increases(now: Iterable[int | None], before: Iterable[int | None]) -> list[int | None]:
    """By how much counters grew; None where one is not in both samples or started again."""
    return [
        None if value is None or old is None or value < old else value - old
        for value, old in zip(now, before, strict=True)
    ]


def increase(now: Stats, key: str, before: Stats, key_before: str = "") -> int | None:
    """By how much one counter grew, likewise."""
    value, old = number(now, key), number(before, key_before or key)
    return None if value is None or old is None or value < old else value - old


def rate(growth: int | None, seconds: float) -> int | None:
    """Growth per second, to three significant digits."""
    # What does not move costs nothing, and that is most of a fleet.
    return significant(growth / seconds) if growth else growth


def percent(share: float) -> float:
    """A share of 1 in percent, to a tenth."""
    return round(100 * share, 1)


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
    count = number(stats, f"{kind}.count")
    found: dict[str, str] = {}
    for prefix, key in _numbered(kind, min(count, MOST_DEVICES)) if count else ():
        name = stats.get(key)
        if isinstance(name, str):
            found.setdefault(name, prefix)
    return found


@lru_cache(64)
def _numbered(kind: str, count: int) -> tuple[tuple[str, str], ...]:
    """Prefix and key of the name of so many devices."""
    return tuple((f"{kind}.{index}.", f"{kind}.{index}.name") for index in range(count))


def vcpus(stats: Stats) -> list[int]:
    """Numbers of the vCPUs whose state or time is known, ascending."""
    return [
        index
        for index in range(min(number(stats, "vcpu.maximum") or 0, MOST_DEVICES))
        if f"vcpu.{index}.time" in stats or f"vcpu.{index}.state" in stats
    ]


@lru_cache(64)
def vcpu_times(maximum: int) -> tuple[str, ...]:
    """Keys of the times of so many vCPUs."""
    return tuple(f"vcpu.{index}.time" for index in range(min(maximum, MOST_DEVICES)))
