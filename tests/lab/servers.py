"""What the servers of others have in common that tests start on the loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

from tests.support.waiting import wait_until


def free_address() -> str:
    """An address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextlib.contextmanager
def server(address: str, *command: str, log: Path) -> Iterator[None]:
    """A program that serves at `address` from the beginning of the block to its end."""

    def is_ready() -> bool:
        with contextlib.suppress(OSError), urlopen(f"http://{address}/-/ready", timeout=10):
            return True
        return False

    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(is_ready, f"{command[0]} is ready", 30)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def answered_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server in this process whose requests a handler answers, without a log."""
    silent = type("Silent", (handler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), silent) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{serving.server_port}"
        finally:
            serving.shutdown()
