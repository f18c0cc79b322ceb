"""Fields of the displays, and who looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from libvirt_exporter.model import DomainInfo, Graphics
from libvirt_exporter.query.fields.field import (
    ABSENT,
    NOT_SEEN,
    VmField,
    VmView,
    number,
    of_info,
    xml_field,
)
from libvirt_exporter.query.fields.schema import BOOLEAN, STRING, Schema, list_of, object_of

DISPLAYS: Final[Mapping[str, str]] = {"spice": "qxl"}
"""VDSM's names of displays where they differ from libvirt's."""
NO_PORT: Final = -1
_PORT: Final[Schema] = {"type": ["integer", "null"]}


def _of_first(read: Callable[[Graphics], Any]) -> Callable[[VmView], Any]:
    """The value that `read` finds of the first display."""
    return of_info(lambda info: read(info.graphics[0]) if info.graphics else None)


_kind: Final = of_info(lambda info: DISPLAYS.get(info.display, info.display) or None)


def _display_info(info: DomainInfo) -> list[dict[str, Any]]:
    return [
        {
            "type": display.type,
            "port": display.port,
            "tlsPort": display.tls_port,
            "ipAddress": display.listen or None,
        }
        for display in info.graphics
    ]


def _client_address(view: VmView) -> Any:
    stats = view.domain.stats
    if "graphics.clients" not in stats:
        return ABSENT
    address = stats.get("graphics.client.address")
    return address if isinstance(address, str) and number(stats, "graphics.clients") else ""


FIELDS: Final = (
    VmField(
        name="clientIp",
        schema=STRING,
        text="Address of the last client that connected to the display. Empty without a client.",
        source="event GRAPHICS",
        change="event",
        sensitive=True,
        metric="libvirt_domain_graphics_clients",
        value=_client_address,
        why_absent=NOT_SEEN,
    ),
    xml_field(
        name="copyPasteEnable",
        schema=BOOLEAN,
        text="Whether SPICE shares the clipboard with the guest.",
        source="domain XML, devices/graphics[@type='spice']/clipboard/@copypaste",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.clipboard),
        why_absent="The VM has no SPICE display.",
    ),
    xml_field(
        name="display",
        schema=STRING,
        text="Type of the first display: vnc, qxl (SPICE), or libvirt's name.",
        source="domain XML, devices/graphics/@type",
        metric="libvirt_domain_config_info",
        value=_kind,
        why_absent="The VM has no display.",
    ),
    xml_field(
        name="displayInfo",
        schema=list_of(
            object_of(
                type=(STRING, "libvirt's type: vnc, spice …"),
                port=(_PORT, "null without one"),
                tlsPort=(_PORT, "null without one"),
                ipAddress=({"type": ["string", "null"]}, "listening address"),
            )
        ),
        text="All displays.",
        source="domain XML, devices/graphics",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=of_info(_display_info),
    ),
    xml_field(
        name="displayIp",
        schema=STRING,
        text="Listening address of the first display. 0.0.0.0 and :: mean all addresses of the "
        "host.",
        source="domain XML, devices/graphics/listen",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=_of_first(lambda display: display.listen or None),
        why_absent="The VM has no display that listens.",
    ),
    xml_field(
        name="displayPort",
        schema={"type": "integer", "minimum": NO_PORT},
        text="Unencrypted port of the first display. -1: none.",
        source="domain XML, devices/graphics/@port",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=_of_first(lambda display: NO_PORT if display.port is None else display.port),
        why_absent="The VM has no display.",
    ),
    xml_field(
        name="displaySecurePort",
        schema={"type": "integer", "minimum": NO_PORT},
        text="TLS port of the first display. -1: none. VNC has no separate TLS port.",
        source="domain XML, devices/graphics/@tlsPort",
        sensitive=True,
        metric="libvirt_domain_graphics_info",
        value=_of_first(lambda display: NO_PORT if display.tls_port is None else display.tls_port),
        why_absent="The VM has no display.",
    ),
    xml_field(
        name="displayType",
        schema=STRING,
        text="Same value as `display`.",
        source="domain XML, devices/graphics/@type",
        metric="libvirt_domain_config_info",
        value=_kind,
        why_absent="The VM has no display.",
    ),
    xml_field(
        name="keyboardLayout",
        schema=STRING,
        text="Keyboard layout of the first display that sets one, for example `en-us`.",
        source="domain XML, devices/graphics/@keymap",
        metric="libvirt_domain_config_info",
        value=of_info(lambda info: info.keymap or None),
    ),
)
