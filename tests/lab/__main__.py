"""`python -m tests.lab up|down`: a lab to try things in, until it is taken down.

`up [N]` starts a private libvirtd with one running guest and N (5) paused domains, and prints what
to connect to. One lab per user at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.daemon import CACHE, PrivateLibvirtd
from tests.lab.domains import crowd
from tests.lab.guests import running_guest
from tests.support.waiting import wait_until

RECORD = CACHE / "lab.json"
"""Where the lab's keeper and its URIs are written down while it is up."""

LOG = RECORD.with_suffix(".log")
"""What the keeper of the latest lab wrote."""

COMES_UP_WITHIN = 300.0
"""Seconds for `up`; the first time it builds the guest image."""


def lab_that_is_up() -> dict[str, Any] | None:
    """What `serve` has written down, as long as it runs."""
    try:
        lab: dict[str, Any] = json.loads(RECORD.read_text())
        command = Path(f"/proc/{lab['pid']}/cmdline").read_bytes()
    except FileNotFoundError:
        return None
    return lab if b"\0tests.lab\0serve\0" in command else None


def serve(size: int) -> None:
    """Hold a lab until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with PrivateLibvirtd() as libvirtd:
        running_guest(libvirtd, "running", "diskio", balloon_period=1, agent=True)
        crowd(libvirtd, size)
        lab = {
            "pid": os.getpid(),
            "read-only": libvirtd.read_only_uri,
            "read-write": libvirtd.uri,
            "enter": shlex.join(libvirtd.enter),
            "files": str(libvirtd.root),
        }
        part = RECORD.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(lab))
        part.rename(RECORD)
        signal.sigwait({signal.SIGTERM})
    RECORD.unlink()


def up(size: int) -> None:
    """Start a lab in the background and print where it is."""
    if lab_that_is_up() is None:
        CACHE.mkdir(parents=True, exist_ok=True)
        # Not this process's stderr: who reads that from a pipe would wait for the end of the lab.
        with LOG.open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.lab", "serve", str(size)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(
            lambda: server.poll() is not None or lab_that_is_up() is not None,
            "the lab is up",
            COMES_UP_WITHIN,
        )
    lab = lab_that_is_up()
    if lab is None:
        raise SystemExit(f"lab: did not come up\n{LOG.read_text()}")
    for what, value in lab.items():
        print(f"{what:10}  {value}")


def down() -> None:
    """End the lab, if one is up, and all that runs in it."""
    lab = lab_that_is_up()
    if lab is None:
        print("lab: is not up")
        return
    os.kill(lab["pid"], signal.SIGTERM)
    wait_until(lambda: not RECORD.exists(), "the lab is down", 30)


def main() -> None:
    """Dispatch."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument(
        "what", choices=("up", "down", "serve"), help="serve: up, in the foreground"
    )
    parser.add_argument("size", nargs="?", type=int, default=5, help="how many paused domains")
    arguments = parser.parse_args()
    if arguments.what == "up":
        up(arguments.size)
    elif arguments.what == "down":
        down()
    else:
        serve(arguments.size)


if __name__ == "__main__":
    main()
