"""Fields that only the guest's agent can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any, Final

from libvirt_exporter.model import Stats
from libvirt_exporter.query.fields.field import ABSENT, VmField, VmView, known, number
from libvirt_exporter.query.fields.schema import COUNT, STRING, enum_of, list_of, object_of

_PERSONAL: Final = "It names a person or an address."

_field: Final = partial(
    VmField,
    source="guest agent",
    change="agent",
    lanes=("guest_agent",),
    why_absent=(
        "Agents are not queried (`guest_agent.enabled`, group `guest`), the guest's agent is "
        "disconnected or has not answered recently, or it does not return the value."
    ),
)


def _text(stats: Stats, key: str) -> str | None:
    value = stats.get(key)
    return value if isinstance(value, str) else None


def _numbered(stats: Stats, pattern: str) -> Iterator[str]:
    """`guest.fs.0`, `guest.fs.1` …, as long as there is a text under the pattern's whole key."""
    for index in count():
        key = pattern.format(index)
        if _text(stats, key) is None:
            return
        yield key.rpartition(".")[0]


def _where_answered(kind: str, read: Callable[[Stats], Any]) -> Callable[[VmView], Any]:
    """The value that `read` finds in an answer of the agent, ABSENT without one."""

    def value(view: VmView) -> Any:
        stats = view.domain.stats
        return read(stats) if f"guest.answer.{kind}.time" in stats else ABSENT

    return value


def _applications(view: VmView) -> Any:
    known = None
    if _applications_hash(view) is not ABSENT:
        known = view.applications(view.domain.uuid)
    return ABSENT if known is None else list(known.names)


def _applications_hash(view: VmView) -> Any:
    return _text(view.domain.stats, "guest.apps.hash") or ABSENT


def _disks_usage(stats: Stats) -> Any:
    return [
        {
            "path": _text(stats, f"{prefix}.mountpoint"),
            "fs": _text(stats, f"{prefix}.fstype") or "",
            "total": total,
            "used": used,
        }
        for prefix in _numbered(stats, "guest.fs.{}.mountpoint")
        if (total := number(stats, f"{prefix}.total-bytes")) is not None
        and (used := number(stats, f"{prefix}.used-bytes")) is not None
    ]


def _cpus(stats: Stats) -> Any:
    online = number(stats, "guest.cpus.online")
    return ABSENT if online is None else online


def _host_name(stats: Stats) -> Any:
    return _text(stats, "guest.hostname") or ABSENT


def _addresses(stats: Stats, interface: str, family: str) -> list[str]:
    return [
        _text(stats, f"{prefix}.addr") or ""
        for prefix in _numbered(stats, f"{interface}.addr.{{}}.addr")
        if stats.get(f"{prefix}.type") == family
    ]


def _interfaces(stats: Stats) -> Any:
    return [
        known(
            {
                "name": _text(stats, f"{prefix}.name"),
                "hw": _text(stats, f"{prefix}.hwaddr") or None,
                "inet": _addresses(stats, prefix, "ipv4"),
                "inet6": _addresses(stats, prefix, "ipv6"),
            }
        )
        for prefix in _numbered(stats, "guest.if.{}.name")
    ]


def _ips(stats: Stats) -> Any:
    """Those that others may reach it by."""
    addresses = (
        address
        for prefix in _numbered(stats, "guest.if.{}.name")
        for address in _addresses(stats, prefix, "ipv4")
        if not address.startswith("127.")
    )
    return " ".join(dict.fromkeys(addresses))


def _session(stats: Stats) -> Any:
    users = number(stats, "guest.users")
    return ABSENT if users is None else "UserLoggedOn" if users else "LoggedOff"


def _users(stats: Stats) -> Any:
    """VDSM's form: `name@domain` in Windows; None in words where nobody is."""
    names = []
    for prefix in _numbered(stats, "guest.user.{}.name"):
        domain = _text(stats, f"{prefix}.domain")
        names.append(f"{stats[f'{prefix}.name']}{f'@{domain}' if domain else ''}")
    return ", ".join(names) or "None"


FIELDS: Final = (
    _field(
        name="appsList",
        schema=list_of(STRING),
        text="Applications installed in the guest, as name-version.",
        sensitive=True,
        on_request=True,
        lanes=("applications",),
        metric="libvirt_domain_guest_applications",
        more_metrics=("libvirt_domain_guest_applications_info",),
        value=_applications,
        sign=_applications_hash,
        why_absent=(
            "Lists are not collected (`applications.enabled`, group `guest`), or the guest has "
            "not been queried yet or did not answer."
        ),
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
        text="Mounted file systems of the guest that report their size.",
        sensitive=True,
        metric="libvirt_domain_guest_filesystem_used_bytes",
        more_metrics=("libvirt_domain_guest_filesystem_size_bytes",),
        value=_where_answered("filesystems", _disks_usage),
    ),
    _field(
        name="guestCPUCount",
        schema=COUNT,
        text="CPUs that are online in the guest.",
        metric="libvirt_domain_guest_cpus_online",
        value=_where_answered("cpus", _cpus),
    ),
    _field(
        name="guestFQDN",
        schema=STRING,
        text="The guest's own host name, often without a domain.",
        sensitive=True,
        metric="libvirt_domain_guest_hostname_info",
        value=_where_answered("hostname", _host_name),
    ),
    _field(
        name="guestIPs",
        schema=STRING,
        text="The guest's IPv4 addresses, except 127.*, separated by spaces.",
        sensitive=True,
        no_metric=_PERSONAL,
        value=_where_answered("interfaces", _ips),
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
        metric="libvirt_domain_guest_interface_info",
        value=_where_answered("interfaces", _interfaces),
    ),
    _field(
        name="session",
        schema=enum_of(("Unknown", "UserLoggedOn", "Locked", "Active", "LoggedOff")),
        text=("Login state of the guest: UserLoggedOn or LoggedOff. Agents report no other state."),
        sensitive=True,
        metric="libvirt_domain_guest_users",
        value=_where_answered("users", _session),
    ),
    _field(
        name="username",
        schema=STRING,
        text="Users logged on to the guest, separated by commas; `None` if there are none.",
        sensitive=True,
        no_metric=_PERSONAL,
        value=_where_answered("users", _users),
    ),
)
