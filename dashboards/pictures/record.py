"""Records what the pictures show: `python -m dashboards.pictures.record [--minutes N]`.

An exporter shows the invented host (demo:///), a real Prometheus scrapes it with the shipped
rules; then every panel of the pages in PAGES is asked as Grafana would, into recorded.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.grafana import DASHBOARDS, Json, interpolated, panels
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.promql import RULES

FILE: Final = Path(__file__).with_name("recorded.json")

PAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "libvirt-fleet.json": (
        "Hosts up",
        "Hosts down",
        "VMs by state",
        "Firing alerts",
        "VMs that are paused or suspended, and why",
        "VMs that crashed, and why",
        "Busiest VMs",
        "CPUs in use",
        "Steal",
        "Memory used",
        "Read throughput",
        "Write throughput",
        "Disk requests",
    ),
    "libvirt-vm.json": (
        "State now",
        "Running for",
        "vCPUs",
        "Memory",
        "Monitor",
        "Agent",
        "Snapshots",
        "Autostart",
        "State over time",
        "Reason of the state",
        "CPU use",
        "Steal",
        "CPU time of vCPUs",
        "Memory used",
        "Guest memory",
        "Host memory",
        "Read latency",
        "Write latency",
        "Flush latency",
    ),
}
"""The panels of each picture."""

VM_SHOWN: Final = "shop-db"
"""Whose page is drawn, by its display name."""


def recorded(asked: Prometheus, minutes: int) -> Json:
    """The panels of all pages with what Prometheus answers to their queries."""
    until = int(time.time())
    start = until - 60 * minutes
    names = asked.get("query", query="domain:libvirt_display_name:info")["result"]
    uuids = {each["metric"]["display_name"]: each["metric"]["uuid"] for each in names}
    uuid = uuids.get(VM_SHOWN) or sorted(uuids.values())[0]

    def answer(target: Json) -> Json:
        query = interpolated(
            target["expr"],
            rate_interval="60s",
            time_range=f"{minutes}m",
            values={"uuid": uuid},
        )
        if target.get("instant"):
            result = asked.get("query", query=query, time=str(until))["result"]
            found = [{**each, "values": [each["value"]]} for each in result]
        else:
            span = {"start": str(start), "end": str(until), "step": "10"}
            found = asked.get("query_range", query=query, **span)["result"]
        return {
            "refId": target["refId"],
            "legend": target["legendFormat"],
            "series": [{"labels": each["metric"], "values": each["values"]} for each in found],
        }

    return {
        "from": start,
        "to": until,
        "pages": {
            file: [
                {key: panel[key] for key in ("type", "title", "gridPos", "fieldConfig", "options")}
                | {
                    "transformations": panel.get("transformations", []),
                    "targets": [answer(target) for target in panel["targets"]],
                }
                for panel in panels(DASHBOARDS[file])
                if panel["title"] in titles
            ]
            for file, titles in PAGES.items()
        },
    }


def main() -> None:
    """Record for some minutes, then write."""
    parser = argparse.ArgumentParser(description="Record what the pictures show.")
    parser.add_argument("--minutes", type=int, default=15)
    minutes: Any = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            Exporter("demo:///", directory / "demo") as demo,
            prometheus(
                directory,
                {"libvirt": [demo.address]},
                every="5s",
                rules=sorted(RULES.glob("*.yml")),
            ) as server,
        ):
            time.sleep(60 * minutes)
            found = recorded(server, minutes)
    FILE.write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
