"""`cpu.*`: host CPU time of the whole domain, cache and energy monitors (libvirt: cpu-total)."""

from libvirt_exporter.catalogue.metric import (
    A_COUNT,
    NEW_QEMU,
    NEW_RESCTRL,
    Group,
    Metric,
    Scale,
    Stat,
    StatInfo,
    Withheld,
)

GROUPS: tuple[Group, ...] = (
    Group(
        name="cpu-total",
        text="Host CPU time, cache and energy monitors of the domain.",
        asks=("cpu-total",),
        left_out=17,
    ),
)

CACHE_MONITOR = {"monitor": "cpu.cache.monitor.<num>.name"}
CACHE_BANK = {**CACHE_MONITOR, "bank": "cpu.cache.monitor.<num>.bank.<index>.id"}
ENERGY_MONITOR = {"monitor": "cpu.energy.monitor.<num>.name"}
ENERGY_PACKAGE = {**ENERGY_MONITOR, "package": "cpu.energy.monitor.<num>.pkg.<index>.id"}

_OF_VCPUS = f"{NEW_QEMU}; also when a vCPU is unplugged"


def _time(name: str, source: str, text: str, since: str, resets: str = NEW_QEMU) -> Stat:
    return Stat(
        name=name,
        text=text,
        group="cpu-total",
        source=source,
        scale=Scale.NANOSECONDS,
        since=since,
        resets=resets,
    )


METRICS: tuple[Metric, ...] = (
    _time(
        "libvirt_domain_cpu_seconds_total",
        "cpu.time",
        "Host CPU time used by the domain: guest code, emulator and helper threads.",
        "1.2.9",
    ),
    _time(
        "libvirt_domain_cpu_user_seconds_total",
        "cpu.user",
        "Host CPU time of the domain in user mode. Includes guest mode on current kernels.",
        "1.2.9",
    ),
    _time(
        "libvirt_domain_cpu_system_seconds_total",
        "cpu.system",
        "Host CPU time of the domain in kernel mode.",
        "1.2.9",
    ),
    _time(
        "libvirt_domain_cpu_haltpoll_success_seconds_total",
        "cpu.haltpoll.success.time",
        "Time of successful halt polling, summed over vCPUs: a wake-up arrived while the vCPU "
        "polled.",
        "7.6.0",
        _OF_VCPUS,
    ),
    _time(
        "libvirt_domain_cpu_haltpoll_fail_seconds_total",
        "cpu.haltpoll.fail.time",
        "Time of failed halt polling, summed over vCPUs: no wake-up arrived, and the vCPU slept.",
        "7.6.0",
        _OF_VCPUS,
    ),
    StatInfo(
        name="libvirt_domain_cpu_cache_monitor_info",
        text="Always 1; the vCPUs that a cache monitor measures.",
        group="cpu-total",
        source="cpu.cache.monitor.<num>.vcpus",
        labels={**CACHE_MONITOR, "vcpus": "cpu.cache.monitor.<num>.vcpus"},
        since="4.10.0",
    ),
    Stat(
        name="libvirt_domain_cpu_cache_occupancy_bytes",
        text="Last-level cache occupied by the monitored vCPUs, by cache bank of the host.",
        group="cpu-total",
        source="cpu.cache.monitor.<num>.bank.<index>.bytes",
        labels=CACHE_BANK,
        since="4.10.0",
    ),
    StatInfo(
        name="libvirt_domain_cpu_energy_monitor_info",
        text="Always 1; the vCPUs that an energy monitor measures.",
        group="cpu-total",
        source="cpu.energy.monitor.<num>.vcpus",
        labels={**ENERGY_MONITOR, "vcpus": "cpu.energy.monitor.<num>.vcpus"},
        since="12.4.0",
        stability="experimental",
    ),
    Stat(
        name="libvirt_domain_cpu_energy_joules_total",
        text="Energy used by the monitored vCPUs, by processor package.",
        group="cpu-total",
        source="cpu.energy.monitor.<num>.pkg.<index>.core_energy",
        labels=ENERGY_PACKAGE,
        since="12.4.0",
        stability="experimental",
        resets=NEW_RESCTRL,
    ),
    Stat(
        name="libvirt_domain_cpu_energy_activity_farads_total",
        text="Dynamic capacitance switched by the monitored vCPUs, by processor package.",
        group="cpu-total",
        source="cpu.energy.monitor.<num>.pkg.<index>.activity",
        labels=ENERGY_PACKAGE,
        since="12.4.0",
        stability="experimental",
        resets=NEW_RESCTRL,
    ),
    Stat(
        name="libvirt_domain_cpu_energy_feature_total",
        text="Other energy counters of the kernel's resctrl, in the kernel's unit.",
        group="cpu-total",
        source="cpu.energy.monitor.<num>.pkg.<index>.<feature>",
        labels={**ENERGY_PACKAGE, "feature": "<feature>"},
        since="12.4.0",
        stability="experimental",
        resets=NEW_RESCTRL,
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("cpu.cache.monitor.count", A_COUNT),
    Withheld("cpu.cache.monitor.<num>.bank.count", A_COUNT),
    Withheld("cpu.energy.monitor.count", A_COUNT),
    Withheld("cpu.energy.monitor.<num>.pkg.count", A_COUNT),
)
