"""`guest.*`: what the agent in the guest says; the exporter's own keys for libvirt's answers.

Whoever runs the guest chooses all of it.
"""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, StatInfo, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="guest",
        text="Figures of guest agents, if `guest_agent.enabled` is set: file systems, operating "
        "system, load, CPUs, users. With `applications.enabled` also the number of installed "
        "applications.",
        lanes=("guest_agent", "applications"),
        left_out=0,
    ),
)

FILE_SYSTEM = {
    "mountpoint": "guest.fs.<num>.mountpoint",
    "fstype": "guest.fs.<num>.fstype",
    "guest_device": "guest.fs.<num>.name",
}


def _number(
    what: str,
    source: str,
    text: str,
    labels: dict[str, str] | None = None,
    *,
    scale: Scale = Scale.ONE,
    since: str = "5.7.0",
    resets: str = "",
) -> Stat:
    return Stat(
        name=f"libvirt_domain_guest_{what}",
        text=text,
        group="guest",
        source=source,
        labels=labels or {},
        scale=scale,
        since=since,
        resets=resets,
    )


def _load(minutes: int) -> Stat:
    return _number(
        f"load{minutes}",
        f"guest.load.{minutes}m",
        f"Load average of the guest over {minutes} min. Requires the agent of QEMU 10.0 or newer.",
        since="11.2.0",
    )


METRICS: tuple[Metric, ...] = (
    _number(
        "agent_up",
        "guest.agent.up",
        "1 if the guest agent answered its last request, else 0. Absent before the first request "
        "and while the agent's channel is disconnected.",
    ),
    _number(
        "agent_errors_total",
        "guest.agent.errors.<class>",
        "Failed requests to the guest agent, by error: timeout (no answer in time), refused "
        "(unknown to or blocked by the agent), denied (forbidden by libvirt), other.",
        {"error": "<class>"},
        resets="when the exporter starts, or the domain is not shown for a while",
    ),
    _number(
        "agent_answer_timestamp_seconds",
        "guest.answer.<kind>.time",
        "Unix time at which the guest agent was queried for the data shown, by kind of data. "
        "Absent once the data has expired.",
        {"kind": "<kind>"},
        scale=Scale.NANOSECONDS,
    ),
    _number(
        "entries_dropped",
        "guest.dropped.<kind>",
        "Entries omitted because the guest has more than `guest_agent.entries`, by kind: file "
        "systems, users, interfaces, addresses or drivers.",
        {"kind": "<kind>"},
    ),
    _number(
        "filesystem_size_bytes",
        "guest.fs.<num>.total-bytes",
        "Size of a mounted file system of the guest, without the space reserved for root.",
        FILE_SYSTEM,
    ),
    _number(
        "filesystem_used_bytes",
        "guest.fs.<num>.used-bytes",
        "Space used on a mounted file system of the guest.",
        FILE_SYSTEM,
    ),
    _load(1),
    _load(5),
    _load(15),
    _number(
        "cpus_online",
        "guest.cpus.online",
        "CPUs that are online in the guest's operating system.",
        since="2.0.0",
    ),
    _number("users", "guest.users", "Users logged on to the guest."),
    StatInfo(
        name="libvirt_domain_guest_os_info",
        text="Always 1; the guest's operating system and kernel.",
        group="guest",
        source="guest.os.id",
        labels={
            part.replace("-", "_"): f"guest.os.{part}"
            for part in (
                *("id", "name", "pretty-name", "version", "version-id", "variant"),
                *("kernel-release", "kernel-version", "machine"),
            )
        },
        since="5.7.0",
    ),
    StatInfo(
        name="libvirt_domain_guest_hostname_info",
        text="Always 1; the guest's own host name.",
        group="guest",
        source="guest.hostname",
        labels={"hostname": "guest.hostname"},
        since="5.7.0",
        default=False,
    ),
    StatInfo(
        name="libvirt_domain_guest_interface_info",
        text="Always 1; the name and hardware address of a network interface in the guest.",
        group="guest",
        source="guest.if.<num>.name",
        labels={"interface": "guest.if.<num>.name", "mac": "guest.if.<num>.hwaddr"},
        since="1.2.14",
        default=False,
    ),
    StatInfo(
        name="libvirt_domain_guest_filesystem_disk_info",
        text="Always 1; the disk that holds a file system of the guest. Absent if it is on no "
        "disk.",
        group="guest",
        source="guest.fs.<num>.target",
        labels={**FILE_SYSTEM, "device": "guest.fs.<num>.target"},
        since="5.7.0",
    ),
    _number(
        "driver_date_timestamp_seconds",
        "guest.driver.<num>.date",
        "Release date of a device driver in the guest as Unix time. Windows only.",
        {"driver": "guest.driver.<num>.name", "version": "guest.driver.<num>.version"},
        scale=Scale.NANOSECONDS,
        since="12.7.0",
    ),
    _number(
        "applications",
        "guest.apps.count",
        "Applications installed in the guest, as its package manager lists them.",
        since="",
    ),
    StatInfo(
        name="libvirt_domain_guest_applications_info",
        text="Always 1; the package manager that listed the guest's applications, and the "
        "SHA-256 hash of the list. `fallback`: no package manager was available; only kernel and "
        "agent are listed.",
        group="guest",
        source="guest.apps.source",
        labels={"source": "guest.apps.source", "hash": "guest.apps.hash"},
    ),
    _number(
        "applications_changed_timestamp_seconds",
        "guest.apps.changed",
        "Unix time at which a change of the guest's application list was found.",
        scale=Scale.NANOSECONDS,
        since="",
    ),
    _number(
        "applications_checked_timestamp_seconds",
        "guest.apps.checked",
        "Unix time of the last check that the guest's application list is current.",
        scale=Scale.NANOSECONDS,
        since="",
    ),
    _number(
        "applications_errors_total",
        "guest.apps.errors",
        "Failed reads of the guest's application list, and failures to store it.",
        since="",
        resets="when the exporter starts, or the domain is not shown for a while",
    ),
)

_PERSONAL = "It names a person or an address: a field of the API on request, never a label."

WITHHELD: tuple[Withheld, ...] = (
    Withheld(
        "guest.agent.answered",
        "The time of the last answer or refusal; "
        "libvirt_domain_guest_agent_answer_timestamp_seconds has the answers.",
    ),
    Withheld("guest.user.<num>.name", _PERSONAL),
    Withheld("guest.user.<num>.domain", _PERSONAL),
    Withheld("guest.if.<num>.addr.<index>.addr", _PERSONAL),
    Withheld("guest.if.<num>.addr.<index>.type", _PERSONAL),
)
