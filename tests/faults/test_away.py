"""While libvirt is away nothing grows; `make soak` has the same for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.away import WAYS, away


@pytest.mark.parametrize("way", WAYS)
def test_nothing_grows_while_libvirt_is_away(way: str, tmp_path: Path) -> None:
    """However it is away: every scrape is answered, memory, threads and descriptors stay."""
    away(way, tmp_path, scrapes=200, seconds=4)
