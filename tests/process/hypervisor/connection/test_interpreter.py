"""What a whole interpreter does with libvirt: print, and end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import libvirt_exporter

SOURCE_ROOT = Path(libvirt_exporter.__file__).parents[1]


def test_libvirt_prints_nothing_of_its_own() -> None:
    """Errors reach the log through the exporter or not at all."""
    program = (
        "import libvirt\n"
        "from libvirt_exporter.hypervisor.connection.pool import open_read_only\n"
        "try:\n"
        "    open_read_only('qemu+unix:///system?socket=/nonexistent')\n"
        "except libvirt.libvirtError:\n"
        "    print('refused')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
        cwd=SOURCE_ROOT,
    )
    assert (ended.stdout, ended.stderr) == ("refused\n", "")


def test_a_call_that_never_returns_does_not_keep_the_process() -> None:
    """The interpreter exits although a call is stuck."""
    program = (
        "import asyncio, threading\n"
        "from libvirt_exporter.hypervisor.connection.threads import CallThread\n"
        "async def main():\n"
        "    stuck = CallThread('stuck', print).run(threading.Event().wait)\n"
        "    await asyncio.wait([stuck], timeout=0.1)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=SOURCE_ROOT)
