"""One exporter serves several hosts, each as if it were the only one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest

from libvirt_exporter.config import load, of_target
from libvirt_exporter.contract import NotFoundError, RequestError, ScrapeRequest
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.telemetry import Telemetry
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

NODE = """<node><domain type='test'><name>{}</name><memory>8192</memory>
<os><type>hvm</type></os></domain></node>"""


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes URIs of hosts with one domain each, which has the name that is asked for."""
    directory = tmp_path_factory.mktemp("hosts")

    def made(domain: str) -> str:
        file = directory / f"{domain}.xml"
        file.write_text(NODE.format(domain))
        return f"test://{file}"

    return made


@contextlib.contextmanager
def serving(*configurations: str) -> Iterator[Exporter]:
    """An exporter of the first configuration; each reload takes the next one."""
    rest = iter([load(text) for text in configurations])
    with contextlib.closing(Exporter(lambda: next(rest), Telemetry(process=False))) as exporter:
        yield exporter


async def shown(exporter: Exporter, alias: str) -> set[str]:
    """The domains that a scrape of a target shows."""
    text = (await exporter.target(alias).scrape(ScrapeRequest())).body.decode()
    return set(re.findall(r'^libvirt_domain_state\{domain="([^"]*)"', text, re.MULTILINE))


def targets(**uris: str) -> str:
    """Such a section of a configuration."""
    return "targets:\n" + "".join(f"  {alias}: {{uri: '{uri}'}}\n" for alias, uri in uris.items())


async def test_each_target_is_served_by_its_alias(host: Callable[[str], str]) -> None:
    """And the host of `libvirt.uri` by none; what no alias names is refused."""
    text = f"libvirt: {{uri: '{host('own')}'}}\n" + targets(a=host("vm-a"), b=host("vm-b"))
    with serving(text) as exporter:
        assert exporter.aliases == {"", "a", "b"}
        assert await shown(exporter, "") == {"own"}
        assert await shown(exporter, "a") == {"vm-a"}
        assert await shown(exporter, "b") == {"vm-b"}
        with pytest.raises(NotFoundError, match="no target c"):
            exporter.target("c")


async def test_an_exporter_may_have_targets_alone(host: Callable[[str], str]) -> None:
    """Then it has no default host, and shows its own metrics there."""
    with serving("libvirt: {uri: ''}\n" + targets(a=host("vm-a"))) as exporter:
        assert exporter.aliases == {"a"}
        with pytest.raises(RequestError, match="no host of its own"):
            exporter.target()
        own = (await exporter.own(ScrapeRequest())).body.decode()
        assert "libvirt_exporter_build_info{" in own
        assert "libvirt_up" not in own


async def test_a_reload_adds_and_removes_targets_and_leaves_the_others(
    host: Callable[[str], str],
) -> None:
    """The one that stays is the same object, and goes on with the same host."""
    before = "libvirt: {uri: ''}\n" + targets(a=host("vm-a"), b=host("vm-b"))
    after = "libvirt: {uri: ''}\n" + targets(b=host("vm-b"), c=host("vm-c"))
    with serving(before, after) as exporter:
        stays = exporter.target("b")
        assert await shown(exporter, "b") == {"vm-b"}
        await exporter.reload()
        assert exporter.aliases == {"b", "c"}
        assert exporter.target("b") is stays
        assert await shown(exporter, "b") == {"vm-b"}
        await eventually(exporter.target("c").ready, "the new target has been sampled")
        assert await shown(exporter, "c") == {"vm-c"}
        with pytest.raises(NotFoundError):
            exporter.target("a")


async def test_a_reload_changes_one_target_alone(host: Callable[[str], str]) -> None:
    """Another URI is another host; what the others have taken is still theirs."""
    before = targets(a=host("vm-a"), b=host("vm-b"))
    after = targets(a=host("vm-x"), b=host("vm-b"))
    own = f"libvirt: {{uri: '{host('own')}'}}\n"
    with serving(own + before, own + after) as exporter:
        assert await shown(exporter, "a") == {"vm-a"}
        assert await shown(exporter, "b") == {"vm-b"}
        sample = exporter.target("b").latest
        await exporter.reload()
        assert exporter.target("b").latest is sample
        assert await shown(exporter, "a") == {"vm-x"}


def test_what_a_target_does_not_say_is_as_for_the_default_host() -> None:
    """Its own options reach its host, and only its."""
    text = """
libvirt: {timeout: 5s, parallel_calls: 3}
guest_agent: {enabled: true}
targets:
  usual: {uri: "qemu+tls://usual/system"}
  own:
    uri: "qemu+tls://own/system"
    timeout: 2s
    parallel_calls: 1
    stuck_calls: 6
    guest_agent: false
    pki_directory: /etc/pki x
"""
    config = load(text)
    usual, own = (of_target(config, alias) for alias in ("usual", "own"))
    assert (usual.libvirt.name, usual.libvirt.uri) == ("usual", "qemu+tls://usual/system")
    assert (usual.libvirt.timeout, usual.libvirt.parallel_calls) == (5.0, 3)
    assert usual.guest_agent.enabled
    assert own.libvirt.uri == "qemu+tls://own/system?pkipath=/etc/pki%20x"
    assert (own.libvirt.timeout, own.libvirt.parallel_calls, own.libvirt.stuck_calls) == (2, 1, 6)
    assert not own.guest_agent.enabled
    assert of_target(config, "") == load(text.partition("targets")[0])


async def test_own_metrics_say_which_targets_answer(host: Callable[[str], str]) -> None:
    """From their last sample; a probe has all other figures of its target, and nothing of this."""
    text = "libvirt: {uri: ''}\n" + targets(a=host("vm-a"), b="test:///nowhere.xml")
    with serving(text) as exporter:
        assert exporter.waits_for_first_samples == 2
        await shown(exporter, "a")
        assert exporter.waits_for_first_samples == 1
        await shown(exporter, "b")
        assert exporter.waits_for_first_samples == 0
        own = (await exporter.own(ScrapeRequest())).body.decode()
        up = "libvirt_exporter_target_up"
        assert f'{up}{{target="a"}} 1.0' in own
        assert f'{up}{{target="b"}} 0.0' in own
        assert 'target_last_sample_timestamp_seconds{target="a"}' in own
        probed = (await exporter.target("a").scrape(ScrapeRequest())).body.decode()
        assert up not in probed
        assert "libvirt_exporter_samples_total 2.0" in probed


async def test_without_targets_nothing_is_said_of_any(host: Callable[[str], str]) -> None:
    """Not even the name of a family."""
    with serving(f"libvirt: {{uri: '{host('own')}'}}\n") as exporter:
        text = (await exporter.target().scrape(ScrapeRequest())).body.decode()
        assert "libvirt_exporter_target" not in text
