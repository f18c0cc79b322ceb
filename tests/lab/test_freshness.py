"""How soon the exporter knows what libvirt tells by no event, and what it takes for old."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import Machine, domain_xml
from tests.lab.exporter import Exporter
from tests.support.waiting import wait_until

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def value(exporter: Exporter, domain: str, name: str) -> float | None:
    """The least of what a scrape shows of a metric of a domain; None where it has no series."""
    found = [
        value
        for (series, labels), value in exporter.scrape().domain_samples.items()
        if series == f"libvirt_domain_{name}" and ("domain", domain) in labels
    ]
    return min(found, default=None)


def one_vcpu_of_two(libvirtd: PrivateLibvirtd, name: str) -> libvirt.virDomain:
    """A paused domain that stays defined, with two disks and a network interface."""
    xml = domain_xml(libvirtd, Machine(name=name))
    domain = libvirtd.connection.defineXML(xml.replace("<vcpu>", "<vcpu current='1'>"))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    return domain


def snapshot_of_disks(domain: libvirt.virDomain) -> None:
    """What `virsh snapshot-create-as --disk-only --no-metadata` does."""
    only_disks = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    no_metadata = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    domain.snapshotCreateXML(
        "<domainsnapshot><name>s1</name></domainsnapshot>", only_disks | no_metadata
    )


def unplug_cable(domain: libvirt.virDomain) -> None:
    """What `virsh domif-setlink … down` does."""
    found = re.search("<interface.*?</interface>", domain.XMLDesc(0), re.DOTALL)
    assert found
    changed = found[0].replace("</interface>", "<link state='down'/></interface>")
    domain.updateDeviceFlags(changed, LIVE)


@pytest.mark.parametrize(
    ("change", "name", "before", "after"),
    [
        (snapshot_of_disks, "block_backing_chain_depth", 1, 2),
        (lambda domain: domain.setVcpusFlags(2, LIVE), "configured_vcpus", 1, 2),
    ],
    ids=["disk-only snapshot", "one more vCPU"],
)
def test_what_the_statistics_show_is_known_without_an_event(
    change: Callable[[libvirt.virDomain], object],
    name: str,
    before: float,
    after: float,
    libvirtd: PrivateLibvirtd,
    tmp_path: Path,
) -> None:
    """Long before the clock would have the XML read again."""
    domain = one_vcpu_of_two(libvirtd, "shown")
    try:
        with Exporter(
            libvirtd.read_only_uri, tmp_path, {"scrape": {"info_refresh": "1h"}}
        ) as exporter:
            assert value(exporter, "shown", name) == before
            change(domain)
            wait_until(lambda: value(exporter, "shown", name) == after, f"{name} is {after}")
    finally:
        domain.destroy()
        domain.undefine()


def test_what_nothing_shows_is_known_after_the_refresh_time(
    libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Link, autostart, period of the memory reports, snapshots: no event, the same statistics."""
    domain = one_vcpu_of_two(libvirtd, "hidden")
    before = {"interface_link_up": 1, "autostart": 0, "snapshots": 0}
    after = {
        "interface_link_up": 0,
        "autostart": 1,
        "snapshots": 1,
        "balloon_stats_period_seconds": 7,
    }
    try:
        with Exporter(
            libvirtd.read_only_uri, tmp_path, {"scrape": {"info_refresh": "2s"}}
        ) as exporter:
            assert {name: value(exporter, "hidden", name) for name in before} == before
            unplug_cable(domain)
            domain.setAutostart(1)
            domain.setMemoryStatsPeriod(7, LIVE)
            domain.snapshotCreateXML("<domainsnapshot/>")

            def known() -> bool:
                return {name: value(exporter, "hidden", name) for name in after} == after

            wait_until(known, "all of it is known")
    finally:
        domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
