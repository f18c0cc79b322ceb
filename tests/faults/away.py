"""A libvirt that is away, in each way that it can be, and what scrapes make of it meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from tests.faults.cases import flat
from tests.faults.watch import Resources
from tests.lab.exporter import Exporter

TIMEOUT: Final = 0.1
"""Seconds for one sample: what is not answered takes that long."""


@contextlib.contextmanager
def missing(socket_file: Path) -> Iterator[None]:
    """There is no socket."""
    assert not socket_file.exists()
    yield


@contextlib.contextmanager
def refused(socket_file: Path) -> Iterator[None]:
    """A daemon that crashed has left its socket."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_file))
    yield


@contextlib.contextmanager
def silent(socket_file: Path) -> Iterator[None]:
    """Connections are accepted and never answered, as by a frozen daemon."""
    with socket.socket(socket.AF_UNIX) as libvirt:
        libvirt.bind(str(socket_file))
        libvirt.listen(1000)
        yield


def answering(answer: bytes, *, waits: bool) -> Callable[[Path], AbstractContextManager[None]]:
    """Connections get these bytes, after they have asked if the server `waits`, and are closed."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if waits:
                    self.request.recv(1 << 16)
                self.request.sendall(answer)

    @contextlib.contextmanager
    def server(socket_file: Path) -> Iterator[None]:
        with socketserver.ThreadingUnixStreamServer(str(socket_file), Handler) as libvirt:
            thread = threading.Thread(target=libvirt.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield
            finally:
                libvirt.shutdown()
                thread.join()

    return server


WAYS: Final[dict[str, Callable[[Path], AbstractContextManager[None]]]] = {
    "missing": missing,
    "refused": refused,
    "silent": silent,
    "closed": answering(b"", waits=False),
    "closed when asked": answering(b"", waits=True),
    "another protocol": answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", waits=True),
    "cut off": answering(b"\0\0\0\x1c\x20\0", waits=True),
}
"""How libvirt can be away."""


def away(way: str, directory: Path, scrapes: int, *, seconds: float = float("inf")) -> None:
    """Scrape so often, for so long at most: each says that libvirt is away, and nothing grows."""
    directory.mkdir(exist_ok=True)
    socket_file = directory / "libvirt.sock"
    uri = f"qemu+unix:///system?socket={socket_file}"
    configuration = {"libvirt": {"timeout": f"{TIMEOUT:g}s"}}
    with WAYS[way](socket_file), Exporter(uri, directory / "exporter", configuration) as exporter:
        resources: list[Resources] = []
        began = time.monotonic()
        with contextlib.closing(http.client.HTTPConnection(exporter.address, timeout=30)) as client:
            while len(resources) < scrapes and time.monotonic() - began < seconds:
                client.request("GET", "/metrics")
                answer = client.getresponse()
                body = answer.read()
                assert answer.status == 200
                assert b"\nlibvirt_up 0.0\n" in body
                resources.append(Resources.of(exporter.pid))
        took = time.monotonic() - began
        print(f"  {way}: {len(resources)} scrapes in {took:.0f} s")
        flat(resources)
