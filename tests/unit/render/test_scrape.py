"""What a scrape says of its host and of itself."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from libvirt_exporter.catalogue.exporter import SCRAPE_METRICS
from libvirt_exporter.model import UNSEEN_REASONS, GroupOutcome, HostInfo, HostSample, Stats
from libvirt_exporter.render.scrape import scrape_families
from libvirt_exporter.render.tally import Tally
from tests.support.samples import DEFAULT, domain

SAMPLE = HostSample(
    timestamp=0.0,
    duration=0.75,
    up=True,
    host=HostInfo(
        name="",
        driver="QEMU",
        hypervisor_version="7.2.0",
        hostname="kvm1",
        uuid="u-1",
        libvirt_version="9.0.0",
    ),
    domains=(
        domain({"state.state": 1}, uuid="1", missing_groups=("block",)),
        domain({"state.state": 1}, uuid="2"),
        domain({"state.state": 42}, uuid="3"),
    ),
    groups=(
        GroupOutcome(group="block", success=False, duration=0.5),
        GroupOutcome(group="state", success=True, duration=0.25),
    ),
    phases={"list": 0.125},
    unparsable=("1", "2"),
    lanes={"node": 1.5},
)


def values(sample: HostSample) -> dict[str, dict[tuple[str, ...], float]]:
    """Label values to values, by sample name."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in scrape_families(sample, Tally(DEFAULT), 0):
        found[family.name] = {
            tuple(series.labels.values()): series.value for series in family.samples
        }
    return found


def test_host_that_answers_is_up() -> None:
    """With its versions, and domains by state: the known ones at 0, unknown ones by number."""
    found = values(SAMPLE)

    assert found["libvirt_up"] == {(): 1}
    assert found["libvirt_info"] == {("QEMU", "7.2.0", "9.0.0"): 1}
    assert found["libvirt_domains"][("running",)] == 2
    assert found["libvirt_domains"][("shutoff",)] == 0
    assert found["libvirt_domains"][("unknown_42",)] == 1


def test_host_is_named_by_itself_once_that_is_known() -> None:
    """No label of it changes by itself: what is not known yet has no series."""
    unknown = HostInfo(name="", driver="QEMU", libvirt_version="9.0.0")
    known = replace(unknown, hypervisor_version="", hostname="kvm1", uuid="u-1")

    found = values(replace(SAMPLE, host=unknown))
    assert not {"libvirt_info", "libvirt_host_info"} & found.keys()
    found = values(replace(SAMPLE, host=known))
    assert found["libvirt_info"] == {("QEMU", "", "9.0.0"): 1}
    assert found["libvirt_host_info"] == {("kvm1", "u-1"): 1}


def test_host_that_does_not_answer_is_down() -> None:
    """And nothing is claimed about its domains."""
    found = values(HostSample(timestamp=0.0, duration=0.1, up=False, error="no such socket"))

    assert found["libvirt_up"] == {(): 0}
    assert "libvirt_info" not in found
    assert "libvirt_domains" not in found


def test_groups_and_phases_say_how_they_fared() -> None:
    """Success, time, and domains that did not answer."""
    found = values(SAMPLE)

    assert found["libvirt_scrape_duration_seconds"] == {(): 0.75}
    assert found["libvirt_scrape_phase_duration_seconds"] == {("list",): 0.125}
    assert found["libvirt_scrape_group_duration_seconds"] == {("block",): 0.5, ("state",): 0.25}
    assert found["libvirt_scrape_group_success"] == {("block",): 0, ("state",): 1}
    assert found["libvirt_scrape_incomplete_domains"] == {("block",): 1, ("state",): 0}


def test_lanes_have_an_age() -> None:
    """Those that were asked and have ever answered."""
    assert values(SAMPLE)["libvirt_exporter_lane_age_seconds"] == {("node",): 1.5}


def test_unparsable_xml_is_counted() -> None:
    """Two domains here."""
    assert values(SAMPLE)["libvirt_scrape_unparsable_domain_xml"] == {(): 2}


def test_families_are_those_of_the_catalogue() -> None:
    """With the same names, types, help texts, units and order."""

    def said(family: Any) -> tuple[str, str, str, str]:
        return (family.name, family.type, family.documentation, family.unit)

    assert [said(family) for family in scrape_families(SAMPLE, Tally(DEFAULT), 0)] == [
        (row.name, row.type, row.help, row.unit) for row in SCRAPE_METRICS
    ]


def test_unseen_processes_are_counted_by_reason() -> None:
    """Every reason from the first domain on that was looked for; nothing where none was."""

    def counts(*stats: Stats) -> dict[tuple[str, ...], float]:
        domains = tuple(domain(each, uuid=str(uuid)) for uuid, each in enumerate(stats))
        return values(replace(SAMPLE, domains=domains))["libvirt_scrape_unseen_processes"]

    assert counts({}, {"state.state": 5}) == {}
    assert counts({"process.pid": 7}) == {(reason,): 0 for reason in UNSEEN_REASONS}
    unseen = {"process.unseen": "no_process"}
    assert counts(unseen, unseen, {"process.pid": 7})["no_process",] == 2
