"""Which QEMU is asked what, by libvirtd's own log: nothing that the answer does not need."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import paused_domain
from tests.lab.exporter import Exporter
from tests.support.waiting import wait_until

NAMES: Final = tuple(f"vm{number}" for number in range(9))
ONE: Final = "vm4"
DISKS: Final = {"query-blockstats", "query-named-block-nodes", "query-block"}
MAX_AGE: Final = 1.0
"""Seconds for which a sample answers queries."""


class Monitors:
    """The QEMUs of a daemon, and what they are asked."""

    def __init__(self, libvirtd: PrivateLibvirtd) -> None:
        self.libvirtd = libvirtd
        self.uuids: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name in NAMES:
            domain = paused_domain(libvirtd, name)
            self.uuids[name] = domain.UUIDString()
            before = len(libvirtd.monitor_commands())
            domain.blockStats("vda")
            ((monitor, _),) = {*libvirtd.monitor_commands()[before:]}
            self._names[monitor] = name

    def asked(self, act: Callable[[], object]) -> dict[str, Counter[str]]:
        """The commands that each QEMU gets while something is done."""
        before = len(self.libvirtd.monitor_commands())
        act()
        found: dict[str, Counter[str]] = {}
        for monitor, command in self.libvirtd.monitor_commands()[before:]:
            found.setdefault(self._names[monitor], Counter())[command] += 1
        return found


@pytest.fixture(scope="module")
def monitors() -> Iterator[Monitors]:
    """Nine paused VMs on a daemon of their own."""
    with PrivateLibvirtd(watches_monitors=True) as libvirtd:
        yield Monitors(libvirtd)


@pytest.fixture(scope="module")
def exporter(monitors: Monitors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """One that shows all VMs, and knows their XML."""
    with serving(monitors, tmp_path_factory.mktemp("all"), {}) as exporter:
        yield exporter


def serving(monitors: Monitors, directory: Path, configuration: Mapping[str, Any]) -> Exporter:
    """An exporter that has taken two samples, the second one knowing the XML."""
    chosen = {"api": {"max_age": f"{MAX_AGE:g}s"}, **configuration}
    exporter = Exporter(monitors.libvirtd.read_only_uri, directory, chosen)
    exporter.scrape()
    return exporter


def api(path: str = "", **parameters: str) -> str:
    return f"/api/v1/vms{path}?{urlencode(parameters)}"


def ask(exporter: Exporter, path: str) -> None:
    """Ask when no earlier sample answers any more."""
    time.sleep(MAX_AGE + 0.2)
    answer = exporter.get(path)
    assert answer.status == 200, answer.text


def test_a_scrape_asks_every_qemu(monitors: Monitors, exporter: Exporter) -> None:
    """So that it is known to be seen when one is asked."""
    found = monitors.asked(exporter.scrape)
    assert found.keys() == {*NAMES}
    assert all(commands.keys() & DISKS for commands in found.values())


@pytest.mark.parametrize(
    "path",
    [
        api(fields="vmName"),
        api(fields="vmName,state,stateReason,exitCode"),
        api(fields="memSize,devices,boot,cpuType,statsAge"),
        api(fields="network"),
        "/metrics?collect[]=interface",
        "/metrics?collect[]=state&collect[]=info&collect[]=event&collect[]=process",
        "/metrics?collect[]=node&collect[]=storage",
        "/metrics?domain[]=nobody",
    ],
)
def test_what_no_monitor_tells_is_asked_of_none(
    monitors: Monitors, exporter: Exporter, path: str
) -> None:
    """Names, states, what the XML says, traffic."""
    assert monitors.asked(lambda: ask(exporter, path)) == {}


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/metrics?domain[]={name}", True),
        ("/metrics?domain[]={uuid}", True),
        (api(vmIds="UUID").replace("UUID", "{uuid}"), True),
        (api(fields="disks", vmIds="UUID").replace("UUID", "{uuid}"), True),
        (api(fields="status", vmIds="UUID").replace("UUID", "{uuid}"), False),
        (api(fields="cpuUser", vmIds="UUID").replace("UUID", "{uuid}"), False),
        ("/api/v1/vms/{uuid}/diagnostics", True),
    ],
)
def test_one_vm_costs_its_own_qemu_only(
    monitors: Monitors, exporter: Exporter, path: str, *, needed: bool
) -> None:
    """`needed`: whether its QEMU has to be asked at all."""
    path = path.format(name=ONE, uuid=monitors.uuids[ONE])
    found = monitors.asked(lambda: ask(exporter, path))
    assert found.keys() <= {ONE}
    assert bool(found) or not needed


@pytest.mark.parametrize("path", ["/metrics?exclude[]=block&exclude[]=job", api(fields="memUsage")])
def test_nobody_is_asked_for_disks_that_are_not_shown(
    monitors: Monitors, exporter: Exporter, path: str
) -> None:
    """Other things are."""
    found = monitors.asked(lambda: ask(exporter, path))
    assert not DISKS & {command for commands in found.values() for command in commands}


def test_a_client_that_waits_for_names_costs_no_qemu_anything(
    monitors: Monitors, exporter: Exporter
) -> None:
    """Though a sample is taken for it each second."""
    stamp = exporter.get(api(fields="vmName")).text.partition('"queryStamp":"')[2].split('"')[0]
    path = api(fields="vmName", changedSince=stamp, wait="4")
    started = time.monotonic()
    assert monitors.asked(lambda: ask(exporter, path)) == {}
    assert time.monotonic() - started > 4


@pytest.mark.parametrize(
    "choice",
    [
        {"include": [ONE]},
        {"include": ["uuid:UUID"]},
        {"exclude": ["vm[0-35-8]"]},
        {"include": [f"label:which={ONE}"]},
    ],
)
def test_hidden_vms_cost_nothing_from_the_first_sample_on(
    monitors: Monitors, tmp_path: Path, choice: Mapping[str, list[str]]
) -> None:
    """At the start, in scrapes, queries, and on the page for people."""
    domains = {
        key: [pattern.replace("UUID", monitors.uuids[ONE]) for pattern in patterns]
        for key, patterns in choice.items()
    }
    labels = {"custom": [{"name": "which", "xpath": "name"}]}

    def work() -> None:
        with serving(monitors, tmp_path, {"domains": domains, "labels": labels}) as exporter:
            wait_until(lambda: exporter.scrape().domains == {ONE}, "it is shown")
            for path in (api(), "/", "/metrics"):
                ask(exporter, path)

    assert monitors.asked(work).keys() == {ONE}


def test_an_excluded_group_is_asked_of_nobody(monitors: Monitors, tmp_path: Path) -> None:
    """Nor by what would ride on it."""
    groups = {"include": ["all"], "exclude": ["block", "job"]}

    def work() -> None:
        with serving(monitors, tmp_path, {"groups": groups}) as exporter:
            ask(exporter, api())

    found = monitors.asked(work)
    assert found.keys() == {*NAMES}
    assert not DISKS & {command for commands in found.values() for command in commands}
