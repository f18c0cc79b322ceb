"""A real Prometheus finds the targets of an exporter of several hosts, and scrapes each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.synthetic import write_host
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.support.waiting import wait_until


def configuration(directory: Path, *aliases: str) -> dict[str, Any]:
    """Targets with as many domains as their aliases say."""
    targets = {}
    for alias in aliases:
        node = directory / f"{alias}.xml"
        write_host(node, int(alias[-1]))
        targets[alias] = {"uri": f"test://{node}", "labels": {"rack": f"r{alias[-1]}"}}
    return {"targets": targets}


def found(server: Prometheus) -> dict[str, tuple[str, float]]:
    """By instance, the rack of each target that Prometheus scrapes, and the domains it has seen."""
    active = {one["labels"]["instance"] for one in server.get("targets")["activeTargets"]}
    query = 'max_over_time(libvirt_domains{job="fleet",state="running"}[1m])'
    return {
        one["metric"]["instance"]: (one["metric"]["rack"], float(one["value"][1]))
        for one in server.get("query", query=query)["result"]
        if one["metric"]["instance"] in active
    }


def test_prometheus_follows_the_list_of_targets(tmp_path: Path) -> None:
    """Each is an instance by its alias, with its labels; a reload's targets come and go."""
    before = configuration(tmp_path, "host1", "host2")
    after = configuration(tmp_path, "host2", "host3")
    with Exporter("", tmp_path / "exporter", before) as exporter:
        url = f"http://{exporter.address}/api/v1/targets"
        with prometheus(tmp_path, {}, discovered={"fleet": url}) as server:
            first = {"host1": ("r1", 1.0), "host2": ("r2", 2.0)}
            wait_until(lambda: found(server) == first, "both targets are scraped", 30)
            exporter.configure(after)
            exporter.hang_up()
            second = {"host2": ("r2", 2.0), "host3": ("r3", 3.0)}
            wait_until(lambda: found(server) == second, "the list is followed", 30)
