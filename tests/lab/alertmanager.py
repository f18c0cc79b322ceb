"""A real Alertmanager, and a receiver of what it has to say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from tests.lab.servers import answered_by, free_address, server

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

    with answered_by(Handler) as address:
        taken = Receiver(address)
        yield taken


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, address: str) -> None:
        self.address = address

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
    address = free_address()
    configuration = yaml.safe_load(example.read_text())
    routes: Sequence[dict[str, Any]] = [configuration["route"], *configuration["route"]["routes"]]
    for route in routes:
        route |= timing
    for target in configuration["receivers"]:
        for webhook in target.get("webhook_configs", ()):
            webhook["url"] = f"http://{told.address}/{target['name']}"
    file = directory / "alertmanager.yml"
    file.write_text(yaml.safe_dump(configuration))
    with server(
        address,
        "prometheus-alertmanager",
        f"--config.file={file}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        log=directory / "alertmanager.log",
    ):
        yield Alertmanager(address)
