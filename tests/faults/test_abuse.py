"""Hostile clients at 2,000 VMs of the test driver; `make soak` has the same for longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.bench.synthetic import write_host
from tests.faults.abuse import FLOODS, Abused, ended, flooded, hoarded, left, silent, unfinished
from tests.faults.watch import ENDS_WITHIN
from tests.support.authority import Authority

SIZE: Final = 2000


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of the host."""
    node = tmp_path_factory.mktemp("host") / "node.xml"
    write_host(node, SIZE)
    return f"test://{node}"


@pytest.fixture(scope="module")
def abused(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abused]:
    """An exporter that has been scraped before."""
    with Abused(host, tmp_path_factory.mktemp("abuse")) as abused:
        asyncio.run(warmed(abused))
        yield abused


async def warmed(abused: Abused) -> None:
    """Have it make its plans."""
    for _ in range(2):
        await abused.usual()


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_in_no_scrapes_way(abused: Abused, name: str) -> None:
    """A usual scrape takes less than three times as long, and health is answered at once."""
    asyncio.run(flooded(abused, name, 2.0))


def test_unfinished_requests_are_in_no_scrapes_way(abused: Abused) -> None:
    """As many as there may be connections of an address, and more."""
    asyncio.run(unfinished(abused))


def test_clients_that_do_not_read_keep_little_and_not_for_long(abused: Abused) -> None:
    """Fifteen bodies at most, and half of what it usually takes a minute later."""
    asyncio.run(hoarded(abused))


def test_clients_that_left_keep_nothing_while_libvirt_hangs(tmp_path: Path) -> None:
    """The next scrape is answered by its own deadline."""
    silent_socket = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as libvirt:
        libvirt.bind(str(silent_socket))
        libvirt.listen(100)
        uri = f"qemu+unix:///system?socket={silent_socket}"
        with Abused(uri, tmp_path / "exporter") as abused:
            asyncio.run(left(abused))


def test_clients_that_are_silent_before_tls_are_in_no_scrapes_way(
    host: str, tmp_path: Path
) -> None:
    """Neither a handshake that never begins nor one that never ends takes a place."""
    with Abused(host, tmp_path / "exporter", Authority(tmp_path)) as abused:
        asyncio.run(silent(abused))


@pytest.mark.parametrize("name", FLOODS)
def test_it_ends_at_once_under_a_flood(name: str, host: str, tmp_path: Path) -> None:
    """Status 0, as ever, whatever the others ask."""
    with Abused(host, tmp_path / "exporter") as abused:
        assert asyncio.run(ended(abused, name)) < ENDS_WITHIN
