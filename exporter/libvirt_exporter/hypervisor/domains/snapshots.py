"""Snapshots and checkpoints that libvirt keeps of a domain: how many, and since when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

import libvirt

from libvirt_exporter.hypervisor.connection.session import Session

ROOTS_READ: Final = 20
"""Trees of snapshots up to which their ages are read. Mostly there is one: a new snapshot is a
child of the one before, and whoever deletes the eldest makes its children the roots."""

_CREATION_TIME: Final = re.compile(r"<creationTime>(\d+)</creationTime>")


class _Description(Protocol):
    def getXMLDesc(self, flags: int = 0) -> str: ...  # noqa: N802


def snapshot_facts(session: Session, domain: libvirt.virDomain) -> dict[str, float]:
    """Those of `snapshots`, `oldest_snapshot`, `checkpoints` and `oldest_checkpoint` (Unix times)
    that can be told.

    Asks for the domain's lock, but neither for its job nor for its monitor. Runs on the
    connection's thread. Raises libvirt.libvirtError.
    """
    facts: dict[str, float] = {}
    count = session.if_supported("snapshotNum", domain.snapshotNum)
    if count is not None:
        facts["snapshots"] = count
    if count:
        roots = domain.listAllSnapshots(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS)
        facts.update(_oldest("oldest_snapshot", roots, 0))
    # There is no call that only counts them.
    checkpoints = session.if_supported("listAllCheckpoints", domain.listAllCheckpoints)
    if checkpoints is not None:
        facts["checkpoints"] = len(checkpoints)
    if checkpoints:
        first = domain.listAllCheckpoints(libvirt.VIR_DOMAIN_CHECKPOINT_LIST_ROOTS)
        flags = libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
        facts.update(_oldest("oldest_checkpoint", first, flags))
    return facts


def _oldest(fact: str, roots: Sequence[_Description], flags: int) -> dict[str, float]:
    """The earliest creation time, unless there are too many roots to read."""
    if len(roots) > ROOTS_READ:
        return {}
    found = (_CREATION_TIME.search(root.getXMLDesc(flags)) for root in roots)
    times = [float(match[1]) for match in found if match is not None]
    return {fact: min(times)} if times else {}
