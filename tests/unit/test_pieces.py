"""Parts of any size, cut anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.pieces import pieces


@given(st.lists(st.binary(max_size=40)), st.integers(1, 50))
def test_pieces_are_the_parts_in_one_size(parts: list[bytes], size: int) -> None:
    """Only the last one is shorter, and it is not empty."""
    cut = [*pieces(parts, size)]
    assert b"".join(cut) == b"".join(parts)
    assert all(len(piece) == size for piece in cut[:-1])
    assert all(0 < len(piece) <= size for piece in cut)
