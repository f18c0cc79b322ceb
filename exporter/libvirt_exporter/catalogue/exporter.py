"""What the exporter says of the host, of a scrape and of itself. Always there."""

from collections.abc import Mapping

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


UP = _row(
    "libvirt_up",
    "1 when libvirt answered the part of this scrape that cannot block, 0 when not; domains may "
    "still lack groups, see libvirt_scrape_incomplete_domains.",
    group="scrape",
)
INFO = _row(
    "libvirt_info",
    "Always 1; the hypervisor driver and the versions of hypervisor and libvirt. Absent until the "
    "first is known: a libvirt that has just been started has to find it out.",
    "hypervisor",
    "hypervisor_version",
    "version",
    group="scrape",
    source="virConnectGetType, virConnectGetVersion and virConnectGetLibVersion",
)
HOST_INFO = _row(
    "libvirt_host_info",
    "Always 1; the name that the host gives itself, and the UUID by which libvirt tells hosts "
    "apart, which stays the same by whichever address it is scraped. Absent while not known.",
    "hostname",
    "host_uuid",
    group="scrape",
    source="virConnectGetHostname and virConnectGetCapabilities, host/uuid",
)
DOMAINS = _row(
    "libvirt_domains",
    "Domains that libvirt listed, by state, before the configuration's domain filter.",
    "state",
    group="scrape",
    source="state.state",
)
SCRAPE_DURATION = _row(
    "libvirt_scrape_duration_seconds",
    "Time that the sample behind this scrape took.",
    group="scrape",
)
SCRAPE_PHASE_DURATION = _row(
    "libvirt_scrape_phase_duration_seconds",
    "Time that each phase of the sample took.",
    "phase",
    group="scrape",
)
SCRAPE_GROUP_DURATION = _row(
    "libvirt_scrape_group_duration_seconds",
    "Time of the libvirt calls that asked for a field group, summed over parallel calls; "
    "a call for several groups counts for each.",
    "group",
    group="scrape",
)
SCRAPE_GROUP_SUCCESS = _row(
    "libvirt_scrape_group_success",
    "1 when no call for a field group failed, 0 when one did; what single domains did not answer "
    "counts in libvirt_scrape_incomplete_domains.",
    "group",
    group="scrape",
)
SCRAPE_INCOMPLETE = _row(
    "libvirt_scrape_incomplete_domains",
    "Domains of this sample that did not answer all of a field group they were asked for: stuck, "
    "busy for long, or gone meanwhile.",
    "group",
    group="scrape",
)
LANE_AGE = _row(
    "libvirt_exporter_lane_age_seconds",
    "Age of what this scrape has from each slow lane that it asks; absent while the lane has "
    "never answered.",
    "lane",
    group="scrape",
)
SERIES = _row(
    "libvirt_exporter_series",
    "Series of domains and of the host in this scrape, by field group.",
    "group",
    group="scrape",
)
SERIES_DROPPED = _row(
    "libvirt_scrape_series_dropped",
    "Series left out of this scrape, by reason: limit (limits.series) or duplicate (name and "
    "labels taken by another series).",
    "reason",
    group="scrape",
)
UNMAPPED_KEYS = _row(
    "libvirt_exporter_unmapped_stats_keys",
    "Domains with a statistics key that this exporter does not know; numbers in keys are shown "
    "as <n>, and keys past the hundredth as `other`.",
    "key",
    group="scrape",
)
UNPARSABLE_XML = _row(
    "libvirt_scrape_unparsable_domain_xml",
    "Domains whose XML could not be understood; they have statistics but no info series.",
    group="scrape",
)

HIDDEN_DOMAINS = _row(
    "libvirt_scrape_hidden_domains",
    "Domains left out of this scrape because the configuration chooses or labels them by their "
    "XML, and it is not known yet or cannot be understood.",
    group="scrape",
)

UNSEEN_PROCESSES = _row(
    "libvirt_scrape_unseen_processes",
    "Active domains whose QEMU process is not seen from here, so that they have no start time and "
    "a hang is found only by a call that it holds up, by reason: no_pid_file (libvirt's file with "
    "its number cannot be read), no_process (the exporter has a PID namespace of its own), "
    "proc_hidden (/proc shows no other user's processes). Absent where processes are not looked "
    "for: libvirt is on another machine, has no QEMU, or no domain is active.",
    "reason",
    group="scrape",
    source="/run/libvirt/qemu/NAME.pid and /proc",
)

BUILD_INFO = _row(
    "libvirt_exporter_build_info",
    "Always 1; versions of the exporter, of Python and of libvirt-python; the exporter's commit "
    "and its tag or branch, both empty where not known.",
    "version",
    "revision",
    "branch",
    "python",
    "libvirt_python",
)
RELOAD_SUCCESSFUL = _row(
    "libvirt_exporter_config_last_reload_successful",
    "1 when the configuration was last loaded with success, 0 when the old one was kept.",
)
RELOAD_TIMESTAMP = _row(
    "libvirt_exporter_config_last_reload_success_timestamp_seconds",
    "Unix time of the last successful load of the configuration.",
)
WEB_CONFIG_SUCCESSFUL = _row(
    "libvirt_exporter_web_config_last_reload_successful",
    "1 when the web configuration file, if there is one, and the files that it names are in force "
    "as they are now, 0 when the old ones are.",
)
WEB_CONFIG_TIMESTAMP = _row(
    "libvirt_exporter_web_config_last_reload_success_timestamp_seconds",
    "Unix time of the last successful load of the web configuration file; without one, of the "
    "start.",
)
SAMPLES = _row("libvirt_exporter_samples_total", "Samples taken of the host.")
SAMPLES_SHARED = _row(
    "libvirt_exporter_samples_shared_total",
    "Requests answered by a sample that was in flight already.",
)
SOURCE_FAILURES = _row(
    "libvirt_exporter_source_failures_total",
    "Times that something known beside the statistics of domains (events, jobs, processes, storage "
    "pools, networks, ...) was left out of a sample by a mistake of the exporter; its log has it.",
)
HTTP_REQUESTS = _row(
    "libvirt_exporter_http_requests_total",
    "HTTP requests that ended, by route and status code: `other` is every path that nothing "
    "answers, 499 a client that left while it waited for a change or was still asking.",
    "handler",
    "code",
)
HTTP_REQUESTS_IN_FLIGHT = _row(
    "libvirt_exporter_http_requests_in_flight",
    "HTTP requests under way, by route: the scrape that asks, and clients that wait for a change.",
    "handler",
)
REFUSED_LOGINS = _row(
    "libvirt_exporter_http_refused_logins_total",
    "HTTP requests with a user or password that the web configuration does not have.",
)
HANDSHAKE_FAILURES = _row(
    "libvirt_exporter_tls_handshake_failures_total",
    "TLS handshakes that failed: `no_certificate`, `bad_certificate` of a client that needs one, "
    "`version` (of TLS, or a cipher) that is not offered, `plain_http`, `refused_by_client`, "
    "`timeout`, `disconnected`, `other`.",
    "reason",
)
CERTIFICATE_NOT_AFTER = _row(
    "libvirt_exporter_tls_certificate_not_after_timestamp_seconds",
    "Unix time at which the certificate that is served expires, or one of those beside it in its "
    "file, whichever is first. Absent without TLS.",
)
CALLS = _row("libvirt_exporter_libvirt_calls_total", "Calls of libvirt's API that ended.", "call")
CALL_SECONDS = _row(
    "libvirt_exporter_libvirt_call_seconds_total",
    "Wall time of libvirt's API calls that ended.",
    "call",
)
ERRORS = _row(
    "libvirt_exporter_libvirt_errors_total",
    "Calls of libvirt's API that failed, by class of error.",
    "call",
    "class",
)
ABANDONED = _row(
    "libvirt_exporter_abandoned_calls_total",
    "Calls of libvirt's API that were given up because they did not return in time.",
    "call",
)
STUCK_DOMAINS = _row(
    "libvirt_exporter_stuck_domains",
    "Domains that are left out of monitor calls because their QEMU does not answer.",
)
STUCK_CALLS = _row(
    "libvirt_exporter_stuck_calls",
    "Calls of libvirt's API that were given up and have not returned; each may hold a worker "
    "of the daemon.",
)
STUCK_CALLS_LIMIT = _row(
    "libvirt_exporter_stuck_calls_limit",
    "Calls of libvirt's API that may be stuck before only groups that cannot block are asked: the "
    "option libvirt.stuck_calls.",
)
DISCONNECTS = _row("libvirt_exporter_disconnects_total", "Times that libvirt was lost.")
RECONNECTS = _row("libvirt_exporter_reconnects_total", "Times that libvirt came back after a loss.")
EVENT_STREAM_CONNECTED = _row(
    "libvirt_exporter_event_stream_connected",
    "1 while events of libvirt are subscribed to, 0 when not: what happens then is not counted.",
)
EVENT_STREAM_ALIVE_AGE = _row(
    "libvirt_exporter_event_stream_alive_age_seconds",
    "Time since libvirt's event loop last ran with the connection for events open, which it does "
    "every 15 s; since the exporter's start where it never did.",
)
EVENTS_RECEIVED = _row(
    "libvirt_exporter_events_received_total",
    "Events that libvirt delivered, by its name for them.",
    "event",
)
EVENTS_DROPPED = _row(
    "libvirt_exporter_events_dropped_total",
    "Events that were delivered faster than they could be counted, and are not in any counter.",
)

TARGET_UP = _row(
    "libvirt_exporter_target_up",
    "1 when libvirt answered the last sample of a target, 0 when not; absent before the first one.",
    "target",
    group="targets",
)
TARGET_SAMPLED = _row(
    "libvirt_exporter_target_last_sample_timestamp_seconds",
    "Unix time of the last sample of a target; it stands still when nobody probes the target.",
    "target",
    group="targets",
)

SCRAPE_METRICS: tuple[Metric, ...] = (
    UP,
    INFO,
    HOST_INFO,
    DOMAINS,
    SCRAPE_DURATION,
    SCRAPE_PHASE_DURATION,
    SCRAPE_GROUP_DURATION,
    SCRAPE_GROUP_SUCCESS,
    SCRAPE_INCOMPLETE,
    LANE_AGE,
    SERIES,
    SERIES_DROPPED,
    UNMAPPED_KEYS,
    UNPARSABLE_XML,
    HIDDEN_DOMAINS,
    UNSEEN_PROCESSES,
)
OWN_METRICS: tuple[Metric, ...] = (
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    WEB_CONFIG_SUCCESSFUL,
    WEB_CONFIG_TIMESTAMP,
    SAMPLES,
    SAMPLES_SHARED,
    SOURCE_FAILURES,
    HTTP_REQUESTS,
    HTTP_REQUESTS_IN_FLIGHT,
    REFUSED_LOGINS,
    HANDSHAKE_FAILURES,
    CERTIFICATE_NOT_AFTER,
    CALLS,
    CALL_SECONDS,
    ERRORS,
    ABANDONED,
    STUCK_DOMAINS,
    STUCK_CALLS,
    STUCK_CALLS_LIMIT,
    DISCONNECTS,
    RECONNECTS,
    EVENT_STREAM_CONNECTED,
    EVENT_STREAM_ALIVE_AGE,
    EVENTS_RECEIVED,
    EVENTS_DROPPED,
)
TARGET_METRICS: tuple[Metric, ...] = (TARGET_UP, TARGET_SAMPLED)
"""At the exporter's own path, where `targets` are configured."""
