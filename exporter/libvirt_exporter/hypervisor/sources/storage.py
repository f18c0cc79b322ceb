"""Storage pools as libvirt last knew them: nothing is refreshed, no volume is looked at."""

from __future__ import annotations

from typing import Any, Final

import libvirt

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sources.object_lane import ObjectLane, flags, xml_root
from libvirt_exporter.model import Stats

# An inactive pool has the sizes of its last run, or 0 (libvirt 9.0).
_SIZED: Final = (libvirt.VIR_STORAGE_POOL_RUNNING, libvirt.VIR_STORAGE_POOL_DEGRADED)


class StorageLane(ObjectLane):
    """Knows `pool.<num>.*`."""

    name = "storage"
    prefix = "pool"

    def list_all(self, session: Session) -> list[libvirt.virStoragePool]:
        return session.conn.listAllStoragePools()

    def figures(self, session: Session, uuid: str) -> Stats:
        """State, type and, of a running pool, sizes in bytes.

        Source: virStoragePoolGetInfo, virStoragePoolGetXMLDesc.
        """
        pool = session.conn.storagePoolLookupByUUIDString(uuid)
        info: Any = pool.info()  # libvirt-python (12.8) annotates structures as str
        state, *sizes = info
        stats = {
            "type": xml_root(pool.XMLDesc()).get("type", ""),
            "state": state,
            **flags(session, pool),
        }
        if state in _SIZED:
            stats |= zip(("capacity", "allocation", "available"), sizes, strict=True)
        return stats
