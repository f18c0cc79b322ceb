"""How far the time zone that a guest's clock follows is from UTC."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from libvirt_exporter.model import DomainInfo


def zone_offset(info: DomainInfo, now: float, *, local: bool) -> int | None:
    """Seconds ahead of UTC at the Unix time `now`; None where the clock follows no time zone, or
    one that is not known here.

    `local`: whether the host's time zone is that of this process.
    """
    if info.clock_offset == "timezone":
        zone = _zone(info.clock_timezone)
        return None if zone is None else _ahead(datetime.fromtimestamp(now, zone))
    if "localtime" in (info.clock_offset, info.clock_basis) and local:
        return _ahead(datetime.fromtimestamp(now, UTC).astimezone())
    return None


def _zone(name: str) -> tzinfo | None:
    """A time zone of the machine's database by name; None when it has none of that name."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError, RecursionError):
        # libvirt takes any text. Some are directories there, and one of a thousand steps is more
        # than Python's import system can follow (3.11).
        return None


def _ahead(time: datetime) -> int | None:
    offset = time.utcoffset()
    return None if offset is None else round(offset.total_seconds())
