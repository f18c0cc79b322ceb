"""`event.*`: what libvirt's events reported of a domain since the exporter follows them."""

from collections.abc import Mapping

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, Withheld

GROUPS: tuple[Group, ...] = (
    Group(
        name="event",
        text="Counts and times of the domain's libvirt events.",
        left_out=18,
    ),
)

RESETS = (
    "when the exporter starts, unless `events.state_directory` is set; and when the domain "
    "disappears"
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
        "Times that the guest's watchdog expired, by the action that libvirt reported; the "
        "action dump is reported as pause. Starts at 0 for the configured action of each "
        "watchdog device.",
        {"action": "<action>"},
    ),
    _counter(
        "io_errors",
        "event.disk.<num>.io_error.<reason>",
        "I/O errors of a disk, by reason: enospc (the storage is full), or other (no reason, or "
        "a message only). Starts at 0 for every disk, except disks whose errors libvirt 9.0 does "
        "not report: nvme, NBD without an export name, vhost-user and vDPA.",
        {**DISK, "reason": "<reason>"},
    ),
    _counter(
        "guest_panics",
        "event.guest_panic",
        "Kernel panics that the guest reported through a panic device or its kdump. Starts at 0 "
        "for every domain with a panic device.",
    ),
    _counter(
        "lifecycle_events",
        "event.lifecycle.<event>.<detail>",
        "Lifecycle events of the domain, by libvirt's event and detail. A killed QEMU counts as "
        "stopped/failed. A failed start has no event. Crashes start at 0, panics start at 0 if "
        "there is a panic device; other series start with the first event.",
        {"event": "<event>", "detail": "<detail>"},
    ),
    _counter(
        "agent_events",
        "event.agent.<state>",
        "Connections and disconnections of the guest agent. Starts at 0 for every domain with an "
        "agent channel.",
        {"state": "<state>"},
    ),
    _counter(
        "reboots",
        "event.reboot",
        "Reboots of the guest within one QEMU process. Reboot events within 2 s count once. "
        "Starts with the first event.",
    ),
    _counter(
        "block_job_events",
        "event.disk.<num>.block_job.<type>.<status>",
        "Block jobs of a disk that became ready or ended, by status. Starts with the first event.",
        {**DISK, "job_type": "<type>", "status": "<status>"},
    ),
    _counter(
        "jobs_completed",
        "event.job.<operation>.<result>",
        "Migrations, saves, dumps and backups that ended, by result: success, failure, or "
        "unknown (libvirt did not report it). Starts with the first event.",
        {"operation": "<operation>", "result": "<result>"},
    ),
    _counter(
        "migration_iterations",
        "event.migration_iteration",
        "Memory passes of outgoing migrations. Starts with the first event.",
    ),
    _counter(
        "device_events",
        "event.device.<event>",
        "Devices added, removed, or not released by the guest. Starts with the first event.",
        {"event": "<event>"},
    ),
    _counter(
        "block_threshold_events",
        "event.disk.<num>.threshold",
        "Times that writes to a disk exceeded the configured threshold. Starts with the first "
        "event.",
        DISK,
    ),
    _counter(
        "memory_failures",
        "event.memory_failure.<recipient>.<action>",
        "Uncorrected memory errors of the host that hit the domain, by recipient (hypervisor or "
        "guest) and action. Starts with the first event.",
        {"recipient": "<recipient>", "action": "<action>"},
    ),
    _counter(
        "tray_changes",
        "event.disk.<num>.tray.<state>",
        "Times that a drive's tray was opened or closed. Starts with the first event.",
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
        "Changes of the memory balloon's size. Starts with the first event.",
    ),
    _counter(
        "control_errors",
        "event.control_error",
        "Times that libvirt lost its connection to the QEMU monitor permanently. Starts with the "
        "first event.",
    ),
    _counter(
        "graphics_events",
        "event.graphics.<phase>",
        "Events of graphics clients, by phase: connect, initialize (accepted), disconnect. "
        "Starts with the first event.",
        {"phase": "<phase>"},
    ),
    Stat(
        name="libvirt_domain_graphics_clients",
        text="Open connections of accepted graphics clients. A SPICE client has several. Absent "
        "before the first event.",
        group="event",
        source="graphics.clients",
    ),
    Stat(
        name="libvirt_domain_last_event_timestamp_seconds",
        text="Unix time of the last event, by kind: libvirt's lifecycle events, crash (a crash, "
        "or a killed QEMU), failed_start, panic, watchdog, io_error and others. Absent before "
        "the first event.",
        group="event",
        source="event.last.<event>",
        labels={"event": "<event>"},
        scale=Scale.NANOSECONDS,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("event.watchdog.last.time", "libvirt_domain_last_event_timestamp_seconds has it."),
    Withheld(
        "event.watchdog.last.action",
        "libvirt_domain_watchdog_events_total has the action as a label.",
    ),
    Withheld("graphics.client.address", "It names a person's machine."),
)
