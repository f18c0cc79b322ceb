"""The dashboard of all hosts: what is wrong, who is busiest, what was promised to whom."""

from __future__ import annotations

from dashboards import bounds, parts, shared_panels
from dashboards.grafana import (
    Json,
    alert_list,
    by_name,
    cell,
    column,
    dashboard,
    fixed,
    graph,
    instant,
    row,
    stat,
    state_timeline,
    table,
    value_mapping,
)
from dashboards.queries import (
    BY_DEVICE,
    BY_HOST,
    BY_PROJECT,
    BY_VM,
    hosts_down,
    named,
    of,
    seen,
    select,
    top,
    top_now,
)

VM_LEGEND = "{{display_name}} on {{instance}}"

FIRING = 'ALERTS{alertname=~"Libvirt.+",alertstate="firing",job=~"$job|",instance=~"$instance|"}'
"""Alerts of the chosen hosts, and those that are about no host in particular."""

RANKED = " or ".join(
    f"{rank}{FIRING.removesuffix('}')},severity{matcher}}}"
    for rank, matcher in (
        ("3 * ", '="critical"'),
        ("2 * ", '="warning"'),
        ("", '!~"critical|warning"'),
    )
)
"""The same, each with its severity as a number: `topk` chooses among equals by chance."""

SEVERITIES = {"critical": "red", "warning": "orange", "info": "blue"}


def fleet() -> Json:
    """All hosts at a glance."""
    return dashboard(
        "libvirt-fleet",
        "libvirt / Fleet",
        "All libvirt hosts: alerts, states, the busiest hosts and VMs, projects. Data from "
        "libvirt-exporter and its recording rules, which Prometheus must have loaded.",
        variables=parts.variables(),
        annotations=parts.event_marks(),
        panels=[
            *row("Now", *now_panels()),
            *row("Alerts", *alert_panels()),
            *row("Hosts", host_table(), *host_panels()),
            *row("Busiest VMs", vm_table(), *busy_panels()),
            *row("Projects", *project_panels()),
        ],
    )


def now_panels() -> list[Json]:
    """Counts of the present."""
    down = hosts_down()
    return [
        stat(
            "Hosts up",
            {"answer": f"sum({select('libvirt_up')} or on ({BY_HOST}) 0 * ({down}))"},
            description="Hosts whose libvirt answered the last scrape.",
            width=3,
        ),
        stat(
            "Hosts down",
            {"silent": f"sum({down})"},
            description="Hosts whose exporter cannot be scraped, or whose libvirt does not answer. "
            "A target that was not reached in the whole time range counts if another one of its "
            "job is a host, or if its job is that of the alert LibvirtExporterDown.",
            width=3,
            bands=bounds.ANY_IS_BAD,
        ),
        shared_panels.vms_by_state(width=10),
        stat(
            "Firing alerts",
            {"{{severity}}": f"count by (severity) ({FIRING})"},
            description="Alerts of the shipped rules, by severity.",
            overrides=[by_name(name, color=fixed(colour)) for name, colour in SEVERITIES.items()],
            text="value_and_name",
            nothing="none",
            width=8,
        ),
    ]


def alert_panels() -> list[Json]:
    """What the rules found, and hosts and VMs whose state asks for a look."""
    labels = "alertname, severity, job, instance, domain, uuid"
    firing = f"max by ({labels}) ({RANKED})"
    of_vms = named(firing)
    of_others = f'label_replace({firing}, "display_name", "-", "uuid", "^$")'
    by_reason = f"{BY_VM}, state, reason"

    def bars(title: str, *matchers: str) -> Json:
        states = select("libvirt_domain_state_reason", *matchers)
        return state_timeline(
            title,
            {f"{VM_LEGEND}: {{{{state}}}} ({{{{reason}}}})": named(seen(states, by_reason))},
            mappings={"1": ("yes", "orange")},
            description="A bar for each VM and reason, drawn while it lasts; the `$top` that "
            "lasted longest. Empty is good.",
            links=parts.LINE_LINKS,
        )

    return [
        alert_list(
            "Alerts in Grafana",
            description="Alerts of all data sources whose rules Grafana may read, with their "
            "annotations and links to the runbooks.",
            width=8,
            height=9,
        ),
        table(
            "Alerts that fire",
            instant(top_now(f"({of_vms}) or on ({labels}) {of_others}"), ref="alert"),
            [],
            labels={
                "severity": "Severity",
                "alertname": "Alert",
                "display_name": "VM",
                "instance": "Instance",
                "uuid": "UUID",
            },
            hidden=["job", "domain"],
            overrides=[
                *parts.identity_columns(),
                by_name(
                    "Severity",
                    mappings=[
                        value_mapping({name: (name, colour) for name, colour in SEVERITIES.items()})
                    ],
                    **cell("color-text"),
                ),
            ],
            sort_by="Severity",
            description="At the end of the time range: the `$top` of the highest severities. "
            "Empty is good.",
            width=16,
            height=9,
        ),
        bars("VMs that are paused or suspended, and why", 'state=~"paused|pmsuspended"'),
        bars(
            "VMs that crashed, and why",
            'state=~"crashed|shutoff"',
            'reason=~"crashed|failed|panicked"',
        ),
    ]


def host_table() -> Json:
    """A line for each of the busiest hosts."""
    use = select("instance:libvirt_cpu_use:ratio_rate5m")
    active = select("libvirt_domains", 'state!~"shutoff|crashed|nostate"')
    chosen = top_now(use)

    def figure(expression: str) -> str:
        return of(chosen, expression, BY_HOST)

    return table(
        "Hosts",
        instant(f"max by ({BY_HOST}) ({chosen})", ref="host"),
        [
            column(
                "CPU", "percentunit", figure(use), gauge=True, description=shared_panels.HOST_CPU
            ),
            column(
                "VMs active",
                "none",
                figure(f"sum by ({BY_HOST}) ({active})"),
                description="Running, paused or suspended.",
            ),
            column(
                "vCPUs per CPU",
                "none",
                figure(select("instance:libvirt_cpu_overcommit:ratio")),
                description="Above 1, VMs have more vCPUs than the host has CPUs.",
            ),
            column(
                "Highest steal",
                "percentunit",
                figure(f"max by ({BY_HOST}) ({select('domain:libvirt_steal:ratio_rate5m')})"),
                description="Steal of the VM that waits most for host CPUs.",
                bands=bounds.STEAL,
            ),
            column(
                "Memory promised",
                "percentunit",
                figure(select("instance:libvirt_memory_promised:ratio")),
                bands=bounds.MEMORY_PROMISED,
            ),
            column(
                "Memory available",
                "percentunit",
                figure(select("instance:libvirt_memory_available:ratio")),
                bands=bounds.MEMORY_AVAILABLE,
            ),
        ],
        labels={"instance": "Instance"},
        hidden=["job"],
        overrides=parts.identity_columns()[1:2],
        sort_by="CPU",
        description="The `$top` busiest hosts at the end of the time range.",
        height=8,
    )


def host_panels() -> list[Json]:
    """The hosts with the highest figures over the time range."""

    return [
        shared_panels.top_hosts(
            "CPU use of hosts by VMs",
            "instance:libvirt_cpu_use:ratio_rate5m",
            "percentunit",
            shared_panels.HOST_CPU,
        ),
        shared_panels.top_hosts(
            "vCPUs per CPU",
            "instance:libvirt_cpu_overcommit:ratio",
            "none",
            "vCPUs of active VMs for each CPU of the host. It is a problem only if steal rises.",
        ),
        shared_panels.top_hosts(
            "Memory promised",
            "instance:libvirt_memory_promised:ratio",
            "percentunit",
            "Memory that the active VMs may use together, of the host's memory.",
            bands=bounds.MEMORY_PROMISED,
        ),
    ]


def vm_table() -> Json:
    """A line for each of the busiest VMs."""
    use = select("domain:libvirt_cpu_seconds:rate5m")
    return shared_panels.vm_table(
        "Busiest VMs",
        top_now(use),
        description="The `$top` VMs that keep most CPUs busy at the end of the time range.",
    )


def busy_panels() -> list[Json]:
    """The VMs with the highest figures over the time range."""
    return [
        shared_panels.top_vms(
            title,
            top(select(record), BY_DEVICE if record.startswith("device:") else BY_VM),
            unit,
            description,
            legend="{{display_name}} {{device}} on {{instance}}"
            if record.startswith("device:")
            else VM_LEGEND,
            bands=bands,
        )
        for title, record, unit, description, bands in shared_panels.TOP_VMS
    ]


def project_panels() -> list[Json]:
    """What OpenStack's projects and oVirt's clusters have and use."""
    figures = (
        ("VMs by project", "project:libvirt_domains:count", "none", "Active VMs."),
        ("vCPUs by project", "project:libvirt_vcpus:sum", "none", "vCPUs of active VMs."),
        ("Memory by project", "project:libvirt_memory:bytes_sum", "bytes", "Given to active VMs."),
        (
            "CPUs in use by project",
            "project:libvirt_cpu_seconds:rate5m",
            "none",
            "Host CPUs that the VMs keep busy.",
        ),
    )
    return [
        graph(
            title,
            {"{{project_name}}": top(select(record, scope='job=~"$job"'), BY_PROJECT)},
            unit=unit,
            description=f"{description} Projects of OpenStack, compatibility levels of oVirt, and "
            "`no project` for the others, over all hosts of the job. The `$top` highest of the "
            "time range.",
            width=6,
        )
        for title, record, unit, description in figures
    ]
