"""The dashboard of a host, or of a few: what its VMs take of it, and of each other."""

from __future__ import annotations

from dashboards import bounds, parts, shared_panels
from dashboards.grafana import (
    Json,
    by_name,
    dashboard,
    fixed,
    graph,
    instant,
    row,
    series,
    stat,
    state_timeline,
)
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
        stat(
            "VMs by state",
            instant(f"sum by (state) ({select('libvirt_domains')}) > 0", legend="{{state}}"),
            unit="none",
            description="All VMs of libvirt, including those that the exporter leaves out.",
            overrides=[
                by_name(state, color=fixed(colour)) for state, colour in parts.STATE_COLOURS.items()
            ],
            text="value_and_name",
            width=8,
        ),
        stat(
            "CPUs",
            instant(f"sum({select('libvirt_node_cpus')})", legend="CPUs"),
            unit="none",
            description="Hardware threads that are online.",
            width=3,
        ),
        stat(
            "Memory",
            instant(f"sum({select('libvirt_node_memory_bytes')})", legend="memory"),
            unit="bytes",
            description="Of the chosen hosts together.",
            width=3,
        ),
        stat(
            "Least memory available",
            instant(f"min({select('instance:libvirt_memory_available:ratio')})", legend="least"),
            unit="percentunit",
            description="Of the chosen host that has least: free memory and caches.",
            width=3,
            bands=bounds.MEMORY_AVAILABLE,
        ),
        stat(
            "Most memory promised",
            instant(f"max({select('instance:libvirt_memory_promised:ratio')})", legend="most"),
            unit="percentunit",
            description="Memory that the active VMs may use together, of the host's memory.",
            width=3,
            bands=bounds.MEMORY_PROMISED,
        ),
        stat(
            "libvirt",
            instant(
                top_now(f"count by (hypervisor, version) ({version})"),
                legend="{{hypervisor}}, libvirt {{version}}",
            ),
            unit="none",
            description="Number of hosts with each driver and version.",
            text="value_and_name",
            width=4,
        ),
    ]


def cpu_panels() -> list[Json]:
    """The pair that shows noisy neighbours, and the host itself."""
    seconds = rate(select("libvirt_node_cpu_seconds_total"))
    return [
        shared_panels.top_vms(
            "CPUs in use by VMs",
            top(select("domain:libvirt_cpu_seconds:rate5m")),
            "none",
            "Host CPUs that a VM and its emulator keep busy. Compare with the steal of the others.",
            legend=LEGEND,
            stacked=True,
        ),
        shared_panels.top_vms(
            "Steal of VMs",
            top(select("domain:libvirt_steal:ratio_rate5m")),
            "percentunit",
            shared_panels.VM_STEAL,
            legend=LEGEND,
            bands=bounds.STEAL,
        ),
        graph(
            "CPU time of hosts by mode",
            series(
                f"sum by (mode) ({seconds}) / scalar(sum({select('libvirt_node_cpus')}))",
                legend="{{mode}}",
            ),
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
            *(
                series(f"sum({select(f'libvirt_node_memory{kind}_bytes')})", legend=legend)
                for kind, legend in (
                    ("", "all"),
                    ("_free", "free"),
                    ("_cached", "page cache"),
                    ("_buffers", "buffers"),
                )
            ),
            unit="bytes",
            description="Of the chosen hosts together. Page cache and buffers can be reclaimed.",
        ),
        shared_panels.top_vms(
            "Resident memory of VMs",
            top(select("libvirt_domain_balloon_rss_bytes")),
            "bytes",
            "Host memory of the QEMU process, including its overhead, without huge pages.",
            legend=LEGEND,
            stacked=True,
        ),
        shared_panels.top_vms(
            "Memory used by guests",
            top(select("domain:libvirt_memory_used:ratio")),
            "percentunit",
            shared_panels.VM_MEMORY,
            legend=LEGEND,
            bands=bounds.MEMORY_USED,
        ),
    ]


def traffic_panels() -> list[Json]:
    """Who moves most data."""
    return [
        shared_panels.top_vms(
            title, top(select(record)), unit, description, legend=LEGEND, bands=bands, width=8
        )
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
        series(named(f"({number}) and on ({BY_VM}) {ranking}"), legend=LEGEND),
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
        series(pool_use(), legend="{{instance}} {{pool}}"),
        unit="percentunit",
        description="The file system of a pool if the exporter sees it, else libvirt's figures of "
        "its last refresh. The `$top` fullest.",
        links=parts.HOST_LINE_LINKS,
        bands=bounds.POOL_USE,
    )
