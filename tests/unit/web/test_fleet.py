"""What an exporter of several hosts answers of all of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from libvirt_exporter.config import load
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.web.pages.fleet import Standing, fleet
from tests.support.fake_service import FakeService, client


def service(*aliases: str) -> FakeService:
    """One that serves these, '' for the default host."""
    made = FakeService()
    made.aliases = frozenset(aliases)
    return made


def ask(of: FakeService, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client(of) as session:
            method = "POST" if "json" in options else "GET"
            return await session.request(method, path, **options)

    return asyncio.run(run())


TARGETS = """
targets:
  node7: {uri: "qemu+tls://node7/system", labels: {rack: r7}}
  node8: {uri: "qemu+tls://secret@node8/system"}
"""


def test_discovery_lists_every_target_as_a_probe_of_this_exporter() -> None:
    """By the address that Prometheus asked, and without any URI; the default host is no target."""
    fleet_of = service("", "node7", "node8")
    fleet_of.config = load(TARGETS)
    response = ask(fleet_of, "/api/v1/targets", headers={"Host": "fleet.example.com:9177"})
    assert response.headers["Content-Type"] == "application/json"
    probe = {"__metrics_path__": "/probe"}
    assert response.json() == [
        {
            "targets": ["fleet.example.com:9177"],
            "labels": {
                **probe,
                "rack": "r7",
                "__param_target": "node7",
                "instance": "node7",
            },
        },
        {
            "targets": ["fleet.example.com:9177"],
            "labels": {**probe, "__param_target": "node8", "instance": "node8"},
        },
    ]
    assert "qemu" not in response.text


def test_discovery_without_targets_is_an_empty_list() -> None:
    """Prometheus takes anything else for a failure."""
    assert ask(FakeService(), "/api/v1/targets").json() == []


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/api/v1/vms?target=node7", {}),
        ("/api/v1/vms", {"json": {"target": "node7"}}),
        ("/api/v1/vms/4dea22b3-1d52-d8f3-2516-782e98ab3fa0/diagnostics?target=node7", {}),
        ("/?target=node7", {}),
    ],
)
def test_every_route_of_a_host_takes_a_target(path: str, options: dict[str, Any]) -> None:
    """And asks that one; without it, the default host."""
    fleet_of = service("", "node7")
    assert ask(fleet_of, path, **options).status_code == 200
    assert fleet_of.targets == ["node7"]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/api/v1/vms?target=node9", {}),
        ("/api/v1/vms", {"json": {"target": "node9"}}),
        ("/api/v1/vms/4dea22b3-1d52-d8f3-2516-782e98ab3fa0/diagnostics?target=node9", {}),
        ("/?target=node9", {}),
    ],
)
def test_a_target_that_is_not_configured_is_not_found(path: str, options: dict[str, Any]) -> None:
    """404 in the form of the route, and no host is asked."""
    fleet_of = service("", "node7")
    response = ask(fleet_of, path, **options)
    assert response.status_code == 404
    assert "node9" in response.text
    assert fleet_of.queries == []


def test_the_api_describes_itself_where_there_is_no_default_host() -> None:
    """The fields are those of any target."""
    assert ask(service("node7"), "/api/v1/openapi.json").status_code == 200


def test_readiness_says_how_many_hosts_have_not_been_sampled() -> None:
    """And names none, as it may be open to everybody."""
    waiting = service("", "node7", "node8")
    waiting.is_ready = False
    response = ask(waiting, "/-/ready")
    assert response.status_code == 503
    assert "3 of 3 hosts" in response.text
    assert "node7" not in response.text


def test_the_front_page_lists_hosts_with_what_is_wrong_first() -> None:
    """A silent host, one with a stuck VM, one that has not been sampled; nothing is HTML of it."""
    stuck = DomainSample(
        uuid="u", name="n", active=True, stats={"monitor.stuck.time": 5}, timestamp=1000.0
    )
    up = HostSample(timestamp=1000.0, duration=0.1, up=True, domains=(stuck,))
    down = HostSample(timestamp=990.0, duration=0.1, up=False, error="qemu+tls://secret")
    html = fleet(
        [Standing("a", "a", up), Standing("b", "<b>", down), Standing("c", "c", None)],
        "/metrics",
        1010.0,
    ).decode()
    rows = html.partition("<tbody>")[2]
    assert rows.index("&lt;b&gt;") < rows.index(">a<") < rows.index(">c<")
    assert "3 hosts · 1 without an answer" in html
    assert "10 s ago" in rows
    assert "20 s ago" in rows
    assert "not sampled yet" in rows
    assert "secret" not in html
    assert '<td class="number">1</td><td class="number">1</td>' in rows


def test_the_front_page_counts_the_vms_that_the_configuration_lets_through() -> None:
    """Of others it does not even say how many there are."""
    several = tuple(
        DomainSample(uuid=str(number), name=f"vm{number}", active=True, stats={}, timestamp=0.0)
        for number in range(5)
    )
    fleet_of = service("node7")
    fleet_of.sample = HostSample(timestamp=0.0, duration=0.1, up=True, domains=several)
    fleet_of.lets_through = 2
    row = ask(fleet_of, "/").text.partition("<tbody>")[2]
    assert '<td class="number">2</td>' in row
    assert '<td class="number">5</td>' not in row


def test_the_front_page_of_several_hosts_samples_none() -> None:
    """However many there are."""
    fleet_of = service("", "node7")
    fleet_of.holds_everything = True
    response = ask(fleet_of, "/")
    assert response.status_code == 200
    assert 'href="/?target=node7"' in response.text or "/?target=node7" in response.text
    assert json.dumps(fleet_of.requests) == "[]"


def test_a_page_of_a_target_leads_to_its_own_pages_metrics_and_fields() -> None:
    """Not to those of the default host."""
    fleet_of = service("", "node7")
    domain = DomainSample(uuid="u-1", name="n", active=True, stats={}, timestamp=1.0)
    fleet_of.sample = HostSample(timestamp=1.0, duration=0.1, up=True, domains=(domain,))
    html = ask(fleet_of, "/?target=node7&q=n").text
    assert 'href="/probe?target=node7"' in html
    assert 'href="/api/v1/vms?target=node7"' in html
    assert 'href="/vms/u-1?target=node7"' in html
    assert '<input type="hidden" name="target" value="node7">' in html
    html = ask(fleet_of, "/vms/u-1?target=node7").text
    assert 'href="/probe?target=node7&amp;domain[]=u-1"' in html
    assert 'href="/api/v1/vms?target=node7&amp;vmIds=u-1"' in html
    assert 'href="/?target=node7"' in html
    assert 'href="/?target="' in ask(fleet_of, "/vms/u-1?target=").text
