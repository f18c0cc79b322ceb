"""The sockets that the server listens on."""

from __future__ import annotations

import socket

import pytest

from libvirt_exporter.web.listening import listen


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "localhost:0"])
def test_what_is_written_to_a_connection_is_sent_at_once(address: str) -> None:
    """Not kept for the acknowledgement of what was written before, which takes 40 ms."""
    (listening,) = listen([address], 0o660)
    with listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_interface_of_a_link_local_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the kernel refuses the address."""
    found = ("fe80::1", 9177, 0, 2)
    entry = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", found)
    taken: list[object] = []

    def create(address: object, **_: object) -> socket.socket:
        taken.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    monkeypatch.setattr(socket, "create_server", create)
    (listening,) = listen(["[fe80::1%eth0]:9177"])
    listening.close()
    assert taken == [found]
