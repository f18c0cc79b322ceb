"""Panels of VMs that are on more than one page, and what their figures mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboards import bounds
from dashboards.grafana import (
    Bands,
    Json,
    by_name,
    column,
    fixed,
    graph,
    instant,
    stat,
    state_timeline,
    table,
)
from dashboards.parts import (
    HOST_LINE_LINKS,
    LINE_LINKS,
    STATE_COLOURS,
    identity_columns,
    state_column,
)
from dashboards.queries import (
    BY_DEVICE,
    BY_HOST,
    BY_VM,
    PROJECTS,
    named,
    of,
    seen,
    select,
    top,
    top_now,
    top_rates,
)

HOST_CPU: Final = "CPU time of all VMs and their emulators, of the host's CPUs."
VM_CPU: Final = (
    "Host CPU time of the VM, of its vCPUs. QEMU's own threads count too, so it can pass 100 %."
)
VM_MEMORY: Final = (
    "Memory that the guest cannot free without swapping: 1 - usable / available, as its balloon "
    "driver reports them; without usable, unused memory and caches are used instead. Absent unless "
    "the domain XML requests reports (`memballoon/stats`)."
)
VM_STEAL: Final = "Share of its time that a vCPU was ready and had to wait for a CPU of the host."

TOP_VMS: Final[Sequence[tuple[str, str, str, str, Bands | None]]] = (
    (
        "CPUs in use",
        "domain:libvirt_cpu_seconds:rate5m",
        "none",
        "Host CPUs that a VM and its emulator keep busy.",
        None,
    ),
    ("Steal", "domain:libvirt_steal:ratio_rate5m", "percentunit", VM_STEAL, bounds.STEAL),
    (
        "Memory used",
        "domain:libvirt_memory_used:ratio",
        "percentunit",
        VM_MEMORY,
        bounds.MEMORY_USED,
    ),
    (
        "Resident memory",
        "libvirt_domain_balloon_rss_bytes",
        "bytes",
        "Host memory of the QEMU process, including its overhead, without huge pages.",
        None,
    ),
    (
        "Read throughput",
        "domain:libvirt_disk_read_bytes:rate5m",
        "Bps",
        "Data that the guest's requests read, over all disks of a VM.",
        None,
    ),
    (
        "Write throughput",
        "domain:libvirt_disk_written_bytes:rate5m",
        "Bps",
        "Data that the guest's requests wrote, over all disks of a VM.",
        None,
    ),
    (
        "Disk requests",
        "domain:libvirt_disk_requests:rate5m",
        "iops",
        "Requests of the guest that completed, over all disks of a VM.",
        None,
    ),
    (
        "Read latency",
        "device:libvirt_read_latency:seconds_rate5m",
        "s",
        "Mean time of a disk's requests; a gap means there were none.",
        bounds.LATENCY,
    ),
    (
        "Write latency",
        "device:libvirt_write_latency:seconds_rate5m",
        "s",
        "Mean time of a disk's requests; a gap means there were none.",
        bounds.LATENCY,
    ),
    (
        "Dropped packets",
        "domain:libvirt_dropped_packets:rate5m",
        "pps",
        "Packets to and from the guest that were dropped, over all interfaces of a VM.",
        None,
    ),
    (
        "Receive throughput",
        "domain:libvirt_receive_bytes:rate5m",
        "Bps",
        "What the guest receives, over all interfaces of a VM.",
        None,
    ),
    (
        "Transmit throughput",
        "domain:libvirt_transmit_bytes:rate5m",
        "Bps",
        "What the guest sends, over all interfaces of a VM.",
        None,
    ),
)
"""Title, recorded metric, unit, description and bounds of what is compared between VMs."""


def vms_by_state(*, width: int) -> Json:
    """How many VMs there are."""
    return stat(
        "VMs by state",
        {"{{state}}": f"sum by (state) ({select('libvirt_domains')}) > 0"},
        description="All VMs of libvirt, including those that the exporter leaves out.",
        overrides=[by_name(state, color=fixed(colour)) for state, colour in STATE_COLOURS.items()],
        text="value_and_name",
        width=width,
    )


def top_hosts(
    title: str,
    metric: str,
    unit: str,
    description: str,
    *,
    label: str = "",
    among: str = "",
    bands: Bands | None = None,
    width: int = 8,
) -> Json:
    """A line for each of the `$top` hosts, or for a host and a value of a label.

    `among`: of which targets, where the metric is not the exporter's own.
    """
    by = f"{BY_HOST}, {label}" if label else BY_HOST
    selector = select(metric)
    chosen = top_rates if metric.endswith("_total") else top
    legend = f"{{{{instance}}}} {{{{{label}}}}}" if label else "{{instance}}"
    return graph(
        title,
        {legend: chosen(selector, by, among=among)},
        unit=unit,
        description=f"{description} The `$top` highest of the time range.",
        links=HOST_LINE_LINKS,
        bands=bands,
        width=width,
    )


def top_vms(
    title: str,
    expression: str,
    unit: str,
    description: str,
    *,
    legend: str,
    bands: Bands | None = None,
    width: int = 8,
    stacked: bool = False,
) -> Json:
    """Lines of the VMs that an expression chooses, by their display names."""
    return graph(
        title,
        {legend: named(expression)},
        unit=unit,
        description=f"{description} The `$top` highest of the time range.",
        links=LINE_LINKS,
        bands=bands,
        width=width,
        stacked=stacked,
    )


def vm_table(title: str, chosen: str, *, description: str) -> Json:
    """A line for each VM that the expression `chosen` has."""

    def figure(record: str) -> str:
        return of(chosen, select(record))

    reason = f"max by ({BY_VM}, state, reason) ({select('libvirt_domain_state_reason')})"
    project = f"* on ({BY_VM}) group_left (project_name) {PROJECTS}"
    traffic = (
        ("Disk read", "disk_read_bytes"),
        ("Disk written", "disk_written_bytes"),
        ("Received", "receive_bytes"),
        ("Transmitted", "transmit_bytes"),
    )
    return table(
        title,
        instant(top_now(f"{named(f'{reason} and on ({BY_VM}) {chosen}')} {project}"), ref="state"),
        [
            column(
                "CPUs",
                "none",
                figure("domain:libvirt_cpu_seconds:rate5m"),
                description="Host CPUs that the VM keeps busy.",
            ),
            column(
                "CPU",
                "percentunit",
                figure("domain:libvirt_cpu_use:ratio_rate5m"),
                gauge=True,
                description=VM_CPU,
            ),
            column(
                "Steal",
                "percentunit",
                figure("domain:libvirt_steal:ratio_rate5m"),
                bands=bounds.STEAL,
            ),
            column(
                "Memory used",
                "percentunit",
                figure("domain:libvirt_memory_used:ratio"),
                gauge=True,
                description=VM_MEMORY,
            ),
            *(
                column(name, "Bps", figure(f"domain:libvirt_{record}:rate5m"))
                for name, record in traffic
            ),
        ],
        labels={
            "display_name": "VM",
            "project_name": "Project",
            "instance": "Instance",
            "state": "State",
            "reason": "Reason",
            "uuid": "UUID",
        },
        hidden=["job", "domain"],
        overrides=[*identity_columns(), state_column()],
        sort_by="CPUs",
        description=description,
    )


def thin_disks() -> str:
    """How full the space under the `$top` fullest disks is that can outgrow it."""
    allocation = select("libvirt_domain_block_allocation_bytes")
    physical = select("libvirt_domain_block_physical_bytes")
    capacity = select("libvirt_domain_block_capacity_bytes")
    return f"topk($top, {allocation} / ({physical} > 0) and {physical} < {capacity})"


def disk_table(
    title: str,
    chosen: str,
    *,
    scope: str,
    labels: dict[str, str],
    hidden: Sequence[str],
    description: str,
    overrides: Sequence[Json] = (),
) -> Json:
    """A line for each disk that the expression `chosen` has."""

    def figure(expression: str) -> str:
        return named(of(chosen, expression, BY_DEVICE))

    def size(kind: str) -> str:
        return select(f"libvirt_domain_block_{kind}_bytes", scope=scope)

    return table(
        title,
        instant(named(f"max by ({BY_DEVICE}) ({chosen})"), ref="disk"),
        [
            column(
                "Capacity", "bytes", figure(size("capacity")), description="As the guest sees it."
            ),
            column(
                "Physical",
                "bytes",
                figure(size("physical")),
                description="Size of the file or volume that holds the disk.",
            ),
            column(
                "Allocated",
                "bytes",
                figure(size("allocation")),
                description="Highest offset written since QEMU opened the image, not space used on "
                "the host. Drivers other than QEMU: space used.",
            ),
            column(
                "Filled",
                "percentunit",
                figure(f"{size('allocation')} / ({size('physical')} > 0)"),
                description="Allocated, of the physical size. A file grows and is always near "
                "100 %; a volume has a fixed size.",
            ),
        ],
        labels=labels,
        hidden=hidden,
        overrides=overrides,
        sort_by="Filled",
        description=description,
        height=8,
    )


def job_panels(scope: str, *, legend: str, device: str, width: int) -> list[Json]:
    """Jobs of VMs and of disks while they go on."""

    def of_jobs(metric: str) -> str:
        return select(f"libvirt_domain_job_{metric}", scope=scope)

    # A backup has figures of disks only, a dump of memory only.
    share = " or ".join(
        f"1 - {of_jobs(f'{kind}_remaining_bytes')} / ({of_jobs(f'{kind}_total_bytes')} > 0)"
        for kind in ("data", "disk", "memory")
    )
    info = of_jobs("info")
    end = select("libvirt_domain_block_job_end_bytes", scope=scope)
    current = select("libvirt_domain_block_job_current_bytes", scope=scope)
    by_job = f"{BY_DEVICE}, job_type"
    running = seen(info, f"{BY_VM}, operation, job_type")
    operation = f"* on ({BY_VM}) group_left (operation) max by ({BY_VM}, operation) ({info})"
    ended = f"avg_over_time({of_jobs('elapsed_seconds')}[$__range] @ end())"
    return [
        state_timeline(
            "Jobs under way",
            {legend: named(running)},
            mappings={"1": ("yes", "blue")},
            description="Migrations, saves, dumps and backups while they run. Empty: there was "
            "none in the time range.",
            width=width,
            links=LINE_LINKS,
        ),
        graph(
            "Progress of jobs",
            {legend: named(f"(({share}) and on ({BY_VM}) topk($top, {ended})) {operation}")},
            unit="percentunit",
            description="Share of the data that is processed; it falls when the guest changes "
            "data that was already processed. The `$top` longest.",
            width=width,
            links=LINE_LINKS,
        ),
        graph(
            "Progress of block jobs",
            {
                device: named(
                    f"{current} / ({end} > 0) and on ({by_job})"
                    f" topk($top, max_over_time({end}[$__range] @ end()))"
                )
            },
            unit="percentunit",
            description="Copies, pulls, commits and backups of a disk. A copy that has reached its "
            "end stays active until it is pivoted or aborted. The `$top` largest.",
            width=width,
            links=LINE_LINKS,
        ),
    ]
