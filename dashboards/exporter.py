"""The dashboard of the exporters: whether the other dashboards can be trusted, and at what cost."""

from __future__ import annotations

from dashboards import bounds, parts
from dashboards.grafana import Json, dashboard, graph, row, stat, state_timeline
from dashboards.queries import BY_HOST, exporters, hosts, seen, select, top_now, top_rates
from dashboards.shared_panels import top_hosts


def exporter() -> Json:
    """The exporters of the chosen hosts."""
    return dashboard(
        "libvirt-exporter",
        "libvirt / Exporter",
        "Health and cost of libvirt-exporter: scrapes, libvirt's calls, events, what is missing. "
        "Its recording rules must be loaded for the other dashboards.",
        variables=parts.variables(),
        panels=[
            *row("Now", *now_panels()),
            *row("Scrapes", *scrape_panels()),
            *row("What is missing", *missing_panels()),
            *row("libvirt", *libvirt_panels()),
            *row("Process and HTTP", *process_panels()),
        ],
    )


def now_panels() -> list[Json]:
    """What an operator looks at first."""
    return [
        stat(
            "Exporters reached",
            {"reached": f"count({select('libvirt_exporter_build_info')})"},
            description="Exporters that Prometheus' last scrape reached. One that serves several "
            "hosts counts once.",
            nothing="none",
        ),
        stat(
            "libvirt answers",
            {"answers": f"sum({select('libvirt_up')})"},
            description="Hosts whose libvirt answered.",
            nothing="none",
        ),
        stat(
            "VMs with recorded figures",
            {"VMs": f"count({select('domain:libvirt_display_name:info')})"},
            description="None means that the recording rules are not loaded: most panels are then "
            "empty.",
            nothing="no rules loaded",
        ),
        stat(
            "Versions",
            {
                "{{version}}": top_now(
                    f"count by (version) ({select('libvirt_exporter_build_info')})"
                )
            },
            description="Number of exporters of each version.",
            text="value_and_name",
        ),
        stat(
            "Configuration in force",
            {"loaded": f"min({select('libvirt_exporter_config_last_reload_successful')})"},
            description="No: an exporter rejected a new configuration and keeps the previous one.",
            mappings=parts.YES_NO,
        ),
        stat(
            "Events followed",
            {
                "connected": f"min({select('libvirt_exporter_event_stream_connected')}"
                f" and on ({BY_HOST}) {select('libvirt_up')})"
            },
            description="No: an exporter receives no events from libvirt, and alerts on "
            "events are blind there.",
            mappings=parts.YES_NO,
        ),
    ]


def scrape_panels() -> list[Json]:
    """Whether scrapes come, and what they take."""
    silent = f"{select('libvirt_up')} == 0"
    return [
        state_timeline(
            "libvirt does not answer",
            {
                "{{instance}}": f"({silent}) and on ({BY_HOST}) bottomk($top,"
                f" avg_over_time({select('libvirt_up')}[$__range] @ end()))"
            },
            mappings={"0": ("no answer", "red")},
            description="A bar for each host while it lasts. Empty is good.",
            width=8,
            links=parts.HOST_LINE_LINKS,
        ),
        top_hosts(
            "Scrape duration",
            "scrape_duration_seconds",
            "s",
            "Of each host, as Prometheus measures it.",
            among=hosts(),
            bands=bounds.SCRAPE,
        ),
        top_hosts(
            "Sample duration",
            "libvirt_scrape_duration_seconds",
            "s",
            "Time that a sample of libvirt takes in a scrape.",
        ),
        top_hosts(
            "Time of libvirt's calls by group",
            "libvirt_scrape_group_duration_seconds",
            "s",
            "Time of all calls, parallel ones added up: shows which field groups cost most.",
            label="group",
        ),
        top_hosts(
            "Series",
            "libvirt_exporter_series",
            "short",
            "Series in a scrape by field group.",
            label="group",
        ),
        top_hosts(
            "Age of slow lanes",
            "libvirt_exporter_lane_age_seconds",
            "s",
            "Age of data that is read less often than every scrape, by lane.",
            label="lane",
        ),
    ]


def missing_panels() -> list[Json]:
    """What the other dashboards do not show."""
    return [
        top_hosts(
            "Incomplete domains",
            "libvirt_scrape_incomplete_domains",
            "none",
            "VMs that lack data of a field group: their series have gaps.",
            label="group",
        ),
        top_hosts(
            "Stuck domains",
            "libvirt_exporter_stuck_domains",
            "none",
            "VMs whose QEMU does not answer: the exporter skips calls that need it.",
        ),
        top_hosts(
            "Hidden domains",
            "libvirt_scrape_hidden_domains",
            "none",
            "VMs left out because their XML, by which the configuration selects, could not be "
            "read.",
        ),
        top_hosts(
            "Dropped series",
            "libvirt_scrape_series_dropped",
            "none",
            "Dropped by limits.series, or as duplicates of other series.",
            label="reason",
        ),
        top_hosts(
            "Failing sources",
            "libvirt_exporter_source_failures_total",
            "cps",
            "Data other than statistics that a bug of the exporter left out of a sample.",
        ),
        state_timeline(
            "Unknown statistics",
            {
                "{{key}} on {{instance}}": seen(
                    select("libvirt_exporter_unmapped_stats_keys"), f"{BY_HOST}, key"
                )
            },
            mappings={},
            description="Statistics of a newer libvirt that this version does not know, and how "
            "many VMs have them. Empty is good.",
            width=8,
        ),
    ]


def libvirt_panels() -> list[Json]:
    """What libvirt is asked, and what comes back."""
    by_class = f"{BY_HOST}, call, class"
    stuck = select("libvirt_exporter_stuck_calls")
    limit = select("libvirt_exporter_stuck_calls_limit")
    return [
        top_hosts(
            "Calls of libvirt", "libvirt_exporter_libvirt_calls_total", "reqps", "", label="call"
        ),
        graph(
            "Failed calls",
            {
                "{{instance}} {{call}}: {{class}}": top_rates(
                    select("libvirt_exporter_libvirt_errors_total"), by_class
                )
            },
            unit="cps",
            description="By call and class of error. The `$top` most frequent.",
            links=parts.HOST_LINE_LINKS,
        ),
        top_hosts(
            "Abandoned calls",
            "libvirt_exporter_abandoned_calls_total",
            "cps",
            "Calls that did not return before their deadline.",
            label="call",
        ),
        graph(
            "Stuck calls",
            {
                "{{instance}}": f"{stuck} / ({limit} > 0) and on ({BY_HOST})"
                f" topk($top, {stuck} @ end() / ({limit} @ end() > 0))"
            },
            unit="percentunit",
            description="Of the limit libvirt.stuck_calls, at which the exporter makes only calls "
            "that cannot block. The `$top` highest.",
            links=parts.HOST_LINE_LINKS,
            bands=bounds.STUCK_CALLS,
        ),
        top_hosts(
            "Age of the event loop",
            "libvirt_exporter_event_stream_alive_age_seconds",
            "s",
            "Time since libvirt's event loop last ran, which it does every 3 s.",
        ),
        top_hosts(
            "Events received",
            "libvirt_exporter_events_received_total",
            "cps",
            "By libvirt's name of the event.",
            label="event",
        ),
    ]


def process_panels() -> list[Json]:
    """What the exporter itself costs, and who asks it."""
    return [
        top_hosts(
            "CPU of exporters",
            "process_cpu_seconds_total",
            "percentunit",
            "Of one CPU of the machine that it runs on.",
            among=exporters(),
        ),
        top_hosts(
            "Resident memory of exporters",
            "process_resident_memory_bytes",
            "bytes",
            "On the machine that it runs on.",
            among=exporters(),
        ),
        graph(
            "HTTP requests",
            {
                "{{instance}} {{handler}} {{code}}": top_rates(
                    select("libvirt_exporter_http_requests_total"), f"{BY_HOST}, handler, code"
                )
            },
            unit="reqps",
            description="By route and status code; 503 means more requests than web.max_requests. "
            "The `$top` most frequent.",
            links=parts.HOST_LINE_LINKS,
        ),
    ]
