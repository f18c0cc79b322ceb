"""The host for libvirt's test driver, which tests show where QEMU is not needed."""

from __future__ import annotations

import ipaddress
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.drivers import DriverFallback, needs_fallback
from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import STATES, DomainInfo

NODE = Path(__file__).parents[2] / "tests" / "support" / "test_driver_host.xml"
EXAMPLE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "127.0.0.0/8")
)


@pytest.fixture
def conn() -> Iterator[libvirt.virConnect]:
    """The host, read-only."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    opened = libvirt.openReadOnly(f"test://{NODE}")
    yield opened
    opened.close()


@pytest.fixture
def infos(conn: libvirt.virConnect) -> dict[str, DomainInfo]:
    """What the XML says about each domain, by name."""
    return {domain.name(): parse_domain(domain.XMLDesc()) for domain in conn.listAllDomains()}


def sample(conn: libvirt.virConnect, infos: dict[str, DomainInfo]) -> dict[str, dict[str, Any]]:
    """All statistics of every domain, by name."""
    fallback = DriverFallback(needs_fallback(conn), conn.getType())
    return {
        domain.name(): bulk | fallback.stats(domain, fallback.groups, infos[domain.name()], bulk)
        for domain, bulk in conn.getAllDomainStats()
    }


def test_states_are_mixed(conn: libvirt.virConnect) -> None:
    """Eight domains show every state that a person wants to see once."""
    states = [STATES[stats["state.state"]] for _, stats in conn.getAllDomainStats()]
    assert len(states) == 8
    assert set(states) == {"running", "paused", "shutoff", "crashed", "pmsuspended"}
    assert states.count("running") == 4


def test_every_device_of_active_domains_has_moving_figures(
    conn: libvirt.virConnect, infos: dict[str, DomainInfo]
) -> None:
    """No device is lost on the way, and nothing stands still."""
    first = sample(conn, infos)
    time.sleep(0.01)
    second = sample(conn, infos)
    active = {domain.name() for domain in conn.listAllDomains() if domain.isActive()}
    assert len(active) == 7
    for name in active:
        moving = {"cpu.time", "vcpu.0.time"}
        moving |= {f"block.{n}.rd.bytes" for n in range(len(infos[name].disks))}
        moving |= {f"net.{n}.rx.bytes" for n in range(len(infos[name].interfaces))}
        assert all(second[name][key] > first[name][key] for key in moving), name


def test_interface_names_are_ours(infos: dict[str, DomainInfo]) -> None:
    """Libvirt replaces names such as vnet0; ours survive, and fit Linux's 15 characters."""
    written = {t.get("dev", "") for t in ET.parse(NODE).iterfind("domain/devices/interface/target")}
    seen = {interface.device for info in infos.values() for interface in info.interfaces}
    assert seen == written | {"testnet0"}
    assert max(map(len, written)) <= 15


def test_what_dashboards_show_is_there(
    conn: libvirt.virConnect, infos: dict[str, DomainInfo]
) -> None:
    """Watchdogs, balloons, iothreads, vCPUs and memory come in more than one kind."""
    actions = {watchdog.action for info in infos.values() for watchdog in info.watchdogs}
    assert actions == {"reset", "pause", "none"}
    assert sum(bool(info.balloon_period) for info in infos.values()) == 6
    stats = sample(conn, infos)
    assert stats["db-primary"]["iothread.count"] == 2
    assert stats["mail-gateway"]["vcpu.maximum"] > stats["mail-gateway"]["vcpu.current"]
    assert stats["db-primary"]["balloon.maximum"] > stats["db-primary"]["balloon.current"]


def test_one_domain_is_novas_and_one_is_ovirts(infos: dict[str, DomainInfo]) -> None:
    """Both kinds of engine metadata survive libvirt's parser."""
    assert [n for n, info in infos.items() if info.openstack] == ["instance-0000002a"]
    assert [n for n, info in infos.items() if info.ovirt] == ["mail-gateway"]


def test_addresses_are_from_example_ranges() -> None:
    """Nothing in it can be somebody's."""
    text = NODE.read_text()
    addresses = re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])", text)
    assert addresses
    for address in addresses:
        assert any(ipaddress.ip_address(address) in network for network in EXAMPLE_NETWORKS)
    macs = re.findall(r'mac address="([^"]+)"', text)
    assert macs
    assert len(set(macs)) == len(macs)
    assert all(mac.startswith("52:54:00:") for mac in macs)
