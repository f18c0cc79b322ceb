"""The dashboard of one VM, on whichever host it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboards import bounds, parts, shared_panels
from dashboards.grafana import (
    Bands,
    Json,
    column,
    dashboard,
    graph,
    instant,
    row,
    stat,
    state_timeline,
    table,
)
from dashboards.queries import (
    BY_DEVICE,
    BY_UUID,
    BY_VM,
    VM,
    rate,
    seen,
    select,
    state_number,
    top,
    top_now,
    top_rates,
)

HERE = "{{instance}}"


def vm() -> Json:
    """One VM."""
    return dashboard(
        "libvirt-vm",
        "libvirt / VM",
        "One VM of a libvirt host: state, CPU, memory, disks, network, jobs and what its guest "
        "agent reports. Data from libvirt-exporter and its recording rules, which Prometheus must "
        "have loaded.",
        variables=[*parts.variables(), parts.vm_variable()],
        annotations=parts.event_marks(VM),
        panels=[
            *row("Now", *now_panels()),
            *row("State", *state_panels()),
            *row("CPU", *cpu_panels()),
            *row("Memory", *memory_panels()),
            *row("Disks", *disk_panels()),
            *row("Network", *network_panels()),
            *row("Events and jobs", *event_panels()),
            *row(
                "Guest agent: where guest_agent.enabled is set",
                *guest_panels(),
                collapsed=True,
            ),
        ],
    )


def of_vm(metric: str, *matchers: str) -> str:
    """The metric of the VM."""
    return select(metric, *matchers, scope=VM)


def now(title: str, expression: str, **look: Any) -> Json:
    """A figure of the VM, on each host that has it."""
    return stat(title, {HERE: expression}, width=3, **look)


def balloon(names: Mapping[str, str]) -> dict[str, str]:
    """Sizes that libvirt has of the VM's memory, by what they are called here."""
    return {legend: of_vm(f"libvirt_domain_balloon_{name}_bytes") for legend, name in names.items()}


def now_panels() -> list[Json]:
    """What it is, and how it is."""
    labels = f"{BY_VM}, type, machine, os_type"
    about = f"max by ({labels}) ({of_vm('libvirt_domain_info')})"
    for label, metric in (
        ("display_name", "domain:libvirt_display_name:info"),
        ("project_name", "domain:libvirt_project:info"),
    ):
        known = f"max by ({BY_UUID}, {label}) ({of_vm(metric)})"
        about = f"({about}) * on ({BY_UUID}) group_left ({label}) {known}"
    return [
        table(
            "VM",
            instant(top_now(about), ref="vm"),
            [],
            labels={
                "display_name": "VM",
                "domain": "Domain",
                "project_name": "Project",
                "instance": "Instance",
                "type": "Type",
                "machine": "Machine",
                "uuid": "UUID",
            },
            hidden=["job", "os_type"],
            overrides=parts.identity_columns(),
            sort_by="Instance",
            description="A line for each host that has it: two while it migrates.",
            height=4,
        ),
        now(
            "State now",
            state_number(VM),
            description="State that libvirt reports.",
            mappings=parts.STATE_NUMBERS,
        ),
        now(
            "Running for",
            f"time() - {of_vm('libvirt_domain_start_time_seconds')}",
            unit="s",
            description="Age of the QEMU process; a reboot of the guest does not reset it.",
            nothing="not known",
        ),
        now(
            "vCPUs",
            of_vm("libvirt_domain_vcpus_current"),
            description="vCPUs that it has now.",
            nothing="inactive",
        ),
        now(
            "Memory",
            of_vm("libvirt_domain_balloon_current_bytes"),
            unit="bytes",
            description="Memory that the balloon leaves to the guest; the guest may use less.",
            nothing="inactive",
        ),
        now(
            "Monitor",
            of_vm("libvirt_domain_monitor_responsive"),
            description="Whether its QEMU monitor answers; if not, most metrics are missing.",
            mappings=parts.YES_NO,
            nothing="not asked",
        ),
        now(
            "Agent",
            of_vm("libvirt_domain_agent_connected"),
            description="Whether the guest's agent has opened its channel.",
            mappings=parts.YES_NO,
            nothing="no channel",
        ),
        now(
            "Snapshots",
            of_vm("libvirt_domain_snapshots"),
            description="Snapshots of the VM that libvirt keeps.",
            nothing="not known",
        ),
        now(
            "Autostart",
            of_vm("libvirt_domain_autostart"),
            description="libvirt's autostart.",
            mappings={"0": ("no", "text"), "1": ("yes", "text")},
            nothing="not known",
        ),
    ]


def state_panels() -> list[Json]:
    """What it did, and why it stood still."""
    return [
        state_timeline(
            "State over time",
            {HERE: state_number(VM)},
            mappings=parts.STATE_NUMBERS,
            description="A bar for each host that has it; a gap means no data.",
            height=6,
        ),
        state_timeline(
            "Reason of the state",
            {
                "{{state}}: {{reason}}": seen(
                    of_vm("libvirt_domain_state_reason"), f"{BY_VM}, state, reason"
                )
            },
            mappings={"1": ("yes", "blue")},
            description="A bar for each reason while it holds; ioerror and watchdog need "
            "attention.",
            height=6,
        ),
    ]


def cpu_panels() -> list[Json]:
    """CPU time, relative and absolute, and the time that vCPUs had to wait."""
    vcpu = f"{BY_VM}, vcpu"
    return [
        graph(
            "CPU use",
            {HERE: of_vm("domain:libvirt_cpu_use:ratio_rate5m")},
            unit="percentunit",
            description=shared_panels.VM_CPU,
        ),
        graph(
            "Steal",
            {HERE: of_vm("domain:libvirt_steal:ratio_rate5m")},
            unit="percentunit",
            description=shared_panels.VM_STEAL,
            bands=bounds.STEAL,
        ),
        graph(
            "CPU time of vCPUs",
            {"vCPU {{vcpu}}": top_rates(of_vm("libvirt_domain_vcpu_seconds_total"), vcpu)},
            unit="percentunit",
            description="Of one CPU of the host. A vCPU at 100 % slows a program that cannot "
            "use more than one. The `$top` busiest.",
        ),
    ]


def memory_panels() -> list[Json]:
    """What the guest says of its memory, and what the host spends on it."""
    swap = "libvirt_domain_balloon_swap_{}_bytes_total"
    return [
        graph(
            "Memory used",
            {HERE: of_vm("domain:libvirt_memory_used:ratio")},
            unit="percentunit",
            description=shared_panels.VM_MEMORY,
            bands=bounds.MEMORY_USED,
        ),
        graph(
            "Guest memory",
            balloon(
                {
                    "available": "available",
                    "usable": "usable",
                    "unused": "unused",
                    "caches": "disk_caches",
                }
            ),
            unit="bytes",
            description="libvirt's names. Available: all that the guest sees. Usable: available "
            "without swapping. Unused: free without caches, near 0 in a healthy guest.",
        ),
        graph(
            "Host memory",
            balloon({"maximum": "maximum", "given": "current", "resident": "rss"}),
            unit="bytes",
            description="Maximum and given: to the guest. Resident: memory of the QEMU process, "
            "including its overhead, without huge pages.",
        ),
        graph(
            "Guest swap traffic",
            {
                "swap in": rate(of_vm(swap.format("in"))),
                "swap out": rate(of_vm(swap.format("out"))),
            },
            unit="Bps",
            description="Swapping by the guest's own system. Reported by its balloon driver.",
            width=8,
        ),
        graph(
            "Major page faults",
            {HERE: rate(of_vm("libvirt_domain_balloon_major_faults_total"))},
            unit="cps",
            description="Page faults of the guest that read from a disk. Reported by its balloon "
            "driver.",
        ),
        graph(
            "Age of the memory report",
            {HERE: f"time() - {of_vm('libvirt_domain_balloon_last_update_timestamp_seconds')}"},
            unit="s",
            description="Age of the guest's last memory report: it rises if the guest hangs.",
        ),
    ]


def disk_panels() -> list[Json]:
    """Requests, throughput, latency and fill level of each disk."""
    operations = {"Read": "reads", "Write": "writes", "Flush": "flushes"}
    requests = {
        title: of_vm(f"libvirt_domain_block_{plural}_completed_total")
        for title, plural in operations.items()
    }
    times = {
        title: of_vm(f"libvirt_domain_block_{title.lower()}_time_seconds_total")
        for title in operations
    }
    chosen = " + ".join(f"increase({time}[$__range] @ end())" for time in times.values())
    in_flight = " + ".join(rate(time) for time in times.values())
    flush_latency = f"{rate(times['Flush'])} / ({rate(requests['Flush'])} > 0)"
    return [
        *(
            device_graph(
                f"{title} requests",
                top_rates(requests[title]),
                unit="iops",
                description="Requests of the guest that completed.",
            )
            for title in operations
        ),
        *(
            device_graph(
                f"{title} throughput",
                top_rates(of_vm(f"libvirt_domain_block_{participle}_bytes_total")),
                unit="Bps",
                description="Data of the guest's requests; the traffic of the storage may differ.",
            )
            for title, participle in (("Read", "read"), ("Write", "written"))
        ),
        device_graph(
            "Requests in flight: read, write and flush",
            f"{in_flight} and on ({BY_DEVICE}) topk($top, {chosen})",
            unit="none",
            description="Mean number of requests under way (Little's law: seconds that requests "
            "took, per second).",
        ),
        *(
            device_graph(
                f"{title} latency",
                top(of_vm(f"device:libvirt_{title.lower()}_latency:seconds_rate5m"), BY_DEVICE),
                unit="s",
                description="Mean over the requests that completed; a gap means there were none.",
                bands=bounds.LATENCY,
            )
            for title in ("Read", "Write")
        ),
        device_graph(
            "Flush latency",
            f"{flush_latency} and on ({BY_DEVICE})"
            f" topk($top, increase({requests['Flush']}[$__range] @ end()))",
            unit="s",
            description="Mean over the flushes that completed; a gap means there were none.",
        ),
        disk_table(),
    ]


def disk_table() -> Json:
    """A line for each disk: how much of it is written."""
    return shared_panels.disk_table(
        "Disks",
        top_now(of_vm("libvirt_domain_block_capacity_bytes")),
        scope=VM,
        labels={"device": "Disk", "instance": "Instance"},
        hidden=["job", "domain", "uuid"],
        description="Allocated may pass the capacity: snapshots and metadata count.",
    )


def network_panels() -> list[Json]:
    """Traffic, drops and errors of each interface, for each direction."""
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
            top_rates(of_vm(f"libvirt_domain_interface_{title.lower()}_{what}_total")),
            unit=unit,
            description=f"As the guest sees it: {way}.",
            width=6,
        )
        for kind, what, unit in kinds
        for title, way in ways.items()
    ]


def event_panels() -> list[Json]:
    """What happened to it, and what is done with it."""
    event = of_vm("libvirt_domain_last_event_timestamp_seconds")
    return [
        table(
            "Last events",
            instant(top_now(f"max by (instance, event) ({event}) * 1000"), ref="time"),
            [],
            labels={"event": "Event", "instance": "Instance", "Value #time": "Last"},
            hidden=[],
            overrides=[parts.time_column("Last")],
            sort_by="Last",
            description="Time of the last event of each kind since the exporter follows events.",
            width=6,
            height=8,
            shown=True,
        ),
        *shared_panels.job_panels(
            VM, legend="{{operation}}", device="{{device}}: {{job_type}}", width=6
        ),
    ]


def guest_panels() -> list[Json]:
    """What its agent reports, where the configuration has agents asked."""
    filesystem = f"{BY_VM}, mountpoint, fstype, guest_device"
    used = of_vm("libvirt_domain_guest_filesystem_used_bytes")
    size = of_vm("libvirt_domain_guest_filesystem_size_bytes")
    share = f"{used} / ({size} > 0)"
    ranking = f"topk($top, {used} @ end() / ({size} @ end() > 0))"
    answered = of_vm("libvirt_domain_guest_agent_answer_timestamp_seconds")
    errors = of_vm("libvirt_domain_guest_agent_errors_total")
    return [
        graph(
            "Guest file systems in use",
            {"{{mountpoint}}": f"{share} and on ({filesystem}) {ranking}"},
            unit="percentunit",
            description="Of the space that is not reserved for root. The `$top` fullest.",
            bands=bounds.FILE_SYSTEM,
        ),
        graph(
            "Guest load",
            {
                **{
                    f"{minutes} min": of_vm(f"libvirt_domain_guest_load{minutes}")
                    for minutes in (1, 5, 15)
                },
                "CPUs": of_vm("libvirt_domain_guest_cpus_online"),
            },
            unit="none",
            description="Load average beside the CPUs that the guest uses. Load needs an agent of "
            "QEMU 10.0 or newer.",
        ),
        graph(
            "Guest users",
            {HERE: of_vm("libvirt_domain_guest_users")},
            unit="none",
            description="Users that are logged on.",
        ),
        graph(
            "Age of the agent's answers",
            {"{{kind}}": f"time() - {answered}"},
            unit="s",
            description="By kind of query.",
            width=8,
        ),
        graph(
            "Failed questions to the agent",
            {"{{error}}": rate(errors)},
            unit="cps",
            description="Timeout: no answer in time. Refused: the agent does not know or allow the "
            "query. Denied: libvirt does not allow it.",
            width=8,
        ),
        table(
            "Guest system",
            instant(
                top_now(
                    "max by (instance, pretty_name, kernel_release, machine)"
                    f" ({of_vm('libvirt_domain_guest_os_info')})"
                ),
                ref="os",
            ),
            [],
            labels={
                "pretty_name": "System",
                "kernel_release": "Kernel",
                "machine": "Machine",
                "instance": "Instance",
            },
            hidden=[],
            sort_by="System",
            description="As the guest's agent reports it.",
            width=8,
            height=8,
        ),
        applications(),
    ]


def applications() -> Json:
    """What is installed in the guest, as far as metrics say it."""
    chosen = top_now(
        f"max by (instance, source) ({of_vm('libvirt_domain_guest_applications_info')})"
    )

    def figure(metric: str) -> str:
        return f"max by (instance) ({of_vm(f'libvirt_domain_guest_applications{metric}')})"

    failed = of_vm("libvirt_domain_guest_applications_errors_total")
    return table(
        "Guest applications",
        instant(chosen, ref="source"),
        [
            column("Installed", "none", figure("")),
            column("Changed", "dateTimeAsIso", f"{figure('_changed_timestamp_seconds')} * 1000"),
            column("Checked", "dateTimeAsIso", f"{figure('_checked_timestamp_seconds')} * 1000"),
            column("Failures", "none", f"max by (instance) (increase({failed}[$__range]))"),
        ],
        labels={"source": "Listed by", "instance": "Instance"},
        hidden=[],
        sort_by="Changed",
        description="Requires `applications.enabled`. The API returns the names.",
        height=6,
    )


def device_graph(
    title: str,
    expression: str,
    *,
    unit: str,
    description: str,
    width: int = 8,
    bands: Bands | None = None,
) -> Json:
    """A line for each of the `$top` disks or interfaces."""
    return graph(
        title,
        {"{{device}}": expression},
        unit=unit,
        description=f"{description} The `$top` highest of the time range.",
        width=width,
        bands=bands,
    )
