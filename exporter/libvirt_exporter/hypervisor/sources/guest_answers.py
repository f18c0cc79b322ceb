"""What a guest's agent is asked, and what of its answers is kept.

Whoever runs the guest chooses every text and number in them, and how many there are. So the lists
are cut to a number of entries, with the rest counted, and texts to a length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, cast

import libvirt

from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings
from libvirt_exporter.model import Stats, StatValue
from libvirt_exporter.patterns.expressions import compile_expression

LONGEST_TEXT: Final = 512
"""Characters of a text that are kept."""
_LOAD: Final = 1 << 7
"""VIR_DOMAIN_GUEST_INFO_LOAD, new in libvirt 11.2, and in agents of QEMU 10.0."""
_DEVICES: Final = 1 << 8
"""VIR_DOMAIN_GUEST_INFO_DEVICES, new in libvirt 12.7."""
_WINDOWS: Final = "mswindows"
_OS_PARTS: Final = (
    *("id", "name", "pretty-name", "version", "version-id", "variant"),
    *("kernel-release", "kernel-version", "machine"),
)
_FAMILIES: Final = {
    libvirt.VIR_IP_ADDR_TYPE_IPV4: "ipv4",
    libvirt.VIR_IP_ADDR_TYPE_IPV6: "ipv6",
}

Answer = Mapping[str, Any]
Entry = Mapping[str, StatValue]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call, and what is kept of its answer."""

    kind: str
    """What it is about; a label value, and part of stats keys."""
    ask: Callable[[libvirt.virDomain], Answer]
    """Runs on the connection's thread; raises libvirt.libvirtError."""
    keep: Callable[[Answer, GuestAgentSettings], Stats]
    """Raises nothing, whatever the answer holds."""
    expected: str = ""
    """How a key begins that an answer has, unless there is nothing to tell: libvirt (9.0) takes a
    command that the agent did not answer in time for one that it does not know, and returns an
    empty answer."""
    slow: bool = False
    """Whether it is asked at the slow interval."""
    system: str = ""
    """The only system, by `os.id`, whose agents know it; '': all do."""

    def is_empty(self, told: Answer) -> bool:
        """Whether the agent said nothing, or did not answer."""
        return bool(self.expected) and not any(key.startswith(self.expected) for key in told)


def _info(types: int) -> Callable[[libvirt.virDomain], Answer]:
    """One kind of virDomainGetGuestInfo: of several, one that the agent lacks fails all."""

    def ask(domain: libvirt.virDomain) -> Answer:
        return cast(Answer, domain.guestInfo(types))  # the binding annotates it as str

    return ask


def _cpu_list(domain: libvirt.virDomain) -> Answer:
    answer: Any = domain.guestVcpus()
    if answer is None:  # libvirt-python (9.0) does not raise here, but the error is there
        raise libvirt.libvirtError("virDomainGetGuestVcpus() failed")
    return cast(Answer, answer)


def _addresses(domain: libvirt.virDomain) -> Answer:
    """virDomainGetGuestInfo has them since libvirt 7.10 only, and says the same."""
    source = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
    return cast(Answer, domain.interfaceAddresses(source))


def _text(value: object) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _entries(answer: Answer, prefix: str) -> Iterable[Answer]:
    """`<prefix>.<n>.<key>` as one mapping for each n, in order."""
    numbered: dict[int, dict[str, Any]] = {}
    for key, value in answer.items():
        first, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if first == prefix and number.isdecimal() and name:
            numbered.setdefault(int(number), {})[name] = value
    return [numbered[number] for number in sorted(numbered)]


def _kept(
    prefix: str, kind: str, entries: Iterable[Entry], settings: GuestAgentSettings
) -> dict[str, StatValue]:
    """`guest.<prefix>.<n>.<key>` of as many entries as may be, and how many were left out."""
    every = list(entries)
    stats: dict[str, StatValue] = {
        f"guest.{prefix}.{number}.{key}": value
        for number, entry in enumerate(every[: settings.entries])
        for key, value in entry.items()
    }
    stats[f"guest.dropped.{kind}"] = max(len(every) - settings.entries, 0)
    return stats


def _filesystems(answer: Answer, settings: GuestAgentSettings) -> Stats:
    """Mounted file systems in the order of their mount points, without those excluded."""
    exclusions = {
        "fstype": [*map(compile_expression, settings.exclude_filesystems)],
        "mountpoint": [*map(compile_expression, settings.exclude_mountpoints)],
    }

    def entries() -> Iterable[Entry]:
        for told in _entries(answer, "fs"):
            entry: dict[str, StatValue] = {
                "mountpoint": _text(told.get("mountpoint")),
                "fstype": _text(told.get("fstype")),
                "name": _text(told.get("name")),
            }
            if told.get("disk.count") == 1 and told.get("disk.0.alias"):
                entry["target"] = _text(told["disk.0.alias"])
            if not any(
                matches(str(entry[key])) for key, those in exclusions.items() for matches in those
            ):
                yield entry | {
                    key: told[key]
                    for key in ("total-bytes", "used-bytes")
                    if isinstance(told.get(key), int)
                }

    ordered = sorted(entries(), key=itemgetter("mountpoint", "name"))
    return _kept("fs", "filesystems", ordered, settings)


def _load(answer: Answer, _settings: GuestAgentSettings) -> Stats:
    return {
        f"guest.load.{minutes}": load
        for minutes in ("1m", "5m", "15m")
        if isinstance(load := answer.get(f"load.{minutes}"), float)
    }


def _cpus(answer: Answer, _settings: GuestAgentSettings) -> Stats:
    """How many CPUs the list `0-3,5` names; of what is none, nothing."""
    online = answer.get("online")
    if not isinstance(online, str):
        return {}
    count = 0
    for part in online.split(","):
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part)
        if found is None:
            return {}
        count += int(found[2] or found[1]) - int(found[1]) + 1
    return {"guest.cpus.online": count} if count > 0 else {}


def _users(answer: Answer, settings: GuestAgentSettings) -> Stats:
    entries = (
        {"name": _text(told.get("name")), "domain": _text(told.get("domain"))}
        for told in _entries(answer, "user")
    )
    stats = _kept("user", "users", entries, settings)
    if isinstance(count := answer.get("user.count"), int):
        stats["guest.users"] = count
    return stats


def _system(answer: Answer, _settings: GuestAgentSettings) -> Stats:
    """All parts, '' where the guest does not say, so that they make one series."""
    if not any(f"os.{part}" in answer for part in _OS_PARTS):
        return {}
    return {f"guest.os.{part}": _text(answer.get(f"os.{part}")) for part in _OS_PARTS}


def _hostname(answer: Answer, _settings: GuestAgentSettings) -> Stats:
    name = _text(answer.get("hostname"))
    return {"guest.hostname": name} if name else {}


def _interfaces(answer: Answer, settings: GuestAgentSettings) -> Stats:
    """By name; of the addresses of all together no more than there may be entries."""
    entries: list[Entry] = []
    addresses = dropped = 0
    for name in sorted(answer):
        told = answer[name] or {}
        entry: dict[str, StatValue] = {"name": _text(name), "hwaddr": _text(told.get("hwaddr"))}
        if len(entries) < settings.entries:
            for number, address in enumerate(told.get("addrs") or ()):
                if addresses >= settings.entries:
                    dropped += 1
                    continue
                addresses += 1
                entry[f"addr.{number}.addr"] = _text(address.get("addr"))
                entry[f"addr.{number}.type"] = _FAMILIES.get(address.get("type"), "")
        entries.append(entry)
    return {
        **_kept("if", "interfaces", entries, settings),
        "guest.dropped.addresses": dropped,
    }


def _drivers(answer: Answer, settings: GuestAgentSettings) -> Stats:
    """Drivers of devices by name and version, each once, with their date."""
    found: dict[tuple[str, str], Entry] = {}
    for told in _entries(answer, "device"):
        name, version = _text(told.get("driverName")), _text(told.get("driverVersion"))
        date = told.get("driverDate")
        if name and isinstance(date, int) and date > 0:
            found.setdefault((name, version), {"name": name, "version": version, "date": date})
    return _kept("driver", "drivers", (found[key] for key in sorted(found)), settings)


QUESTIONS: Final = (
    Question(
        kind="filesystems",
        ask=_info(libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM),
        keep=_filesystems,
        expected="fs.count",
    ),
    Question(kind="load", ask=_info(_LOAD), keep=_load, expected="load."),
    Question(kind="cpus", ask=_cpu_list, keep=_cpus),
    Question(
        kind="users",
        ask=_info(libvirt.VIR_DOMAIN_GUEST_INFO_USERS),
        keep=_users,
        expected="user.count",
    ),
    Question(
        kind="os",
        ask=_info(libvirt.VIR_DOMAIN_GUEST_INFO_OS),
        keep=_system,
        expected="os.",
        slow=True,
    ),
    Question(
        kind="hostname",
        ask=_info(libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME),
        keep=_hostname,
        expected="hostname",
        slow=True,
    ),
    Question(kind="interfaces", ask=_addresses, keep=_interfaces, slow=True),
    Question(
        kind="drivers",
        ask=_info(_DEVICES),
        keep=_drivers,
        expected="device.",
        slow=True,
        system=_WINDOWS,
    ),
)
"""What is asked, in the order in which it is shown.

Never VIR_DOMAIN_GUEST_INFO_DISKS: an answer of `[""]` to it ends libvirtd (9.0). The others were
tried with many malformed answers each.
"""
