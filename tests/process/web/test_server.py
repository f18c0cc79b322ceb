"""The server on real sockets: addresses, TLS, clients that dawdle, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.types import ASGIApp

from libvirt_exporter.commands import logs
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web import connections, server
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.listening import ListenError, listen, urls
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.server import serve
from tests.support.authority import Authority
from tests.support.fake_service import FakeService
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

REFUSED = (httpx.TransportError, ssl.SSLError)
"""What a client gets whose connection ends: httpx lets alerts through as they are."""


class Running:
    """A server in this process; `base` is its address."""

    def __init__(
        self, app: ASGIApp, security: Security | None = None, telemetry: Telemetry | None = None
    ) -> None:
        self.stop = asyncio.Event()
        self.sockets = listen(["127.0.0.1:0"])
        self.port: int = self.sockets[0].getsockname()[1]
        self.base = f"127.0.0.1:{self.port}"
        self.ended = asyncio.create_task(
            serve(app, self.sockets, stop=self.stop, security=security, telemetry=telemetry)
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, request: bytes) -> bytes:
        """What the server sends for these bytes until it closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def running(
    service: FakeService | None = None,
    security: Security | None = None,
    max_requests: int = 40,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Running]:
    app = create_app(
        service or FakeService(),
        web_config=security,
        max_requests=max_requests,
        telemetry=telemetry,
    )
    one = Running(app, security, telemetry)
    yield one
    one.stop.set()
    async with asyncio.timeout(10):
        await one.ended


async def scrape(base: str, verify: ssl.SSLContext | None = None, path: str = "/metrics") -> int:
    """One request on a fresh connection, as `https` when `verify` is given; its status."""
    scheme = "https" if verify else "http"
    async with httpx.AsyncClient(verify=verify or False, trust_env=False, timeout=10) as client:
        return (await client.get(f"{scheme}://{base}{path}")).status_code


# Addresses


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "localhost:0", "0.0.0.0:0"])
def test_addresses_are_reachable_on_loopback(address: str) -> None:
    """Each form of address listens where its address for browsers says."""
    (listening,) = listen([address])
    with listening:
        (url,) = urls([listening], tls=False)
        assert url.startswith("http://")
        socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_ipv6_address_is_reachable() -> None:
    """Brackets hold an IPv6 address."""
    (listening,) = listen(["[::1]:0"])
    with listening:
        port = listening.getsockname()[1]
        assert urls([listening], tls=True) == [f"https://[::1]:{port}/"]
        socket.create_connection(("::1", port), timeout=5).close()


def test_several_addresses_are_all_listened_on() -> None:
    """The flag may be repeated."""
    sockets = listen(["127.0.0.1:0", ":0"])
    assert len({each.getsockname()[1] for each in sockets}) == 2
    for each in sockets:
        each.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("9177", "HOST:PORT"),
        ("127.0.0.1:http", "HOST:PORT"),
        ("127.0.0.1:70000", "HOST:PORT"),
        ("", "HOST:PORT"),
        ("::1:9177", "brackets"),
        ("no-such-host.invalid:9177", "cannot be resolved"),
        ("a..b:9177", "cannot be resolved"),
        ("192.0.2.77:9177", "no interface"),
    ],
)
def test_unusable_address_is_named_with_a_reason(address: str, words: str) -> None:
    """What cannot be listened on is told in words."""
    with pytest.raises(ListenError, match=words) as raised:
        listen([address])
    assert f"cannot listen on {address}: " in str(raised.value)


def test_port_in_use_frees_the_other_addresses() -> None:
    """All or nothing: a taken port leaves no other one taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
        probe.close()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match="in use"):
            listen([f"127.0.0.1:{free}", f"127.0.0.1:{port}"])
        socket.create_server(("127.0.0.1", free)).close()


def test_forbidden_port_names_the_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unprivileged user reads what the port needs."""

    def denied(*_args: object, **_options: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", denied)
    with pytest.raises(ListenError, match="CAP_NET_BIND_SERVICE"):
        listen(["127.0.0.1:80"])


# Requests

TWO_LENGTHS = (
    b"POST /api/v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
)


async def test_answer_has_a_date_and_no_banner() -> None:
    """The server does not tell what it is made of."""
    async with running() as one, httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"http://{one.base}/metrics")
        assert response.content == b"libvirt_up 1\n"
        assert "Date" in response.headers
        assert "Server" not in response.headers


async def test_date_is_that_of_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a connection that is kept for long too."""
    dates = [f"Thu, 0{day} Jan 1970 00:00:00 GMT" for day in (1, 2)]
    monkeypatch.setattr(server, "formatdate", lambda *, usegmt: dates[0])
    async with running() as one, httpx.AsyncClient(trust_env=False) as client:
        shown = [(await client.get(f"http://{one.base}/-/healthy")).headers["Date"]]
        monkeypatch.setattr(server, "formatdate", lambda *, usegmt: dates[1])
        shown.append((await client.get(f"http://{one.base}/-/healthy")).headers["Date"])
        assert shown == dates


async def test_connection_is_kept_for_the_next_scrape() -> None:
    """Two requests on one connection are both answered."""
    async with running() as one:
        request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await one.talk(request + last)
        assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, 431),
        (b"GET /" + b"x" * 100_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (TWO_LENGTHS, 400),
    ],
)
async def test_unreadable_request_gets_its_status(
    request_bytes: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad and oversized requests are answered as such, and the server lives on."""
    monkeypatch.setattr(server, "_IDLE_TIMEOUT", 1)
    async with running() as one:
        answer = await one.talk(request_bytes)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert await scrape(one.base) == 200


async def test_refusal_of_a_long_header_is_seen_by_a_client_that_goes_on_sending() -> None:
    """It is not reset before it has read the answer."""
    async with running() as one:
        reader, writer = await one.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        for _ in range(70):
            writer.write(b"x" * 1000)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"x" * 100_000)
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET http://x/-/healthy HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", 204),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x/y\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: user@x\r\n", 400),
        (b"GET http://a@x/ HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET http://[x/ HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET http://[::1]x/metrics HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET ftp://x/metrics HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET metrics HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]:9177\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost:\r\n", 200),
        (b"GET / HTTP/1.0\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n", 417),
    ],
)
async def test_request_is_read_to_the_letter(request_bytes: bytes, status: int) -> None:
    """As RFC 9110 and RFC 9112 have it."""
    async with running() as one:
        answer = await one.talk(request_bytes + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("path", [b"/metrics", b"/-/reload", b"/api/v1/vms"])
async def test_chunked_body_has_the_limit_of_any_other(path: bytes) -> None:
    """413, also where nobody reads the body; the connection goes on with the next request."""
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    last = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with running() as one:
        answer = await one.talk(head + 20 * chunks + b"0\r\n\r\n" + last)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_unexpected_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A 500 leaves one record with a traceback in the log."""
    service = FakeService()
    service.failure = RuntimeError("broken on purpose")
    async with running(service) as one:
        assert await scrape(one.base) == 500
    errors = [record for record in caplog.records if record.exc_info]
    assert len(errors) == 1
    assert "broken on purpose" in caplog.text


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
@pytest.mark.usefixtures("root")
async def test_requests_are_logged_in_debugging_only(
    capsys: pytest.CaptureFixture[str], level: str, lines: int
) -> None:
    """Neither scrapes nor port scanners fill the log, unless it is asked for all."""
    logs.setup(level, "logfmt")
    async with running() as one:
        await scrape(one.base)
        await one.talk(b"nonsense\r\n\r\n")
    logged = capsys.readouterr().err.splitlines()
    assert sum("GET /metrics" in line for line in logged) == lines
    assert sum("Invalid HTTP" in line for line in logged) == lines


# Clients that dawdle


@pytest.mark.parametrize("ask", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_connections_are_bounded_and_a_new_one_finds_room(
    ask: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those go that ask nothing, or do not read, the oldest first."""
    monkeypatch.setattr(connections, "MOST_OF_ONE", 20)
    service = FakeService()
    service.body = b"x" * 20_000_000
    async with running(service) as one:
        clients = [await one.connect() for _ in range(5)]
        for _ in range(60):
            _, writer = client = await one.connect()
            clients.append(client)
            writer.write(ask)
        silent = clients[:5]
        await eventually(lambda: all(reader.at_eof() for reader, _ in silent), "room is made")
        assert await scrape(one.base, path="/-/healthy") == 200
        for _, writer in clients:
            writer.close()


async def test_half_open_connections_do_not_hurt_a_scrape() -> None:
    """500 clients that never finish their request leave the server answering."""
    async with running() as one:
        clients = [await one.connect() for _ in range(500)]
        for _, writer in clients:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await scrape(one.base) == 200
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /metr",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /metr",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
    ],
)
async def test_unfinished_request_is_dropped(
    beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends a byte now and then does not keep its connection."""
    monkeypatch.setattr(server, "_REQUEST_TIMEOUT", 0.4)
    async with running() as one:
        reader, writer = await one.connect()
        writer.write(beginning)

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"x" if beginning else b"")

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        dripping.cancel()
        writer.close()


async def test_slow_scrapes_and_pauses_outlast_the_request_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only an unfinished request is timed: the service may take longer, and so may a pause."""
    monkeypatch.setattr(server, "_REQUEST_TIMEOUT", 0.2)
    service = FakeService()
    service.holds_scrapes = True
    async with running(service) as one:
        reader, writer = await one.connect()
        for _ in range(2):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await service.arrived.wait()
            await asyncio.sleep(0.5)
            service.release.set()
            async with asyncio.timeout(5):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await reader.readuntil(service.body)
            service.arrived.clear()
            service.release.clear()
            await asyncio.sleep(0.4)
        writer.close()


@pytest.mark.parametrize("behind", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_place_of_a_client_that_left_is_free_at_once(behind: bytes) -> None:
    """While libvirt hangs too, and also when the client had sent its next request already."""
    service = FakeService()
    service.holds_scrapes = True
    async with running(service, max_requests=1) as one:
        _, writer = await one.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.arrived.wait()
        writer.write(behind)
        await asyncio.sleep(0.1)
        writer.close()
        await eventually(lambda: service.ended == ["cancelled"], "the end of the scrape")
        service.holds_scrapes = False
        assert await scrape(one.base) == 200


async def test_client_that_asks_ahead_without_end_is_dropped() -> None:
    """What comes before the answer to the last request is read, but not kept without bound."""
    service = FakeService()
    service.holds_scrapes = True
    async with running(service) as one:
        reader, writer = await one.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes does not stay in memory."""
    monkeypatch.setattr(server, "_WRITE_TIMEOUT", 0.3)
    service = FakeService()
    service.body = b"x" * 50_000_000
    async with running(service) as one:
        reader, writer = await one.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := await reader.read(1 << 20):
                received += len(chunk)
        assert received < len(service.body)
        writer.close()


# Stopping


async def test_stop_with_stuck_requests_is_quick() -> None:
    """Running scrapes get 503, idle and half-open connections end, all within two seconds."""
    service = FakeService()
    service.holds_scrapes = True
    async with running(service) as one:
        idle = await one.connect()
        half = await one.connect()
        half[1].write(b"GET /metr")
        stuck = asyncio.create_task(scrape(one.base))
        await service.arrived.wait()
        started = time.monotonic()
        one.stop.set()
        await one.ended
        assert time.monotonic() - started < 1.8
        assert await stuck == 503
        for reader, writer in (idle, half):
            assert await reader.read() == b""
            writer.close()


async def test_stop_without_requests_closes_the_port() -> None:
    """After serve() returns nobody can connect."""
    async with running() as one:
        assert await scrape(one.base) == 200
        one.stop.set()
        await one.ended
        with pytest.raises(ConnectionRefusedError):
            await one.connect()


async def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    """A full send buffer does not delay the end."""
    service = FakeService()
    service.body = b"x" * 50_000_000
    async with running(service) as one:
        _, writer = await one.connect()
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.2)
        started = time.monotonic()
        one.stop.set()
        await one.ended
        assert time.monotonic() - started < 1.8
        writer.close()


async def test_signals_are_left_to_the_caller() -> None:
    """uvicorn's own handlers, which raise the signal again, are not installed."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with running() as one:
        await scrape(one.base)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls(authority: Authority, tmp_path: Path) -> dict[str, object]:
    """`tls_server_config` with a certificate for 127.0.0.1."""
    crt, key = authority.issue(tmp_path.name, "IP:127.0.0.1")
    return {"cert_file": crt, "key_file": key}


def secured(tmp_path: Path, tls: dict[str, object], **options: object) -> Security:
    file = tmp_path / "web.yml"
    file.write_text(yaml.safe_dump({"tls_server_config": {**tls, **options}}))
    return Security(str(file))


def inlined(tls: dict[str, object]) -> dict[str, object]:
    """The same with the certificate and its key in the file itself."""
    return {key: Path(str(tls[f"{key}_file"])).read_text() for key in ("cert", "key")}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("needs_certificate", "client", "reason", "seen"),
    [
        (True, "without", "no_certificate", "CERTIFICATE_REQUIRED"),
        (True, "foreign", "bad_certificate", "UNKNOWN_CA"),
        (False, "old", "version", "PROTOCOL_VERSION"),
        (False, "distrustful", "refused_by_client", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_client_is_told_why_its_handshake_failed(
    authority: Authority,
    tls: dict[str, object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    needs_certificate: bool,
    client: str,
    reason: str,
    seen: str,
) -> None:
    """By an alert; the log says it once a minute and address, and a counter counts it."""
    if needs_certificate:
        tls |= {
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": str(authority.directory / "ca.crt"),
        }
    telemetry = Telemetry(process=False)
    async with running(security=secured(tmp_path, tls), telemetry=telemetry) as one:
        context = authority.client()
        if client == "foreign":
            (tmp_path / "foreign").mkdir()
            stranger = Authority(tmp_path / "foreign")
            context.load_cert_chain(*stranger.issue("client", "DNS:client"))
        elif client == "old":
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        elif client == "distrustful":
            context = ssl.create_default_context()
        for _ in range(2):
            with pytest.raises(ssl.SSLError, match=seen):
                await asyncio.to_thread(shaken, one.port, context)
        name, labels = "libvirt_exporter_tls_handshake_failures_total", {"reason": reason}
        await eventually(
            lambda: telemetry.registry.get_sample_value(name, labels) == 2, "both are counted"
        )
    lines = [record.message for record in caplog.records if "handshake" in record.message]
    assert len(lines) == 1
    assert "127.0.0.1" in lines[0]


def shaken(port: int, context: ssl.SSLContext) -> None:
    """Connect over TLS and read, as a client does that learns of a refusal only then."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.recv(1)


async def test_plain_http_on_the_tls_port_is_told_so(
    tls: dict[str, object], tmp_path: Path
) -> None:
    """In plain HTTP, at once."""
    async with running(security=secured(tmp_path, tls)) as one:
        answer = await one.talk(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 400 ")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert b"https" in body


async def test_tls_serves_verified_clients_only_over_tls(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """HTTPS works against the authority, plain HTTP gets no metrics."""
    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client()) == 200
        assert await scrape(one.base) == 400


async def test_changed_certificate_is_used_without_restart(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """A renewed certificate is shown on the next connection."""

    def serial(port: int) -> object:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            authority.client().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            certificate = secure.getpeercert()
            assert certificate is not None
            return certificate["serialNumber"]

    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        before = await asyncio.to_thread(serial, one.port)
        authority.issue(tmp_path.name, "IP:127.0.0.1", cn="renewed")
        after = await asyncio.to_thread(serial, one.port)
        assert before != after


async def test_half_written_certificate_keeps_the_old_one(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Between the writing of the certificate and of its key the old pair is used."""
    security = secured(tmp_path, tls)
    crt, _ = authority.issue(f"{tmp_path.name}-next", "IP:127.0.0.1")
    installed = str(tls["cert_file"])
    async with running(security=security) as one:
        shutil.copy(crt, installed)
        assert await scrape(one.base, authority.client()) == 200


async def test_curve_that_openssl_refuses_keeps_the_old_context(
    authority: Authority,
    tls: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The mistake is logged and told to who asks for a reload; connections go on as before."""

    def refused(_context: ssl.SSLContext, _name: str) -> None:
        raise ssl.SSLError("unknown group")

    monkeypatch.setattr(ssl.SSLContext, "set_ecdh_curve", refused)
    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        rewritten = {"tls_server_config": {**tls, "curve_preferences": ["X25519"]}}
        (tmp_path / "web.yml").write_text(yaml.safe_dump(rewritten))
        async with httpx.AsyncClient(verify=authority.client()) as session:
            answer = await session.post(f"https://{one.base}/-/reload")
        assert "Configuration rejected" in answer.text
        assert "tls_server_config.curve_preferences: " in answer.text
        assert await scrape(one.base, authority.client()) == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "does not support X25519" in caplog.text
    assert "Traceback" not in caplog.text


async def test_documented_example_makes_a_context(authority: Authority, tmp_path: Path) -> None:
    """The whole example, its comments taken away, serves TLS once its certificates are there."""
    text = (Path(__file__).parents[3] / "config" / "web-config.yml").read_text()
    options = "\n".join(line[1:] for line in text.splitlines() if line.startswith("#"))
    file = tmp_path / "web-config.yml"
    file.write_text(options.partition("\n---\n")[2])
    crt, key = authority.issue(tmp_path.name, "IP:127.0.0.1")
    for source, name in (
        (crt, "exporter.crt"),
        (key, "exporter.key"),
        (authority.directory / "ca.crt", "ca.crt"),
    ):
        shutil.copy(source, tmp_path / name)
    client = authority.client(
        authority.issue(f"{tmp_path.name}-client", "DNS:prometheus.example.org")
    )
    async with running(security=Security(str(file))) as one:
        assert await scrape(one.base, client) == 401


async def test_tls_cannot_be_turned_off_while_running(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """A file that loses its TLS section does not open the port to plain HTTP."""
    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        (tmp_path / "web.yml").write_text("{}")
        assert await scrape(one.base, authority.client()) == 200


async def test_client_certificate_is_required_where_configured(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Without a certificate of the authority nobody gets an answer."""
    security = secured(
        tmp_path,
        tls,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.directory / "ca.crt"),
    )
    certificate = authority.issue("prometheus", "DNS:prometheus.example")
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client(certificate)) == 200
        with pytest.raises(REFUSED):
            await scrape(one.base, authority.client())


async def test_client_certificates_can_vouch_for_themselves(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Named as client_ca_file they are let in one by one, as by Go; what signed them is not."""
    certificate = authority.issue(f"{tmp_path.name}-client", "DNS:prometheus.example")
    other = authority.issue(f"{tmp_path.name}-other", "DNS:prometheus.example")
    security = secured(
        tmp_path,
        tls,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=certificate[0],
    )
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client(certificate)) == 200
        with pytest.raises(REFUSED):
            await scrape(one.base, authority.client(other))


async def test_certificate_of_an_unknown_authority_is_refused_if_given(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Without client_ca_file those count that the system trusts; none is needed."""
    security = secured(tmp_path, tls, client_auth_type="VerifyClientCertIfGiven")
    certificate = authority.issue(f"{tmp_path.name}-client", "DNS:prometheus.example")
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client()) == 200
        with pytest.raises(REFUSED):
            await scrape(one.base, authority.client(certificate))


async def test_metric_tells_when_the_certificate_expires(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """That which is served: a renewed one counts with the next connection."""
    security, telemetry = secured(tmp_path, tls), Telemetry(process=False)

    def days() -> float:
        name = "libvirt_exporter_tls_certificate_not_after_timestamp_seconds"
        return ((telemetry.registry.get_sample_value(name) or 0) - time.time()) / 86400

    async with running(security=security, telemetry=telemetry) as one:
        assert days() == pytest.approx(2, abs=0.01)
        renewed = authority.issue(f"{tmp_path.name}-renewed", "IP:127.0.0.1", days=30)
        for new, old in zip(renewed, (tls["cert_file"], tls["key_file"]), strict=True):
            shutil.copy(new, str(old))
        assert await scrape(one.base, authority.client()) == 200
        assert days() == pytest.approx(30, abs=0.01)


async def test_certificate_can_stand_in_the_file(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """As with exporter-toolkit; it is served from memory."""
    async with running(security=secured(tmp_path, inlined(tls))) as one:
        assert await scrape(one.base, authority.client()) == 200


@pytest.mark.parametrize("left", ["emptied", "cut off", "without names"])
async def test_client_certificates_stay_required(
    authority: Authority, tls: dict[str, object], tmp_path: Path, left: str
) -> None:
    """Whatever becomes of the file, unless it says so."""
    required = {
        **tls,
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": str(authority.directory / "ca.crt"),
        "client_allowed_sans": ["prometheus.example"],
    }
    security = secured(tmp_path, required)
    right = authority.issue(f"{tmp_path.name}-right", "DNS:prometheus.example")
    wrong = authority.issue(f"{tmp_path.name}-wrong", "DNS:other.example")
    without = {key: value for key, value in required.items() if key != "client_allowed_sans"}
    text = {
        "emptied": "",
        "cut off": yaml.safe_dump({"tls_server_config": tls}),
        "without names": yaml.safe_dump({"tls_server_config": without}),
    }[left]
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client(right)) == 200
        (tmp_path / "web.yml").write_text(text)
        for client in (authority.client(), authority.client(wrong)):
            with pytest.raises(REFUSED):
                await scrape(one.base, client)
        assert await scrape(one.base, authority.client(right)) == 200
        assert not security.last_reload_successful
        open_to_all = {**tls, "client_auth_type": "NoClientCert"}
        (tmp_path / "web.yml").write_text(yaml.safe_dump({"tls_server_config": open_to_all}))
        assert await scrape(one.base, authority.client()) == 200


@pytest.mark.parametrize(
    "change", ["client_auth_type", "client_ca_file", "client_allowed_sans", "none"]
)
async def test_kept_connection_has_the_rights_of_today(
    authority: Authority,
    tls: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """Where other clients may connect than before, it is closed at its next request.

    A new certificate of the server's own closes nothing.
    """
    # On a busy machine a look at the files may take longer than a request waits for it.
    monkeypatch.setattr("libvirt_exporter.web.security.security.LOOKING_TIME", 5.0)
    ca = tmp_path / "clients.crt"
    shutil.copy(authority.directory / "ca.crt", ca)
    config: dict[str, object] = {
        **tls,
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": str(ca),
        "client_allowed_sans": ["prometheus.example"],
    }
    if change == "client_auth_type":
        config = {**tls, "client_auth_type": "NoClientCert"}
    certificate = authority.issue(f"{tmp_path.name}-client", "DNS:prometheus.example")
    security = secured(tmp_path, config)
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    async with running(security=security) as one:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", one.port, ssl=authority.client(certificate)
        )

        async def answer() -> bytes:
            writer.write(request)
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    return await reader.read(16)
            return b""

        assert await answer() == b"HTTP/1.1 200 OK\r"
        async with asyncio.timeout(10):
            await reader.readuntil(b"libvirt_up 1\n")
        if change == "client_ca_file":
            shutil.copy(certificate[0], ca)
        elif change == "none":
            for source, name in zip(
                authority.issue(f"{tmp_path.name}-next", "IP:127.0.0.1"),
                (str(tls["cert_file"]), str(tls["key_file"])),
                strict=True,
            ):
                shutil.copy(source, name)
        else:
            config = {
                **tls,
                "client_auth_type": "RequireAndVerifyClientCert",
                "client_ca_file": str(ca),
                "client_allowed_sans": ["other.example"],
            }
            (tmp_path / "web.yml").write_text(yaml.safe_dump({"tls_server_config": config}))
        assert await answer() == (b"HTTP/1.1 200 OK\r" if change == "none" else b"")
        assert security.last_reload_successful
        writer.close()


async def test_client_certificate_needs_an_allowed_name(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Another certificate of the same authority is not enough."""
    security = secured(
        tmp_path,
        tls,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.directory / "ca.crt"),
        client_allowed_sans=["prometheus.example"],
    )
    right = authority.issue("right", "DNS:prometheus.example")
    wrong = authority.issue("wrong", "DNS:other.example")
    async with running(security=security) as one:
        assert await scrape(one.base, authority.client(right)) == 200
        with pytest.raises(REFUSED):
            await scrape(one.base, authority.client(wrong))


@pytest.mark.parametrize(
    ("options", "version", "suite"),
    [
        ({"max_version": "TLS12"}, "TLSv1.2", None),
        ({"min_version": "TLS13"}, "TLSv1.3", None),
        (
            {
                "max_version": "TLS12",
                "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"],
                "curve_preferences": ["CurveP256"],
            },
            "TLSv1.2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
    ],
)
async def test_tls_version_and_suites_are_the_configured_ones(
    authority: Authority,
    tls: dict[str, object],
    tmp_path: Path,
    options: dict[str, object],
    version: str,
    suite: str | None,
) -> None:
    """What the file restricts holds on the wire."""
    security = secured(tmp_path, tls, **options)

    def handshake(port: int) -> tuple[str | None, str]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            authority.client().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            cipher = secure.cipher()
            assert cipher is not None
            return secure.version(), cipher[0]

    async with running(security=security) as one:
        negotiated = await asyncio.to_thread(handshake, one.port)
    assert negotiated[0] == version
    assert suite in {None, negotiated[1]}


async def test_clients_without_handshake_do_not_hurt_a_scrape(
    authority: Authority,
    tls: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TCP clients that never speak TLS are dropped, and nobody waits for them."""
    monkeypatch.setattr(server, "_REQUEST_TIMEOUT", 1.0)
    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        clients = [await one.connect() for _ in range(50)]
        assert await scrape(one.base, authority.client()) == 200
        async with asyncio.timeout(5):
            for reader, writer in clients:
                assert await reader.read() == b""
                writer.close()


async def test_stop_with_tls_clients_is_quick(
    authority: Authority, tls: dict[str, object], tmp_path: Path
) -> None:
    """Neither a missing handshake nor a missing close_notify delays the end."""
    security = secured(tmp_path, tls)
    async with running(security=security) as one:
        _, silent = await one.connect()
        plain = socket.create_connection(("127.0.0.1", one.port), timeout=5)
        secure = await asyncio.to_thread(
            authority.client().wrap_socket, plain, server_hostname="127.0.0.1"
        )
        started = time.monotonic()
        one.stop.set()
        await one.ended
        assert time.monotonic() - started < 1.8
        secure.close()
        silent.close()
