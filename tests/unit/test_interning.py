"""Texts that are kept once."""

from __future__ import annotations

import sys

import pytest

from libvirt_exporter.interning import intern, interning


def test_equal_texts_are_equal_afterwards() -> None:
    """Whichever Python runs this."""
    assert intern("virtio-" + str(7)) == "virtio-7"


@pytest.mark.parametrize(
    ("version", "frees"),
    [((3, 11, 2), True), ((3, 12, 0), False), ((3, 12, 6), False), ((3, 12, 7), True)],
)
def test_texts_are_not_interned_where_python_would_keep_them_for_good(
    version: tuple[int, ...], frees: bool
) -> None:
    """VMs come and go, and guests choose what they say."""
    assert (interning(version) is sys.intern) == frees


def test_interned_texts_are_freed() -> None:
    """By this Python, or they are not interned."""
    for number in range(1000):
        intern(f"a text of a VM that is gone, number {number}")
    if intern is sys.intern:
        before = sys.getallocatedblocks()
        for number in range(10_000):
            intern(f"a text of another VM that is gone, number {number}")
        assert sys.getallocatedblocks() - before < 1000
