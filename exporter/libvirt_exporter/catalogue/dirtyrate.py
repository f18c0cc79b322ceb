"""`dirtyrate.*`: the last measurement of how fast the guest dirties its memory.

Somebody with a read-write connection has to start a measurement; the result stays for ever.
"""

from libvirt_exporter.catalogue.metric import Group, Metric, Scale, Stat, StatEnum, StatInfo

GROUPS: tuple[Group, ...] = (
    Group(
        name="dirtyrate",
        text="Result of the last dirty rate measurement.",
        default=False,
        asks=("dirtyrate",),
        left_out=6,
    ),
)

STATUS = "dirtyrate.calc_status"
"""Its value 0 says that there has never been a measurement."""

METRICS: tuple[Metric, ...] = (
    StatEnum(
        name="libvirt_domain_dirtyrate_status",
        text="1 for the status of the last measurement. The exporter starts no measurement; the "
        "other metrics of the group are absent before the first one.",
        group="dirtyrate",
        source=STATUS,
        label="status",
        values={0: "unstarted", 1: "measuring", 2: "measured"},
        since="7.2.0",
    ),
    Stat(
        name="libvirt_domain_dirtyrate_calculation_start_seconds",
        text="Start time of the last measurement on QEMU's own clock (not Unix time).",
        group="dirtyrate",
        source="dirtyrate.calc_start_time",
        unless_zero=STATUS,
        since="7.2.0",
    ),
    Stat(
        name="libvirt_domain_dirtyrate_calculation_period_seconds",
        text="Duration of the last measurement.",
        group="dirtyrate",
        source="dirtyrate.calc_period",
        unless_zero=STATUS,
        since="7.2.0",
    ),
    StatInfo(
        name="libvirt_domain_dirtyrate_calculation_info",
        text="Always 1; the method of the last measurement.",
        group="dirtyrate",
        source="dirtyrate.calc_mode",
        unless_zero=STATUS,
        labels={"mode": "dirtyrate.calc_mode"},
        since="8.1.0",
    ),
    Stat(
        name="libvirt_domain_dirtyrate_bytes_per_second",
        text="Memory dirtied per second, as the last measurement found.",
        group="dirtyrate",
        source="dirtyrate.megabytes_per_second",
        unless_zero=STATUS,
        scale=Scale.MEBIBYTES,
        since="7.2.0",
    ),
    Stat(
        name="libvirt_domain_dirtyrate_vcpu_bytes_per_second",
        text="Memory dirtied per second by one vCPU, as the last measurement found (dirty-ring "
        "mode only).",
        group="dirtyrate",
        source="dirtyrate.vcpu.<num>.megabytes_per_second",
        labels={"vcpu": "<num>"},
        scale=Scale.MEBIBYTES,
        since="8.1.0",
    ),
)
