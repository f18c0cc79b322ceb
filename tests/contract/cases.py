"""The recorded hosts, and the one that is put together from libvirt's own declarations."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from libvirt_exporter.model import HostSample
from tests.contract.synthetic import SYNTHETIC

DIRECTORY: Final = Path(__file__).parent / "cases"


@cache
def cases() -> dict[str, HostSample]:
    """Samples by the name of their case."""
    recorded = {
        path.stem: msgspec.json.decode(path.read_bytes(), type=HostSample)
        for path in sorted(DIRECTORY.glob("*.json"))
    }
    return {**recorded, "synthetic": SYNTHETIC}
