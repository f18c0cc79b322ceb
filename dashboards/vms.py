"""The dashboard of VMs: one or more hosts, what their VMs take of them, the scrapes' health."""

from __future__ import annotations

from dashboards.grafana import (
    Json,
    by_name,
    cell,
    column,
    dashboard,
    datasource_variable,
    fixed,
    graph,
    instant,
    label_variable,
    rate,
    row,
    series,
    stat,
    state_timeline,
    table,
    value_mapping,
)
from libvirt_exporter.model import STATES

HOST = 'job=~"$job",instance=~"$instance"'
VM = f'{HOST},domain=~"$domain"'

STATE_COLOURS = {
    "nostate": "text",
    "running": "green",
    "blocked": "blue",
    "paused": "orange",
    "shutdown": "yellow",
    "shutoff": "#808080",
    "crashed": "red",
    "pmsuspended": "purple",
}


def vms() -> Json:
    """The VMs of one or more hosts, what they take of them, and the scrapes' health."""
    return dashboard(
        "libvirt-vms",
        "libvirt / VMs",
        "State, errors, CPU, memory, disks, network and jobs of the VMs of libvirt hosts, as "
        "libvirt-exporter reports them. Needs the identity label `domain`.",
        [
            datasource_variable(),
            label_variable("job", "Job", "libvirt_up"),
            label_variable("instance", "Instance", 'libvirt_up{job=~"$job"}'),
            label_variable("domain", "VM", f"libvirt_domain_state{{{HOST}}}"),
        ],
        [
            *(row("Overview"), *overview_panels()),
            *(row("Errors"), *error_panels()),
            *(row("CPU"), *cpu_panels()),
            *(row("Memory"), *memory_panels()),
            *(row("Disk"), *disk_panels()),
            *(row("Network"), *network_panels()),
            *(row("Jobs"), *job_panels()),
            *(row("Hosts"), *host_panels()),
            *(row("Exporter"), *exporter_panels()),
        ],
    )


# Expressions


def vm(metric: str, *matchers: str) -> str:
    """The metric of the chosen VMs."""
    return f"{metric}{{{','.join((VM, *matchers))}}}"


def host(metric: str) -> str:
    """The metric of the chosen hosts."""
    return f"{metric}{{{HOST}}}"


def per_vm(operator: str, expression: str) -> str:
    """One value per VM."""
    return f"{operator} by (job, instance, domain, uuid) ({expression})"


def state_number() -> str:
    """The number of each VM's state, as a state timeline needs one series per VM."""
    numbered = " or ".join(
        f"{number} * " + vm("libvirt_domain_state", f'state="{state}"')
        for number, state in enumerate(STATES)
    )
    return f"sum without (state) ({numbered})"


VCPUS = vm("libvirt_domain_vcpus_current")
CPU_USE = f"{rate(vm('libvirt_domain_cpu_seconds_total'))} / {VCPUS}"
MEMORY_USE = (
    f"1 - {vm('libvirt_domain_balloon_usable_bytes')}"
    f" / {vm('libvirt_domain_balloon_available_bytes')}"
)
CPU_USE_MEANING = (
    "Host CPU time of the VM, relative to its vCPUs. QEMU's own threads count too, so it can "
    "exceed 100 %."
)
MEMORY_USE_MEANING = (
    "What the guest could not free without swapping: 1 - usable / available. Reported by the "
    "guest's balloon driver; absent unless the domain XML asks for it (`memballoon/stats`)."
)


# Panels by row


def overview_panels() -> list[Json]:
    """How many VMs are in which state, each VM's present figures, and the states over time."""
    states = stat(
        "VMs by state",
        instant(f"sum by (state) ({vm('libvirt_domain_state')}) > 0", legend="{{state}}"),
        unit="none",
        description="At the end of the time range.",
        overrides=[by_name(state, color=fixed(colour)) for state, colour in STATE_COLOURS.items()],
        width=24,
        height=4,
    )
    timeline = state_timeline(
        "State",
        series(state_number(), legend="{{domain}}"),
        mappings={
            str(number): (state, STATE_COLOURS[state]) for number, state in enumerate(STATES)
        },
        description="Each VM's lifecycle state; a gap means that nothing is known.",
        height=10,
    )
    unusual = state_timeline(
        "Paused, suspended or crashed, and why",
        series(
            vm("libvirt_domain_state_reason", 'state=~"paused|crashed|pmsuspended"')
            + " or "
            + vm("libvirt_domain_state_reason", 'state="shutoff"', 'reason=~"crashed|failed"'),
            legend="{{domain}}: {{state}} ({{reason}})",
        ),
        mappings={"1": ("yes", "orange")},
        description="A row per VM and reason, drawn while it lasts. Empty is good.",
        height=10,
    )
    return [states, vm_table(), timeline, unusual]


def vm_table() -> Json:
    """A line per VM; the state's query brings the labels, every other one a column."""
    reason = "max by (job, instance, domain, uuid, state, reason)"
    columns = [
        column("vCPUs", "none", per_vm("max", VCPUS)),
        column(
            "CPU", "percentunit", per_vm("max", CPU_USE), gauge=True, description=CPU_USE_MEANING
        ),
        column(
            "Memory",
            "bytes",
            per_vm("max", vm("libvirt_domain_balloon_current_bytes")),
            description="Given to the guest, not used by it.",
        ),
        column(
            "Memory used",
            "percentunit",
            per_vm("max", MEMORY_USE),
            gauge=True,
            description=MEMORY_USE_MEANING,
        ),
        *(
            column(
                f"Disk {verb}",
                "Bps",
                per_vm("sum", rate(vm(f"libvirt_domain_block_{participle}_bytes_total"))),
            )
            for verb, participle in (("read", "read"), ("write", "written"))
        ),
        *(
            column(
                f"Net {direction}",
                "Bps",
                per_vm("sum", rate(vm(f"libvirt_domain_interface_{direction}_bytes_total"))),
            )
            for direction in ("receive", "transmit")
        ),
    ]
    return table(
        "VMs",
        instant(f"{reason} ({vm('libvirt_domain_state_reason')})", ref="state"),
        columns,
        labels={
            "domain": "VM",
            "instance": "Instance",
            "state": "State",
            "reason": "Reason",
            "uuid": "UUID",
        },
        hidden=["Time", "job", "Value #state"],
        overrides=[
            by_name("VM", links=[link_to_vm()], **{"custom.width": 180}),
            by_name("State", mappings=[state_name_colours()], **cell("color-text")),
            by_name("UUID", **{"custom.width": 310}),
        ],
        sort_by="CPU",
        description="At the end of the time range. VMs that are not active have little more than "
        "a state.",
    )


def error_panels() -> list[Json]:
    """Why VMs stand still, and what went wrong in them."""
    return [
        state_timeline(
            "Paused by an error",
            series(vm("libvirt_domain_pause_code", 'code!="NOERR"'), legend="{{domain}}: {{code}}"),
            mappings={"1": ("yes", "red")},
            description="A row per VM and code, such as ENOSPC for a full storage. Empty is good.",
            width=8,
        ),
        graph(
            "Watchdog events",
            series(
                per_vm("sum", rate(vm("libvirt_domain_watchdog_events_total"))),
                legend="{{domain}}",
            ),
            unit="cps",
            description="Times that a guest did not feed its watchdog, whatever was done about it.",
            width=8,
        ),
        device_graph(
            "I/O errors",
            f"sum without (reason) ({rate(vm('libvirt_domain_io_errors_total'))})",
            unit="cps",
            description="Errors of a disk that QEMU told of.",
        ),
    ]


def cpu_panels() -> list[Json]:
    """CPU time, relative and absolute, and the time that vCPUs had to wait."""
    delay = rate(vm("libvirt_domain_vcpu_delay_seconds_total"))
    return [
        graph(
            "CPU use of vCPUs",
            series(CPU_USE, legend="{{domain}}"),
            unit="percentunit",
            description=CPU_USE_MEANING,
            width=8,
        ),
        graph(
            "Host CPUs in use",
            series(rate(vm("libvirt_domain_cpu_seconds_total")), legend="{{domain}}"),
            unit="none",
            description="CPU seconds per second: 2 is two of the host's CPUs kept busy.",
            stacked=True,
            width=8,
        ),
        graph(
            "Steal time",
            series(f"sum without (vcpu) ({delay}) / {VCPUS}", legend="{{domain}}"),
            unit="percentunit",
            description="Share of time that vCPUs were ready to run but waited for a host CPU, "
            "as a mean over the VM's vCPUs. Above 10 % guests feel it.",
            width=8,
        ),
    ]


def memory_panels() -> list[Json]:
    """What the guest says of its memory, and what the host spends on it."""
    swap = "libvirt_domain_balloon_swap_{}_bytes_total"
    return [
        graph(
            "Guest memory in use",
            series(MEMORY_USE, legend="{{domain}}"),
            unit="percentunit",
            description=MEMORY_USE_MEANING,
        ),
        graph(
            "Guest memory usable and available",
            series(vm("libvirt_domain_balloon_usable_bytes"), legend="{{domain}} usable"),
            series(vm("libvirt_domain_balloon_available_bytes"), legend="{{domain}} available"),
            unit="bytes",
            description="Usable: could be reclaimed without swapping, caches included "
            "(MemAvailable). Available: all that the guest sees (MemTotal). libvirt's names.",
        ),
        graph(
            "Balloon and resident memory",
            series(vm("libvirt_domain_balloon_current_bytes"), legend="{{domain}} balloon"),
            series(vm("libvirt_domain_balloon_rss_bytes"), legend="{{domain}} resident"),
            unit="bytes",
            description="Balloon: given to the guest, not used by it. Resident: the QEMU process "
            "on the host, its overhead included, pages of hugetlbfs not.",
        ),
        graph(
            "Guest swap traffic",
            series(rate(vm(swap.format("in"))), legend="{{domain}} swap in"),
            series(rate(vm(swap.format("out"))), legend="{{domain}} swap out"),
            unit="Bps",
            description="Swapping by the guest's own system. Reported by its balloon driver.",
        ),
    ]


def disk_panels() -> list[Json]:
    """Requests, throughput and latency per disk."""
    operations = {"Read": "reads", "Write": "writes", "Flush": "flushes"}
    completed = "libvirt_domain_block_{}_completed_total"
    times = {
        title: rate(vm(f"libvirt_domain_block_{title.lower()}_time_seconds_total"))
        for title in operations
    }
    return [
        *(
            device_graph(
                f"{title} requests",
                rate(vm(completed.format(plural))),
                unit="iops",
                description="Requests of the guest that completed.",
            )
            for title, plural in operations.items()
        ),
        *(
            device_graph(
                f"{title} throughput",
                rate(vm(f"libvirt_domain_block_{participle}_bytes_total")),
                unit="Bps",
                description="Data of the guest's requests; what its storage moves may differ.",
            )
            for title, participle in (("Read", "read"), ("Write", "written"))
        ),
        device_graph(
            "Requests in flight: read, write and flush",
            " + ".join(times.values()),
            unit="none",
            description="Mean number of requests under way (Little's law: seconds that requests "
            "took, per second).",
        ),
        *(
            device_graph(
                f"{title} latency",
                # No quotient where no request completed, instead of 0 / 0.
                f"{times[title]} / ({rate(vm(completed.format(plural)))} > 0)",
                unit="s",
                description="Mean over the requests that completed; a gap means there were none.",
            )
            for title, plural in operations.items()
        ),
    ]


def network_panels() -> list[Json]:
    """Traffic, drops and errors per interface, for each direction."""
    kinds = (
        ("throughput", "bytes", "Bps"),
        ("packets", "packets", "pps"),
        ("drops", "drop", "pps"),
        ("errors", "errors", "cps"),
    )
    ways = {"Receive": "on the way to the guest", "Transmit": "on the way from the guest"}
    return [
        device_graph(
            f"{title} {kind}",
            rate(vm(f"libvirt_domain_interface_{title.lower()}_{what}_total")),
            unit=unit,
            description=f"As the guest sees it: {way}.",
            width=12,
        )
        for kind, what, unit in kinds
        for title, way in ways.items()
    ]


def job_panels() -> list[Json]:
    """What is going on with VMs and their disks, and how far it has got."""
    # A backup has figures of disks only.
    done = " or ".join(
        "1 - {} / ({} > 0)".format(
            *(vm(f"libvirt_domain_job_{data}_{part}_bytes") for part in ("remaining", "total"))
        )
        for data in ("data", "disk")
    )
    end = vm("libvirt_domain_block_job_end_bytes")
    return [
        state_timeline(
            "Jobs",
            series(vm("libvirt_domain_job_info"), legend="{{domain}}: {{operation}}"),
            mappings={"1": ("yes", "blue")},
            description="Migrations, saves, dumps and backups while they go on.",
            width=8,
        ),
        graph(
            "Progress of jobs",
            series(done, legend="{{domain}}"),
            unit="percentunit",
            description="Share of memory and disk data that is done; it falls back where the guest "
            "changes what was done already.",
            width=8,
        ),
        graph(
            "Progress of block jobs",
            series(
                f"{vm('libvirt_domain_block_job_current_bytes')} / ({end} > 0)",
                legend="{{domain}} {{device}}: {{job_type}}",
            ),
            unit="percentunit",
            description="Copies, pulls, commits and backups of a disk. A copy that has got to its "
            "end goes on until it is finished or aborted.",
            width=8,
        ),
    ]


def host_panels() -> list[Json]:
    """What is promised of each host, and how full its storage is."""
    promised = "sum by (job, instance) ({}) / on (job, instance) {}"
    memory = vm("libvirt_domain_balloon_maximum_bytes")
    return [
        graph(
            "vCPUs per CPU",
            series(promised.format(VCPUS, host("libvirt_node_cpus")), legend="{{instance}}"),
            unit="none",
            description="vCPUs of the chosen VMs that are active, per CPU of their host. Above 1 "
            "more is promised than there is.",
            width=8,
        ),
        graph(
            "Memory promised",
            series(
                promised.format(memory, host("libvirt_node_memory_bytes")), legend="{{instance}}"
            ),
            unit="percentunit",
            description="Memory that the chosen VMs may have while they are active, relative to "
            "their host's. Above 100 % more is promised than there is.",
            width=8,
        ),
        graph(
            "Storage pools in use",
            series(
                f"1 - ({host('libvirt_storage_pool_filesystem_available_bytes')}"
                f" / ({host('libvirt_storage_pool_filesystem_size_bytes')} > 0)"
                f" or {host('libvirt_storage_pool_available_bytes')}"
                f" / ({host('libvirt_storage_pool_capacity_bytes')} > 0))",
                legend="{{instance}} {{pool}}",
            ),
            unit="percentunit",
            description="Of directories whose file system the exporter sees as of now, of other "
            "pools as of their last refresh, which the exporter never asks for.",
            width=8,
        ),
    ]


def exporter_panels() -> list[Json]:
    """Whether the figures above can be trusted; the VM variable has no say here."""
    return [
        state_timeline(
            "libvirt answers",
            series(host("libvirt_up"), legend="{{instance}}"),
            mappings={"0": ("no", "red"), "1": ("yes", "green")},
            description="A gap means that the exporter itself was not scraped.",
            width=8,
        ),
        graph(
            "Scrape duration",
            series(host("libvirt_scrape_duration_seconds"), legend="{{instance}}"),
            unit="s",
            description="Time that the sample took; must stay below Prometheus' scrape timeout.",
            width=8,
        ),
        graph(
            "Incomplete domains",
            series(host("libvirt_scrape_incomplete_domains"), legend="{{instance}} {{group}}"),
            unit="none",
            description="Domains that did not answer a field group: their series have gaps.",
            width=8,
        ),
        graph(
            "Stuck domains",
            series(host("libvirt_exporter_stuck_domains"), legend="{{instance}}"),
            unit="none",
            description="Domains whose QEMU does not answer: they are not asked for what needs it.",
            width=8,
        ),
        graph(
            "Failed and abandoned libvirt calls",
            series(
                rate(host("libvirt_exporter_libvirt_errors_total")),
                legend="{{instance}} {{call}}: {{class}}",
            ),
            series(
                rate(host("libvirt_exporter_abandoned_calls_total")),
                legend="{{instance}} {{call}}: abandoned",
            ),
            unit="cps",
            description="By call and class of error; abandoned calls did not return in time.",
            width=8,
        ),
        graph(
            "Series of domains",
            series(host("libvirt_exporter_series"), legend="{{instance}} {{group}}"),
            unit="short",
            description="Series of VMs in a scrape, by field group: what they cost Prometheus.",
            stacked=True,
            width=8,
        ),
        graph(
            "HTTP requests",
            series(
                rate(host("libvirt_exporter_http_requests_total")),
                legend="{{instance}} {{handler}} {{code}}",
            ),
            unit="reqps",
            description="By route and status code; 503 means more clients than web.max_requests.",
        ),
        graph(
            "HTTP requests under way",
            series(
                host("libvirt_exporter_http_requests_in_flight"), legend="{{instance}} {{handler}}"
            ),
            unit="none",
            description="Clients that wait for a change of VMs, and scrapes: at least the one that "
            "tells it.",
        ),
    ]


def device_graph(
    title: str, expression: str, *, unit: str, description: str, width: int = 8
) -> Json:
    """A line per disk or interface."""
    return graph(
        title,
        series(expression, legend="{{domain}} {{device}}"),
        unit=unit,
        description=description,
        width=width,
    )


# Parts of panels


def state_name_colours() -> Json:
    """Colours for the names of states."""
    return value_mapping({state: (state, colour) for state, colour in STATE_COLOURS.items()})


def link_to_vm() -> Json:
    """A link from a VM's name to the same dashboard with nothing but this VM."""
    return {
        "title": "Only this VM",
        "url": "/d/libvirt-vms?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
        "&var-domain=${__value.raw:percentencode}&${__url_time_range}",
    }
