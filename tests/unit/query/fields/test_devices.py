"""Disks and network interfaces of a VM."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.model import Disk, DomainInfo, Interface, Stats
from libvirt_exporter.query.fields.table import values
from tests.support.samples import UUID
from tests.support.vm_views import NOW, later, value_of, view


def block(index: int, name: str, reads: int, path: str = "") -> Stats:
    """A disk after so many reads of 4 KiB, each of which took 1 ms."""
    found: dict[str, Any] = {
        "name": name,
        "rd.reqs": reads,
        "rd.bytes": reads * 4096,
        "rd.times": reads * 1_000_000,
        "physical": 8192,
    }
    if path:
        found["path"] = path
    return {f"block.{index}.{key}": value for key, value in found.items()}


def test_disk_has_sizes_totals_rates_and_latencies() -> None:
    """What libvirt does not tell of it is absent, and one without requests has latency 0."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(
            Disk(device="vda", source_type="file", image_id="image", serial="secret"),
            Disk(device="sdb", source_type="block", lun_guid="lun"),
        ),
    )
    count: Stats = {"block.count": 2}
    before = {**count, **block(0, "vda", 0), **block(1, "sdb", 5)}
    now = {**count, **block(0, "vda", 1234), **block(1, "sdb", 5)}

    assert value_of(later(10, before, now, info=info), "disks") == {
        "vda": {
            "truesize": 8192,
            "readOps": 1234,
            "readBytes": 1234 * 4096,
            "readRate": 505_000,
            "readLatency": 1_000_000,
            "imageID": "image",
        },
        "sdb": {
            "truesize": 8192,
            "apparentsize": 8192,
            "readOps": 5,
            "readBytes": 5 * 4096,
            "readRate": 0,
            "readLatency": 0,
        },
    }


def test_disk_of_which_only_the_name_is_known_is_left_out() -> None:
    """A QEMU that does not answer leaves nothing else; to have no disk is something to know."""
    hung: Stats = {"block.count": 1, "block.0.name": "vda"}
    both: Stats = {"block.count": 2, "block.0.name": "vda", **block(1, "vdb", 1)}

    ovirt = Disk(device="vda", image_id="image")
    known = DomainInfo(uuid=UUID, name="web", disks=(ovirt, Disk(device="vdb")))

    assert value_of(view(hung), "disks") is None
    assert value_of(view(hung, info=known), "disks") is None
    assert value_of(view(both, info=known), "disks")["vda"] == {"imageID": "image"}
    assert value_of(view(both), "disks").keys() == {"vdb"}
    assert value_of(view({"block.count": 0}), "disks") == {}


@pytest.mark.parametrize(
    ("image", "written", "physical", "shown"),
    [
        (Disk(device="vda", source_type="file", format="raw"), 0, 2**30, None),
        (Disk(device="vda", source_type="file", format="raw"), 4096, 2**30, 2**30),
        (Disk(device="vda", source_type="file", format="raw"), 0, 4096, 4096),
        (Disk(device="vda", source_type="file", format="qcow2"), 0, 2**30, 2**30),
        (Disk(device="vda", source_type="block", format="raw"), 0, 2**30, 2**30),
        (Disk(device="vda", source_type="network", format="raw"), 4096, 2**30, None),
        (Disk(device="vda", source_type="network", format="raw"), 4096, 2**20, 2**20),
    ],
)
def test_size_of_a_disk_is_not_what_its_image_occupies(
    image: Disk, written: int, physical: int, shown: int | None
) -> None:
    """libvirt gives the length of a raw file in which nothing is allocated, and the capacity of
    storage over the network."""
    info = DomainInfo(uuid=UUID, name="web", disks=(image,))
    sizes = {"capacity": 2**30, "allocation": written, "physical": physical}
    stats = {**block(0, "vda", 0), **{f"block.0.{key}": size for key, size in sizes.items()}}

    disk = value_of(view({"block.count": 1, **stats}, info=info), "disks")["vda"]
    assert disk.get("truesize") == shown


@given(st.permutations(["vda", "vdb", "vdc"]), st.permutations(["vda", "vdb", "vdc"]))
def test_devices_are_matched_by_name_whatever_their_number(
    order: list[str], before: list[str]
) -> None:
    """A hot-unplugged disk shifts the numbers of those behind it."""
    total = {"vda": 100, "vdb": 200, "vdc": 300}
    first: Stats = {"block.count": 3}
    second: Stats = {"block.count": 3}
    for index, name in enumerate(before):
        first = {**first, **block(index, name, 0)}
    for index, name in enumerate(order):
        second = {**second, **block(index, name, total[name])}

    found = value_of(later(4096, first, second), "disks")

    assert {name: disk["readRate"] for name, disk in found.items()} == total


def test_rates_of_a_disk_are_those_of_its_top_image() -> None:
    """Lower images of its chain come after, under the same name."""
    stats = {"block.count": 2, **block(0, "vda", 7), **block(1, "vda", 1)}

    assert value_of(view(stats), "disks")["vda"]["readOps"] == 7


def test_disk_that_was_plugged_in_meanwhile_has_no_rates_yet() -> None:
    """Its totals are there at once."""
    before = {"block.count": 0}
    now = {"block.count": 1, **block(0, "vda", 7)}

    assert value_of(later(10, before, now), "disks") == {
        "vda": {"truesize": 8192, "readOps": 7, "readBytes": 7 * 4096}
    }


def test_vm_without_disks_has_an_empty_map_and_one_not_asked_has_none() -> None:
    """Known to be empty is not unknown."""
    assert value_of(view({"block.count": 0, "net.count": 0}), "disks") == {}
    assert value_of(view({"block.count": 0, "net.count": 0}), "network") == {}
    assert values(view({}), ["disks", "network"]) == {}


@pytest.mark.parametrize(("model", "speed", "percent"), [("virtio", 1000, 10.0), ("", 100, 100.0)])
def test_network_rates_are_percent_of_a_speed_that_vdsm_made_up(
    model: str, speed: int, percent: float
) -> None:
    """And bytes per second, which need no such thing."""
    nic = Interface(device="vnet0", mac="52:54:00:00:00:01", model=model, link_state="down")
    info = DomainInfo(uuid=UUID, name="web", interfaces=(nic,))
    before: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 0}
    now: Stats = {
        "net.count": 1,
        "net.0.name": "vnet0",
        "net.0.rx.bytes": 125_000_000,
        "net.0.tx.bytes": 9,
        "net.0.rx.drop": 3,
    }

    assert value_of(later(10, before, now, info=info), "network") == {
        "vnet0": {
            "name": "vnet0",
            "macAddr": "52:54:00:00:00:01",
            "speed": speed,
            "state": "down",
            "rxDropped": 3,
            "rx": 125_000_000,
            "tx": 9,
            "rxRate": percent,
            "rxBytesPerSecond": 12_500_000,
        }
    }


def test_network_without_the_xml_has_no_speed_and_so_no_percentages() -> None:
    """What depends on the model is not guessed."""
    stats: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": 8}

    assert value_of(later(10, stats, stats), "network") == {
        "vnet0": {"name": "vnet0", "rx": 8, "rxBytesPerSecond": 0}
    }


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.floats(1, 1e6))
def test_rates_have_three_digits_and_are_right_to_that(
    start: int, growth: int, seconds: float
) -> None:
    """Within half a percent, or half a unit, of the exact rate."""
    before: Stats = {"net.count": 1, "net.0.name": "vnet0", "net.0.rx.bytes": start}
    now: Stats = {**before, "net.0.rx.bytes": start + growth}
    both = later(seconds, before, now)
    exact = growth / (NOW - (NOW - seconds))

    rate = value_of(both, "network")["vnet0"]["rxBytesPerSecond"]

    assert abs(rate - exact) <= max(0.005 * exact, 0.51)
    assert len(str(rate).rstrip("0")) <= 3
