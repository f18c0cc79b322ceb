"""Statistics of all or some domains in one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.model import Stats


def list_stats(
    session: Session, uuids: list[str], stats: int, flags: int
) -> list[tuple[str, Stats]]:
    """Bulk statistics of those of the domains that exist; runs on a connection's thread."""
    handles = session.domains(uuids)
    if not handles:
        return []
    records = session.conn.domainListGetStats(list(handles.values()), stats, flags)
    if len(records) == len(handles):
        # All of them, in the order asked. Every call on a handle lets go of the interpreter's
        # lock, which costs when four connections have answers.
        return [(uuid, values) for uuid, (_, values) in zip(handles, records, strict=True)]
    return [(domain.UUIDString(), values) for domain, values in records]


def excuse_absent(
    domains: Mapping[str, DomainDraft], asked: Collection[str], rows: Collection[tuple[str, Stats]]
) -> None:
    """libvirt silently leaves out who ended since the listing: nobody failed to answer for it."""
    if len(rows) == len(asked):
        return
    for uuid in set(asked).difference(uuid for uuid, _ in rows):
        domains[uuid].excused = True
