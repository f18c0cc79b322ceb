"""The connection that guest agents are asked on."""

from __future__ import annotations

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.errors import OpenError, explain_open_failure
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.read_write import open_read_write, read_write_uri
from tests.support.fake_libvirt import libvirt_error


@pytest.mark.parametrize(
    ("uri", "read_write"),
    [
        ("qemu:///system", "qemu:///system"),
        ("qemu+unix:///system?socket=/a-sock-ro", "qemu+unix:///system?socket=/a-sock"),
        (
            "qemu+unix:///system?socket=/a-sock-ro&mode=auto",
            "qemu+unix:///system?socket=/a-sock&mode=auto",
        ),
        ("qemu+unix:///system?socket=/my-sock-root", "qemu+unix:///system?socket=/my-sock-root"),
    ],
)
def test_a_read_only_socket_is_replaced_by_the_other_one(uri: str, read_write: str) -> None:
    """A URI may name the socket; libvirt chooses the right one by itself otherwise."""
    assert read_write_uri(uri) == read_write


def test_it_may_change_things() -> None:
    """A read-only one refuses the same call."""
    conn = open_read_write("test:///default")
    domain = conn.lookupByName("test")
    domain.setAutostart(domain.autostart())
    conn.close()


def test_a_failure_names_the_read_write_socket_and_what_opens_it() -> None:
    """A user without rights cannot open it by default."""
    denied = libvirt_error(libvirt.VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable")

    def connect(_uri: str) -> libvirt.virConnect:
        raise denied

    pool = Connections("qemu:///system", Observer(), connect, read_only=False)
    with pytest.raises(OpenError, match=r"libvirt-sock, .*docs/guest-agent.md"):
        pool.open()
    other = libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, "odd")
    assert "`virsh -c 'qemu:///system' list`" in explain_open_failure(
        "qemu:///system", other, read_only=False
    )
    assert "`virsh -r -c" in explain_open_failure("qemu:///system", other)
