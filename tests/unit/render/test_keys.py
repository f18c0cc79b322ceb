"""Which catalogue rows a stats key belongs to."""

from __future__ import annotations

import pytest

from libvirt_exporter.catalogue import SAMPLE_METRICS
from libvirt_exporter.catalogue.metric import Fact, Histogram, Metric, StatEnum
from libvirt_exporter.render import keys


@pytest.mark.parametrize(
    ("key", "names", "placeholders"),
    [
        ("cpu.time", {"libvirt_domain_cpu_seconds_total"}, {}),
        ("vcpu.11.time", {"libvirt_domain_vcpu_seconds_total"}, {"num": "11"}),
        (
            "vcpu.0.exits.sum",
            {"libvirt_domain_vcpu_kvm_events_total"},
            {"num": "0", "name": "exits"},
        ),
        (
            "vcpu.0.halt_wait_ns.sum",
            {"libvirt_domain_vcpu_kvm_seconds_total"},
            {"num": "0", "name": "halt_wait"},
        ),
        (
            "block.3.rd.bytes",
            {
                "libvirt_domain_block_read_bytes_total",
                "libvirt_domain_block_backing_read_bytes_total",
            },
            {"num": "3"},
        ),
        (
            "cpu.energy.monitor.0.pkg.1.core_energy",
            {"libvirt_domain_cpu_energy_joules_total"},
            {"num": "0", "index": "1"},
        ),
    ],
)
def test_key_belongs_to_its_rows(key: str, names: set[str], placeholders: dict[str, str]) -> None:
    """The most exact pattern wins, and says what stands in its placeholders."""
    match = keys.match(key)

    assert match is not None
    assert {row.name for row in match.rows} == names
    assert match.placeholders == placeholders


def test_withheld_key_is_known_and_has_no_rows() -> None:
    """A structural key is neither shown nor unmapped."""
    match = keys.match("block.count")

    assert match is not None
    assert match.rows == ()


@pytest.mark.parametrize("key", ["", "block", "block.0", "block.0.rd.bytes.more", "vcpu.0.", "x.y"])
def test_unknown_key_is_not_mapped(key: str) -> None:
    """Patterns match whole keys, part by part."""
    assert keys.match(key) is None


def test_pattern_is_filled_from_placeholders() -> None:
    """Companion keys have the same numbers as the key itself."""
    filled = keys.fill("block.<num>.timed_group.<i>.interval", {"num": "2", "i": "0"})

    assert filled == "block.2.timed_group.0.interval"


def test_numbers_are_generalised() -> None:
    """A thousand new keys of a thousand disks make one name."""
    assert keys.generalise(["block.0.new", "block.17.new", "net.new"]) == {
        "block.<n>.new",
        "net.new",
    }


def sources(row: Metric) -> set[str]:
    """Every key pattern that a row's series are made from."""
    found = {row.source, *(where for where in row.labels.values() if not where.startswith("<"))}
    if isinstance(row, Histogram):
        found.add(row.start)
    if isinstance(row, StatEnum) and row.within is not None:
        found.add(row.within.source)
    return found


@pytest.mark.parametrize(
    "row", [row for row in SAMPLE_METRICS if not isinstance(row, Fact)], ids=lambda row: row.name
)
def test_all_that_a_row_needs_is_under_one_first_word(row: Metric) -> None:
    """The text of a domain is made of parts by that word, and a part knows no other's keys."""
    assert len({source.split(".")[0] for source in sources(row)}) == 1
