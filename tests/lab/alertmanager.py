"""A real Alertmanager, and a receiver of what it has to say."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from tests.lab.daemon import wait_until

Notification = dict[str, Any]
"""The body of a webhook: `status`, `alerts` …"""


class Receiver:
    """What webhooks have delivered so far, by the path they were sent to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._got: list[tuple[str, Notification]] = []

    def take(self, path: str, body: Notification) -> None:
        """Keep a notification."""
        self._got.append((path, body))

    def notifications(self, path: str) -> list[Notification]:
        """All that came to a path, the oldest first."""
        return [body for came_to, body in self._got if came_to == path]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.take(self.path, json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taken = Receiver(f"127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield taken
        finally:
            server.shutdown()


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, address: str) -> None:
        self.address = address

    def answers(self) -> bool:
        """Whether it has started."""
        with (
            contextlib.suppress(OSError),
            urlopen(f"http://{self.address}/-/ready", timeout=10),
        ):
            return True
        return False

    def send(self, *alerts: Mapping[str, str]) -> None:
        """Let alerts with these labels fire, as Prometheus does."""
        request = Request(
            f"http://{self.address}/api/v2/alerts",
            json.dumps([{"labels": labels} for labels in alerts]).encode(),
            {"Content-Type": "application/json"},
        )
        urlopen(request, timeout=10).close()

    def states(self) -> dict[str, str]:
        """`active` or `suppressed` by the name of each alert that fires."""
        with urlopen(f"http://{self.address}/api/v2/alerts", timeout=10) as answer:
            return {
                alert["labels"]["alertname"]: alert["status"]["state"]
                for alert in json.load(answer)
            }


@contextlib.contextmanager
def alertmanager(
    directory: Path, example: Path, told: Receiver, **timing: str
) -> Iterator[Alertmanager]:
    """An Alertmanager with the configuration of a file, except for whom it tells and how soon.

    `timing`: `group_wait` and the like of all routes.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    configuration = yaml.safe_load(example.read_text())
    routes: Sequence[dict[str, Any]] = [configuration["route"], *configuration["route"]["routes"]]
    for route in routes:
        route |= timing
    for target in configuration["receivers"]:
        for webhook in target.get("webhook_configs", ()):
            webhook["url"] = f"http://{told.address}/{target['name']}"
    file = directory / "alertmanager.yml"
    file.write_text(yaml.safe_dump(configuration))
    with (directory / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={file}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Alertmanager(address)
        wait_until(running.answers, "Alertmanager is ready", 30)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
