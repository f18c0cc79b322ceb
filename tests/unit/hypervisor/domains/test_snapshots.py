"""How many snapshots and checkpoints a domain has, and since when."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.domains.snapshots import ROOTS_READ, snapshot_facts
from tests.support.fake_libvirt import libvirt_error


class FakeSnapshot:
    def __init__(self, created: int) -> None:
        self.created = created

    def getXMLDesc(self, _flags: int) -> str:  # noqa: N802
        trap = "&lt;creationTime&gt;1&lt;/creationTime&gt;"
        return (
            f"<domainsnapshot><description>{trap}</description>\n"
            f"  <creationTime>{self.created}</creationTime>\n</domainsnapshot>"
        )


class FakeDomain:
    """A domain with snapshots, for what no real one shows on demand."""

    def __init__(self, created: list[int], *, error: int = 0) -> None:
        self.snapshots = [FakeSnapshot(moment) for moment in created]
        self.error = error
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.error:
            raise libvirt_error(self.error)

    def snapshotNum(self) -> int:  # noqa: N802
        self._call("snapshotNum")
        return len(self.snapshots)

    def listAllSnapshots(self, flags: int) -> list[FakeSnapshot]:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS
        return self.snapshots

    def listAllCheckpoints(self, _flags: int = 0) -> list[FakeSnapshot]:  # noqa: N802
        self._call("listAllCheckpoints")
        return []


def facts(domain: Any) -> dict[str, float]:
    connection: Any = None
    return snapshot_facts(Session(connection), domain)


def test_without_a_snapshot_there_is_a_count_and_no_age() -> None:
    """0 is known; a time is not."""
    assert facts(FakeDomain([])) == {"snapshots": 0, "checkpoints": 0}


def test_the_oldest_root_tells_the_age() -> None:
    """What a description says of creation times is not believed."""
    found = facts(FakeDomain([300, 200, 400]))

    assert (found["snapshots"], found["oldest_snapshot"]) == (3, 200)


def test_too_many_roots_are_counted_only() -> None:
    """Each would cost a call."""
    found = facts(FakeDomain([100] * (ROOTS_READ + 1)))

    assert "oldest_snapshot" not in found
    assert found["snapshots"] == ROOTS_READ + 1


def test_a_driver_without_snapshots_is_asked_once() -> None:
    """Its daemon would log an error for every domain, each time."""
    connection: Any = None
    session = Session(connection)
    domain: Any = FakeDomain([], error=libvirt.VIR_ERR_NO_SUPPORT)

    assert [snapshot_facts(session, domain) for _ in range(2)] == [{}, {}]
    assert domain.calls == ["snapshotNum", "listAllCheckpoints"]


def test_other_errors_are_the_callers() -> None:
    """A domain that is gone, say."""
    with pytest.raises(libvirt.libvirtError):
        facts(FakeDomain([1], error=libvirt.VIR_ERR_NO_DOMAIN))


@pytest.mark.parametrize("kind", ["snapshot", "checkpoint"])
def test_a_real_libvirts_descriptions_are_understood(kind: str) -> None:
    """The test driver's, which has either, but not both at once."""
    connection = libvirt.open("test:///default")
    domain = connection.lookupByName("test")
    before = facts(domain)
    make = domain.snapshotCreateXML if kind == "snapshot" else domain.checkpointCreateXML
    made: Any = make(f"<domain{kind}/>")
    try:
        found = facts(domain)
    finally:
        made.delete()
        connection.close()

    assert before == {"snapshots": 0, "checkpoints": 0}
    assert found[f"{kind}s"] == 1
    assert found[f"oldest_{kind}"] > 1_600_000_000
