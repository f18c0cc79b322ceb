"""The dashboard of a host, or of a few: what its VMs take of it, and of each other."""

from __future__ import annotations

from functools import partial

from dashboards import bounds, parts, shared_panels
from dashboards.grafana import Json, dashboard, graph, row, stat, state_timeline
from dashboards.queries import (
    BY_VM,
    HOST,
    named,
    pool_use,
    rate,
    select,
    state_number,
    top,
    top_now,
)
from libvirt_exporter.model import STATES

LEGEND = "{{display_name}}"

top_vms = partial(shared_panels.top_vms, legend=LEGEND)


def host() -> Json:
    """The chosen hosts."""
    return dashboard(
        "libvirt-host",
        "libvirt / Host",
        "One or more libvirt hosts: capacity, the VMs that use it and that wait for it, storage "
        "pools. Data from libvirt-exporter and its recording rules, which Prometheus must have "
        "loaded.",
        variables=parts.variables(),
        annotations=parts.event_marks(),
        panels=[
            *row("Now", *now_panels()),
            *row("CPU: use and steal", *cpu_panels()),
            *row("Memory", *memory_panels()),
            *row("Disks and network", *traffic_panels()),
            *row("VMs", vm_table(), states_of_vms(), pools()),
        ],
    )


def now_panels() -> list[Json]:
    """What the hosts have, and how much of it is taken, now."""
    version = select("libvirt_info")
    return [
        shared_panels.vms_by_state(width=8),
        stat(
            "CPUs",
            {"CPUs": f"sum({select('libvirt_node_cpus')})"},
            description="Hardware threads that are online.",
            width=3,
        ),
        stat(
            "Memory",
            {"memory": f"sum({select('libvirt_node_memory_bytes')})"},
            unit="bytes",
            description="Of the chosen hosts together.",
            width=3,
        ),
        stat(
            "Least memory available",
            {"least": f"min({select('instance:libvirt_memory_available:ratio')})"},
            unit="percentunit",
            description="Of the chosen host that has least: free memory and caches.",
            width=3,
            bands=bounds.MEMORY_AVAILABLE,
        ),
        stat(
            "Most memory promised",
            {"most": f"max({select('instance:libvirt_memory_promised:ratio')})"},
            unit="percentunit",
            description="Memory that the active VMs may use together, of the host's memory.",
            width=3,
            bands=bounds.MEMORY_PROMISED,
        ),
        stat(
            "libvirt",
            {
                "{{hypervisor}}, libvirt {{version}}": top_now(
                    f"count by (hypervisor, version) ({version})"
                )
            },
            description="Number of hosts with each driver and version.",
            text="value_and_name",
            width=4,
        ),
    ]


def cpu_panels() -> list[Json]:
    """The pair that shows noisy neighbours, and the host itself."""
    seconds = rate(select("libvirt_node_cpu_seconds_total"))
    return [
        top_vms(
            "CPUs in use by VMs",
            top(select("domain:libvirt_cpu_seconds:rate5m")),
            "none",
            "Host CPUs that a VM and its emulator keep busy. Compare with the steal of the others.",
            stacked=True,
        ),
        top_vms(
            "Steal of VMs",
            top(select("domain:libvirt_steal:ratio_rate5m")),
            "percentunit",
            shared_panels.VM_STEAL,
            bands=bounds.STEAL,
        ),
        graph(
            "CPU time of hosts by mode",
            {"{{mode}}": f"sum by (mode) ({seconds}) / scalar(sum({select('libvirt_node_cpus')}))"},
            unit="percentunit",
            description="Of all CPUs of the chosen hosts; user includes the guests.",
            stacked=True,
        ),
    ]


def memory_panels() -> list[Json]:
    """What is promised, what is taken, what is left."""
    return [
        graph(
            "Memory of hosts",
            {
                legend: f"sum({select(f'libvirt_node_memory{kind}_bytes')})"
                for kind, legend in (
                    ("", "all"),
                    ("_free", "free"),
                    ("_cached", "page cache"),
                    ("_buffers", "buffers"),
                )
            },
            unit="bytes",
            description="Of the chosen hosts together. Page cache and buffers can be reclaimed.",
        ),
        top_vms(
            "Resident memory of VMs",
            top(select("libvirt_domain_balloon_rss_bytes")),
            "bytes",
            "Host memory of the QEMU process, including its overhead, without huge pages.",
            stacked=True,
        ),
        top_vms(
            "Memory used by guests",
            top(select("domain:libvirt_memory_used:ratio")),
            "percentunit",
            shared_panels.VM_MEMORY,
            bands=bounds.MEMORY_USED,
        ),
    ]


def traffic_panels() -> list[Json]:
    """Who moves most data."""
    return [
        top_vms(title, top(select(record)), unit, description, bands=bands, width=8)
        for title, record, unit, description, bands in shared_panels.TOP_VMS
        if record.startswith("domain:") and unit in ("Bps", "iops", "pps")
    ]


def vm_table() -> Json:
    """A line for each VM that is active, as far as `$top` goes."""
    return shared_panels.vm_table(
        "VMs",
        top_now(select("domain:libvirt_cpu_seconds:rate5m")),
        description="The `$top` VMs that keep most CPUs busy at the end of the time range; choose "
        "a larger Top to see all.",
    )


def states_of_vms() -> Json:
    """When VMs of the host did something else than run."""
    running = STATES.index("running")
    number = state_number(HOST)
    changed = select("libvirt_domain_state", f'state="{STATES[running]}"')
    ranking = f"topk($top, stddev_over_time({changed}[$__range] @ end()))"
    return state_timeline(
        "States of VMs",
        {LEGEND: named(f"({number}) and on ({BY_VM}) {ranking}")},
        mappings=parts.STATE_NUMBERS,
        description="The `$top` VMs that started or stopped running most often in the time range; "
        "a gap means no data.",
        links=parts.LINE_LINKS,
        width=16,
    )


def pools() -> Json:
    """How full the storage is."""
    return graph(
        "Storage pools in use",
        {"{{instance}} {{pool}}": pool_use()},
        unit="percentunit",
        description="The file system of a pool if the exporter sees it, else libvirt's figures of "
        "its last refresh. The `$top` fullest.",
        links=parts.HOST_LINE_LINKS,
        bands=bounds.POOL_USE,
    )
