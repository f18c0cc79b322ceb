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
