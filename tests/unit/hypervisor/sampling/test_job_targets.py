"""What a copy or backup writes to is no layer of the disk."""

from __future__ import annotations

import pytest

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.sampling.job_targets import without_job_targets
from libvirt_exporter.model import DomainInfo, Stats

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"


def info(disks: str) -> DomainInfo:
    """A domain with these disks."""
    return parse_domain(
        f"<domain><name>web</name><uuid>{UUID}</uuid><devices>{disks}</devices></domain>"
    )


# As libvirt 9.0 has them; the second disk is being copied.
DISKS = info(
    """
    <disk type='file'>
      <source file='/a' index='7'/><backingStore/><target dev='vda'/>
    </disk>
    <disk type='file'>
      <source file='/c' index='6'/>
      <backingStore type='file' index='8'>
        <format type='raw'/><source file='/b'/><backingStore/>
      </backingStore>
      <mirror type='file' job='copy'><source file='/new' index='10'/><backingStore/></mirror>
      <target dev='vdc'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk>
    """
)


def images(*rows: tuple[str, int | None]) -> Stats:
    """Statistics of images, each by its disk and index."""
    stats: dict[str, int | str] = {"block.count": len(rows)}
    for number, (device, index) in enumerate(rows):
        stats[f"block.{number}.name"] = device
        if index is not None:
            stats[f"block.{number}.backingIndex"] = index
        stats[f"block.{number}.rd.reqs"] = 5
    return stats


def left(stats: Stats, known: DomainInfo | None = DISKS) -> list[str]:
    """Numbers of the images that are left."""
    found = without_job_targets(stats, known)
    assert found.items() <= stats.items()
    assert {key for key in stats if not key.startswith("block.")} <= found.keys()
    return sorted({key.split(".")[1] for key in found if key.startswith("block.")} - {"count"})


def test_indexes_are_those_of_the_chain() -> None:
    """Without the mirror's."""
    assert [disk.image_indexes for disk in DISKS.disks] == [(7,), (6, 8), ()]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([("vda", 7), ("vdc", 6), ("vdc", 8), ("sda", None)], "0123"),
        ([("vda", 7), ("vdc", 6), ("vdc", 8), ("vdc", 10), ("sda", None)], "0124"),  # a copy
        ([("vda", 7), ("vda", 9), ("vdc", 6), ("vdc", 8), ("sda", None)], "0234"),  # a backup
        ([("vda", 11), ("vda", 7)], "01"),  # a snapshot that the XML does not have yet
        ([("vdz", 3), ("vdz", 2)], "0"),  # a disk that it does not have yet
        ([("vda", None), ("vda", None)], "0"),
    ],
)
def test_only_layers_of_the_disks_are_left(rows: list[tuple[str, int | None]], kept: str) -> None:
    """And the top image of each."""
    stats = {"state.state": 1, **images(*rows)}
    assert left(stats) == [*kept]
    assert left(stats, None) == [
        str(number) for number, (device, _) in enumerate(rows) if device not in dict(rows[:number])
    ]


def test_statistics_without_a_target_are_left_as_they_are() -> None:
    """No copy is made of them."""
    stats = images(("vda", 7), ("vdc", 6), ("vdc", 8))
    assert without_job_targets(stats, DISKS) is stats
