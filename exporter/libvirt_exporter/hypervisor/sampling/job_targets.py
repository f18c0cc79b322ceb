"""Images that are no layer of their disk although the bulk call lists them like one.

With BACKING, libvirt (9.0 to 12.8) lists the images that a copy or backup job writes to after the
backing chain of their disk, under an index of their own (qemuDomainGetStatsBlockExportDisk).
"""

from __future__ import annotations

from libvirt_exporter.model import DomainInfo, Stats, StatValue


def without_job_targets(stats: Stats, info: DomainInfo | None) -> Stats:
    """The statistics without those of images that are in no chain of the XML.

    The first image of a disk always stays: right after a snapshot the XML does not have it yet.
    Without `info` nothing is known of lower images, and none stays.
    """
    chains = {disk.device: disk.image_indexes for disk in info.disks} if info is not None else {}
    seen: set[StatValue] = set()
    targets: set[str] = set()
    for key, device in stats.items():
        if not (key.startswith("block.") and key.endswith(".name")):
            continue
        number = key.split(".")[1]
        index = stats.get(f"block.{number}.backingIndex")
        if device in seen and index not in chains.get(str(device), ()):
            targets.add(number)
        seen.add(device)
    if not targets:
        return stats
    return {key: value for key, value in stats.items() if not _is_of(key, targets)}


def _is_of(key: str, numbers: set[str]) -> bool:
    kind, number, *_ = (*key.split(".", 2), "")
    return kind == "block" and number in numbers
