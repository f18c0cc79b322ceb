"""File systems of pools, by the kernel: their true figures, and what one that hangs costs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.sources import file_systems
from libvirt_exporter.hypervisor.sources.file_systems import STUCK_LIMIT, FileSystems, Usage
from libvirt_exporter.hypervisor.sources.storage import StorageLane
from libvirt_exporter.model import Stats
from tests.support.waiting import eventually
from tests.unit.hypervisor.sources.test_host_lanes import Libvirt, Thing

pytestmark = pytest.mark.anyio

SIZE = 300
"""Bytes that the fake libvirt says of a pool."""


class Pool(Thing):
    """A pool of a directory, with volumes."""

    def __init__(
        self, name: str, path: str, kind: str = "dir", volumes: Iterable[str] = ()
    ) -> None:
        target = f"<target><path>{path}</path></target>"
        super().__init__(name, f"<pool type='{kind}'>{target}</pool>")
        self.volumes = list(volumes)
        self.lists = 0

    def listVolumes(self) -> list[str]:  # noqa: N802
        self.lists += 1
        return self.volumes


class Kernel:
    """File systems by path; those of `dead` do not answer until `revived`."""

    def __init__(self) -> None:
        self.usages: dict[str, Usage] = {}
        self.entries: dict[str, set[str]] = {}
        self.dead: set[str] = set()
        self.revived = threading.Event()
        self.asked: list[str] = []

    def usage(self, path: str, names: Iterable[str]) -> Usage:
        self.asked.append(path)
        if path in self.dead:
            self.revived.wait()
        if path not in self.usages:
            raise FileNotFoundError(2, "No such file or directory", path)
        has_entry = not self.entries.get(path, set()).isdisjoint(names)
        return self.usages[path]._replace(has_entry=has_entry)


def usage(size: int = SIZE, available: int = 7, device: int = 1) -> Usage:
    return Usage(size, available, device, has_entry=False)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel whose answers can be chosen, and little patience with it."""
    kernel = Kernel()
    monkeypatch.setattr(file_systems, "_usage", kernel.usage)
    monkeypatch.setattr(file_systems, "PATIENCE", 0.2)
    yield kernel
    kernel.revived.set()


def lane_of(*pools: Thing, local: bool = True) -> StorageLane:
    return StorageLane(Libvirt(*pools).connections(), local=local)


async def read(lane: StorageLane) -> dict[str, Any]:
    """The keys of file systems after one more reading."""
    await lane.read((), Deadline.within(10))
    stats: Stats = lane.host_stats()
    return {key: value for key, value in stats.items() if ".filesystem." in key}


def seen(number: int = 0, size: int = SIZE, available: int = 7) -> dict[str, Any]:
    prefix = f"pool.{number}.filesystem"
    return {
        f"{prefix}.visible": True,
        f"{prefix}.size": size,
        f"{prefix}.available": available,
    }


def unseen(reason: str, number: int = 0) -> dict[str, Any]:
    prefix = f"pool.{number}.filesystem"
    return {f"{prefix}.visible": False, f"{prefix}.reason": reason}


async def test_figures_are_the_kernels(tmp_path: Path) -> None:
    """Those of statvfs, for programs without privileges; and what is in the directory."""
    (tmp_path / "disk.raw").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    systems = FileSystems()
    figures, device = os.statvfs(tmp_path), os.stat(tmp_path).st_dev
    for names, has_entry in (((), False), (("x", "disk.raw"), True), (("gone",), True)):
        found = await systems.usage(str(tmp_path), names)
        assert found.size == figures.f_frsize * figures.f_blocks
        assert 0 <= found.available <= found.size
        assert found.device == device
        assert found.has_entry == has_entry
    with pytest.raises(FileNotFoundError):
        await systems.usage(str(tmp_path / "absent"))
    systems.close()


@pytest.mark.parametrize("kind", ["dir", "fs", "netfs"])
async def test_a_pool_that_was_never_refreshed_shows_how_full_it_is(
    kind: str, kernel: Kernel
) -> None:
    """libvirt's own figures stay beside it."""
    kernel.usages["/images"] = usage(available=0)
    lane = lane_of(Pool("images", "/images", kind))
    assert await read(lane) == seen(available=0)
    assert lane.host_stats()["pool.0.available"] == 200
    kernel.usages["/images"] = usage(available=9)
    assert await read(lane) == seen(available=9)


@pytest.mark.parametrize("kind", ["logical", "disk", "rbd", "zfs", ""])
async def test_what_is_no_directory_is_not_looked_at(kind: str, kernel: Kernel) -> None:
    """The path of a volume group is one of devices."""
    kernel.usages["/dev/vg"] = usage()
    assert await read(lane_of(Pool("vg", "/dev/vg", kind))) == {}
    assert kernel.asked == []


async def test_pools_of_another_machine_are_not_looked_at(kernel: Kernel) -> None:
    """The same path here would be another file system."""
    kernel.usages["/images"] = usage()
    assert await read(lane_of(Pool("images", "/images"), local=False)) == {}
    assert kernel.asked == []


@pytest.mark.parametrize("path", ["", "images"])
async def test_a_pool_without_an_absolute_path_is_not_looked_at(path: str, kernel: Kernel) -> None:
    """Nothing is looked for relative to the exporter's own directory."""
    assert await read(lane_of(Pool("odd", path))) == {}
    assert kernel.asked == []


async def test_a_pool_that_does_not_run_is_not_looked_at(kernel: Kernel) -> None:
    """Its file system need not be mounted; also not when it ran before."""
    kernel.usages["/images"] = usage()
    pool = Pool("images", "/images")
    lane = lane_of(pool)
    assert await read(lane) == seen()
    pool.state = libvirt.VIR_STORAGE_POOL_INACTIVE
    assert await read(lane) == {}


async def test_a_path_that_cannot_be_reached_says_why(kernel: Kernel) -> None:
    """In a container, or without permission."""
    assert await read(lane_of(Pool("images", "/images"))) == unseen(
        "/images: No such file or directory"
    )


async def test_another_file_system_at_the_path_is_not_taken_for_the_pools(kernel: Kernel) -> None:
    """As /tmp of a container: it has another size, and none of the volumes."""
    kernel.usages["/tmp"] = usage(size=1000)
    kernel.entries["/tmp"] = {"own file"}
    lane = lane_of(Pool("tmp", "/tmp", volumes=["disk.qcow2"]))
    for _ in range(2):
        assert await read(lane) == unseen("/tmp: another file system is there, or it was resized")


async def test_a_file_system_that_was_resized_is_known_by_a_volume(kernel: Kernel) -> None:
    """libvirt has its former size until somebody refreshes the pool. Volumes are asked for once."""
    kernel.usages["/images"] = usage(size=1000)
    kernel.entries["/images"] = {"disk.qcow2"}
    pool = Pool("images", "/images", volumes=["deleted", "disk.qcow2"])
    lane = lane_of(pool)
    for _ in range(3):
        assert await read(lane) == seen(size=1000)
    assert pool.lists == 1


async def test_a_file_system_that_was_seen_stays_the_pools_while_it_is_mounted(
    kernel: Kernel,
) -> None:
    """It may grow although no volume is there; what is mounted in its place is another one."""
    kernel.usages["/images"] = usage()
    lane = lane_of(Pool("images", "/images"))
    assert await read(lane) == seen()
    kernel.usages["/images"] = usage(size=1000)
    assert await read(lane) == seen(size=1000)
    kernel.usages["/images"] = usage(size=1000, device=2)
    assert (await read(lane))["pool.0.filesystem.visible"] is False


async def test_a_dead_server_costs_one_call_and_no_other_pool(kernel: Kernel) -> None:
    """However often it is asked; it is seen again when it answers."""
    kernel.usages |= {"/a": usage(), "/nfs": usage(), "/z": usage()}
    kernel.dead.add("/nfs")
    lane = lane_of(Pool("a", "/a"), Pool("n", "/nfs", "netfs"), Pool("z", "/z"))
    for _ in range(3):
        assert await read(lane) == seen(0) | unseen("/nfs: it does not answer", 1) | seen(2)
    assert kernel.asked.count("/nfs") == 1
    kernel.dead.clear()
    kernel.revived.set()

    async def visible() -> bool:
        return bool((await read(lane))["pool.1.filesystem.visible"])

    await eventually(lambda: kernel.asked.count("/nfs") == 1, "the call comes back")
    for _ in range(100):
        if await visible():
            break
    assert await read(lane) == seen(0) | seen(1) | seen(2)


async def test_nothing_is_asked_while_many_do_not_answer(kernel: Kernel) -> None:
    """Each costs a thread."""
    paths = [f"/nfs{number}" for number in range(STUCK_LIMIT + 2)]
    kernel.usages = {path: usage() for path in paths}
    kernel.dead.update(paths)
    lane = lane_of(*(Pool(path[1:], path, "netfs") for path in paths))
    for _ in range(2):
        stats = await read(lane)
        assert not any(value for key, value in stats.items() if key.endswith("visible"))
    assert len(kernel.asked) == len({*kernel.asked}) == STUCK_LIMIT
