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
    _number("cpus", "node.cpus", "CPUs of the host that are online; each hardware thread is one."),
    _number(
        "cpu_frequency_hertz",
        "node.cpu.frequency",
        "Clock frequency of the first CPU, as it was when libvirt looked; absent where unknown.",
    ),
    Stat(
        name="libvirt_node_cpu_seconds_total",
        text="CPU time of the host by mode, summed over its CPUs: kernel, user (guests "
        "included), idle, iowait; as far as the driver tells them apart.",
        group="node",
        source="node.cpu.<mode>.time",
        labels={"mode": "<mode>"},
        scale=Scale.NANOSECONDS,
        resets="when the host boots",
    ),
    _number(
        "numa_nodes", "node.numa.nodes", "NUMA nodes; 1 where libvirt finds the topology irregular."
    ),
    _number(
        "topology_sockets",
        "node.topology.sockets",
        "CPU sockets in one NUMA node, by libvirt's count.",
    ),
    _number(
        "topology_cores", "node.topology.cores", "Cores in one CPU socket, by libvirt's count."
    ),
    _number("topology_threads", "node.topology.threads", "Hardware threads in one core."),
    _number("memory_bytes", "node.memory.total", "Memory of the host.", Scale.KIBIBYTES),
    _number(
        "memory_free_bytes",
        "node.memory.free",
        "Memory of the host that nothing uses.",
        Scale.KIBIBYTES,
    ),
    _number(
        "memory_available_bytes",
        "node.memory.available",
        "Memory of the host that can be had without swapping (MemAvailable).",
        Scale.KIBIBYTES,
        "12.3.0",
    ),
    _number(
        "memory_buffers_bytes",
        "node.memory.buffers",
        "Memory of the host in the kernel's buffers.",
        Scale.KIBIBYTES,
    ),
    _number(
        "memory_cached_bytes",
        "node.memory.cached",
        "Memory of the host in the kernel's page cache.",
        Scale.KIBIBYTES,
    ),
)
