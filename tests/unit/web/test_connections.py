"""How many connections there may be, and what is logged of them."""

from __future__ import annotations

import pytest

from libvirt_exporter.web import connections
from libvirt_exporter.web.connections import Connections, OncePerMinute


class Client:
    """A connection that does what its test says."""

    def __init__(self, address: str, *busy: float) -> None:
        self.address = address
        self.ended = False
        self._busy = int(busy[0]), busy[1]

    def busy(self) -> tuple[int, float]:
        return self._busy

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("clients", "goes"),
    [
        ([("a", 0, 2.0), ("a", 0, 1.0), ("b", 0, 0.0)], 1),
        ([("a", 2, 1.0), ("a", 1, 2.0), ("b", 0, 0.0)], 1),
        ([("b", 2, 1.0), ("b", 2, 2.0), ("a", 0, 0.0)], 0),
    ],
)
def test_one_goes_of_whoever_has_most(
    clients: list[tuple[str, int, float]], goes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First what asks nothing, then what does not read, the oldest first; never the new one."""
    monkeypatch.setattr(connections, "MOST", 3)
    everybody, made = Connections(), [Client(*client) for client in clients]
    new = Client("c", 0, 0.0)
    for client in (*made, new):
        everybody.add(client)
    assert [client.ended for client in made] == [number == goes for number in range(3)]
    assert not new.ended


def test_one_address_has_a_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended does not count."""
    monkeypatch.setattr(connections, "MOST_OF_ONE", 2)
    everybody, first, second = Connections(), Client("a", 0, 1.0), Client("a", 0, 2.0)
    everybody.add(first)
    everybody.discard(first)
    everybody.discard(first)
    third = Client("a", 2, 3.0)
    for client in (second, third, Client("b", 0, 0.0)):
        everybody.add(client)
    assert not second.ended
    everybody.add(Client("a", 2, 4.0))
    assert (second.ended, third.ended) == (True, False)


def test_an_address_is_logged_once_a_minute() -> None:
    """Others are logged meanwhile; as many addresses as there may be are remembered."""
    now = 0.0
    lines = OncePerMinute(lambda: now)
    assert (lines.may("a"), lines.may("a"), lines.may("b")) == (True, False, True)
    now = 59.0
    assert not lines.may("a")
    now = 60.0
    assert lines.may("a")
    assert all(lines.may(str(number)) for number in range(2000))
    assert not lines.may("1999")
