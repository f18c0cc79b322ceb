"""How soon the exporter knows what libvirt tells by no event, and what it takes for old."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd, can_run_privileged
from tests.lab.domains import MIB, Machine, domain_xml, statistics
from tests.lab.exporter import Exporter
from tests.lab.guests import BOOTS_WITHIN, start_guest, wait_for_console
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


def pool_figures(exporter: Exporter) -> dict[str, float]:
    """What a scrape shows of the sizes of the pool `small`."""
    return {
        series.removeprefix("libvirt_storage_pool_"): value
        for (series, labels), value in exporter.scrape().samples.items()
        if ("pool", "small") in labels
        and series.endswith(("available_bytes", "size_bytes", "visible"))
    }


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


def first_perf_event(domain: libvirt.virDomain) -> None:
    """What `virsh perf --enable` does, and what only the XML tells."""
    unplug_cable(domain)
    try:
        domain.setPerfEvents({"page_faults": True}, LIVE)
    except libvirt.libvirtError as error:
        if "unable to open host cpu perf event" not in str(error):
            raise
        pytest.skip(f"no perf here: {error}")


@pytest.mark.parametrize(
    ("change", "name", "before", "after"),
    [
        (snapshot_of_disks, "block_backing_chain_depth", 1, 2),
        (lambda domain: domain.setVcpusFlags(2, LIVE), "configured_vcpus", 1, 2),
        (first_perf_event, "interface_link_up", 1, 0),
    ],
    ids=["disk-only snapshot", "one more vCPU", "first perf event"],
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


def test_what_a_guest_reported_long_ago_is_not_shown(
    libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Neither of one that is asked no more nor of one that is paused; libvirt still gives both."""
    silenced = start_guest(libvirtd, "silenced", balloon_period=1)
    halted = start_guest(libvirtd, "halted", balloon_period=1)

    def reported(domain: libvirt.virDomain) -> bool:
        return bool(statistics(domain).get("balloon.last-update"))

    try:
        for domain in (silenced, halted):
            wait_for_console(libvirtd, domain.name())
            wait_until(functools.partial(reported, domain), "the guest reports", BOOTS_WITHIN)
        configuration = {"scrape": {"info_refresh": "2s"}}
        with Exporter(libvirtd.read_only_uri, tmp_path, configuration) as exporter:

            def shown() -> dict[str, bool]:
                return {
                    name: value(exporter, name, "balloon_usable_bytes") is not None
                    for name in ("silenced", "halted")
                }

            assert shown() == {"silenced": True, "halted": True}
            silenced.setMemoryStatsPeriod(0, LIVE)
            halted.suspend()
            assert shown() == {"silenced": True, "halted": True}
            wait_until(lambda: not any(shown().values()), "both are old", within=90)
            for domain in (silenced, halted):
                assert "balloon.usable" in statistics(domain)
                assert value(exporter, domain.name(), "balloon_current_bytes")
                assert value(exporter, domain.name(), "balloon_last_update_timestamp_seconds")
            answer = exporter.get("/api/v1/vms?fields=vmName,memUsage,memoryStats,balloonInfo")
            for vm in json.loads(answer.text)["dataList"]:
                if vm["vmName"] in ("silenced", "halted"):
                    assert vm.keys() == {"vmId", "vmName", "balloonInfo"}
            halted.resume()
            wait_until(lambda: shown()["halted"], "a guest that goes on reports again")
    finally:
        silenced.destroy()
        halted.destroy()


@pytest.mark.skipif(not can_run_privileged(), reason="mounts a file system")
def test_a_pool_that_was_never_refreshed_shows_how_full_it_is(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """By the kernel, beside what libvirt found when it started the pool; not the file system that
    happens to be at the same path where the exporter runs apart from libvirtd."""
    path = fresh_libvirtd.small_file_system(8 * MIB)
    fresh_libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>small</name><target><path>{path}</path></target></pool>"
    )
    uri = fresh_libvirtd.read_only_uri
    with Exporter(uri, tmp_path / "beside", within=fresh_libvirtd.enter) as exporter:
        empty = {
            "available_bytes": 8 * MIB,
            "filesystem_available_bytes": 8 * MIB,
            "filesystem_size_bytes": 8 * MIB,
            "filesystem_visible": 1,
        }
        assert pool_figures(exporter) == empty
        fresh_libvirtd.inside("dd", "if=/dev/zero", f"of={path}/file", "bs=1M", "count=7")
        assert pool_figures(exporter) == empty | {"filesystem_available_bytes": MIB}
        fresh_libvirtd.grow_file_system(path, 16 * MIB)
        assert pool_figures(exporter) == empty | {
            "filesystem_available_bytes": 9 * MIB,
            "filesystem_size_bytes": 16 * MIB,
        }
    with Exporter(uri, tmp_path / "apart") as exporter:
        assert pool_figures(exporter) == {"available_bytes": 8 * MIB, "filesystem_visible": 0}
