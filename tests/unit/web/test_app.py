"""The HTTP routes, driven through ASGI without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.config import ConfigError, Problem
from libvirt_exporter.contract import RequestError, ScrapeRequest
from libvirt_exporter.render.exposition import TEXT
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.negotiation import accepts_gzip, accepts_openmetrics
from tests.support.fake_service import FakeService, client
from tests.support.virtual_time import run_virtually

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def ask(
    service: FakeService,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    telemetry: Telemetry | None = None,
) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client(service, telemetry=telemetry) as session:
            return await session.request(method, path, headers=headers)

    return asyncio.run(run())


def asked(path: str, headers: dict[str, str] | None = None) -> ScrapeRequest:
    service = FakeService()
    assert ask(service, path, headers=headers).status_code == 200
    return service.requests[0]


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        (PROMETHEUS_ACCEPT, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=0.0.1", True),
        ('Application/OpenMetrics-Text; Version="1.0.0"', True),
        ("application/openmetrics-text;version=abc", False),
        ("application/openmetrics-text;version=3.0.0,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.7", False),
        ("text/plain;q=0.3,application/openmetrics-text;q=0.7", True),
        ("text/plain,application/openmetrics-text", False),
        ("*/*,application/openmetrics-text", True),
        ("application/openmetrics-text;q=nan,text/html", False),
        ("application/openmetrics-text;q=abc", False),
        ("text/html", False),
        (";;,,;q=,=", False),
    ],
)
def test_format_follows_accept(accept: str, openmetrics: bool) -> None:
    """OpenMetrics is given when it is preferred in a version that exists, else the text format."""
    assert accepts_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("", False),
        ("gzip", True),
        ("GZip;q=0.5", True),
        ("gzip;q=0", False),
        ("deflate, br", False),
        ("*", True),
        ("*;q=1, gzip;q=0", False),
        ("identity;q=1, *;q=0", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip_follows_accept_encoding(accept_encoding: str, gzip: bool) -> None:
    """gzip is used only where its weight is above zero."""
    assert accepts_gzip(accept_encoding) is gzip


@given(st.text())
def test_any_accept_header_is_answered(header: str) -> None:
    """No header text makes negotiation fail."""
    assert accepts_openmetrics(header) in {True, False}
    assert accepts_gzip(header) in {True, False}


def test_metrics_are_sent_as_the_service_gave_them() -> None:
    """Body, exact content type and the headers that caches need."""
    response = ask(FakeService(), "/metrics")
    assert response.content == b"libvirt_up 1\n"
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    assert response.headers["Content-Length"] == "13"


def test_openmetrics_content_type_is_exact() -> None:
    """Prometheus 3 fails a scrape whose content type it does not know."""
    response = ask(FakeService(), "/metrics", headers={"Accept": PROMETHEUS_ACCEPT})
    expected = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert response.headers["Content-Type"] == expected


def test_gzip_encoding_is_declared() -> None:
    """A body that the service compressed says so, and is readable."""
    response = ask(FakeService(), "/metrics", headers={"Accept-Encoding": "deflate, gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.content == b"libvirt_up 1\n"


def test_query_reaches_the_service() -> None:
    """Repeated parameters arrive in order, unknown ones are ignored."""
    request = asked("/metrics?collect[]=block&domain[]=a%26b&collect%5B%5D=vcpu&name[]=x&foo=1")
    assert request == ScrapeRequest(collect=("block", "vcpu"), domains=("a&b",))
    assert asked("/metrics?exclude[]=kvm").exclude == ("kvm",)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("collect", "collect[]"),
        ("exclude", "exclude[]"),
        ("domain", "domain[]"),
        ("colect[]", "collect[]"),
        ("Collect[]", "collect[]"),
        ("collect[0]", "collect[]"),
        ("exclued[]", "exclude[]"),
        ("domains[]", "domain[]"),
    ],
)
def test_misspelt_parameter_is_refused(name: str, meant: str) -> None:
    """What would narrow nothing, unnoticed, is told how it is written, and starts no sample."""
    service = FakeService()
    response = ask(service, f"/metrics?foo=1&{name}=block")
    assert response.status_code == 400
    assert response.text == f"unknown parameter {name}\ndid you mean {meant}?\n"
    assert service.requests == []


@pytest.mark.parametrize("name", ["name[]", "include[]", "target", "format", "_", "match[]"])
def test_unrelated_parameter_is_ignored(name: str) -> None:
    """What resembles no parameter of this exporter may be anybody's."""
    assert asked(f"/metrics?{name}=block") == ScrapeRequest()


def test_request_error_is_a_plain_400_with_its_hint() -> None:
    """What the service finds wrong with a request is told with what to do."""
    service = FakeService()
    service.failure = RequestError("unknown group nosuch", "known: block, vcpu")
    response = ask(service, "/metrics?collect[]=nosuch")
    assert response.status_code == 400
    assert response.text == "unknown group nosuch\nknown: block, vcpu\n"
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10", 10.0),
        ("0.5", 0.5),
        ("60", 60.0),
        ("1000000", 60.0),
        ("0", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_timeout_header_counts_when_it_is_usable(value: str, seconds: float | None) -> None:
    """A nonsensical scrape timeout is ignored, not an error, and none reserves over a minute."""
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": value}
    assert asked("/metrics", headers).timeout == seconds


def test_head_has_the_headers_of_get() -> None:
    """HEAD is answered wherever GET is."""
    response = ask(FakeService(), "/metrics", "HEAD")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == TEXT


def test_scrapes_over_the_limit_are_refused_at_once() -> None:
    """The limit holds for scrapes of parts, and is free again when one ends.

    Those who ask for the same share a place, and whoever asks for everything needs none.
    """

    async def run() -> None:
        service = FakeService()
        service.holds_scrapes = True
        one, other = "/metrics?domain[]=a", "/metrics?domain[]=b"
        async with client(service, max_requests=1) as session:
            running = [asyncio.create_task(session.get(path)) for path in (one, one, "/metrics")]
            while service.waiting < 3:
                service.arrived.clear()
                await service.arrived.wait()
            refused = await session.get(other)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert (await session.get("/-/healthy")).status_code == 200
            service.release.set()
            assert [(await each).status_code for each in running] == [200, 200, 200]
            assert (await session.get(other)).status_code == 200

    asyncio.run(run())


def test_failed_scrapes_free_their_place() -> None:
    """An error does not use up the limit."""

    async def run() -> Sequence[int]:
        service = FakeService()
        service.failure = RequestError("no", "")
        async with client(service, max_requests=1) as session:
            paths = "/metrics?domain[]=a", "/metrics?domain[]=b"
            return [(await session.get(path)).status_code for path in paths]

    assert asyncio.run(run()) == [400, 400]


def test_health_needs_no_sample() -> None:
    """Healthy says that the process lives; ready waits for the first sample."""
    service = FakeService()
    service.is_ready = False
    assert ask(service, "/-/healthy").status_code == 200
    assert ask(service, "/-/ready").status_code == 503
    service.is_ready = True
    assert ask(service, "/-/ready").status_code == 200
    assert service.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://exporter"}, 200),
        ({"Origin": "http://exporter"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://exporter:8080"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/-/reload", "/api/v1/vms"])
def test_no_foreign_page_has_a_browser_post(
    path: str, headers: dict[str, str], status: int
) -> None:
    """What a browser says of where a request comes from is believed; others say nothing."""
    service = FakeService()

    async def run() -> int:
        async with client(service) as session:
            return (await session.post(path, headers=headers, content=b"{}")).status_code

    assert asyncio.run(run()) == status
    assert service.reloads + len(service.queries) == (status == 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("node7.example", 200),
        ("NODE7.example:9177", 200),
        ("[::1]:9177", 200),
        ("evil.example", 421),
        ("127.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_allowed_hosts_are_answered_where_some_are_named(host: str, status: int) -> None:
    """So no name that somebody else points here makes a browser read the exporter."""
    app = create_app(FakeService(), allowed_hosts=("node7.example", "[::1]"))

    async def run() -> int:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://exporter"
        ) as session:
            return (await session.get("/metrics", headers={"Host": host})).status_code

    assert asyncio.run(run()) == status


def test_reloads_that_come_together_are_one() -> None:
    """A reload reads the files as they are after it was asked for, at most once a second."""

    async def run() -> None:
        service = FakeService()
        async with client(service) as session:
            for expected in (1, 2):
                answers = await asyncio.gather(*(session.post("/-/reload") for _ in range(20)))
                assert {answer.status_code for answer in answers} == {200}
                assert service.reloads == expected

    run_virtually(run(), 60)


def test_reload_is_a_post() -> None:
    """A GET, as a crawler sends it, reloads nothing and is told what would."""
    service = FakeService()
    refused = ask(service, "/-/reload")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    assert service.reloads == 0
    assert ask(service, "/-/reload", "POST").status_code == 200
    assert service.reloads == 1


def test_refused_reload_lists_the_problems() -> None:
    """All that is wrong with the new configuration is in the answer."""
    service = FakeService()
    service.failure = ConfigError(
        [Problem("a.yml", 3, "unknown key urii"), Problem("a.yml", 5, "not a duration")]
    )
    response = ask(service, "/-/reload", "POST")
    assert response.status_code == 500
    assert "previous one stays in force" in response.text
    assert "a.yml:3: unknown key urii" in response.text
    assert "a.yml:5: not a duration" in response.text


def test_unknown_path_says_where_the_metrics_are() -> None:
    """A 404 helps, in plain text, and a trailing slash is no redirect."""
    for path in ("/nosuch", "/metrics/", "/-/"):
        response = ask(FakeService(), path)
        assert response.status_code == 404
        assert "/metrics" in response.text
        assert response.headers["Content-Type"].startswith("text/plain")


def test_wrong_method_names_the_right_ones() -> None:
    """POST on /metrics is refused with Allow."""
    response = ask(FakeService(), "/metrics", "POST")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_internal_error_shows_no_details() -> None:
    """An unexpected exception is a 500 without its text or a stack trace."""
    service = FakeService()
    service.failure = RuntimeError("the secret of line 42")
    response = ask(service, "/metrics")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "log" in response.text


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/metrics?domain[]=" + "x" * 20_000, {}, 414),
        ("/metrics", {"X-Large": "x" * 40_000}, 431),
        ("/metrics", {f"X-{number}": "" for number in range(200)}, 431),
        ("/-/reload", {"Content-Length": "1000000"}, 413),
    ],
)
def test_oversized_requests_are_refused(path: str, headers: dict[str, str], status: int) -> None:
    """Silly sizes are refused before anything looks at them."""
    service = FakeService()
    method = "POST" if status == 413 else "GET"
    assert ask(service, path, method, headers).status_code == status
    assert (service.requests, service.reloads) == ([], 0)


def requests(telemetry: Telemetry) -> dict[tuple[str, str], float]:
    """The requests that ended, by route and code; those that never came are left out."""
    (family,) = (
        family
        for family in telemetry.registry.collect()
        if family.name == "libvirt_exporter_http_requests"
    )
    return {
        (sample.labels["handler"], sample.labels["code"]): sample.value
        for sample in family.samples
        if sample.value
    }


@pytest.mark.parametrize(
    ("method", "path", "handler", "code"),
    [
        ("GET", "/metrics", "/metrics", "200"),
        ("GET", "/metrics?collect=block", "/metrics", "400"),
        ("POST", "/metrics", "/metrics", "405"),
        ("GET", "/metrics?domain[]=" + "x" * 20_000, "/metrics", "414"),
        ("GET", "/", "/", "200"),
        ("GET", "/-/reload", "/-/reload", "405"),
        ("GET", "/api/v1/vms/one/diagnostics", "/api/v1/vms/{vmId}/diagnostics", "500"),
        ("GET", "/metrics/nosuch", "other", "404"),
        ("GET", "/api/v1/nosuch", "other", "404"),
    ],
)
def test_request_is_counted_by_its_route_and_code(
    method: str, path: str, handler: str, code: str
) -> None:
    """What clients choose freely, as ids and wrong paths are, becomes no label."""
    telemetry = Telemetry(process=False)
    service = FakeService()
    if code == "500":
        service.failure = RuntimeError("broken on purpose")
    ask(service, path, method, telemetry=telemetry)
    assert requests(telemetry) == {(handler, code): 1}


def test_requests_under_way_and_refused_ones_are_seen_from_0_on() -> None:
    """An alert on 503 would miss the first one of a counter that is born at 1."""
    telemetry = Telemetry(process=False)

    def figure(name: str, **labels: str) -> float | None:
        name = f"libvirt_exporter_http_requests_{name}"
        return telemetry.registry.get_sample_value(name, {"handler": "/metrics", **labels})

    async def run() -> None:
        service = FakeService()
        service.holds_scrapes = True
        async with client(service, max_requests=1, telemetry=telemetry) as session:
            assert (figure("in_flight"), figure("total", code="503")) == (0, 0)
            running = asyncio.create_task(session.get("/metrics?domain[]=a"))
            await service.arrived.wait()
            assert figure("in_flight") == 1
            await session.get("/metrics?domain[]=b")
            assert (figure("in_flight"), figure("total", code="503")) == (1, 1)
            service.release.set()
            await running
            assert (figure("in_flight"), figure("total", code="200")) == (0, 1)

    asyncio.run(run())


def test_metrics_path_is_configurable() -> None:
    """The path of the metrics is the configured one, and only that."""
    app = create_app(FakeService(), telemetry_path="/libvirt")

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as session:
            return [(await session.get(path)).status_code for path in ("/libvirt", "/metrics")]

    assert asyncio.run(run()) == [200, 404]


def fleet(*aliases: str) -> FakeService:
    """A service of several hosts."""
    service = FakeService()
    service.aliases = frozenset(aliases)
    return service


def test_a_probe_scrapes_the_target_that_it_names() -> None:
    """By its alias, with everything that /metrics takes."""
    service = fleet("", "node7")
    response = ask(service, "/probe?target=node7&collect[]=state")
    assert response.status_code == 200
    assert service.targets == ["node7"]
    assert service.requests[0].collect == ("state",)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/probe", 400, "target is required"),
        ("/probe?target=", 400, "target is required"),
        ("/probe?target=a&target=b", 400, "given 2 times"),
        ("/probe?target=c", 404, "no target c"),
        ("/probe?target=qemu%2Bssh://c/system", 404, "no target qemu+ssh"),
        ("/probe?tagret=a", 400, "unknown parameter tagret"),
        ("/metrics?target=a", 400, "/probe"),
    ],
)
def test_a_probe_without_a_known_target_is_refused(path: str, status: int, words: str) -> None:
    """Nothing is asked of any host, least of all of one that the client names by a URI."""
    service = fleet("", "a", "b")
    response = ask(service, path)
    assert (response.status_code, words in response.text) == (status, True), response.text
    assert service.requests == []


def test_metrics_of_an_exporter_without_a_host_are_its_own() -> None:
    """And no choice of groups can be made of them."""
    assert ask(fleet("a"), "/metrics").text == "own 1\n"
    assert ask(fleet("a"), "/metrics?collect[]=state").status_code == 400


def test_a_flood_of_one_target_leaves_places_for_another() -> None:
    """Half of all places stay free of it; a single host has them all."""

    async def flooded(*aliases: str) -> tuple[list[int], int]:
        service = fleet(*aliases)
        service.holds_scrapes = True
        async with client(service, max_requests=4) as session:
            one, other = aliases[0], aliases[-1]
            flood = [
                asyncio.create_task(session.get(f"/probe?target={one}&domain[]=vm-{number}"))
                for number in range(6)
            ]
            await asyncio.sleep(1)
            late = asyncio.create_task(session.get(f"/probe?target={other}&domain[]=vm"))
            await asyncio.sleep(1)
            service.release.set()
            return [(await task).status_code for task in flood], (await late).status_code

    several, late = run_virtually(flooded("a", "b"), within=10)
    assert sorted(several) == [200, 200, 503, 503, 503, 503]
    assert late == 200
    single, late = run_virtually(flooded("a"), within=10)
    assert sorted(single) == [200, 200, 200, 200, 503, 503]
    assert late == 503
