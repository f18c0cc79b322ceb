"""Clients that ask for more than their share, and what a usual scrape makes of it meanwhile.

All of them log in; who does not, or wrongly, is refused however much is going on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import bcrypt
import yaml

from libvirt_exporter.catalogue import GROUPS
from tests.faults.watch import Resources
from tests.lab.exporter import Exporter
from tests.support.authority import Authority
from tests.support.waiting import eventually

TIMEOUT: Final = 10.0
"""Seconds that a usual scrape may take: Prometheus' default."""
_HASH: Final = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that a reader may hold."""


class Answer(NamedTuple):
    """The end of one request."""

    status: int
    """0: the connection ended without an answer."""
    seconds: float
    size: int


def _login(password: str) -> str:
    """The header of the only user."""
    return (
        f"Authorization: Basic {base64.b64encode(f'prometheus:{password}'.encode()).decode()}\r\n"
    )


LOGIN: Final = _login("right")
STRANGERS: Final = {"without a login": "", "with a wrong password": _login("wrong")}


class Abused(Exporter):
    """An exporter of one user, with clients that ask it over the loopback."""

    def __init__(self, uri: str, directory: Path, authority: Authority | None = None) -> None:
        """`authority`: who issues its certificate; without one it listens without TLS."""
        directory.mkdir(exist_ok=True)
        security: dict[str, object] = {"basic_auth_users": {"prometheus": _HASH}}
        if authority is not None:
            certificate, key = authority.issue("exporter", "IP:127.0.0.1")
            security["tls_server_config"] = {"cert_file": certificate, "key_file": key}
        file = directory / "web.yml"
        file.write_text(yaml.safe_dump(security))
        web = {"config_file": str(file), "health_without_login": True}
        tls = authority.client() if authority is not None else None
        super().__init__(uri, directory, {"web": web}, tls=tls)
        host, _, port = self.address.rpartition(":")
        self._address = host, int(port)

    @property
    def resources(self) -> Resources:
        """What it takes of the machine now."""
        return Resources.of(self.pid)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own."""
        return await asyncio.open_connection(*self._address, limit=_LIMIT)

    async def ask(
        self, path: str, *, body: str | None = None, headers: str = "", login: str = LOGIN
    ) -> Answer:
        """One request on a connection of its own, and its whole answer."""
        began = time.monotonic()
        size, status = 0, 0
        with contextlib.suppress(OSError):
            reader, writer = await self.connect()
            try:
                writer.write(
                    request(path, body=body, headers=f"Connection: close\r\n{login}{headers}")
                )
                line = await reader.readline()
                status = int(line.split()[1]) if line else 0
                while chunk := await reader.read(1 << 20):
                    size += len(chunk)
            finally:
                writer.close()
        return Answer(status, time.monotonic() - began, size)

    async def usual(self) -> Answer:
        """One usual scrape, by a thread of its own: the loop is busy reading what others get."""
        return await asyncio.to_thread(self._usual)

    def _usual(self) -> Answer:
        timeout = f"X-Prometheus-Scrape-Timeout-Seconds: {TIMEOUT:g}\r\n"
        headers = f"{timeout}Accept-Encoding: gzip\r\nConnection: close\r\n{LOGIN}"
        began = time.monotonic()
        status, size = 0, 0
        with contextlib.suppress(OSError), self._secured() as connection:
            connection.sendall(request("/metrics", headers=headers))
            while chunk := connection.recv(1 << 20):
                status = status or int(chunk.split(None, 2)[1])
                size += len(chunk)
        return Answer(status, time.monotonic() - began, size)

    def _secured(self) -> socket.socket:
        """A connection for a thread, with TLS where it listens so."""
        connection = socket.create_connection(self._address)
        if self.tls is None:
            return connection
        return self.tls.wrap_socket(connection, server_hostname=self._address[0])


def request(path: str, *, body: str | None = None, headers: str = "") -> bytes:
    """A request as text."""
    method = "GET" if body is None else "POST"
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n{body or ''}".encode()


@contextlib.asynccontextmanager
async def flooding(
    clients: int, one: Callable[[], Awaitable[Answer]]
) -> AsyncIterator[list[Answer]]:
    """So many clients that ask again and again; the list gets their answers."""
    answers: list[Answer] = []

    async def client() -> None:
        while True:
            answers.append(await one())

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def narrowed() -> str:
    """The address of a scrape of some groups, hardly ever the same ones."""
    names = random.sample([group.name for group in GROUPS if group.default], 8)
    return "/metrics?" + "&".join(f"collect[]={name}" for name in names)


FLOODS: Final[dict[str, tuple[int, Callable[[Abused], Awaitable[Answer]]]]] = {
    "random groups": (10, lambda abused: abused.ask(narrowed())),
    "explained queries": (
        40,
        lambda abused: abused.ask("/api/v1/vms", body='{"explain": true}'),
    ),
    "queries of different fields": (
        10,
        lambda abused: abused.ask(f"/api/v1/vms?explain=1&exclude=x{random.random()}"),
    ),
    "identical scrapes": (60, lambda abused: abused.ask("/metrics")),
    "pages": (30, lambda abused: abused.ask("/")),
    "reloads": (4, lambda abused: abused.ask("/-/reload", body="")),
}
"""Name → clients, and what each of them asks."""


async def quiet(abused: Abused, scrapes: int = 3) -> float:
    """Seconds that a usual scrape takes while nobody else asks, the median."""
    return statistics.median([(await abused.usual()).seconds for _ in range(scrapes)])


async def flooded(abused: Abused, name: str, seconds: float) -> None:
    """Scrape as Prometheus does while others flood; fails when they come in its way."""
    clients, one = FLOODS[name]
    usual = await quiet(abused)
    scrapes: list[Answer] = []
    async with flooding(clients, lambda: one(abused)) as others:
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(scrapes) < 3:
            await asyncio.sleep(0.3)
            health = await abused.ask("/-/healthy")
            assert health.status == 200
            assert health.seconds < 1.0, f"healthy after {health.seconds:.2f} s"
            scrapes.append(await abused.usual())
            for who, login in STRANGERS.items():
                stranger = await abused.ask("/metrics", login=login)
                assert stranger.status == 401, f"{stranger.status} {who}"
    took = statistics.median(scrape.seconds for scrape in scrapes)
    print(f"{name}: {took:.2f} s, quiet {usual:.2f} s, {len(others)} others answered")
    assert {scrape.status for scrape in scrapes} == {200}
    assert max(scrape.seconds for scrape in scrapes) < TIMEOUT
    # A quarter of a second for the clients themselves, which compute on the same machine.
    assert took < 3 * usual + 0.25, f"{took:.2f} s, and {usual:.2f} s without"


async def hoarded(abused: Abused, batches: int = 4, clients: int = 35) -> None:
    """Clients ask and do not read; fails when the memory does not stay bounded and comes back."""
    body = (await abused.ask("/metrics")).size
    query = request("/api/v1/vms", body='{"explain": true}', headers=LOGIN)
    await abused.ask("/api/v1/vms", body='{"explain": true}')
    base = abused.resources.memory
    held: list[asyncio.StreamWriter] = []
    for _ in range(batches):
        for number in range(clients):
            reader, writer = await abused.connect()
            # What comes is left in the sockets.
            transport = writer.transport
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            writer.write(query if number % 7 == 0 else request("/metrics", headers=LOGIN))
            held.append(writer)
            del reader
        assert (await abused.usual()).status == 200
    peak = abused.resources.peak_memory
    print(f"body {body >> 20} MiB, base {base >> 20} MiB, peak {peak >> 20} MiB")
    assert peak < base + 15 * body
    await eventually(lambda: abused.resources.memory < 1.5 * base, "the memory comes back", 60)
    print(f"later {abused.resources.memory >> 20} MiB")
    for writer in held:
        writer.transport.abort()


async def left(abused: Abused, clients: int = 40) -> None:
    """Clients reserve all time there is and leave, while libvirt hangs."""
    for _ in range(2):
        writers = []
        for number in range(clients):
            _, writer = await abused.connect()
            path = f"/metrics?domain[]={number}" if number % 2 else "/metrics"
            timeout = "X-Prometheus-Scrape-Timeout-Seconds: 1000000\r\n"
            writer.write(request(path, headers=LOGIN + timeout))
            writers.append(writer)
        await asyncio.sleep(0.5)
        for writer in writers:
            writer.transport.abort()
    for path in ("/metrics", "/metrics?domain[]=x"):
        answer = await abused.ask(path, headers="X-Prometheus-Scrape-Timeout-Seconds: 3\r\n")
        assert answer.status == 200, path
        assert answer.seconds < 3.0, f"{path} after {answer.seconds:.2f} s"


async def unfinished(abused: Abused, clients: int = 500) -> None:
    """Clients begin requests and do not end them; a scrape is answered as ever."""
    await _idle(abused, [b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "] * clients)


async def silent(abused: Abused, clients: int = 50) -> None:
    """Clients connect and never begin, or never end, a handshake; a scrape is answered as ever."""
    # The head of a handshake record of 512 bytes, of which no more comes.
    await _idle(abused, [b"", b"\x16\x03\x01\x02\x00"] * (clients // 2))


async def _idle(abused: Abused, beginnings: list[bytes]) -> None:
    """Clients send so much each and then nothing; a scrape is answered as ever."""
    usual = await quiet(abused)
    writers = []
    for beginning in beginnings:
        _, writer = await abused.connect()
        writer.write(beginning)
        writers.append(writer)
    answer = await abused.usual()
    for writer in writers:
        writer.transport.abort()
    assert answer.status == 200
    assert answer.seconds < 3 * usual + 0.25


async def ended(abused: Abused, name: str) -> float:
    """End it while others flood; seconds that it took, with status 0 as ever."""
    clients, one = FLOODS[name]
    async with flooding(clients, lambda: one(abused)):
        await asyncio.sleep(1)
        started = time.monotonic()
        assert await asyncio.to_thread(abused.close) == 0
        return time.monotonic() - started
