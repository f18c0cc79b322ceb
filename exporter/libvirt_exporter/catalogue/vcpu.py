"""`vcpu.*`: number, state and CPU time of virtual CPUs; `numa.*`: where of the host they run."""

from libvirt_exporter.catalogue.metric import NEW_QEMU, Group, Metric, Scale, Stat, StatEnum

GROUPS: tuple[Group, ...] = (
    Group(
        name="vcpu",
        text="Virtual CPUs: number, state, CPU time, NUMA nodes.",
        asks=("vcpu",),
        lanes=("numa",),
        left_out=14,
    ),
)

VCPU = {"vcpu": "<num>"}


def _time(what: str, key: str, text: str, since: str, *, zero_is_absent: bool = False) -> Stat:
    return Stat(
        name=f"libvirt_domain_vcpu_{what}seconds_total",
        text=text,
        group="vcpu",
        source=f"vcpu.<num>.{key}",
        labels=VCPU,
        scale=Scale.NANOSECONDS,
        zero_is_absent=zero_is_absent,
        since=since,
        resets=f"{NEW_QEMU}; also when the vCPU is unplugged",
    )


METRICS: tuple[Metric, ...] = (
    Stat(
        name="libvirt_domain_vcpus_current",
        text="Number of virtual CPUs that are online.",
        group="vcpu",
        source="vcpu.current",
        since="1.2.9",
    ),
    Stat(
        name="libvirt_domain_vcpus_maximum",
        text="Maximum number of virtual CPUs.",
        group="vcpu",
        source="vcpu.maximum",
        since="1.2.9",
    ),
    StatEnum(
        name="libvirt_domain_vcpu_state",
        text="1 for the vCPU's current state. QEMU reports every online vCPU as running, idle "
        "ones included.",
        group="vcpu",
        source="vcpu.<num>.state",
        labels=VCPU,
        label="state",
        values={0: "offline", 1: "running", 2: "blocked"},
        since="1.2.9",
    ),
    _time("", "time", "Host CPU time used by the vCPU's thread.", "1.2.9"),
    _time(
        "wait_",
        "wait",
        "Time that the vCPU's thread was runnable but waited for a host CPU, as scheduler "
        "statistics count it. Absent unless the host's kernel.sched_schedstats is 1.",
        "1.3.2",
        zero_is_absent=True,
    ),
    _time(
        "delay_",
        "delay",
        "Steal time: time that the vCPU's thread waited in a run queue of the host. Absent if "
        "the host's kernel does not count it.",
        "7.2.0",
        zero_is_absent=True,
    ),
    Stat(
        name="libvirt_domain_vcpu_halted",
        text="1 if the vCPU is halted, else 0. s390x only.",
        group="vcpu",
        source="vcpu.<num>.halted",
        labels=VCPU,
        since="2.4.0",
    ),
    Stat(
        name="libvirt_domain_numa_node_placement",
        text="Always 1; a NUMA node of the host (`host_node`) whose CPUs ran vCPUs of a NUMA "
        "node of the guest (`guest_node`). Updated at least every two minutes.",
        group="vcpu",
        source="numa.<num>.node.<index>",
        labels={"guest_node": "<num>", "host_node": "<index>"},
        default=False,
    ),
)
