"""`job.*`, `blockjob.*`, `lastjob.*`: migrations, saves, dumps, backups and block jobs.

The figures of a job that is going on are those of virDomainGetJobStats and
virDomainGetBlockJobInfo; those of a finished one come with its event.
"""

from libvirt_exporter.catalogue.metric import (
    A_COUNT,
    Group,
    Metric,
    Scale,
    Stat,
    StatEnum,
    Withheld,
)
from libvirt_exporter.model import JOB_OPERATIONS

GROUPS: tuple[Group, ...] = (
    Group(
        name="job",
        text="Running migration, save, dump, backup and block jobs, and the last finished jobs.",
        lanes=("jobs",),
    ),
)

TYPES = ("none", "bounded", "unbounded", "completed", "failed", "cancelled")
"""virDomainJobType by number."""
BLOCK_JOB = {"device": "blockjob.<num>.name", "job_type": "blockjob.<num>.type.name"}

OPERATION = StatEnum(
    name="libvirt_domain_job_operation",
    text="What the job does.",
    group="job",
    source="job.operation",
    label="operation",
    values=dict(enumerate(JOB_OPERATIONS)),
)
"""No metric of its own: a label of `libvirt_domain_job_info`."""


def _job(what: str, key: str, text: str, scale: Scale = Scale.ONE) -> Stat:
    return Stat(
        name=f"libvirt_domain_job_{what}", text=text, group="job", source=f"job.{key}", scale=scale
    )


def _seconds(what: str, key: str, text: str) -> Stat:
    return _job(f"{what}_seconds", key, text, Scale.MILLISECONDS)


def _amounts(what: str, words: str) -> list[Metric]:
    return [
        Stat(
            name=f"libvirt_domain_job_{what}_total_bytes",
            text=f"{words} that the job must process, as far as known. May grow while the guest "
            "writes. Absent if there is none.",
            group="job",
            source=f"job.{what}_total",
            zero_is_absent=True,
        ),
        _job(
            f"{what}_processed_bytes",
            f"{what}_processed",
            f"{words} that the job has processed. May exceed the total, because data that the "
            "guest changes is sent again.",
        ),
        _job(
            f"{what}_remaining_bytes",
            f"{what}_remaining",
            f"{words} that the job must still process. May grow while the guest writes.",
        ),
    ]


def _block_job(what: str, key: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_domain_block_job_{what}",
        text=text,
        group="job",
        source=f"blockjob.<num>.{key}",
        labels=BLOCK_JOB,
        zero_is_absent=key == "bandwidth",
    )


def _last(what: str, key: str, text: str, scale: Scale = Scale.ONE) -> Stat:
    return Stat(
        name=f"libvirt_domain_last_job_{what}",
        text=text,
        group="job",
        source=f"lastjob.<operation>.{key}",
        labels={"operation": "<operation>"},
        scale=scale,
    )


METRICS: tuple[Metric, ...] = (
    StatEnum(
        name="libvirt_domain_job_info",
        text="1 while a job runs. The label operation names it; job_type is bounded if its end "
        "can be estimated, else unbounded.",
        group="job",
        source="job.type",
        label="job_type",
        values=dict(enumerate(TYPES)),
        within=OPERATION,
    ),
    _seconds("elapsed", "time_elapsed", "Time since the job began."),
    _seconds(
        "remaining", "time_remaining", "Estimated remaining time of the job. Absent if unknown."
    ),
    _seconds("downtime", "downtime", "Expected pause of the guest at the end of the job."),
    _seconds("setup", "setup_time", "Setup time of the job, before it moved data."),
    *_amounts("data", "Memory and disk data"),
    *_amounts("memory", "Memory"),
    *_amounts("disk", "Disk data"),
    _job(
        "memory_dirty_pages_per_second",
        "memory_dirty_rate",
        "Memory pages that the guest dirties per second, as of the last iteration. 0 in the "
        "first iteration.",
    ),
    _job("memory_bytes_per_second", "memory_bps", "Memory processed per second."),
    _job("disk_bytes_per_second", "disk_bps", "Disk data processed per second."),
    _job(
        "memory_iteration",
        "memory_iteration",
        "Number of the current pass over the guest's memory. Each pass sends what changed during "
        "the previous one.",
    ),
    _job(
        "auto_converge_throttle_ratio",
        "auto_converge_throttle",
        "CPU throttling of the guest by auto-converge, from 0 to 1.",
        Scale.PERCENT,
    ),
    _block_job(
        "current_bytes",
        "cur",
        "Progress of a block job, out of libvirt_domain_block_job_end_bytes. QEMU reports bytes; "
        "libvirt defines no unit.",
    ),
    _block_job(
        "end_bytes",
        "end",
        "Value of libvirt_domain_block_job_current_bytes at which the block job is complete, as "
        "far as known. A copy or active commit continues after it until it is pivoted or aborted.",
    ),
    _block_job(
        "bandwidth_bytes_per_second",
        "bandwidth",
        "Bandwidth limit of a block job. Absent without a limit.",
    ),
    _last(
        "success",
        "success",
        "1 if the last finished job of this operation succeeded, else 0. Absent if libvirt does "
        "not report it.",
    ),
    _last(
        "elapsed_seconds",
        "time_elapsed",
        "Duration of the last finished job of this operation.",
        Scale.MILLISECONDS,
    ),
    _last(
        "downtime_seconds",
        "downtime",
        "Pause of the guest during the last finished job of this operation.",
        Scale.MILLISECONDS,
    ),
    _last(
        "data_bytes",
        "data_processed",
        "Memory and disk data processed by the last finished job of this operation.",
    ),
    _last(
        "memory_bytes",
        "memory_processed",
        "Memory processed by the last finished job of this operation.",
    ),
    _last(
        "completed_timestamp_seconds",
        "time",
        "Unix time at which the last job of this operation ended.",
        Scale.NANOSECONDS,
    ),
)

DETAILS = (
    "time_elapsed_net",
    "downtime_net",
    "memory_constant",
    "memory_normal",
    "memory_normal_bytes",
    "memory_page_size",
    "memory_postcopy_requests",
    "compression_cache",
    "compression_bytes",
    "compression_pages",
    "compression_cache_misses",
    "compression_overflow",
    "disk_temp_used",
    "disk_temp_total",
    "vfio_data_transferred",
)
"""Keys of virDomainGetJobStats that have no metric."""

WITHHELD: tuple[Withheld, ...] = (
    Withheld("job.operation", "It is a label of libvirt_domain_job_info."),
    *(
        Withheld(f"job.{key}", "A detail of a running job: `virsh domjobinfo` shows it.")
        for key in DETAILS
    ),
    Withheld("blockjob.count", A_COUNT),
    Withheld("blockjob.<num>.type", "A number: its name is a label of the job's series."),
)
