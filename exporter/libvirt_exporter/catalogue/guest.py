"""`guest.*`: what the agent in the guest says; the exporter's own keys for libvirt's answers.

Whoever runs the guest chooses all of it.
"""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, StatInfo, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="guest",
        text="What guest agents say, where `guest_agent.enabled` has them asked: file systems, "
        "operating system, load, CPUs, users; and where `applications.enabled` is set, how many "
        "applications are installed.",
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
        f"Load average of the guest over {minutes} min; its agent must be of QEMU 10.0 or newer.",
        since="11.2.0",
    )


METRICS: tuple[Metric, ...] = (
    _number(
        "agent_up",
        "guest.agent.up",
        "1 when the guest's agent answered the last time that it was asked, 0 when not; absent "
        "while its channel is not connected, and before it was asked.",
    ),
    _number(
        "agent_errors_total",
        "guest.agent.errors.<class>",
        "Questions to the guest's agent that failed, by error: timeout (no answer in time), "
        "refused (the agent does not know or not allow it), denied (libvirt does not), other.",
        {"error": "<class>"},
        resets="when the exporter starts, or the domain is not shown for a while",
    ),
    _number(
        "agent_answer_timestamp_seconds",
        "guest.answer.<kind>.time",
        "Unix time at which the guest's agent was asked for what is shown, by what it is about; "
        "absent when that was too long ago.",
        {"kind": "<kind>"},
        scale=Scale.NANOSECONDS,
    ),
    _number(
        "entries_dropped",
        "guest.dropped.<kind>",
        "File systems, users, interfaces, addresses or drivers of the guest that are left out "
        "because it has more of them than `guest_agent.entries` lets through.",
        {"kind": "<kind>"},
    ),
    _number(
        "filesystem_size_bytes",
        "guest.fs.<num>.total-bytes",
        "Size of a file system that is mounted in the guest, without what is reserved for root.",
        FILE_SYSTEM,
    ),
    _number(
        "filesystem_used_bytes",
        "guest.fs.<num>.used-bytes",
        "What is used of a file system that is mounted in the guest.",
        FILE_SYSTEM,
    ),
    _load(1),
    _load(5),
    _load(15),
    _number(
        "cpus_online",
        "guest.cpus.online",
        "CPUs that the guest's operating system uses.",
        since="2.0.0",
    ),
    _number("users", "guest.users", "Users that are logged on to the guest."),
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
        text="Always 1; the host name that the guest has given itself.",
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
        text="Always 1; the disk that a file system of the guest is on, where that is one.",
        group="guest",
        source="guest.fs.<num>.target",
        labels={**FILE_SYSTEM, "device": "guest.fs.<num>.target"},
        since="5.7.0",
    ),
    _number(
        "driver_date_timestamp_seconds",
        "guest.driver.<num>.date",
        "Unix time of the day that a driver of the guest's devices is dated; of Windows only.",
        {"driver": "guest.driver.<num>.name", "version": "guest.driver.<num>.version"},
        scale=Scale.NANOSECONDS,
        since="12.7.0",
    ),
    _number(
        "applications",
        "guest.apps.count",
        "Applications that are installed in the guest, as its package manager lists them.",
        since="",
    ),
    StatInfo(
        name="libvirt_domain_guest_applications_info",
        text="Always 1; the package manager that listed the guest's applications (`fallback`: none "
        "could be asked, and only kernel and agent are known), and a SHA-256 of their list.",
        group="guest",
        source="guest.apps.source",
        labels={"source": "guest.apps.source", "hash": "guest.apps.hash"},
    ),
    _number(
        "applications_changed_timestamp_seconds",
        "guest.apps.changed",
        "Unix time at which the list of the guest's applications was seen to be another one.",
        scale=Scale.NANOSECONDS,
        since="",
    ),
    _number(
        "applications_checked_timestamp_seconds",
        "guest.apps.checked",
        "Unix time at which the list of the guest's applications was last known to be right.",
        scale=Scale.NANOSECONDS,
        since="",
    ),
    _number(
        "applications_errors_total",
        "guest.apps.errors",
        "Times that the guest did not say what is installed in it, or its list could not be kept.",
        since="",
        resets="when the exporter starts, or the domain is not shown for a while",
    ),
)

_PERSONAL = "Names a person or an address: a field of the API on request, never a label."

WITHHELD: tuple[Withheld, ...] = (
    Withheld(
        "guest.agent.answered",
        "The latest of libvirt_domain_guest_agent_answer_timestamp_seconds, or of a refusal.",
    ),
    Withheld("guest.user.<num>.name", _PERSONAL),
    Withheld("guest.user.<num>.domain", _PERSONAL),
    Withheld("guest.if.<num>.addr.<index>.addr", _PERSONAL),
    Withheld("guest.if.<num>.addr.<index>.type", _PERSONAL),
)
