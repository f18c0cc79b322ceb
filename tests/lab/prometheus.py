"""A real Prometheus, and a scrape target that speaks the text format only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from tests.lab.servers import answered_by, free_address, server


class Prometheus:
    """A running Prometheus; ask it with `query`, `metadata` and `target`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        query = urlencode(parameters)
        with urlopen(f"http://{self._address}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def target(self, job: str) -> Mapping[str, Any]:
        """What it says of the job's only target: `health`, `lastError` …"""
        targets = self.get("targets", state="active")["activeTargets"]
        (found,) = (target for target in targets if target["scrapePool"] == job)
        return dict(found)

    def value(self, expression: str) -> float | None:
        """The only sample of an expression; None while there is none."""
        result = self.get("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> dict[tuple[str, str], str]:
        """State of each alert, pending or firing, by its name and its label `domain`."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("domain", "")): alert["state"]
            for alert in self.get("alerts")["alerts"]
        }

    def series(self, job: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Name and labels of what the job's last scrape brought; those of Prometheus left out."""
        result = self.get("query", query=f'{{job="{job}"}}')["result"]
        own = {"__name__", "job", "instance"}
        return {
            (
                found["metric"]["__name__"],
                frozenset(
                    (name, text) for name, text in found["metric"].items() if name not in own
                ),
            )
            for found in result
        }

    def metadata(self, job: str) -> dict[str, Mapping[str, str]]:
        """Type, unit and help of each family that the job's target has, by name."""
        selector = f'{{job="{job}"}}'
        return {row["metric"]: row for row in self.get("targets/metadata", match_target=selector)}


@contextlib.contextmanager
def prometheus(
    directory: Path,
    jobs: Mapping[str, Sequence[str]],
    *,
    every: str = "1s",
    rules: Sequence[Path] = (),
    alertmanager: str = "",
    discovered: Mapping[str, str] | None = None,
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `jobs`, job name to addresses, each second or so.

    `discovered`: further jobs, whose targets an address lists for HTTP service discovery.

    It evaluates the files `rules` each second, and tells the Alertmanager at this address.
    """
    address = free_address()
    configuration: dict[str, Any] = {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": "1s",
        },
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [*targets]}]}
            for job, targets in jobs.items()
        ]
        + [
            {"job_name": job, "http_sd_configs": [{"url": url, "refresh_interval": "1s"}]}
            for job, url in (discovered or {}).items()
        ],
    }
    if alertmanager:
        targets = {"static_configs": [{"targets": [alertmanager]}]}
        configuration["alerting"] = {"alertmanagers": [targets]}
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    with server(
        address,
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
        log=directory / "prometheus.log",
    ):
        yield Prometheus(address)


@contextlib.contextmanager
def text_only(address: str) -> Iterator[tuple[str, Sequence[str]]]:
    """A proxy in front of a target that lets its clients ask for the text format only.

    Its address, and what the clients had asked for: the values of their `Accept`.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Accept"])
            request = Request(f"http://{address}{self.path}", headers={"Accept": "text/plain"})
            with urlopen(request, timeout=30) as answer:
                body = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(body)

    with answered_by(Handler) as proxy:
        yield proxy, asked
