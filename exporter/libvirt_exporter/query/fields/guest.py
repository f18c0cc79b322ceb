"""Fields that only the guest's agent can tell."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from libvirt_exporter.query.fields.field import ABSENT, VmField, VmView
from libvirt_exporter.query.fields.schema import COUNT, STRING, enum_of, list_of, object_of


def _unasked(_view: VmView) -> Any:
    return ABSENT


NOT_ASKED: Final = "The guest's agent is not asked by this version."

_field: Final = partial(
    VmField,
    source="guest agent",
    change="agent",
    value=_unasked,
    no_metric=NOT_ASKED,
    why_absent=NOT_ASKED,
)

FIELDS: Final = (
    _field(
        name="appsList",
        schema=list_of(STRING),
        text="Applications installed in the guest, as name-version.",
        sensitive=True,
        on_request=True,
    ),
    _field(
        name="disksUsage",
        schema=list_of(
            object_of(
                path=(STRING, "mount point"),
                fs=(STRING, "kind"),
                total=(COUNT, "bytes"),
                used=(COUNT, "bytes"),
            )
        ),
        unit="bytes",
        text="File systems mounted in the guest.",
        sensitive=True,
    ),
    _field(name="guestCPUCount", schema=COUNT, text="CPUs that are online in the guest."),
    _field(name="guestFQDN", schema=STRING, text="The guest's host name.", sensitive=True),
    _field(
        name="guestIPs",
        schema=STRING,
        text="The guest's IPv4 addresses, separated by blanks.",
        sensitive=True,
    ),
    _field(
        name="netIfaces",
        schema=list_of(
            object_of(
                name=(STRING, "in the guest"),
                hw=(STRING, "hardware address"),
                inet=(list_of(STRING), "IPv4 addresses"),
                inet6=(list_of(STRING), "IPv6 addresses"),
            )
        ),
        text="Network interfaces in the guest, and their addresses.",
        sensitive=True,
    ),
    _field(
        name="session",
        schema=enum_of(("Unknown", "UserLoggedOn", "Locked", "Active", "LoggedOff")),
        text="Whether a user is logged on to the guest.",
        sensitive=True,
    ),
    _field(name="username", schema=STRING, text="Who is logged on to the guest.", sensitive=True),
)
