"""The catalogue: every metric of the exporter, one row each, in the order of exposition."""

from libvirt_exporter.catalogue import (
    balloon,
    block,
    cpu,
    dirtyrate,
    event,
    exporter,
    info,
    interface,
    iothread,
    job,
    kvm,
    memory,
    metadata,
    monitor,
    network,
    node,
    perf,
    process,
    state,
    storage,
    vcpu,
)
from libvirt_exporter.catalogue.metric import Group, Metric, Withheld

GROUPS: tuple[Group, ...] = (
    state.GROUP,
    monitor.GROUP,
    event.GROUP,
    job.GROUP,
    process.GROUP,
    cpu.GROUP,
    balloon.GROUP,
    vcpu.GROUP,
    interface.GROUP,
    block.GROUP,
    block.LIMITS_GROUP,
    block.BACKING_GROUP,
    block.TIMED_GROUP,
    iothread.GROUP,
    perf.GROUP,
    memory.GROUP,
    dirtyrate.GROUP,
    kvm.VM_GROUP,
    kvm.KVM_GROUP,
    info.GROUP,
    metadata.GROUP,
    node.GROUP,
    storage.GROUP,
    network.GROUP,
)

LIMIT_ORDER: tuple[str, ...] = (
    "vm",
    "kvm",
    "block-limits",
    "block-timed",
    "block-backing",
    "dirtyrate",
    "perf",
    "memory",
    "iothread",
    "process",
    "info",
    "metadata",
    "balloon",
    "vcpu",
    "interface",
    "block",
    "cpu-total",
    "event",
)
"""Groups in the order in which a limit on series leaves them out; the others are never left out."""

HOST_METRICS: tuple[Metric, ...] = (
    *node.METRICS,
    *storage.METRICS,
    *network.METRICS,
)
"""Metrics with a series per host, storage pool or network."""

DOMAIN_METRICS: tuple[Metric, ...] = (
    *state.METRICS,
    *monitor.METRICS,
    *event.METRICS,
    *job.METRICS,
    *process.METRICS,
    *info.METRICS,
    *metadata.METRICS,
    *cpu.METRICS,
    *vcpu.METRICS,
    *balloon.METRICS,
    *block.METRICS,
    *interface.METRICS,
    *iothread.METRICS,
    *perf.METRICS,
    *memory.METRICS,
    *dirtyrate.METRICS,
    *kvm.METRICS,
)
"""Metrics with a series per domain or device."""

SAMPLE_METRICS: tuple[Metric, ...] = (*HOST_METRICS, *DOMAIN_METRICS)
"""What groups and fields choose from."""

METRICS: tuple[Metric, ...] = (
    *exporter.SCRAPE_METRICS,
    *SAMPLE_METRICS,
    *exporter.OWN_METRICS,
)

_COUNT = "A number of entries: count the entries' series instead."
_NAME = "A name: it is a label of the entry's series."

WITHHELD: tuple[Withheld, ...] = (
    Withheld("net.count", _COUNT),
    Withheld("block.count", _COUNT),
    Withheld("iothread.count", _COUNT),
    Withheld("cpu.cache.monitor.count", _COUNT),
    Withheld("cpu.cache.monitor.<num>.bank.count", _COUNT),
    Withheld("cpu.energy.monitor.count", _COUNT),
    Withheld("cpu.energy.monitor.<num>.pkg.count", _COUNT),
    Withheld("memory.bandwidth.monitor.count", _COUNT),
    Withheld("memory.bandwidth.monitor.<num>.node.count", _COUNT),
    Withheld("block.<num>.timed_group.count", _COUNT),
    Withheld("block.<num>.latency_histogram.<operation>.bin.count", _COUNT),
    Withheld("pool.<num>.name", _NAME),
    Withheld("network.<num>.name", _NAME),
    Withheld("network.<num>.forward", "It is a label of libvirt_network_info."),
    Withheld("diskerror.<num>.name", _NAME),
    Withheld("job.operation", "It is a label of libvirt_domain_job_info."),
    *(
        Withheld(f"job.{key}", "A detail of a job that few look at: virsh domjobinfo shows it.")
        for key in job.DETAILS
    ),
    Withheld("blockjob.count", _COUNT),
    Withheld("blockjob.<num>.name", _NAME),
    Withheld("blockjob.<num>.type", "A number: its name is a label of the job's series."),
    Withheld("blockjob.<num>.type.name", _NAME),
    Withheld("event.disk.<num>.name", _NAME),
    Withheld("event.watchdog.last.time", "libvirt_domain_last_event_timestamp_seconds has it."),
    Withheld("event.watchdog.last.action", "The counter that grew tells it."),
    Withheld("graphics.client.address", "It names a person's machine."),
    Withheld("exit.reason", "A number of oVirt's; libvirt_domain_state_reason has libvirt's word."),
    Withheld("exit.message", "Free text: libvirt_domain_state_reason has libvirt's word."),
    Withheld("exit.time", "libvirt_domain_last_event_timestamp_seconds has it, event `stopped`."),
    Withheld("net.<num>.name", _NAME),
    Withheld("block.<num>.name", _NAME),
    Withheld("cpu.cache.monitor.<num>.name", _NAME),
    Withheld("cpu.cache.monitor.<num>.bank.<index>.id", _NAME),
    Withheld("cpu.energy.monitor.<num>.name", _NAME),
    Withheld("cpu.energy.monitor.<num>.pkg.<index>.id", _NAME),
    Withheld("memory.bandwidth.monitor.<num>.name", _NAME),
    Withheld("memory.bandwidth.monitor.<num>.node.<index>.id", _NAME),
    Withheld(
        "block.<num>.backingIndex",
        "A name: it is a label of the series of lower images; the top image's changes with "
        "every snapshot.",
    ),
    Withheld("block.<num>.timed_group.<i>.interval", _NAME),
    Withheld(
        "block.<num>.latency_histogram.<operation>.bin.<i>.start",
        "A bound: it is the `le` label of the histogram's buckets.",
    ),
)
"""Stats keys that are structure, not values."""

WITHHELD_VALUES: tuple[Withheld, ...] = (
    Withheld(
        "cpu.* of inactive domains",
        "libvirt returns the CPU time of its own daemon there (seen with 9.0.0).",
    ),
    Withheld("balloon.last-update of 0", "The guest has never reported."),
    Withheld(
        "everything but state.* of inactive domains",
        "It is not asked for: libvirt would open the disks' images, and block on dead storage.",
    ),
    Withheld("NaN and infinity", "They are no figures; the series is absent."),
)
"""Values that are not exported although their key is mapped."""
