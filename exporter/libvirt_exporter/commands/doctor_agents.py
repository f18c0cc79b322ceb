"""What keeps guest agents from answering, where the configuration has them asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from libvirt_exporter.commands.doctor import Finding, changing, named, quoted_name
from libvirt_exporter.model import DomainSample, HostSample

LANE = "guest_agent"
"""The lane whose age a sample tells once agents have been asked."""
_PAGE = "docs/guest-agent.md has the rules that it takes"


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
        yield Finding(
            "problem",
            "no guest agent was asked: there is no read-write connection to libvirt",
            f"`{changing(uri)} list` must work as the exporter's user; {_PAGE}; the log has the "
            "reason",
        )
        return
    if found := having(lambda domain: bool(domain.stats.get("guest.agent.errors.denied"))):
        yield Finding(
            "problem",
            f"libvirt does not allow to ask the agent of {named(found)}",
            f"its access control must allow domain.write to the exporter's user; {_PAGE}",
        )
    if found := having(lambda domain: domain.stats.get("guest.agent.up") is False):
        yield Finding(
            "problem",
            f"the agent of {named(found)} does not answer",
            f"`{changing(uri)} qemu-agent-command {quoted_name(found[0])} "
            '\'{"execute":"guest-ping"}\'` tries it; restart qemu-guest-agent in the guest',
        )
    if found := having(lambda domain: bool(domain.stats.get("guest.agent.errors.refused"))):
        yield Finding(
            "hint",
            f"the agent of {named(found)} refuses some questions",
            "an old agent does not know them; others are blocked by the guest's configuration of "
            "qemu-ga (block-rpcs, allow-rpcs, FILTER_RPC_ARGS in /etc/sysconfig/qemu-ga)",
        )
    if found := having(lambda domain: _channel(domain) == "disconnected"):
        yield Finding(
            "hint",
            f"{named(found)} with a channel for a guest agent that no agent has opened",
            "install and start qemu-guest-agent in the guest",
        )
    if found := having(lambda domain: not _channel(domain)):
        yield Finding(
            "hint",
            f"{named(found)} without a channel for a guest agent",
            f"`{changing(uri)} edit {quoted_name(found[0])}`: put <channel type='unix'><target "
            "type='virtio' name='org.qemu.guest_agent.0'/></channel> among the devices",
        )


def _channel(domain: DomainSample) -> str:
    return domain.info.agent_channel if domain.info is not None else ""
