"""Storage pools as libvirt last knew them, and how full their file systems are.

No pool is refreshed. libvirt's sizes are those of the last time that it looked, so the file
systems of this machine are asked for theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sources.file_systems import FileSystems, Usage
from libvirt_exporter.hypervisor.sources.object_lane import ObjectLane, flags, xml_root
from libvirt_exporter.model import Stats

# An inactive pool has the sizes of its last run, or 0 (libvirt 9.0).
_SIZED: Final = (libvirt.VIR_STORAGE_POOL_RUNNING, libvirt.VIR_STORAGE_POOL_DEGRADED)
_DIRECTORIES: Final = frozenset({"dir", "fs", "netfs"})
"""Types of pools whose target is a directory with the volumes as files."""
_NAMES: Final = 20
"""Volumes that are looked for."""


class StorageLane(ObjectLane):
    """Knows `pool.<num>.*`."""

    name = "storage"
    prefix = "pool"

    def __init__(self, connections: Connections, *, local: bool = False) -> None:
        """`local`: whether the pools are on this machine."""
        super().__init__(connections)
        self._file_systems = FileSystems() if local else None
        self._paths: dict[str, str] = {}
        self._same: dict[str, tuple[str, int]] = {}
        """Path and device of the file systems that were seen to be the pools'."""

    def list_all(self, session: Session) -> list[libvirt.virStoragePool]:
        return session.conn.listAllStoragePools()

    def figures(self, session: Session, uuid: str) -> Stats:
        """State, type and, of a running pool, sizes in bytes.

        Source: virStoragePoolGetInfo, virStoragePoolGetXMLDesc.
        """
        pool = session.conn.storagePoolLookupByUUIDString(uuid)
        info: Any = pool.info()  # libvirt-python (12.8) annotates structures as str
        state, *sizes = info
        definition = xml_root(pool.XMLDesc())
        stats = {
            "type": definition.get("type", ""),
            "state": state,
            **flags(session, pool),
        }
        self._paths.pop(uuid, None)
        if state in _SIZED:
            stats |= zip(("capacity", "allocation", "available"), sizes, strict=True)
            path = definition.findtext("target/path", "")
            if stats["type"] in _DIRECTORIES and path.startswith("/"):
                self._paths[uuid] = path
        return stats

    async def complete(self, known: Mapping[str, Stats], deadline: Deadline) -> Mapping[str, Stats]:
        """With `filesystem.*`, where a pool's directory can be on this machine."""
        paths = dict(self._paths) if self._file_systems is not None else {}
        self._same = {uuid: seen for uuid, seen in self._same.items() if uuid in paths}
        found = dict(known)
        for uuid, figures in known.items():
            if uuid in paths:
                more = await self._file_system(uuid, paths[uuid], figures, deadline)
                found[uuid] = {**figures, **more}
        return found

    async def _file_system(self, uuid: str, path: str, figures: Stats, deadline: Deadline) -> Stats:
        assert self._file_systems is not None
        try:
            usage = await self._file_systems.usage(path)
            if not self._is_same(uuid, path, usage, figures):
                # Perhaps it was resized. A volume that is there tells that it is the pool's.
                names = await self.visit("list of volumes", (uuid,), _volumes, deadline)
                usage = await self._file_systems.usage(path, names.answers.get(uuid, ()))
                if not usage.has_entry:
                    raise FileNotFoundError(0, "another file system is there, or it was resized")
        except OSError as error:
            return {
                "filesystem.visible": False,
                "filesystem.reason": f"{path}: {error.strerror or error}",
            }
        self._same[uuid] = path, usage.device
        return {
            "filesystem.visible": True,
            "filesystem.size": usage.size,
            "filesystem.available": usage.available,
        }

    def _is_same(self, uuid: str, path: str, usage: Usage, figures: Stats) -> bool:
        """Whether the file system is the pool's: in a container the path may lead elsewhere."""
        same_size = usage.size == figures.get("capacity")
        return same_size or self._same.get(uuid) == (path, usage.device)

    def close(self) -> None:
        super().close()
        if self._file_systems is not None:
            self._file_systems.close()


def _volumes(session: Session, uuid: str) -> list[str]:
    """Names of some of a pool's volumes, as libvirt remembers them; they are its files' names."""
    # libvirt-python (12.8) annotates the list as str.
    volumes: Any = session.conn.storagePoolLookupByUUIDString(uuid).listVolumes()
    return list(volumes[:_NAMES])
