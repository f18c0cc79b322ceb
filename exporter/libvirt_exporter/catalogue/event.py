"""`event.*`: what libvirt's events reported of a domain since the exporter follows them."""

from collections.abc import Mapping

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="event",
        text="How often and when things happened to the domain, by libvirt's events.",
        left_out=18,
    ),
)

RESETS = (
    "when the exporter starts, unless `events.state_directory` is set; "
    "and with the domain, when it is gone"
)
DISK = {"device": "event.disk.<num>.name"}


def _counter(name: str, source: str, text: str, labels: Mapping[str, str] | None = None) -> Stat:
    return Stat(
        name=f"libvirt_domain_{name}_total",
        text=text,
        group="event",
        source=source,
        labels=labels or {},
        resets=RESETS,
    )


METRICS: tuple[Metric, ...] = (
    _counter(
        "watchdog_events",
        "event.watchdog.<action>",
        "Times that the guest did not feed its watchdog, by what was done about it; an action dump "
        "counts as pause. From 0 on for the action of each watchdog device while events are "
        "followed.",
        {"action": "<action>"},
    ),
    _counter(
        "io_errors",
        "event.disk.<num>.io_error.<reason>",
        "I/O errors of a disk that QEMU reported: enospc when its storage is full, other when "
        "libvirt gives no reason or, of late, a message only. From 0 on for every disk while "
        "events are followed, but for those that libvirt (9.0) has no event for: without a path or "
        "name (an NBD export without one, nvme), and behind vhost-user or vDPA.",
        {**DISK, "reason": "<reason>"},
    ),
    _counter(
        "guest_panics",
        "event.guest_panic",
        "Times that the guest's kernel said it had panicked, by a panic device or its kdump. "
        "From 0 on for every domain with a panic device while events are followed.",
    ),
    _counter(
        "lifecycle_events",
        "event.lifecycle.<event>.<detail>",
        "Changes in the life of the domain, in libvirt's words; a QEMU that was killed counts as "
        "stopped, failed, and a start that fails has no event. Those of crashes from 0 on, that "
        "of a panic where there is a panic device, others from the first on.",
        {"event": "<event>", "detail": "<detail>"},
    ),
    _counter(
        "agent_events",
        "event.agent.<state>",
        "Times that the guest agent connected or disconnected. From 0 on for every domain with a "
        "channel to one.",
        {"state": "<state>"},
    ),
    _counter(
        "reboots",
        "event.reboot",
        "Resets of the guest while QEMU kept running; those within 2 s count as one, because "
        "libvirt reports each several times. From the first on.",
    ),
    _counter(
        "block_job_events",
        "event.disk.<num>.block_job.<type>.<status>",
        "Block jobs of a disk that became ready or ended. From the first on.",
        {**DISK, "job_type": "<type>", "status": "<status>"},
    ),
    _counter(
        "jobs_completed",
        "event.job.<operation>.<result>",
        "Migrations, saves, dumps and backups that ended, with success or failure, or unknown "
        "where libvirt does not say. From the first on.",
        {"operation": "<operation>", "result": "<result>"},
    ),
    _counter(
        "migration_iterations",
        "event.migration_iteration",
        "Passes over the guest's memory by migrations away from this host. From the first on.",
    ),
    _counter(
        "device_events",
        "event.device.<event>",
        "Devices that were added, removed, or that the guest did not let go. From the first on.",
        {"event": "<event>"},
    ),
    _counter(
        "block_threshold_events",
        "event.disk.<num>.threshold",
        "Times that writing to a disk passed the threshold that somebody had set. From the first "
        "on.",
        DISK,
    ),
    _counter(
        "memory_failures",
        "event.memory_failure.<recipient>.<action>",
        "Uncorrected errors of the host's memory that hit the domain, by whose memory it was and "
        "what was done. From the first on.",
        {"recipient": "<recipient>", "action": "<action>"},
    ),
    _counter(
        "tray_changes",
        "event.disk.<num>.tray.<state>",
        "Times that a drive's tray was opened or closed. From the first on.",
        {**DISK, "state": "<state>"},
    ),
    _counter(
        "disk_changes",
        "event.disk.<num>.change.<reason>",
        "Disks whose source was missing at the domain's start and was dropped. From the first on.",
        {**DISK, "reason": "<reason>"},
    ),
    _counter(
        "balloon_changes",
        "event.balloon_change",
        "Changes of the memory balloon. From the first on.",
    ),
    _counter(
        "control_errors",
        "event.control_error",
        "Times that libvirt lost the QEMU monitor for good. From the first on.",
    ),
    _counter(
        "graphics_events",
        "event.graphics.<phase>",
        "Connections of graphics clients by phase: connect, initialize (let in), disconnect. From "
        "the first on.",
        {"phase": "<phase>"},
    ),
    Stat(
        name="libvirt_domain_graphics_clients",
        text="Connections of graphics clients that were let in and have not ended; a SPICE client "
        "has several. Absent until the first event.",
        group="event",
        source="graphics.clients",
    ),
    Stat(
        name="libvirt_domain_last_event_timestamp_seconds",
        text="Unix time of the last event of a kind, absent until the first: libvirt's lifecycle "
        "events by name, crash (an end by a crash or of a killed QEMU), failed_start, panic, "
        "watchdog, io_error and others.",
        group="event",
        source="event.last.<event>",
        labels={"event": "<event>"},
        scale=Scale.NANOSECONDS,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("event.watchdog.last.time", "libvirt_domain_last_event_timestamp_seconds has it."),
    Withheld("event.watchdog.last.action", "The counter that grew tells it."),
    Withheld("graphics.client.address", "It names a person's machine."),
)
