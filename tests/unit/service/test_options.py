"""Every option of the configuration has an effect that a test sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch
from urllib.parse import quote
from uuid import UUID

import pytest
from msgspec import Struct, structs

from libvirt_exporter.config import Config, load
from libvirt_exporter.contract import QueryRequest, ScrapeRequest
from libvirt_exporter.hypervisor.connection.settings import ApplicationsSettings, HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.telemetry import Telemetry
from tests.process.commands import test_main, test_service_manager
from tests.unit.hypervisor.sources import test_guest_agent
from tests.unit.service import test_fleet, test_queries

DEMO = f"test://{quote(str(Path(__file__).parents[3]))}/tests/support/test_driver_host.xml"


class Seen(NamedTuple):
    """What an exporter of libvirt's test driver did and answered."""

    settings: HostSettings
    """What its host was started with."""
    timeouts: list[float]
    """Seconds that its host got for a scrape without a timeout, and for one with 10 s."""
    text: str
    """The exposition."""
    vms: list[dict[str, Any]]
    """The fields of all VMs."""

    def values(self, label: str, metric: str = "libvirt_domain_state") -> set[str]:
        """The values of a label of a metric."""
        return set(re.findall(rf'^{metric}{{.*\b{label}="([^"]*)"', self.text, re.M))

    def shows(self, metric: str) -> bool:
        """Whether the exposition has a series of the metric."""
        return re.search(rf"^{metric}[ {{]", self.text, re.M) is not None


async def seen(config: Config) -> Seen:
    """What an exporter with this configuration does and answers."""
    settings: list[HostSettings] = []
    timeouts: list[float] = []
    start, sample = Host.start, Host.sample

    def started(host: Host) -> None:
        settings.append(host.settings)
        start(host)

    def sampled(host: Host, request: SampleRequest, timeout: float) -> Future[HostSample]:
        timeouts.append(timeout)
        return sample(host, request, timeout)

    with (
        patch.object(Host, "start", started),
        patch.object(Host, "sample", sampled),
        contextlib.closing(Exporter(lambda: config, Telemetry(process=False))) as exporter,
    ):
        target = exporter.target()
        text = (await target.scrape(ScrapeRequest())).body.decode()
        await target.scrape(ScrapeRequest(timeout=10.0))
        answer = json.loads((await target.query(QueryRequest())).body)
    return Seen(settings[0], timeouts[:2], text, answer["dataList"])


class Effect(NamedTuple):
    """What an option changes."""

    value: object
    """Other than the default."""
    of: Callable[[Seen], object]
    """What of an exporter shows the effect."""
    before: object
    """With the default."""
    after: object


RUNNING = "libvirt_domain_cpu_seconds_total"
TITLE = {"name": "title", "xpath": "title"}
LONGEST = 32
"""Bytes, the least that a label's value may be limited to; a UUID is longer."""

GUEST_AGENT: Final[Mapping[str, Any]] = {
    "response_timeout": 5.0,
    "parallel_calls": 3,
    "interval": 30.0,
    "slow_interval": 60.0,
    "entries": 10,
    "exclude_filesystems": ("ext4",),
    "exclude_mountpoints": ("/",),
}
"""Options of agents that are asked, of which the test driver has none, and other values of them."""


@pytest.mark.parametrize("option", GUEST_AGENT)
def test_a_guest_agent_option_reaches_the_host(option: str) -> None:
    """`sources.test_guest_agent` and `test_guest_answers` show what each does there."""
    document: dict[str, Any] = {"libvirt": {"uri": DEMO}, "guest_agent": {"enabled": True}}
    usual = asyncio.run(seen(load(json.dumps(document)))).settings.guest_agent
    document["guest_agent"] = {"enabled": True, option: GUEST_AGENT[option]}
    changed = asyncio.run(seen(load(json.dumps(document)))).settings.guest_agent

    assert usual is not None
    assert changed == replace(usual, **{option: GUEST_AGENT[option]})
    assert changed != usual


APPLICATIONS: Final[Mapping[str, Any]] = {
    "state_directory": "/srv/lists",
    "interval": 30.0,
    "quiet": 10.0,
    "longest_wait": 300.0,
}
"""Likewise, of lists of applications."""


def applications_with(**options: Any) -> ApplicationsSettings | None:
    """What the host gets for lists of applications."""
    document = {
        "libvirt": {"uri": DEMO},
        "guest_agent": {"enabled": True},
        "applications": options,
    }
    return asyncio.run(seen(load(json.dumps(document)))).settings.applications


@pytest.mark.parametrize("option", APPLICATIONS)
def test_an_option_of_applications_reaches_the_host(option: str) -> None:
    """`sources.applications.test_lane` shows what each does there."""
    usual = applications_with(enabled=True)
    changed = applications_with(enabled=True, **{option: APPLICATIONS[option]})

    assert usual is not None
    assert changed == replace(usual, **{option: APPLICATIONS[option]})
    assert changed != usual


def test_lists_of_applications_are_kept_where_agents_are_asked() -> None:
    """And where the configuration says so."""
    assert applications_with() is None
    assert applications_with(enabled=True) is not None


EFFECTS: Final[Mapping[str, Effect | Callable[..., object]]] = {
    "libvirt.uri": Effect(
        "test:///default", lambda seen: seen.values("domain") == {"test"}, False, True
    ),
    "libvirt.name": Effect("node7", lambda seen: seen.settings.name, "", "node7"),
    "libvirt.timeout": Effect("8s", lambda seen: seen.timeouts, [9.0, 9.5], [8.0, 9.5]),
    "libvirt.parallel_calls": Effect(2, lambda seen: seen.settings.parallel_calls, 4, 2),
    "libvirt.stuck_calls": Effect(6, lambda seen: seen.settings.stuck_calls, 12, 6),
    "targets": test_fleet.test_each_target_is_served_by_its_alias,
    "groups.include": Effect(["state"], lambda seen: seen.shows(RUNNING), True, False),
    "groups.exclude": Effect(["cpu-total"], lambda seen: seen.shows(RUNNING), True, False),
    "fields.include": Effect(
        ["displayInfo"],
        lambda seen: seen.shows("libvirt_domain_graphics_info"),
        False,
        True,
    ),
    "fields.exclude": Effect([RUNNING], lambda seen: seen.shows(RUNNING), True, False),
    "domains.include": Effect(["web-1"], lambda seen: len(seen.vms), 8, 1),
    "domains.exclude": Effect(["web-1"], lambda seen: len(seen.vms), 8, 7),
    "labels.identity": Effect(["uuid"], lambda seen: len(seen.values("domain")), 8, 0),
    "labels.custom": Effect([TITLE], lambda seen: seen.shows("libvirt_domain_labels"), False, True),
    "events.state_directory": Effect(
        "/proc/nowhere", lambda seen: seen.settings.state_directory, "", "/proc/nowhere"
    ),
    "events.all_counters": Effect(
        True, lambda seen: seen.shows("libvirt_domain_reboots_total"), False, True
    ),
    "guest_agent.enabled": test_guest_agent.test_agents_are_asked_where_the_configuration_says_so,
    **{
        f"guest_agent.{option}": test_a_guest_agent_option_reaches_the_host
        for option in GUEST_AGENT
    },
    "applications.enabled": test_lists_of_applications_are_kept_where_agents_are_asked,
    **{
        f"applications.{option}": test_an_option_of_applications_reaches_the_host
        for option in APPLICATIONS
    },
    "limits.series": Effect(100, lambda seen: seen.shows(RUNNING), True, False),
    "limits.label_value_length": Effect(
        LONGEST, lambda seen: max(map(len, seen.values("uuid"))), len(str(UUID(int=0))), LONGEST
    ),
    "scrape.timeout_offset": Effect("2s", lambda seen: seen.timeouts, [9.0, 9.5], [9.0, 8.0]),
    "scrape.info_refresh": Effect("1h", lambda seen: seen.settings.info_refresh, 60.0, 3600.0),
    "api.max_age": test_queries.test_a_sample_that_is_fresh_enough_is_used_again,
    "api.tombstones": test_queries.test_a_vm_that_is_gone_is_remembered_as_long_as_configured,
    "api.longest_wait": test_queries.test_a_wait_without_a_change_ends_in_time,
    "api.sensitive_fields": Effect(
        ["nova"], lambda seen: any("nova" in vm for vm in seen.vms), False, True
    ),
    "web.listen": test_main.test_options_of_the_server_come_from_the_file,
    "web.socket_mode": test_service_manager.test_unix_socket_has_its_mode_while_it_is_there,
    "web.systemd_socket": test_service_manager.test_sockets_of_systemd_are_served,
    "web.telemetry_path": test_main.test_options_of_the_server_come_from_the_file,
    "web.config_file": test_main.test_options_of_the_server_come_from_the_file,
    "web.max_requests": test_main.test_options_of_the_server_come_from_the_file,
    "web.access_log": test_main.test_requests_are_logged_where_the_file_says_so,
    "web.reload": test_main.test_who_may_reload_and_by_which_name_the_file_says,
    "web.allowed_hosts": test_main.test_who_may_reload_and_by_which_name_the_file_says,
    "web.health_without_login": test_main.test_health_needs_no_password_where_the_file_says_so,
    "log.level": test_main.test_options_of_the_server_come_from_the_file,
    "log.format": test_main.test_options_of_the_server_come_from_the_file,
}
"""Option → its effect, or the test that shows it."""


def configured(option: str, value: object) -> Config:
    """A configuration of libvirt's test driver with one option set."""
    section, _, name = option.partition(".")
    document: dict[str, Any] = {"libvirt": {"uri": DEMO}}
    document[section] = {**document.get(section, {}), name: value} if name else value
    return load(json.dumps(document))


def options() -> Iterator[str]:
    """Every option of the schema."""
    for section in structs.fields(Config):
        if isinstance(section.default, Struct):
            yield from (f"{section.name}.{name}" for name in structs.asdict(section.default))
        else:
            yield section.name


@pytest.fixture(scope="module")
def usual() -> Seen:
    """With every option but the URI at its default."""
    return asyncio.run(seen(configured("libvirt.uri", DEMO)))


@pytest.mark.parametrize(
    ("option", "effect"),
    [(option, effect) for option, effect in EFFECTS.items() if isinstance(effect, Effect)],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_an_option_has_its_effect(option: str, effect: Effect, usual: Seen) -> None:
    """What is configured shows in what the host is asked or in what clients get."""
    changed = asyncio.run(seen(configured(option, effect.value)))

    assert (effect.of(usual), effect.of(changed)) == (effect.before, effect.after)


def test_every_option_has_an_effect_that_a_test_sees() -> None:
    """No other is listed."""
    for option in options():
        assert option in EFFECTS, (
            f"no test gives {option} an effect: add to EFFECTS in {__file__} a value of it and "
            "what that changes, or the test that shows it"
        )
    assert sorted(EFFECTS) == sorted(options()), "EFFECTS names options that are gone"
