"""What metrics and JSON both tell is the same."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.query.diagnostics import diagnostics
from libvirt_exporter.query.fields.table import values
from libvirt_exporter.render.series import Identity, Series, domain_series
from tests.contract.golden import PROFILES
from tests.support.vm_views import view

IDENTITY = "<name>a</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
MACHINE = "<os><type>hvm</type></os><vcpu>4</vcpu>"
CONTAINER = "<os><type>exe</type></os><vcpu>4</vcpu>"
TOPOLOGY = "<cpu><topology sockets='1' dies='2' cores='1' threads='2'/></cpu>"


def answers(inner: str, *names: str) -> dict[str, Any]:
    """The fields of a domain that holds `inner`."""
    info = parse_domain(f"<domain type='kvm'>{IDENTITY}{inner}</domain>")
    return values(view(info=info), names)


def series(inner: str, name: str) -> list[Series]:
    """The series of a metric that is on by default, of the same domain."""
    info = parse_domain(f"<domain type='kvm'>{IDENTITY}{inner}</domain>")
    sample = DomainSample(uuid="u", name="a", active=False, stats={}, timestamp=0, info=info)
    found = domain_series(sample, PROFILES["default"], Identity())
    return [one for one in found.series if one.name == f"libvirt_domain_{name}"]


@pytest.mark.parametrize(
    ("inner", "topology"),
    [
        (MACHINE, ("4", 1, 1)),
        (MACHINE + TOPOLOGY, ("1", 2, 2)),
        (MACHINE + "<cpu mode='host-passthrough'/>", ("4", 1, 1)),
        (CONTAINER, ("", None, None)),
        (CONTAINER + TOPOLOGY, ("1", 2, 2)),
    ],
)
def test_cores_and_threads(inner: str, topology: tuple[str, int | None, int | None]) -> None:
    """A machine has one of each where the XML is silent, a container none."""
    (row,) = series(inner, "info")
    told = answers(inner, "smpCoresPerSocket", "smpThreadsPerCore")
    sockets, cores, threads = (dict(row.own)[name] for name in ("sockets", "cores", "threads"))

    found = (sockets, told.get("smpCoresPerSocket"), told.get("smpThreadsPerCore"))
    assert found == topology
    assert (cores, threads) == tuple("" if number is None else str(number) for number in found[1:])


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        ("<clock offset='utc'/>", 0),
        ("<clock offset='variable' adjustment='-60' basis='utc'/>", -60),
        ("<clock offset='variable' adjustment='60'/>", 60),
        ("<clock offset='absolute' start='0'/>", None),
        ("<clock offset='timezone' timezone='Europe/Berlin'/>", None),
        ("", None),
    ],
)
def test_offset_of_the_clock(clock: str, seconds: int | None) -> None:
    """Of every kind of clock; one whose zone has not been looked up has none."""
    shown = [row.constant for row in series(clock, "clock_offset_seconds")]

    assert answers(clock, "timeOffset").get("timeOffset") == seconds
    assert shown == ([] if seconds is None else [seconds])


@pytest.mark.parametrize(("kind", "word"), [("vnc", "vnc"), ("spice", "qxl"), ("dbus", "dbus")])
def test_kind_of_the_display(kind: str, word: str) -> None:
    """Nothing sensitive, so both tell it by default; JSON in VDSM's words."""
    inner = f"<devices><graphics type='{kind}'/><graphics type='sdl'/></devices>"
    (row,) = series(inner, "config_info")

    assert dict(row.own)["display"] == kind
    assert answers(inner, "display", "displayType") == {"display": word, "displayType": word}
    assert dict(series("<features><acpi/></features>", "config_info")[0].own)["display"] == ""


@pytest.mark.parametrize(
    ("stats", "used"),
    [
        ({"balloon.available": 102400, "balloon.usable": 25600, "balloon.unused": 1024}, 75),
        ({"balloon.available": 102400, "balloon.unused": 10240, "balloon.disk_caches": 10240}, 80),
        ({"balloon.maximum": 102400, "balloon.usable": 51200}, 50),
    ],
)
def test_memory_in_use(stats: Stats, used: int) -> None:
    """VDSM's percentage and Nova's MiB are of one definition; here 1 MiB is 1 %."""
    assert values(view(stats), ["memUsage"]) == {"memUsage": used}
    assert diagnostics(view(stats))["memory_details"]["used"] == used
