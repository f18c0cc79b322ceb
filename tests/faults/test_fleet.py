"""Hosts that are dead or frozen cost the others of the same exporter nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fleet import Fleet, Hosts, flooded, hosts, isolated


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Four hosts that answer, and one of each kind that does not."""
    directory = tmp_path_factory.mktemp("fleet")
    with hosts(directory, 4, 5, domains=2) as made:
        yield made


def test_silent_hosts_leave_the_others_as_quick_and_whole_as_they_are(
    made: Hosts, tmp_path: Path
) -> None:
    """A frozen libvirtd, half a TLS handshake, an unreachable host, a mute ssh, and none at all."""
    print(isolated(tmp_path, made, rounds=2, every=1.0))


def test_a_flood_about_a_silent_host_takes_no_place_of_another(made: Hosts, tmp_path: Path) -> None:
    """Parts of the other one are still answered."""
    with Fleet(made.targets(), tmp_path / "exporter") as fleet:
        flooded(fleet, "tls", "host00", clients=24)
