"""Migrations and block jobs of a VM."""

from __future__ import annotations

import pytest

from libvirt_exporter.model import Disk, DomainInfo, OvirtInfo, Stats
from tests.support.samples import UUID
from tests.support.vm_views import value_with

SAVE, MIGRATION_IN, MIGRATION_OUT = 2, 4, 5


@pytest.mark.parametrize(
    ("operation", "total", "remaining", "expected"),
    [
        (MIGRATION_OUT, 1000, 1000, 0),
        (MIGRATION_OUT, 1000, 505, 50),
        (MIGRATION_OUT, 1000, 1, 99),
        (MIGRATION_OUT, 1000, 0, 100),
        (MIGRATION_OUT, 1000, 1200, 0),
        (MIGRATION_OUT, 0, 0, 0),
        (SAVE, 1000, 500, None),
        (MIGRATION_IN, 1000, 500, None),
    ],
)
def test_migration_progress_is_what_remains_of_the_data(
    operation: int, total: int, remaining: int, expected: int | None
) -> None:
    """Whole percents, 100 only when nothing remains, and only where the VM leaves."""
    stats: Stats = {
        "job.operation": operation,
        "job.data_total": total,
        "job.data_remaining": remaining,
    }

    assert value_with(stats, "migrationProgress") == expected
    assert value_with({"job.operation": operation}, "migrationProgress") is None


def block_job(job_type: int) -> Stats:
    """A block job on vda that is half done."""
    return {
        "blockjob.count": 1,
        "blockjob.0.name": "vda",
        "blockjob.0.type": job_type,
        "blockjob.0.bandwidth": 0,
        "blockjob.0.cur": 50,
        "blockjob.0.end": 100,
    }


def test_no_block_job_is_told_from_one_that_nobody_looked_for() -> None:
    """Empty and absent."""
    assert value_with({"blockjob.count": 0}, "vmJobs") == {}
    assert value_with({}, "vmJobs") is None


@pytest.mark.parametrize(
    ("job_type", "expected"),
    [
        (0, "unknown"),
        (1, "pull"),
        (2, "copy"),
        (3, "commit"),
        (4, "commit"),
        (5, "backup"),
        (6, "unknown"),
    ],
)
def test_block_job_is_listed_by_its_disk(job_type: int, expected: str) -> None:
    """libvirt has no ids for them."""
    assert value_with(block_job(job_type), "vmJobs") == {
        "vda": {
            "id": "vda",
            "jobType": "block",
            "blockJobType": expected,
            "drive": "vda",
            "bandwidth": 0,
            "cur": 50,
            "end": 100,
        }
    }


def test_block_job_of_ovirt_is_listed_by_ovirts_id() -> None:
    """The metadata knows the id, and the image."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(Disk(device="vda", image_id="image"),),
        ovirt=OvirtInfo(jobs='{"j1": {"drive": "vdb"}, "j2": {"drive": "vda"}}'),
    )

    jobs = value_with(block_job(3), "vmJobs", info=info)

    assert {key: (job["id"], job["imgUUID"]) for key, job in jobs.items()} == {
        "j2": ("j2", "image")
    }


DEEP = '{"a":' * 10_000


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"drive": 7}}', DEEP])
def test_odd_list_of_jobs_in_the_metadata_costs_its_ids(text: str) -> None:
    """The job itself is libvirt's."""
    info = DomainInfo(uuid=UUID, name="web", ovirt=OvirtInfo(jobs=text))

    assert [*value_with(block_job(3), "vmJobs", info=info)] == ["vda"]
