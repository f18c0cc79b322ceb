"""`node.*`: the host's CPUs and memory; the exporter's own keys for what libvirt says of them."""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="node",
        text="CPUs and memory of the host (virNodeGetInfo, virNodeGetCPUStats, "
        "virNodeGetMemoryStats).",
        lanes=("node",),
    ),
)


def _number(what: str, source: str, text: str, scale: Scale = Scale.ONE, since: str = "") -> Stat:
    return Stat(
        name=f"libvirt_node_{what}",
        text=text,
        group="node",
        source=source,
        scale=scale,
        since=since,
    )


METRICS: tuple[Metric, ...] = (
    _number("cpus", "node.cpus", "Online CPUs of the host; each hardware thread counts as one."),
    _number(
        "cpu_frequency_hertz",
        "node.cpu.frequency",
        "Clock frequency of the first CPU when libvirt read it. Absent if unknown.",
    ),
    Stat(
        name="libvirt_node_cpu_seconds_total",
        text="CPU time of the host, summed over its CPUs, by mode: kernel, user (guests "
        "included), idle, iowait. Modes that the driver does not report are absent.",
        group="node",
        source="node.cpu.<mode>.time",
        labels={"mode": "<mode>"},
        scale=Scale.NANOSECONDS,
        resets="when the host boots",
    ),
    _number(
        "numa_nodes",
        "node.numa.nodes",
        "NUMA nodes of the host. 1 if libvirt finds the topology irregular.",
    ),
    _number(
        "topology_sockets",
        "node.topology.sockets",
        "CPU sockets per NUMA node, as libvirt counts them.",
    ),
    _number(
        "topology_cores", "node.topology.cores", "Cores per CPU socket, as libvirt counts them."
    ),
    _number("topology_threads", "node.topology.threads", "Hardware threads per core."),
    _number("memory_bytes", "node.memory.total", "Total memory of the host.", Scale.KIBIBYTES),
    _number(
        "memory_free_bytes",
        "node.memory.free",
        "Unused memory of the host (MemFree), page cache excluded.",
        Scale.KIBIBYTES,
    ),
    _number(
        "memory_available_bytes",
        "node.memory.available",
        "Memory of the host available to new programs without swapping (MemAvailable).",
        Scale.KIBIBYTES,
        "12.3.0",
    ),
    _number(
        "memory_buffers_bytes",
        "node.memory.buffers",
        "Kernel buffers of the host.",
        Scale.KIBIBYTES,
    ),
    _number(
        "memory_cached_bytes",
        "node.memory.cached",
        "Page cache of the host.",
        Scale.KIBIBYTES,
    ),
)
