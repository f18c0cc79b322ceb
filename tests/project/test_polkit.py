"""What the polkit rule allows and denies, by the JavaScript engine that polkit has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import dukpy
import pytest

RULE: Final = (
    Path(__file__).parents[2] / "deploy" / "polkit" / "50-libvirt-exporter-guest-agent.rules"
)
USER: Final = "libvirt-exporter"
POLKIT: Final = """
var rule, polkit = {
    Result: {NO: "no", YES: "yes", NOT_HANDLED: "not handled"},
    addRule: function (added) { rule = added; }
};
"""
ASKED: Final = """
rule({id: dukpy.action, lookup: function (name) { return dukpy.details[name]; }},
     {user: dukpy.user})
"""


def decision(action: str, user: str = USER, **details: str) -> Any:
    """What the rule says of a user's action; `details` are those that libvirt gives polkit."""
    script = f"{POLKIT}{RULE.read_text()}{ASKED}"
    return dukpy.evaljs(script, action=action, user=user, details=details)


@pytest.mark.parametrize(
    "action",
    [
        "org.libvirt.unix.monitor",
        "org.libvirt.unix.manage",
        "org.libvirt.api.connect.read",
        "org.libvirt.api.domain.getattr",
        "org.libvirt.api.domain.read",
        "org.libvirt.api.storage-pool.search-storage-vols",
        "org.libvirt.api.storage-vol.getattr",
    ],
)
def test_reading_is_allowed(action: str) -> None:
    """Opening both sockets too: without the second no agent can be asked."""
    assert decision(action) == "yes"


@pytest.mark.parametrize(
    "action",
    [
        "org.libvirt.api.domain.start",
        "org.libvirt.api.domain.stop",
        "org.libvirt.api.domain.delete",
        "org.libvirt.api.domain.read-secure",
        "org.libvirt.api.connect.write",
        "org.libvirt.api.an-action-of-a-newer-libvirt",
    ],
)
def test_what_is_not_named_is_denied(action: str) -> None:
    """Whatever another rule or a default would say."""
    assert decision(action, connect_driver="QEMU") == "no"


def test_agents_are_asked_of_qemu_only() -> None:
    """The permission of these calls allows much; no other driver has agents."""
    assert decision("org.libvirt.api.domain.write", connect_driver="QEMU") == "yes"
    assert decision("org.libvirt.api.domain.write", connect_driver="LXC") == "no"


@pytest.mark.parametrize(
    ("action", "user"),
    [("org.libvirt.unix.manage", "someone"), ("org.freedesktop.login1.reboot", USER)],
)
def test_others_are_left_to_other_rules(action: str, user: str) -> None:
    """Other users, and what is not libvirt's."""
    assert decision(action, user) == "not handled"
