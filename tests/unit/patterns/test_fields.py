"""Patterns of `fields.include` and `fields.exclude`."""

from __future__ import annotations

import pytest

from libvirt_exporter.patterns.fields import FieldPattern


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("libvirt_domain_state", "libvirt_domain_state"),
        ("libvirt_domain_block_*", "libvirt_domain_block_read_bytes_total"),
        ("block.*.rd.*", "block.0.rd.bytes"),
        ("block.*", "block.0.rd.bytes"),
        ("*", "anything.at.all"),
        ("block.<num>.rd.bytes", "block.7.rd.bytes"),
        ("vcpu.0.exits.sum", "vcpu.0.exits.sum"),
    ],
)
def test_pattern_matches(pattern: str, name: str) -> None:
    """`*` stands for anything, a placeholder for one part."""
    assert FieldPattern(pattern).matches(name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("libvirt_domain_state", "libvirt_domain_state_reason"),
        ("block.<num>.rd.bytes", "block.0.1.rd.bytes"),
        ("block.0.rd.bytes", "blockx0.rd.bytes"),
        ("cpu.time", "vcpu.time"),
        ("", "x"),
    ],
)
def test_pattern_matches_whole_names_only(pattern: str, name: str) -> None:
    """A dot is a dot, and nothing may be left over."""
    assert not FieldPattern(pattern).matches(name)


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        ("block.0.rd.bytes", "block.<num>.rd.bytes"),
        ("block.*.rd.bytes", "block.<num>.rd.bytes"),
        ("vcpu.*.exits.sum", "vcpu.<num>.<name>.sum"),
        ("vcpu.0.halt_wait_ns.sum", "vcpu.<num>.<name>_ns.sum"),
        ("block.<num>.rd.bytes", "block.<num>.rd.bytes"),
        ("*", "cpu.time"),
    ],
)
def test_pattern_may_match_a_source(pattern: str, source: str) -> None:
    """Some concrete key of the source is meant."""
    assert FieldPattern(pattern).may_match(source)


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        ("block.0.wr.bytes", "block.<num>.rd.bytes"),
        ("vcpu.0.exits.sum", "vcpu.<num>.<name>_ns.sum"),
        ("vcpu.0.exits", "vcpu.<num>.<name>.sum"),
        ("cpu.time", "cpu.user"),
    ],
)
def test_pattern_may_not_match_another_source(pattern: str, source: str) -> None:
    """No key of the source is meant."""
    assert not FieldPattern(pattern).may_match(source)


def test_pattern_shows_itself() -> None:
    """Messages name it as it was written."""
    assert repr(FieldPattern("block.*")) == "FieldPattern('block.*')"
