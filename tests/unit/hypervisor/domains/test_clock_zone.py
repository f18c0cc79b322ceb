"""How far a guest's clock is ahead of UTC where it follows a time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from libvirt_exporter.hypervisor.domains.clock_zone import zone_offset
from libvirt_exporter.model import DomainInfo

WINTER = datetime(2024, 1, 15, 12, tzinfo=UTC).timestamp()
SUMMER = datetime(2024, 7, 15, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone is New York's, spelled out so that no database is needed."""
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def clock(offset: str, *, basis: str = "", timezone: str = "") -> DomainInfo:
    """A domain with such a `<clock>`."""
    return DomainInfo(
        uuid="u", name="n", clock_offset=offset, clock_basis=basis, clock_timezone=timezone
    )


@pytest.mark.parametrize(
    "info", [clock("localtime"), clock("variable", basis="localtime")], ids=["offset", "basis"]
)
@pytest.mark.parametrize(("now", "hours"), [(WINTER, -5), (SUMMER, -4)])
@pytest.mark.usefixtures("in_new_york")
def test_local_time_is_the_machines(info: DomainInfo, now: float, hours: int) -> None:
    """With daylight saving time; of another machine the zone is not known."""
    assert zone_offset(info, now, local=True) == hours * 3600
    assert zone_offset(info, now, local=False) is None


@pytest.mark.parametrize(("now", "hours"), [(WINTER, 1), (SUMMER, 2)])
@pytest.mark.parametrize("local", [True, False])
def test_a_named_zone_is_the_same_everywhere(now: float, hours: int, local: bool) -> None:
    """Wherever the host is."""
    info = clock("timezone", timezone="Europe/Prague")
    assert zone_offset(info, now, local=local) == hours * 3600


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Moon/Base",
        "Europe",
        "../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "\udc80",
        "x" * 5000,
        "x/" * 1500 + "x",
    ],
)
def test_what_is_no_zone_has_no_offset(name: str) -> None:
    """libvirt (9.0) starts a domain with any text there."""
    assert zone_offset(clock("timezone", timezone=name), WINTER, local=True) is None


@pytest.mark.parametrize("offset", ["utc", "variable", "absolute", ""])
@pytest.mark.usefixtures("in_new_york")
def test_a_clock_without_zone_has_no_offset_of_one(offset: str) -> None:
    """Although the machine has a time zone."""
    assert zone_offset(clock(offset, basis="utc"), WINTER, local=True) is None
