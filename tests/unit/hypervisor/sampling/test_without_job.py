"""What is told of a domain whose monitor is stuck, by calls that need neither it nor the job."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.sampling.without_job import GROUPS, stats_without_job
from tests.support.fake_libvirt import FakeDomain, FakeHost, libvirt_error

MEMORY = {"balloon.current": 1024, "balloon.maximum": 2048}
VCPUS = {
    "vcpu.current": 2,
    "vcpu.maximum": 4,
    "vcpu.0.state": 1,
    "vcpu.0.time": 6,
    "vcpu.1.state": 1,
    "vcpu.1.time": 7,
}


def handle(domain: FakeDomain) -> Any:
    host = FakeHost(0)
    host.add(domain)
    return host.connect("").lookupByUUIDString(domain.uuid)


def test_the_figures_come_under_the_bulk_call_s_keys() -> None:
    """CPU times are the control group's, as in the bulk call."""
    assert stats_without_job(handle(FakeDomain(0)), GROUPS) == {
        "cpu.time": 13,
        "cpu.user": 8,
        "cpu.system": 4,
        **MEMORY,
        **VCPUS,
    }


@pytest.mark.parametrize(
    ("group", "stats"), [("cpu-total", {"cpu.time": 10}), ("balloon", MEMORY), ("vcpu", VCPUS)]
)
def test_only_what_was_asked_for_is_told(group: str, stats: dict[str, int]) -> None:
    """Each group by itself; without a control group the CPU time is the process's."""
    domain = FakeDomain(0)
    domain.has_control_group = False
    assert stats_without_job(handle(domain), {group}) == stats


def test_a_domain_that_does_not_run_has_nothing_to_tell() -> None:
    """Its CPU time of 0 would look like a counter's reset."""
    assert stats_without_job(handle(FakeDomain(0, active=False)), GROUPS) == {}


def test_a_failing_call_is_no_missing_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's time is another counter: it must not stand in for the group's."""
    domain = handle(FakeDomain(0))

    def fail(_total: bool) -> Any:
        raise libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR)

    monkeypatch.setattr(domain, "getCPUStats", fail)
    with pytest.raises(libvirt.libvirtError):
        stats_without_job(domain, {"cpu-total"})
