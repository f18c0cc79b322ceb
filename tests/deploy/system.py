"""A booted system of another release of Debian, in which packages are installed and tried."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = ROOT / "tests/deploy/system.sh"


def run(*command: str | Path, within: float = 600) -> str:
    """Return what the command prints, errors included; it must succeed."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def install(suite: str, changes: Path, *packages: Path) -> None:
    """Install packages in a bare system of the suite, together with all that they depend on."""
    run("unshare", "--mount", "--pid", "--fork", SCRIPT, "install", suite, changes, *packages)


def archive_to(suite: str, changes: Path, *command: str | Path) -> list[str | Path]:
    """A command that reads a tar of the system, bare where nothing has changed it."""
    pipe = 'unshare --mount "$0" archive "$1" "$2" | { shift 2 && "$@"; }'
    return ["sh", "-c", pipe, SCRIPT, suite, changes, *command]


class System:
    """A system whose process 1 is `leader`, as seen from here."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def run(self, *command: str | Path) -> str:
        """Return what the command prints in there; it must succeed."""
        return run(
            *("nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--net"),
            *("--pid", "env", "--ignore-environment", "DEBIAN_FRONTEND=noninteractive"),
            *("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"),
            *command,
        )

    def get(self, path: str, port: int = 9177) -> str:
        """Return what is served there on the loopback device."""
        fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
        url = f"http://127.0.0.1:{port}{path}"
        inside = ("nsenter", "--target", str(self.leader), "--net")
        return run(*inside, sys.executable, "-I", "-c", fetch, url)

    def unit(self, setting: str, unit: str = "libvirt-exporter.service") -> str:
        """Return what systemd says about a unit."""
        return self.run("systemctl", "show", "--value", "--property", setting, unit).strip()


def with_libvirt(sockets: Path, directory: Path) -> tuple[str, ...]:
    """Options of `booted` that give the exporter in there a libvirtd of this host.

    `sockets` is where that has its sockets; `directory` takes a file.
    """
    # libvirtd looks up who calls, and this one, outside, does not know the users of systemd inside.
    known = directory / "known.conf"
    known.write_text("[Service]\nUser=nobody\n")
    unit = "/run/systemd/system/libvirt-exporter.service.d"
    return f"--bind-ro={sockets}:/run/libvirt", f"--bind-ro={known}:{unit}/known.conf"


@contextmanager
def booted(suite: str | Path, changes: Path, *options: str) -> Iterator[System]:
    """Boot the system that `install` left; it ends with the context."""
    log = changes / "console.log"
    with log.open("w") as console:
        process = subprocess.Popen(
            ["unshare", "--mount", SCRIPT, "boot", suite, changes, *options],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
    try:

        def leader() -> int:
            assert process.poll() is None, log.read_text()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            for child in map(int, children.split()):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
            return 0

        system = System(wait_until(leader, "a process 1", 60))
        wait_until(lambda: _is_running(system), log.read_text(), 60)
        yield system
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_running(system: System) -> bool:
    asked = system.run("sh", "-c", "systemctl is-system-running --wait 2>&1 || :").strip()
    assert asked != "degraded", system.run("systemctl", "--failed")
    return asked == "running"
