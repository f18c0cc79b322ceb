"""`python -m tests.contract.record URI FILE`: turns a live host into an anonymised case.

Everything that the exporter can know of the host is asked, read-only, as it would for a scrape of
all field groups. The file is JSON (`model.HostSample`): look through it before giving it away.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import HostSample
from tests.contract.anonymise import anonymised

TIMEOUT = 30.0
"""Seconds for one sample."""


PID_FILES = "/run/libvirt/qemu"
"""Where libvirt keeps the files of its QEMU processes' ids."""


def sample_of(uri: str, *, pid_files: str = PID_FILES, within: float = 60.0) -> HostSample:
    """Sample a host until the XML of all its domains has been read.

    Raises RuntimeError with the host's own words when it does not answer, or not within so many
    seconds.
    """
    request = SampleRequest(
        frozenset(ask for group in GROUPS for ask in group.asks),
        backing=True,
        lanes=frozenset(lane for group in GROUPS for lane in group.lanes),
    )
    host = Host(HostSettings(uri=uri, pid_directory=pid_files))
    host.start()
    deadline = time.monotonic() + within
    try:
        while time.monotonic() < deadline:
            sample = host.sample(request, TIMEOUT).result()
            if not sample.up:
                raise RuntimeError(f"{uri}: {sample.error}")
            if all(
                domain.info is not None or domain.uuid in sample.unparsable
                for domain in sample.domains
            ):
                return sample
            time.sleep(0.2)
    finally:
        host.close()
    raise RuntimeError(f"{uri}: the domains' XML could not be read within {within:g} s")


def record(uri: str, path: Path, *, pid_files: str = PID_FILES) -> HostSample:
    """Write the anonymised sample of a host to a file; returns it."""
    sample = anonymised(sample_of(uri, pid_files=pid_files))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(sample), indent=1) + b"\n")
    return sample


def main() -> int:
    """Record what the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.record", description=__doc__)
    parser.add_argument("uri", metavar="URI", help="for example qemu:///system")
    parser.add_argument("path", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    try:
        sample = record(arguments.uri, arguments.path)
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.path}: {len(sample.domains)} domains")
    return 0


if __name__ == "__main__":
    sys.exit(main())
