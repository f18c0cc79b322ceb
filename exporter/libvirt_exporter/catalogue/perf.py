"""`perf.*`: hardware and software counters of perf, for domains whose XML enables them."""

from libvirt_exporter.catalogue.metric import PERF_ENABLED, Group, Metric, Scale, Stat

GROUPS: tuple[Group, ...] = (
    Group(
        name="perf",
        text="Counters of perf, where the domain's XML enables them.",
        asks=("perf",),
        left_out=7,
    ),
)


def _counter(event: str, text: str, since: str, what: str = "") -> Stat:
    what = what or event
    return Stat(
        name=f"libvirt_domain_perf_{what}_total",
        text=text,
        group="perf",
        source=f"perf.{event}",
        scale=Scale.NANOSECONDS if what.endswith("_seconds") else Scale.ONE,
        since=since,
        resets=PERF_ENABLED,
    )


METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_perf_cache_occupancy_bytes",
        text="Last-level cache occupied by the domain (kernels before 4.14).",
        group="perf",
        source="perf.cmt",
        since="1.3.5",
    ),
    _counter(
        "mbmt",
        "Memory traffic of the domain (kernels before 4.14).",
        "1.3.5",
        "memory_bandwidth_bytes",
    ),
    _counter(
        "mbml",
        "Memory traffic of the domain through the local controller (kernels before 4.14).",
        "1.3.5",
        "memory_bandwidth_local_bytes",
    ),
    _counter("cache_misses", "Cache misses.", "2.2.0"),
    _counter("cache_references", "Cache references.", "2.2.0"),
    _counter("instructions", "Retired instructions.", "2.2.0"),
    _counter("cpu_cycles", "CPU cycles.", "2.2.0"),
    _counter("branch_instructions", "Branch instructions.", "3.0.0"),
    _counter("branch_misses", "Mispredicted branches.", "3.0.0"),
    _counter("bus_cycles", "Bus cycles.", "3.0.0"),
    _counter("stalled_cycles_frontend", "Cycles stalled in the front end.", "3.0.0"),
    _counter("stalled_cycles_backend", "Cycles stalled in the back end.", "3.0.0"),
    _counter("ref_cpu_cycles", "CPU cycles at the reference frequency.", "3.0.0"),
    _counter("cpu_clock", "Time measured by perf's cpu-clock event.", "3.2.0", "cpu_clock_seconds"),
    _counter(
        "task_clock", "Time measured by perf's task-clock event.", "3.2.0", "task_clock_seconds"
    ),
    _counter("page_faults", "Page faults of the QEMU process.", "3.2.0"),
    _counter("context_switches", "Context switches.", "3.2.0"),
    _counter("cpu_migrations", "Migrations between host CPUs.", "3.2.0"),
    _counter("page_faults_min", "Minor page faults.", "3.2.0", "minor_page_faults"),
    _counter("page_faults_maj", "Major page faults.", "3.2.0", "major_page_faults"),
    _counter("alignment_faults", "Alignment faults.", "3.2.0"),
    _counter("emulation_faults", "Instructions emulated by the host's kernel.", "3.2.0"),
)
