"""The names of Debian's exporter, recorded from this one's series, beside that exporter itself."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt
import pytest

from deploy.prometheus import build
from deploy.prometheus.compatibility import KUMINA
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.exporter import Exporter
from tests.lab.prometheus import Prometheus, prometheus
from tests.lab.servers import free_address, server
from tests.support.waiting import wait_until

Labels = frozenset[tuple[str, str]]

NOT_TOLD = {
    f"libvirt_domain_block_stats_{name}_total"
    for name in ("read_seconds", "write_seconds", "flush_seconds", "flush_requests")
}
"""What kumina's exporter tells, and Debian's version of it does not."""

GROWING = {"libvirt_domain_info_cpu_time_seconds_total"}
"""What grows between two scrapes although the guests are paused: QEMU itself works."""


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes both exporters on one host, with the rules of compatibility."""
    assert guests
    directory = tmp_path_factory.mktemp("compatibility")
    address = free_address()
    configuration = {"fields": {"include": ["libvirt_domain_block_source_info"]}}
    with (
        server(
            address,
            "prometheus-libvirt-exporter",
            f"--web.listen-address={address}",
            f"--libvirt.uri={libvirtd.uri}",
            log=directory / "peer.log",
        ),
        Exporter(libvirtd.read_only_uri, directory / "ours", configuration) as ours,
        prometheus(
            directory,
            {"peer": [address], "libvirt": [ours.address]},
            rules=[build.DIRECTORY / "compatibility" / "kumina.yml"],
        ) as asked,
    ):
        yield asked


def series(asked: Prometheus, job: str, name: str) -> dict[Labels, float]:
    """The series of a name by a job: those of guests that do not run, without job and instance."""
    return {
        frozenset(
            (label, text)
            for label, text in found["metric"].items()
            if label not in ("__name__", "job", "instance")
        ): float(found["value"][1])
        for found in asked.get("query", query=f'{name}{{job="{job}",domain!="running"}}')["result"]
    }


@pytest.mark.parametrize("name", sorted(KUMINA.rows.keys() - NOT_TOLD))
def test_recorded_series_are_those_of_the_other_exporter(both: Prometheus, name: str) -> None:
    """Every series that it has is there, with the same labels and the same value."""

    def same() -> bool:
        theirs, ours = series(both, "peer", name), series(both, "libvirt", name)
        return bool(theirs) and all(
            labels in ours and (name in GROWING or ours[labels] == value)
            for labels, value in theirs.items()
        )

    wait_until(same, f"{name} is the same", 30)


@pytest.mark.parametrize("name", sorted(NOT_TOLD))
def test_what_the_other_one_does_not_tell_is_recorded(both: Prometheus, name: str) -> None:
    """Names of kumina's later versions have series, too."""
    wait_until(lambda: bool(series(both, "libvirt", name)), f"{name} is there", 30)
    assert not series(both, "peer", name)
