"""Displays of a VM, and who looks at them."""

from __future__ import annotations

import pytest

from libvirt_exporter.model import Graphics, Stats
from libvirt_exporter.query.fields.table import BY_NAME, values
from tests.support.vm_views import described, value_with


def test_displays_are_named_as_vdsm_named_them() -> None:
    """SPICE is qxl; all displays are listed, with null for ports they do not have."""
    found = values(
        described(
            graphics=(
                Graphics(type="spice", listen="10.0.0.1", tls_port=5901),
                Graphics(type="vnc", port=5900),
            )
        ),
        [name for name in BY_NAME if name.startswith("display")],
    )

    assert found == {
        "display": "qxl",
        "displayInfo": [
            {"type": "spice", "port": None, "tlsPort": 5901, "ipAddress": "10.0.0.1"},
            {"type": "vnc", "port": 5900, "tlsPort": None, "ipAddress": None},
        ],
        "displayIp": "10.0.0.1",
        "displayPort": -1,
        "displaySecurePort": 5901,
        "displayType": "qxl",
    }


def test_headless_vm_has_no_display_but_an_empty_list() -> None:
    """That there is none is known."""
    names = [name for name in BY_NAME if name.startswith("display")]

    assert values(described(), names) == {"displayInfo": []}


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({}, None),
        ({"graphics.clients": 0, "graphics.client.address": ""}, ""),
        ({"graphics.clients": 0, "graphics.client.address": "192.0.2.1"}, ""),
        ({"graphics.clients": 2, "graphics.client.address": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_client_is_unknown_until_the_first_event(stats: Stats, expected: str | None) -> None:
    """Then it is the one that came last, and empty when the last one left."""
    assert value_with(stats, "clientIp") == expected
