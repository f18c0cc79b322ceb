"""What tests of several modules start from that start processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.fake_qemu import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine without any process yet."""
    with closing(Machine(tmp_path)) as machine:
        yield machine
