"""What a configuration chooses and a host does not have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from libvirt_exporter.config import load
from libvirt_exporter.model import DomainInfo, DomainSample, HostSample
from libvirt_exporter.service.unmatched import is_complete, unmatched

NOW = 1_800_000_000.0

UUID = "00000000-0000-0000-0000-00000000000{}"
LABEL = "labels: {custom: [{name: tenant, xpath: title}]}"


def host(*names: str, tenant: str = "", info: bool = True) -> HostSample:
    """A host with running domains of these names."""
    domains = (
        DomainSample(
            uuid=UUID.format(number),
            name=name,
            active=True,
            stats={"state.state": 1, "state.reason": 1},
            timestamp=NOW,
            info=DomainInfo(
                name=name, uuid=UUID.format(number), custom_labels=(("tenant", tenant),)
            )
            if info
            else None,
        )
        for number, name in enumerate(names, 1)
    )
    return HostSample(up=True, domains=tuple(domains), timestamp=NOW, duration=0.1)


def found(configuration: str, sample: HostSample) -> Sequence[str]:
    """What has no effect."""
    return [each.what for each in unmatched(load(configuration), sample)]


@pytest.mark.parametrize(
    "include",
    [
        "web",
        "web-1x",
        "uuid:ffffffff-0000-0000-0000-000000000001",
        "metadata:openstack.project=web.*",
        "label:tenant=web.*",
    ],
)
def test_an_include_that_hides_every_vm_is_reported(include: str) -> None:
    """Whatever kind of pattern it is."""
    configuration = f"{{domains: {{include: ['{include}']}}, {LABEL}}}"
    (choice, *_) = unmatched(load(configuration), host("web-1", "web-2", tenant="acme"))
    assert choice.what == "domains.include does not match any of the 2 VMs: nothing is shown"
    assert choice.alone


def test_a_pattern_without_effect_is_named_among_others() -> None:
    """Of both lists; one that matches is not."""
    configuration = "domains: {include: [web-1, mail], exclude: [web-2, test-.*]}"
    assert found(configuration, host("web-1", "web-2")) == [
        "the pattern 'mail' of domains.include does not match any of the 2 VMs",
        "the pattern 'test-.*' of domains.exclude does not match any of the 2 VMs",
    ]


def test_a_label_without_a_value_is_reported() -> None:
    """Of no VM that has been read."""
    (choice,) = unmatched(load(LABEL), host("web-1"))
    assert choice.what == "the custom label tenant has no value for the only VM"
    assert UUID.format(1) in choice.remedy
    assert not found(LABEL, host("web-1", tenant="acme"))
    assert not found(LABEL, host("web-1", info=False))


@pytest.mark.parametrize(
    ("configuration", "sample"),
    [
        ("domains: {include: [web]}", host()),
        ("domains: {exclude: ['state:shutoff']}", host("web-1")),
        ("domains: {include: ['label:tenant=acme']}\n" + LABEL, host("web-1", info=False)),
        ("domains: {include: ['web-.*']}", host("web-1", info=False)),
        ("", host("web-1")),
    ],
)
def test_what_may_still_match_is_not_reported(configuration: str, sample: HostSample) -> None:
    """Without VMs, by a state that changes, as long as the XML has not been read."""
    assert not found(configuration, sample)


def test_a_sample_is_complete_with_the_xml_of_its_domains() -> None:
    """What cannot be read, and what is left out unread, is not waited for."""
    assert is_complete(host("web-1"))
    assert not is_complete(host("web-1", info=False))
    assert not is_complete(replace(host("web-1"), up=False))
    assert is_complete(replace(host("web-1", info=False), unparsable=(UUID.format(1),)))
