"""What the exporter says of the host, of a scrape and of itself. Always there."""

from collections.abc import Mapping
from functools import partial

from libvirt_exporter.catalogue.metric import Exporter, Metric


def _row(
    name: str, text: str, *labels: str, group: str = "exporter", source: str = "", resets: str = ""
) -> Exporter:
    found: Mapping[str, str] = {label: label for label in labels}
    return Exporter(
        name=name,
        text=text,
        group=group,
        source=source,
        labels=found,
        resets=resets or ("when the exporter starts" if name.endswith("_total") else ""),
    )


_scrape = partial(_row, group="scrape")
_target = partial(_row, group="targets")

UP = _scrape(
    "libvirt_up",
    "1 if libvirt answered this scrape's state query, else 0. If it is 1, domains may still lack "
    "groups: see libvirt_scrape_incomplete_domains.",
)
INFO = _scrape(
    "libvirt_info",
    "Always 1; hypervisor driver, hypervisor version and libvirt version. Absent until libvirt "
    "reports them; a libvirt that has just started may need a moment.",
    "hypervisor",
    "hypervisor_version",
    "version",
    source="virConnectGetType, virConnectGetVersion and virConnectGetLibVersion",
)
HOST_INFO = _scrape(
    "libvirt_host_info",
    "Always 1; the host's own name, and its UUID in libvirt, which does not depend on the "
    "scraped address. Absent if unknown.",
    "hostname",
    "host_uuid",
    source="virConnectGetHostname and virConnectGetCapabilities, host/uuid",
)
DOMAINS = _scrape(
    "libvirt_domains",
    "Domains listed by libvirt, by state, before the configuration's domain filter.",
    "state",
    source="state.state",
)
SCRAPE_DURATION = _scrape(
    "libvirt_scrape_duration_seconds",
    "Duration of the sample that this scrape shows.",
)
SCRAPE_PHASE_DURATION = _scrape(
    "libvirt_scrape_phase_duration_seconds",
    "Duration of each phase of the sample.",
    "phase",
)
SCRAPE_GROUP_DURATION = _scrape(
    "libvirt_scrape_group_duration_seconds",
    "Duration of the libvirt calls for a field group, summed over parallel calls. A call for "
    "several groups counts for each of them.",
    "group",
)
SCRAPE_GROUP_SUCCESS = _scrape(
    "libvirt_scrape_group_success",
    "1 if all calls for a field group succeeded, 0 if one failed. Domains without a complete "
    "answer are counted in libvirt_scrape_incomplete_domains instead.",
    "group",
)
SCRAPE_INCOMPLETE = _scrape(
    "libvirt_scrape_incomplete_domains",
    "Domains of this sample with an incomplete field group: the domain was stuck, busy for long, "
    "or disappeared during the sample.",
    "group",
)
LANE_AGE = _scrape(
    "libvirt_exporter_lane_age_seconds",
    "Age of the data of each slow lane (a source that is read in the background) in this scrape. "
    "Absent before the lane's first answer.",
    "lane",
)
SERIES = _scrape(
    "libvirt_exporter_series",
    "Series of domains and of the host in this scrape, by field group.",
    "group",
)
SERIES_DROPPED = _scrape(
    "libvirt_scrape_series_dropped",
    "Series dropped from this scrape, by reason: limit (limits.series) or duplicate (another "
    "series has the same name and labels).",
    "reason",
)
UNMAPPED_KEYS = _scrape(
    "libvirt_exporter_unmapped_stats_keys",
    "Domains with a statistics key unknown to this exporter. Numbers in keys are replaced by "
    "<n>; keys after the hundredth count as `other`.",
    "key",
)
UNPARSABLE_XML = _scrape(
    "libvirt_scrape_unparsable_domain_xml",
    "Domains with XML that cannot be parsed. They have statistics but no info series.",
)

HIDDEN_DOMAINS = _scrape(
    "libvirt_scrape_hidden_domains",
    "Domains hidden from this scrape because the configuration selects or labels domains by "
    "their XML, and their XML is not read yet or cannot be parsed.",
)

UNSEEN_PROCESSES = _scrape(
    "libvirt_scrape_unseen_processes",
    "Active domains whose QEMU process the exporter cannot see, by reason: no_pid_file "
    "(libvirt's PID file is not readable), no_process (the exporter has its own PID namespace), "
    "proc_hidden (/proc hides other users' processes). They have no start time, and a hang is "
    "found only when it delays a call. Absent if libvirt is on another machine, has no QEMU, or "
    "no domain is active.",
    "reason",
    source="/run/libvirt/qemu/NAME.pid and /proc",
)

BUILD_INFO = _row(
    "libvirt_exporter_build_info",
    "Always 1; versions of the exporter, Python and libvirt-python; commit and branch or tag of "
    "the exporter, empty if unknown.",
    "version",
    "revision",
    "branch",
    "python",
    "libvirt_python",
)
RELOAD_SUCCESSFUL = _row(
    "libvirt_exporter_config_last_reload_successful",
    "1 if the last load of the configuration succeeded, 0 if it failed and the previous "
    "configuration stays in force.",
)
RELOAD_TIMESTAMP = _row(
    "libvirt_exporter_config_last_reload_success_timestamp_seconds",
    "Unix time of the last successful load of the configuration.",
)
WEB_CONFIG_SUCCESSFUL = _row(
    "libvirt_exporter_web_config_last_reload_successful",
    "1 if the current web configuration file and the files that it names are in force, or if "
    "there is none. 0 if the last load failed and the previous files stay in force.",
)
WEB_CONFIG_TIMESTAMP = _row(
    "libvirt_exporter_web_config_last_reload_success_timestamp_seconds",
    "Unix time of the last successful load of the web configuration file. Without one: the "
    "exporter's start.",
)
SAMPLES = _row("libvirt_exporter_samples_total", "Samples of the host.")
SAMPLES_SHARED = _row(
    "libvirt_exporter_samples_shared_total",
    "Requests that shared a sample already in progress.",
)
SOURCE_FAILURES = _row(
    "libvirt_exporter_source_failures_total",
    "Times that an internal error dropped a source (events, jobs, processes, storage pools, "
    "networks and others) from a sample, or that an event was not understood. The log has the "
    "error.",
)
HTTP_REQUESTS = _row(
    "libvirt_exporter_http_requests_total",
    "Finished HTTP requests, by route and status code. Route `other`: every unknown path. Code "
    "499: the client disconnected before the answer.",
    "handler",
    "code",
)
HTTP_REQUESTS_IN_FLIGHT = _row(
    "libvirt_exporter_http_requests_in_flight",
    "HTTP requests in progress, by route, including this scrape and clients that wait for a "
    "change.",
    "handler",
)
REFUSED_LOGINS = _row(
    "libvirt_exporter_http_refused_logins_total",
    "HTTP requests rejected because the user or password is wrong.",
)
HANDSHAKE_FAILURES = _row(
    "libvirt_exporter_tls_handshake_failures_total",
    "Failed TLS handshakes, by reason: `no_certificate` or `bad_certificate` (client certificate "
    "required), `version` (no common TLS version or cipher), `plain_http`, `refused_by_client`, "
    "`timeout`, `disconnected`, `other`.",
    "reason",
)
CERTIFICATE_NOT_AFTER = _row(
    "libvirt_exporter_tls_certificate_not_after_timestamp_seconds",
    "Unix time at which the first certificate in the served certificate file expires. Absent "
    "without TLS.",
)
CALLS = _row(
    "libvirt_exporter_libvirt_calls_total", "Finished calls of libvirt's API, by function.", "call"
)
CALL_SECONDS = _row(
    "libvirt_exporter_libvirt_call_seconds_total",
    "Wall time of finished calls of libvirt's API, by function.",
    "call",
)
ERRORS = _row(
    "libvirt_exporter_libvirt_errors_total",
    "Failed calls of libvirt's API, by function and class of error.",
    "call",
    "class",
)
ABANDONED = _row(
    "libvirt_exporter_abandoned_calls_total",
    "Calls of libvirt's API that timed out and were abandoned, by function.",
    "call",
)
STUCK_DOMAINS = _row(
    "libvirt_exporter_stuck_domains",
    "Stuck domains: their QEMU does not respond, and they are excluded from calls that need its "
    "monitor.",
)
STUCK_CALLS = _row(
    "libvirt_exporter_stuck_calls",
    "Abandoned calls of libvirt's API that have not returned. Each may occupy a worker thread of "
    "the daemon.",
)
STUCK_CALLS_LIMIT = _row(
    "libvirt_exporter_stuck_calls_limit",
    "Limit on stuck calls (option libvirt.stuck_calls). At the limit, only groups that cannot "
    "block are queried.",
)
DISCONNECTS = _row("libvirt_exporter_disconnects_total", "Lost connections to libvirt.")
RECONNECTS = _row(
    "libvirt_exporter_reconnects_total", "Successful reconnections to libvirt after a loss."
)
EVENT_STREAM_CONNECTED = _row(
    "libvirt_exporter_event_stream_connected",
    "1 while the exporter is subscribed to libvirt's events, else 0. Events during a 0 are not "
    "counted.",
)
EVENT_STREAM_ALIVE_AGE = _row(
    "libvirt_exporter_event_stream_alive_age_seconds",
    "Time since libvirt's event loop last ran with an open event connection; it runs every 15 s. "
    "If it never ran: time since the exporter's start.",
)
EVENTS_RECEIVED = _row(
    "libvirt_exporter_events_received_total",
    "Events received from libvirt, by libvirt's name of the event.",
    "event",
)
EVENTS_DROPPED = _row(
    "libvirt_exporter_events_dropped_total",
    "Events dropped because they arrived faster than the exporter counted them. No other counter "
    "includes them.",
)

TARGET_UP = _target(
    "libvirt_exporter_target_up",
    "1 if libvirt answered the last sample of a target, else 0. Absent before the first sample.",
    "target",
)
TARGET_SAMPLED = _target(
    "libvirt_exporter_target_last_sample_timestamp_seconds",
    "Unix time of the last sample of a target. It does not advance while nothing probes the "
    "target.",
    "target",
)

_ROWS: tuple[Exporter, ...] = tuple(row for row in globals().values() if isinstance(row, Exporter))

SCRAPE_METRICS: tuple[Metric, ...] = tuple(row for row in _ROWS if row.group == "scrape")
OWN_METRICS: tuple[Metric, ...] = tuple(row for row in _ROWS if row.group == "exporter")
TARGET_METRICS: tuple[Metric, ...] = tuple(row for row in _ROWS if row.group == "targets")
"""At the exporter's own path, where `targets` are configured."""
