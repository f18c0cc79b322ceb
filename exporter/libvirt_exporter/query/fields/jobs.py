"""Jobs of a VM: migration and block jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.query.fields.field import ABSENT, VmField, VmView, known, number
from libvirt_exporter.query.fields.rates import devices
from libvirt_exporter.query.fields.schema import COUNT, STRING, enum_of, map_of, object_of

MIGRATION_OUT: Final = 5
"""virDomainJobOperation."""
BLOCK_JOB_TYPES: Final = ("unknown", "pull", "copy", "commit", "commit", "backup")
"""By virDomainBlockJobType; to VDSM an active commit is a commit."""


def _migration_progress(view: VmView) -> Any:
    """Percent of an outgoing migration that is done; 100 when nothing remains, and not before."""
    stats = view.domain.stats
    total, remaining = number(stats, "job.data_total"), number(stats, "job.data_remaining")
    if number(stats, "job.operation") != MIGRATION_OUT or total is None or remaining is None:
        return ABSENT
    if not total:
        return 0
    return max(min(100 - 100 * remaining // total, 99), 0) if remaining else 100


def _vm_jobs(view: VmView) -> Any:
    """Block jobs by id; {} when it is known that there is none."""
    stats, info = view.domain.stats, view.info
    if "blockjob.count" not in stats:
        return ABSENT
    found = {}
    for device, prefix in devices(stats, "blockjob").items():
        job: dict[str, Any] = {
            "id": _ovirt_job(info, device) or device,
            "jobType": "block",
            "blockJobType": _type(number(stats, f"{prefix}type")),
            "drive": device,
            "imgUUID": _image(info, device),
            **{what: number(stats, prefix + what) for what in ("bandwidth", "cur", "end")},
        }
        found[job["id"]] = known(job)
    return found


def _type(number: int | None) -> str:
    return BLOCK_JOB_TYPES[number] if number and number < len(BLOCK_JOB_TYPES) else "unknown"


def _image(info: DomainInfo | None, device: object) -> str | None:
    disks = info.disks if info is not None else ()
    return next((disk.image_id for disk in disks if disk.device == device and disk.image_id), None)


def _ovirt_job(info: DomainInfo | None, device: object) -> str | None:
    """VDSM's id of the job on a disk, from the list that it keeps in the metadata."""
    text = info.ovirt.jobs if info is not None and info.ovirt is not None else ""
    try:
        jobs = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except (msgspec.DecodeError, RecursionError):
        return None
    matching = (id for id, job in jobs.items() if _drive(job) == device)
    return next(matching, None)


def _drive(job: object) -> object:
    return job.get("drive") if isinstance(job, Mapping) else None


FIELDS: Final = (
    VmField(
        name="migrationProgress",
        schema={"type": "integer", "minimum": 0, "maximum": 100},
        unit="%",
        text="Progress of an outgoing migration. It decreases if the guest dirties memory faster "
        "than it is sent.",
        source="virDomainGetJobStats: data_remaining, data_total",
        change="sampled",
        lanes=("jobs",),
        metric="libvirt_domain_job_data_remaining_bytes",
        more_metrics=(
            "libvirt_domain_job_data_total_bytes",
            "libvirt_domain_job_data_processed_bytes",
        ),
        value=_migration_progress,
        why_absent="The VM is not migrating to another host, or its job has not been read yet.",
    ),
    VmField(
        name="vmJobs",
        schema=map_of(
            object_of(
                id=(STRING, "oVirt's id of the job, else the disk's target"),
                jobType=({"const": "block"}, "kind of job"),
                blockJobType=(enum_of(dict.fromkeys(BLOCK_JOB_TYPES)), "kind of block job"),
                drive=(STRING, "the disk's target"),
                bandwidth=(COUNT, "limit in bytes/s, 0 for none"),
                cur=(COUNT, "progress, up to `end`"),
                end=(COUNT, "total work; bytes for copies"),
                imgUUID=(STRING, "oVirt's id of the image, from the metadata"),
            )
        ),
        text="Running block jobs.",
        source="virDomainGetBlockJobInfo",
        change="sampled",
        lanes=("jobs",),
        metric="libvirt_domain_block_job_current_bytes",
        more_metrics=(
            "libvirt_domain_block_job_end_bytes",
            "libvirt_domain_block_job_bandwidth_bytes_per_second",
        ),
        value=_vm_jobs,
        why_absent="No running block job is known.",
    ),
)
