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
        text="Migration, save, dump, backup and block jobs while they go on, and the last ones.",
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
            text=f"{words} that the job has to process as far as known; may grow while the guest "
            "writes; absent where there is none.",
            group="job",
            source=f"job.{what}_total",
            zero_is_absent=True,
        ),
        _job(
            f"{what}_processed_bytes",
            f"{what}_processed",
            f"{words} that the job has processed; may exceed the total, as what the guest changes "
            "is sent again.",
        ),
        _job(
            f"{what}_remaining_bytes",
            f"{what}_remaining",
            f"{words} that the job has still to process; may grow while the guest writes.",
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
        text="1 while a job is going on: what it does, and whether its end can be told (bounded).",
        group="job",
        source="job.type",
        label="job_type",
        values=dict(enumerate(TYPES)),
        within=OPERATION,
    ),
    _seconds("elapsed", "time_elapsed", "Time since the job began."),
    _seconds("remaining", "time_remaining", "Time that the job still needs, where known."),
    _seconds(
        "downtime", "downtime", "How long the guest is expected to be paused when the job ends."
    ),
    _seconds("setup", "setup_time", "Time that the job needed to get ready to move data."),
    *_amounts("data", "Memory and disk data together"),
    *_amounts("memory", "Memory"),
    *_amounts("disk", "Disk data"),
    _job(
        "memory_dirty_pages_per_second",
        "memory_dirty_rate",
        "Pages of memory that the guest changes, as of the last iteration; 0 in the first.",
    ),
    _job("memory_bytes_per_second", "memory_bps", "Speed at which memory is processed."),
    _job("disk_bytes_per_second", "disk_bps", "Speed at which disk data is processed."),
    _job(
        "memory_iteration",
        "memory_iteration",
        "Number of the pass over the guest's memory; a new one begins with what has changed.",
    ),
    _job(
        "auto_converge_throttle_ratio",
        "auto_converge_throttle",
        "Share of its time by which the guest's CPUs are slowed down for the migration to end.",
        Scale.PERCENT,
    ),
    _block_job(
        "current_bytes",
        "cur",
        "How far a block job has got; libvirt names no unit, QEMU counts bytes.",
    ),
    _block_job(
        "end_bytes",
        "end",
        "Where a block job ends, as far as known; a copy or active commit that has got there goes "
        "on until it is finished or aborted.",
    ),
    _block_job(
        "bandwidth_bytes_per_second",
        "bandwidth",
        "Limit on the speed of a block job; absent where none is set.",
    ),
    _last(
        "success",
        "success",
        "1 when the last finished job of this operation succeeded, else 0; absent where libvirt "
        "does not say.",
    ),
    _last(
        "elapsed_seconds",
        "time_elapsed",
        "How long the last finished job of this operation took.",
        Scale.MILLISECONDS,
    ),
    _last(
        "downtime_seconds",
        "downtime",
        "How long the guest was paused for the last finished job of this operation.",
        Scale.MILLISECONDS,
    ),
    _last(
        "data_bytes",
        "data_total",
        "Memory and disk data together that the last finished job of this operation was about.",
    ),
    _last(
        "memory_bytes",
        "memory_total",
        "Memory that the last finished job of this operation was about.",
    ),
    _last(
        "completed_timestamp_seconds",
        "time",
        "Unix time at which the last job of this operation finished.",
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
        Withheld(f"job.{key}", "A detail of a job that few look at: virsh domjobinfo shows it.")
        for key in DETAILS
    ),
    Withheld("blockjob.count", A_COUNT),
    Withheld("blockjob.<num>.type", "A number: its name is a label of the job's series."),
)
