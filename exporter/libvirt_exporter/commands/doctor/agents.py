"""What keeps guest agents from answering, where the configuration has them asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from libvirt_exporter.commands.doctor.finding import (
    Finding,
    changing,
    hint,
    named,
    problem,
    quoted_name,
)
from libvirt_exporter.model import DomainSample, HostSample

LANE = "guest_agent"
"""The lane whose age a sample tells once agents have been asked."""
_PAGE = "docs/guest-agent.md lists the required access rules"


def agent_findings(sample: HostSample, uri: str) -> Iterator[Finding]:
    """Yield what was found in a sample of the domains that are shown, by name."""
    running = sorted(
        (domain for domain in sample.domains if domain.state == "running" and domain.info),
        key=lambda domain: domain.name,
    )

    def having(wanted: Callable[[DomainSample], bool]) -> Sequence[DomainSample]:
        return [domain for domain in running if wanted(domain)]

    connected = having(lambda domain: _channel(domain) == "connected")
    if connected and LANE not in sample.lanes:
        yield problem(
            "no guest agent was queried: the read-write connection to libvirt failed",
            f"`{changing(uri)} list` must work as the exporter's user; {_PAGE}; the log has "
            "the reason",
        )
        return
    if found := having(lambda domain: bool(domain.stats.get("guest.agent.errors.denied"))):
        yield problem(
            f"libvirt denies queries of the agent of {named(found)}",
            f"grant domain.write to the exporter's user in libvirt's access control; {_PAGE}",
        )
    if found := having(lambda domain: domain.stats.get("guest.agent.up") is False):
        yield problem(
            f"the agent of {named(found)} does not respond",
            f"`{changing(uri)} qemu-agent-command {quoted_name(found[0])} "
            '\'{"execute":"guest-ping"}\'` tests it; restart qemu-guest-agent in the guest',
        )
    if found := having(lambda domain: bool(domain.stats.get("guest.agent.errors.refused"))):
        yield hint(
            f"the agent of {named(found)} rejects some queries",
            "upgrade an old agent; or change the guest's configuration of qemu-ga, which blocks "
            "them (block-rpcs, allow-rpcs, FILTER_RPC_ARGS in /etc/sysconfig/qemu-ga)",
        )
    if found := having(lambda domain: _channel(domain) == "disconnected"):
        yield hint(
            f"{named(found)} with an agent channel but no running agent",
            "install and start qemu-guest-agent in the guest",
        )
    if found := having(lambda domain: not _channel(domain)):
        yield hint(
            f"{named(found)} without a channel for a guest agent",
            f"`{changing(uri)} edit {quoted_name(found[0])}`: add <channel type='unix'><target "
            "type='virtio' name='org.qemu.guest_agent.0'/></channel> to the devices",
        )


def _channel(domain: DomainSample) -> str:
    return domain.info.agent_channel if domain.info is not None else ""
