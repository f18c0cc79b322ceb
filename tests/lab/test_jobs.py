"""What real jobs, pauses and snapshots look like in a sample, and to who asks for fields."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from xml.etree.ElementTree import fromstring

import libvirt
import pytest

from libvirt_exporter.config.schema import Api
from libvirt_exporter.contract import QueryRequest
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.hypervisor.sources.pause_code import PauseCode
from libvirt_exporter.model import DomainSample
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.query.need import Scope
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.workers import Workers
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, begin_backup, paused_domain, state
from tests.lab.guests import BOOTS_WITHIN, running_guest, start_guest
from tests.lab.migration import Migration, destination
from tests.support.needs import ALL, WHOLE
from tests.support.waiting import wait_until

__all__ = ["destination"]

# Not `block`: QEMU 7.2 may crash when it is asked for its block nodes while a pull job ends.
REQUEST = SampleRequest(frozenset({"state", "balloon"}), lanes=frozenset({"errors", "jobs"}))
MIGRATION_OUT, SAVE, BACKUP = 5, 2, 9
"""virDomainJobOperation."""

SPEED = 4 * MIB
"""Bytes per second of a block job that is to be seen; a copy moves 16 MiB at once, then rests."""


@contextmanager
def host_of(libvirtd: PrivateLibvirtd) -> Iterator[Host]:
    """A host on the daemon's read-only socket, as fresh as after a start of the exporter."""
    host = Host(HostSettings(uri=libvirtd.read_only_uri, pid_directory=str(libvirtd.pid_files)))
    host.start()
    try:
        yield host
    finally:
        host.close()


def sample(host: Host, name: str) -> DomainSample:
    """What a sample says of one domain."""
    found = host.sample(REQUEST, 9.0).result()
    assert found.up, found.error
    return next(domain for domain in found.domains if domain.name == name)


def figures(host: Host, name: str, prefix: str) -> dict[str, Any]:
    """The keys of one domain that begin so, without their beginning."""
    stats = sample(host, name).stats
    return {
        key.removeprefix(prefix): value for key, value in stats.items() if key.startswith(prefix)
    }


def fields(host: Host, name: str) -> dict[str, Any]:
    """What a query says of a VM's jobs, from a sample that is taken for it."""

    async def ask() -> bytes:
        async def take(_scope: Scope) -> None:
            queries.saw(await asyncio.wrap_future(host.sample(REQUEST, 9.0)), WHOLE)

        with closing(Workers()) as workers:
            terms = Terms(Api(), lambda sample: sample.domains, ALL)
            queries = Queries(terms, sample=take, workers=workers)
            names = ("vmName", "status", "migrationProgress", "vmJobs")
            return (await queries.answer(QueryRequest(fields=names))).body

    rows = json.loads(asyncio.run(ask()))["dataList"]
    found: dict[str, Any] = next(row for row in rows if row["vmName"] == name)
    return {field: value for field, value in found.items() if field not in ("vmId", "vmName")}


def wait_for(host: Host, name: str, prefix: str, within: float = 30.0) -> dict[str, Any]:
    """Those keys, as soon as there are any."""
    deadline = time.monotonic() + within
    while not (found := figures(host, name, prefix)):
        assert time.monotonic() < deadline, f"no {prefix} of {name} within {within:g} s"
        time.sleep(0.05)
    return found


def test_a_migration_shows_its_progress_and_its_final_figures(
    fresh_libvirtd: PrivateLibvirtd, destination: PrivateLibvirtd
) -> None:
    """The source tells of the job while it goes on, then of the last one; the target of none."""
    guest = running_guest(fresh_libvirtd, "mover", "dirty-memory", disks=0, nics=0)
    fresh_libvirtd.connection.defineXML(guest.XMLDesc())
    with host_of(fresh_libvirtd) as source, host_of(destination) as target:
        assert figures(source, "mover", "job.") == {}
        migration = Migration(guest, destination, speed=16)
        seen = [wait_for(source, "mover", "job.")]
        deadline = time.monotonic() + 120
        while not seen[-1].get("memory_dirty_rate") and time.monotonic() < deadline:
            seen.append(wait_for(source, "mover", "job."))
            time.sleep(0.2)
        assert figures(target, "mover", "job.") == {}
        during = fields(source, "mover"), fields(target, "mover")
        assert migration.going_on
        migration.hurry()

        assert fields(source, "mover") == {"status": "Down"}
        assert fields(target, "mover")["status"] == "Up"
        after = sample(source, "mover")
        assert not after.active
        assert not [key for key in after.stats if key.startswith("job.")]
        assert figures(target, "mover", "job.") == {}
        last = figures(source, "mover", "lastjob.migration_out.")

    assert during[0]["status"] == "Migration Source"
    assert 0 < during[0]["migrationProgress"] < 100
    assert during[1]["status"] == "Migration Destination"
    assert "migrationProgress" not in during[1]
    assert {figure["operation"] for figure in seen} == {MIGRATION_OUT}
    assert seen[-1]["memory_dirty_rate"] > 0
    assert seen[-1]["memory_iteration"] > 1
    elapsed = [figure["time_elapsed"] for figure in seen]
    assert elapsed == sorted(set(elapsed))
    processed = [figure["memory_processed"] for figure in seen]
    assert processed == sorted(processed)
    assert processed[-1] > 16 * MIB
    assert last["time_elapsed"] > elapsed[-1]
    # More than the guest has, as it writes again what was sent.
    assert last["memory_processed"] >= processed[-1]
    assert last["data_processed"] >= last["memory_processed"]
    assert abs(int(last["time"]) / 1e9 - time.time()) < 60


def test_a_cancelled_migration_leaves_no_figures(
    fresh_libvirtd: PrivateLibvirtd, destination: PrivateLibvirtd
) -> None:
    """Its job is gone from the next sample on, although no event says so."""
    guest = running_guest(fresh_libvirtd, "stayer", disks=0, nics=0)
    with host_of(fresh_libvirtd) as host:
        sample(host, "stayer")
        migration = Migration(guest, destination, speed=1)
        wait_for(host, "stayer", "job.")
        begun = fields(host, "stayer")
        assert begun["status"] == "Migration Source"
        # The guest is idle, so what remains becomes less from sample to sample.
        wait_until(
            lambda: fields(host, "stayer")["migrationProgress"] > begun["migrationProgress"],
            "progress",
            60,
        )
        migration.cancel()

        assert figures(host, "stayer", "job.") == {}
        stayed = fields(host, "stayer")
        assert stayed["status"] in ("Powering up", "Up")
        assert "migrationProgress" not in stayed


def test_a_full_disk_is_told_by_code_and_device_until_it_is_healed(
    fresh_libvirtd: PrivateLibvirtd,
) -> None:
    """ENOSPC is known to a host that saw it happen and to one that comes later.

    Its events name the target of the disk, not libvirt's alias nor the path.
    """
    if not fresh_libvirtd.privileged:
        pytest.skip("only root can mount a small file system")
    small = fresh_libvirtd.small_file_system(8 * MIB)
    guest = start_guest(
        fresh_libvirtd,
        "full",
        "fill-disk",
        disk_size=32 * MIB,
        disk_directory=small,
        error_policy="enospace",
    )
    io_error = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
    with host_of(fresh_libvirtd) as witness:
        wait_until(lambda: witness.events_connected, "events are followed", 30)
        well = sample(witness, "full").stats
        assert well["pause.code"] == PauseCode.NOERR
        assert (well["event.disk.0.name"], well["event.disk.0.io_error.enospc"]) == ("vda", 0)
        wait_until(lambda: state(guest) == io_error, "paused by I/O error", BOOTS_WITHIN)
        wait_until(
            lambda: bool(sample(witness, "full").stats["event.disk.0.io_error.enospc"]),
            "the error is counted",
        )
        seen = sample(witness, "full").stats
        assert seen["event.disk.0.io_error.other"] == 0
        assert "event.last.io_error" in seen
        with host_of(fresh_libvirtd) as late:
            for host in (witness, late):
                paused = sample(host, "full")
                assert paused.reason == "ioerror"
                assert paused.stats["pause.code"] == PauseCode.ENOSPC
                assert paused.stats["diskerror.0.name"] == "vda"
                assert paused.stats["diskerror.0.error"] == 2
            fresh_libvirtd.grow_file_system(small, 64 * MIB)
            guest.resume()
            for host in (witness, late):
                healed = sample(host, "full")
                assert healed.stats["pause.code"] == PauseCode.NOERR
                assert not [key for key in healed.stats if key.startswith("diskerror.")]


def images(domain: libvirt.virDomain) -> list[str]:
    """The images of the first disk's backing chain, the top one first."""
    disk = fromstring(domain.XMLDesc()).find("devices/disk")
    assert disk is not None
    return [source.get("file", "") for source in disk.iter("source")]


def copy(domain: libvirt.virDomain, libvirtd: PrivateLibvirtd) -> None:
    image = libvirtd.images / f"{libvirtd.unused_name('copy')}.qcow2"
    domain.blockCopy(
        "vda",
        f"<disk type='file'><source file='{image}'/><driver type='qcow2'/></disk>",
        {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: SPEED},
        libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB,
    )


def pull(domain: libvirt.virDomain, _libvirtd: PrivateLibvirtd) -> None:
    domain.blockPull("vda", SPEED, libvirt.VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES)


def commit(domain: libvirt.virDomain, _libvirtd: PrivateLibvirtd) -> None:
    flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES
    _, middle, base = images(domain)
    domain.blockCommit("vda", base, middle, SPEED, flags)


def active_commit(domain: libvirt.virDomain, _libvirtd: PrivateLibvirtd) -> None:
    flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES | libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
    top, middle, _ = images(domain)
    domain.blockCommit("vda", middle, top, SPEED, flags)


@pytest.mark.parametrize("start", [copy, pull, commit, active_commit])
def test_a_block_job_shows_how_far_it_has_got(
    libvirtd: PrivateLibvirtd, start: Callable[[libvirt.virDomain, PrivateLibvirtd], None]
) -> None:
    """A job that began silently is found by a look, followed, and gone when it is over."""
    job_type = start.__name__
    guest = paused_domain(libvirtd, job_type, disks=1, chain=3, data=64 * MIB)
    start(guest, libvirtd)
    with host_of(libvirtd) as host:
        first = wait_for(host, job_type, "blockjob.0.")
        wait_until(
            lambda: figures(host, job_type, "blockjob.0.")["cur"] > first["cur"], "progress", 30
        )
        told = fields(host, job_type)["vmJobs"]
        assert guest.blockJobAbort("vda") == 0
        wait_until(lambda: not guest.blockJobInfo("vda"), "the block job is over")
        assert figures(host, job_type, "blockjob.") == {"count": 0}
        assert fields(host, job_type)["vmJobs"] == {}
    guest.destroy()

    assert first["name"] == "vda"
    assert first["type.name"] == job_type
    assert told.keys() == {"vda"}
    assert first["cur"] < told["vda"].pop("cur") <= told["vda"]["end"]
    assert told["vda"] == {
        "id": "vda",
        "jobType": "block",
        "blockJobType": job_type.removeprefix("active_"),
        "drive": "vda",
        "bandwidth": SPEED,
        "end": first["end"],
    }
    assert first["bandwidth"] == SPEED
    assert 0 <= first["cur"] < first["end"]


def test_a_backup_shows_its_progress_and_how_it_ended(fresh_libvirtd: PrivateLibvirtd) -> None:
    """A backup is a job of the domain and of each of its disks."""
    guest = paused_domain(fresh_libvirtd, "saved", disks=1, data=128 * MIB)
    begin_backup(guest, fresh_libvirtd)
    with host_of(fresh_libvirtd) as host:
        wait_until(lambda: bool(figures(host, "saved", "job.").get("disk_processed")), "progress")
        job = figures(host, "saved", "job.")
        block_job = figures(host, "saved", "blockjob.0.")
        guest.abortJob()
        last = wait_for(host, "saved", "lastjob.backup.")
        assert figures(host, "saved", "job.") == {}
        assert figures(host, "saved", "blockjob.") == {"count": 0}

    assert job["operation"] == BACKUP
    assert 0 < job["disk_processed"] < job["disk_total"]
    assert block_job["type.name"] == "backup"
    assert block_job["name"] == "vda"
    assert last["success"] == 0


def test_a_managed_save_is_seen_as_a_job(fresh_libvirtd: PrivateLibvirtd) -> None:
    """The state's reason is enough to find it; nothing of it remains when the domain is off."""
    guest = running_guest(fresh_libvirtd, "saver", "dirty-memory", disks=0, nics=0)
    fresh_libvirtd.connection.defineXML(guest.XMLDesc())
    with host_of(fresh_libvirtd) as host:
        sample(host, "saver")
        saving = threading.Thread(target=guest.managedSave, daemon=True)
        saving.start()
        job = wait_for(host, "saver", "job.")
        saving.join(60)
        after = sample(host, "saver")

    assert job["operation"] == SAVE
    assert after.reason == "saved"
    assert not [key for key in after.stats if key.startswith("job.")]


def test_snapshots_and_checkpoints_are_counted_with_the_age_of_the_oldest(
    libvirtd: PrivateLibvirtd,
) -> None:
    """Internal and external snapshots count alike; checkpoints are another thing."""
    internal = paused_domain(libvirtd, "internal", disks=1)
    external = paused_domain(libvirtd, "external", disks=1)
    marked = paused_domain(libvirtd, "marked", disks=1, persistent=True)
    began = int(time.time())
    for number in range(2):
        internal.snapshotCreateXML(f"<domainsnapshot><name>{number}</name></domainsnapshot>")
        checkpoint = f"<domaincheckpoint><name>{number}</name></domaincheckpoint>"
        marked.checkpointCreateXML(checkpoint)
        if number == 0:
            time.sleep(1.1)
    second = time.time()
    external.snapshotCreateXML("<domainsnapshot/>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY)
    with host_of(libvirtd) as host:
        found = {name: sample(host, name).info for name in ("internal", "external", "marked")}
    for domain in (internal, external, marked):
        domain.destroy()
    marked.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)

    assert found["internal"] is not None
    assert (found["internal"].snapshots, found["internal"].checkpoints) == (2, 0)
    assert began <= (found["internal"].oldest_snapshot or 0) < second - 1
    assert found["external"] is not None
    assert (found["external"].snapshots, found["external"].disks[0].chain_depth) == (1, 2)
    assert (found["external"].oldest_snapshot or 0) >= int(second)
    assert found["marked"] is not None
    assert (found["marked"].snapshots, found["marked"].checkpoints) == (0, 2)
    assert found["marked"].oldest_snapshot is None
    assert began <= (found["marked"].oldest_checkpoint or 0) < second - 1
