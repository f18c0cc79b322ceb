"""The doctor on guest agents."""

from __future__ import annotations

import pytest
from msgspec import structs

from libvirt_exporter.commands.doctor.agents import LANE, agent_findings
from libvirt_exporter.model import DomainInfo, DomainSample, HostSample, StatValue

URI = "qemu+unix:///system?socket=/x/libvirt-sock-ro"


def vm(channel: str, stats: dict[str, StatValue] | None = None) -> DomainSample:
    """A running VM."""
    return DomainSample(
        uuid="u",
        name="vm",
        active=True,
        stats={"state.state": 1, **(stats or {})},
        timestamp=1.0,
        info=DomainInfo(uuid="u", name="vm", agent_channel=channel),
    )


ASKED = HostSample(timestamp=1.0, duration=0.1, up=True, lanes={LANE: 1.0})


@pytest.mark.parametrize(
    ("domain", "severity", "what"),
    [
        (
            vm("connected", {"guest.agent.up": False}),
            "problem",
            "the agent of 1 VM (vm) does not respond",
        ),
        (
            vm("connected", {"guest.agent.errors.denied": 1}),
            "problem",
            "libvirt denies queries of the agent of 1 VM (vm)",
        ),
        (
            vm("connected", {"guest.agent.up": True, "guest.agent.errors.refused": 2}),
            "hint",
            "the agent of 1 VM (vm) rejects some queries",
        ),
        (
            vm("disconnected"),
            "hint",
            "1 VM (vm) with an agent channel but no running agent",
        ),
        (vm(""), "hint", "1 VM (vm) without a channel for a guest agent"),
    ],
)
def test_what_keeps_agents_from_answering_is_found(
    domain: DomainSample, severity: str, what: str
) -> None:
    """With a remedy that names the socket that may change things."""
    (found,) = agent_findings(structs.replace(ASKED, domains=(domain,)), URI)

    assert (found.severity, found.what) == (severity, what)
    assert "-sock-ro" not in found.remedy


def test_a_connection_that_cannot_be_opened_is_a_problem() -> None:
    """No agent was asked then, so nothing else is said of them."""
    domains = (vm("connected"), vm("disconnected"))
    (found,) = agent_findings(structs.replace(ASKED, domains=domains, lanes={}), URI)

    assert found.severity == "problem"
    assert "the read-write connection" in found.what
    assert "virsh -c 'qemu+unix:///system?socket=/x/libvirt-sock' list" in found.remedy


def test_nothing_is_found_where_all_is_well() -> None:
    """Agents that answer, VMs that do not run, and VMs of which the XML is not known."""
    off = structs.replace(vm(""), stats={"state.state": 5}, active=False)
    unknown = structs.replace(vm(""), info=None)
    well = vm("connected", {"guest.agent.up": True, "guest.agent.errors.refused": 0})

    assert not [*agent_findings(structs.replace(ASKED, domains=(off, unknown, well)), URI)]
    assert not [*agent_findings(structs.replace(ASKED, domains=(off,), lanes={}), URI)]
