"""Who a host is, as its connection tells."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.facts import HostIdentity, host_uuid, read_identity
from tests.support.fake_libvirt import HOST_UUID, FakeConnection, FakeHost, libvirt_error


@pytest.mark.parametrize(
    ("capabilities", "uuid"),
    [
        (f"<capabilities><host><uuid>{HOST_UUID.upper()}</uuid></host></capabilities>", HOST_UUID),
        ("<capabilities><host><cpu/></host></capabilities>", ""),  # the test driver
        ("<capabilities><host><uuid>none</uuid></host></capabilities>", ""),
        ("<capabilities", ""),
        ("", ""),
    ],
)
def test_uuid_is_that_of_the_capabilities(capabilities: str, uuid: str) -> None:
    """In one spelling; nothing where there is none."""
    assert host_uuid(capabilities) == uuid


def test_all_is_told_where_the_driver_has_it() -> None:
    """Version, name and UUID."""
    connection: Any = FakeConnection(FakeHost(0))
    assert read_identity(connection) == HostIdentity("7.2.22", "kvm1", HOST_UUID)


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INTERNAL_ERROR])
def test_what_a_driver_does_not_tell_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A host without a name has its UUID all the same."""

    def refuse(_: FakeConnection) -> str:
        raise libvirt_error(code)

    monkeypatch.setattr(FakeConnection, "getHostname", refuse)
    monkeypatch.setattr(FakeConnection, "getVersion", refuse)
    connection: Any = FakeConnection(FakeHost(0))
    assert read_identity(connection) == HostIdentity("", "", HOST_UUID)


def test_a_lost_connection_is_no_host_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known before stays."""
    connection: Any = FakeConnection(FakeHost(0))
    connection.alive = False
    monkeypatch.setattr(FakeConnection, "getVersion", FakeConnection.check)
    with pytest.raises(libvirt.libvirtError):
        read_identity(connection)
