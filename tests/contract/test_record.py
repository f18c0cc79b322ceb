"""The recorder: what it keeps of a host, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from libvirt_exporter.model import (
    Disk,
    DomainInfo,
    DomainSample,
    Graphics,
    HostDevice,
    HostSample,
    Interface,
    OpenStackInfo,
)
from tests.contract.anonymise import anonymised
from tests.contract.record import record, sample_of

SECRET = "s3cret"
UUID = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"
SAMPLE = HostSample(
    timestamp=1.5,
    duration=0.5,
    up=True,
    error=f"{SECRET} failed",
    unparsable=(UUID,),
    domains=(
        DomainSample(
            uuid=UUID,
            name=f"{SECRET}-vm",
            active=True,
            timestamp=1.5,
            stats={
                "state.state": 1,
                "cpu.time": 123456789,
                "block.0.name": "vda",
                "block.0.path": f"/images/{SECRET}.qcow2",
                "net.0.name": f"tap{SECRET}",
                "dirtyrate.calc_mode": "dirty-ring",
                "some.new.text": SECRET,
            },
            info=DomainInfo(
                uuid=UUID,
                name=f"{SECRET}-vm",
                title=SECRET,
                description=SECRET,
                machine="pc-q35-9.0",
                boot="c",
                system_serial=SECRET,
                disks=(Disk(device="vda", source=f"/images/{SECRET}.qcow2", serial=SECRET),),
                interfaces=(
                    Interface(
                        device=f"tap{SECRET}",
                        mac="fa:16:3e:aa:bb:cc",
                        network=SECRET,
                        type="network",
                    ),
                ),
                graphics=(Graphics(type="vnc", listen="10.1.2.3", port=5900),),
                host_devices=(HostDevice(device="ua-x", type="mdev", address=UUID),),
                openstack=OpenStackInfo(
                    instance_name=SECRET, project_id=UUID, project_name=SECRET, user_name=SECRET
                ),
                metadata={"nova": {"name": SECRET}},
                custom_labels=(("owner", SECRET),),
            ),
        ),
    ),
)


def test_nothing_that_tells_whose_host_it_is_is_kept() -> None:
    """Names, identifiers, addresses, paths, serials and free text are replaced."""
    text = msgspec.json.encode(anonymised(SAMPLE)).decode()

    assert SECRET not in text
    assert UUID not in text
    assert "fa:16:3e" not in text
    assert "10.1.2.3" not in text


def test_numbers_and_words_of_libvirt_are_kept() -> None:
    """What the metrics are about survives."""
    domain = anonymised(SAMPLE).domains[0]
    assert domain.info is not None

    assert domain.stats["cpu.time"] == 123456789
    assert domain.stats["block.0.name"] == domain.info.disks[0].device == "vda"
    assert domain.stats["dirtyrate.calc_mode"] == "dirty-ring"
    assert (domain.info.machine, domain.info.boot) == ("pc-q35-9.0", "c")
    assert domain.info.interfaces[0].type == "network"
    assert domain.info.graphics[0].port == 5900
    assert domain.info.custom_labels[0][0] == "owner"


def test_what_was_the_same_stays_the_same() -> None:
    """Statistics and facts join as before."""
    sample = anonymised(SAMPLE)
    domain = sample.domains[0]
    assert domain.info is not None
    assert domain.info.openstack is not None

    assert domain.uuid == domain.info.uuid == domain.info.openstack.project_id
    assert sample.unparsable == (domain.uuid,)
    assert domain.name == domain.info.name
    assert domain.stats["block.0.path"] == domain.info.disks[0].source
    assert domain.stats["net.0.name"] == domain.info.interfaces[0].device


def test_recorded_file_reads_back_as_the_sample(tmp_path: Path) -> None:
    """A case file holds the whole sample."""
    path = tmp_path / "host.json"

    sample = record("test:///default", path)

    assert msgspec.json.decode(path.read_bytes(), type=HostSample) == sample
    assert sample.domains[0].info is not None
    assert "cpu.time" in sample.domains[0].stats


def test_unreachable_host_is_an_error_in_words() -> None:
    """The message says which host, and libvirt's reason."""
    with pytest.raises(RuntimeError, match=r"test:///nowhere\.xml: .+"):
        sample_of("test:///nowhere.xml")


def test_command_without_a_host_fails(tmp_path: Path) -> None:
    """The exit status is 1 and no file is left."""
    path = tmp_path / "host.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.record", "test:///nowhere.xml", str(path)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "exporter:."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "nowhere.xml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.exists()
