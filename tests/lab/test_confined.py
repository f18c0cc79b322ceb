"""An exporter without any privilege, and in a PID namespace of its own as containers have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.exporter import SOURCE, Answer, Exporter, series

NOBODY: Final = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
)
"""Runs a command as the user `nobody`, who has no group and no capability and gets none."""
NAMESPACE: Final = ("unshare", "--pid", "--fork", "--mount-proc")
"""Runs a command in a PID namespace of its own, with a /proc to match."""


@pytest.fixture(scope="module")
def crowded() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with two paused domains, vm000 and vm001."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, 2, disks=1)
        yield daemon


def command(daemon: PrivateLibvirtd, within: Sequence[str], *arguments: str) -> tuple[int, str]:
    """Status and output of a command of the exporter that ends by itself."""
    done = subprocess.run(
        [
            *(*daemon.enter, *within, "env", f"PYTHONPATH={SOURCE}", sys.executable),
            *("-m", "libvirt_exporter", *arguments, f"--libvirt.uri={daemon.read_only_uri}"),
        ],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_nobody_gets_every_series_that_root_gets(crowded: PrivateLibvirtd) -> None:
    """All groups, but for guest agents: without a capability, a group, or the read-write socket."""

    def shown(name: str, within: Sequence[str]) -> Answer:
        # A directory of pytest's is closed to nobody.
        directory = crowded.root / name
        configuration = {"groups": {"include": ["all"], "exclude": ["guest"]}}
        with Exporter(
            crowded.read_only_uri, directory, configuration, within=[*crowded.enter, *within]
        ) as exporter:
            return exporter.scrape()

    as_root, as_nobody = shown("as-root", ()), shown("as-nobody", NOBODY)
    assert as_nobody.samples[series("libvirt_up")] == 1
    assert as_nobody.domains == {"vm000", "vm001"}
    assert as_nobody.domain_samples.keys() == as_root.domain_samples.keys()
    uuid = crowded.connection.lookupByName("vm000").UUIDString()
    start = series("libvirt_domain_start_time_seconds", domain="vm000", uuid=uuid)
    assert start in as_nobody.samples
    assert as_nobody.samples[series("libvirt_scrape_unseen_processes", reason="no_process")] == 0


def test_a_pid_namespace_of_its_own_is_said_with_what_ends_it(crowded: PrivateLibvirtd) -> None:
    """Processes are not seen there, which costs the start times; metric and doctor say so."""
    status, text = command(crowded, NAMESPACE, "scrape")
    assert status == 0, text
    values = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["libvirt_scrape_unseen_processes", ("no_process",)] == 2
    assert not any(name == "libvirt_domain_start_time_seconds" for name, _ in values)

    _, said = command(crowded, NAMESPACE, "doctor")
    assert "has its own PID namespace" in said
    assert "`--pid=host`" in said
    _, outside = command(crowded, (), "doctor")
    assert "--pid=host" not in outside
