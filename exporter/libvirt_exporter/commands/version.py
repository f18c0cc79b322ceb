"""What `--version` prints. It needs no library, so that it is there at once."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

from libvirt_exporter import __version__
from libvirt_exporter.build import BRANCH, REVISION

PROGRAM: Final = "libvirt-exporter"


def version() -> str:
    """The program's version, what it was built from, and what it runs with."""
    facts = {
        "Python": platform.python_version(),
        "libvirt-python": metadata.version("libvirt-python"),
        "revision": REVISION,
        "branch": BRANCH,
    }
    known = ", ".join(f"{name} {fact}" for name, fact in facts.items() if fact)
    return f"{PROGRAM} {__version__} ({known})"
