"""`memory.*`: memory bandwidth monitors of resctrl."""

from libvirt_exporter.catalogue.metric import (
    A_COUNT,
    NEW_RESCTRL,
    Group,
    Metric,
    Stat,
    StatInfo,
    Withheld,
)

GROUPS: tuple[Group, ...] = (
    Group(
        name="memory",
        text="Memory bandwidth, where the domain's XML configures monitors.",
        asks=("memory",),
        left_out=8,
    ),
)

MONITOR = {"monitor": "memory.bandwidth.monitor.<num>.name"}
NODE = {**MONITOR, "node": "memory.bandwidth.monitor.<num>.node.<index>.id"}


def _traffic(what: str, key: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_domain_memory_bandwidth_{what}_total",
        text=text,
        group="memory",
        source=f"memory.bandwidth.monitor.<num>.node.<index>.bytes.{key}",
        labels=NODE,
        since="6.0.0",
        resets=NEW_RESCTRL,
    )


METRICS: tuple[Metric, ...] = (
    StatInfo(
        name="libvirt_domain_memory_bandwidth_monitor_info",
        text="Always 1; the vCPUs that a memory bandwidth monitor measures.",
        group="memory",
        source="memory.bandwidth.monitor.<num>.vcpus",
        labels={**MONITOR, "vcpus": "memory.bandwidth.monitor.<num>.vcpus"},
        since="6.0.0",
    ),
    _traffic(
        "bytes", "total", "Memory traffic of the monitored vCPUs through all memory controllers."
    ),
    _traffic(
        "local_bytes",
        "local",
        "Memory traffic of the monitored vCPUs through the local memory controller.",
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("memory.bandwidth.monitor.count", A_COUNT),
    Withheld("memory.bandwidth.monitor.<num>.node.count", A_COUNT),
)
