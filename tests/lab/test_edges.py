"""What libvirt says although it does not know, or means otherwise than elsewhere; for real."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, Machine, begin_backup, domain_xml, paused_domain, state
from tests.lab.exporter import EVERYTHING, Exporter, Series
from tests.support.waiting import wait_until

GIB = 1024**3


@contextlib.contextmanager
def starting_for_ever(libvirtd: PrivateLibvirtd, name: str) -> Iterator[libvirt.virDomain]:
    """A domain whose QEMU waits for the other side of a vhost-user interface."""
    machine = Machine(
        name=name,
        nics=0,
        elements="<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
        devices="<interface type='vhostuser'><model type='virtio'/>"
        f"<source type='unix' path='{libvirtd.root}/{name}.sock' mode='server'/></interface>",
    )
    xml = domain_xml(libvirtd, machine)
    connection = libvirtd.connect()

    def start() -> None:
        with contextlib.suppress(libvirt.libvirtError):
            connection.createXML(xml, 0)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    stuck = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)

    def found() -> libvirt.virDomain | None:
        with contextlib.suppress(libvirt.libvirtError):
            domain = libvirtd.connection.lookupByName(name)
            return domain if state(domain) == stuck else None
        return None

    wait_until(lambda: found() is not None, f"{name} is being started")
    domain = libvirtd.connection.lookupByName(name)
    try:
        yield domain
    finally:
        libvirtd.crash(domain)
        thread.join(30)


def of(scrape: dict[Series, float], name: str, domain: str) -> dict[str, float]:
    """The values of one metric of a domain by its last label."""
    return {
        dict(labels).get("device", dict(labels).get("group", "")): value
        for (found, labels), value in scrape.items()
        if found == f"libvirt_domain_{name}" and ("domain", domain) in labels
    }


def test_a_start_that_does_not_end_is_not_called_responsive(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """What its monitor says is not known; the groups that need it are missing, and said to be."""
    paused_domain(fresh_libvirtd, "healthy")
    with (
        starting_for_ever(fresh_libvirtd, "starting"),
        Exporter(fresh_libvirtd.read_only_uri, tmp_path, EVERYTHING) as exporter,
    ):
        for _ in range(3):
            scrape = exporter.scrape().samples
            assert of(scrape, "monitor_responsive", "starting") == {}
            assert of(scrape, "monitor_responsive", "healthy") == {"": 1}
            assert "block" in of(scrape, "sample_missing", "starting")


def test_images_that_jobs_write_to_are_no_layers(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A copy's and a backup's, beside a chain of two."""
    domain = paused_domain(fresh_libvirtd, "chain", disks=2, chain=2, data=64 * MIB)
    layer = "block_backing_capacity_bytes"
    with Exporter(fresh_libvirtd.read_only_uri, tmp_path, EVERYTHING) as exporter:

        def layers() -> int:
            found = exporter.scrape().samples
            return sum(
                name == f"libvirt_domain_{layer}" and ("domain", "chain") in labels
                for name, labels in found
            )

        assert layers() == 2
        begin_backup(domain, fresh_libvirtd)
        assert layers() == 2
        domain.abortJob()
        copy = fresh_libvirtd.images / "copy.qcow2"
        xml = f"<disk type='file'><source file='{copy}'/><driver type='qcow2'/></disk>"
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        domain.blockCopy("vdb", xml, {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: 1}, flags)
        assert layers() == 2


@pytest.mark.parametrize("allocated", [False, True])
def test_physical_size_of_a_raw_image(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path, allocated: bool
) -> None:
    """Where nothing is allocated libvirt has the length in its place, as the help says."""
    image = fresh_libvirtd.images / "sparse.img"
    with image.open("wb") as file:
        if allocated:
            file.write(b"x")
        file.truncate(GIB)
    disk = (
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/>"
        "<target dev='vdc' bus='virtio'/></disk>"
    )
    paused_domain(fresh_libvirtd, "raw", disks=0, devices=disk)
    with Exporter(fresh_libvirtd.read_only_uri, tmp_path, EVERYTHING) as exporter:
        answer = exporter.scrape()
        sizes = of(answer.samples, "block_physical_bytes", "raw")
        fields = exporter.get("/api/v1/vms?fields=disks").text
    occupied = image.stat().st_blocks * 512
    assert sizes == {"vdc": occupied or GIB}
    assert ("truesize" in fields) == allocated
    help_text = next(line for line in answer.text.splitlines() if "block_physical_bytes" in line)
    assert "without allocated blocks" in help_text
