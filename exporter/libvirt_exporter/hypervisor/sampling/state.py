"""The state of all domains: the part of a sample that answers first."""

from __future__ import annotations

from typing import Final

import libvirt

from libvirt_exporter.hypervisor.connection.drivers import state_stats
from libvirt_exporter.hypervisor.connection.facts import Facts, read_facts
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.model import Stats

_ACTIVE_STATES: Final = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)

Row = tuple[str, str, bool, Stats]
"""UUID, name, whether active, `state.*`."""


def facts_of(session: Session) -> Facts:
    """The connection's facts, read once for each connection."""
    if session.facts is None:
        session.facts = read_facts(session.conn)
    return session.facts


def read_states(session: Session) -> tuple[Facts, list[Row]]:
    """Facts of the connection, and every domain with its state."""
    facts = facts_of(session)
    if "state" in facts.fallback.groups:
        records = [(domain, state_stats(domain)) for domain in session.conn.listAllDomains()]
    else:
        records = session.conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    return facts, [
        (domain.UUIDString(), domain.name(), _is_active(domain, stats), stats)
        for domain, stats in records
    ]


def _is_active(domain: libvirt.virDomain, stats: Stats) -> bool:
    state = stats.get("state.state")
    if state in _ACTIVE_STATES:
        return True
    return state != libvirt.VIR_DOMAIN_SHUTOFF and domain.ID() >= 0


def _visit_state(session: Session, uuid: str) -> tuple[bool, Stats]:
    domain = session.domain(uuid)
    return bool(domain.isActive()), state_stats(domain)
