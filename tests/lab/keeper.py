"""Keeps one private libvirtd's place on this host, and clears it when its owner lets go or dies.

Run as a program, `[unshare --mount] keeper.py ROOT system|containers|session`, with pipes from and
to its owner. For each line `[program, argument …]` (JSON) on standard input it starts that program
as libvirtd and answers with its pid. When its input ends it kills every process that descends from
it and removes ROOT: a test session that was killed leaves nothing behind either.

Two things make that reliable. A privileged libvirtd has the paths of its state compiled in, so in
a mount namespace of its own the keeper mounts ROOT's directories over them. And the keeper is a
"child subreaper": QEMU processes, which detach themselves, become its children. It also reaps them
at once, which not every container's first process does: until then libvirt 9.0 takes a QEMU for
alive, and `destroy` takes seconds.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

STATE = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
"""Directories under ROOT and where a privileged libvirtd looks for them."""

CONTROL_GROUPS = Path("/sys/fs/cgroup")

PR_SET_CHILD_SUBREAPER = 36


def descendants(ancestor: int) -> set[int]:
    """Pids of the living processes that descend from the process `ancestor`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.name)] = int(parent)
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def take_place(root: Path) -> None:
    """Mount ROOT's directories where a privileged libvirtd looks for them."""
    # Hides the system bus too, or two daemons would register their guests with one machined.
    subprocess.run(["mount", "-t", "tmpfs", "lab", "/run"], check=True)
    for name, target in STATE.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(root / name), target], check=True)


def hide_control_groups(*, all_of_them: bool) -> None:
    """Unmount them, wherever they are; else only version 2 where libvirt would take it for all.

    Without control groups libvirt runs QEMU all the same, and leaves no directories there.
    Containers need them, and beside a hierarchy of version 1 the other has no controllers.
    """
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    legacy = any(kind == "cgroup" for _, kind in mounts)
    for path, kind in reversed(mounts):
        if kind in ("cgroup", "cgroup2") and (all_of_them or (kind == "cgroup2" and legacy)):
            subprocess.run(["umount", "--lazy", path], check=True)


def leave_control_groups() -> None:
    """Remove the control groups of containers that were killed, and libvirt's when it is empty."""
    for pattern in ("machine/lxc-*", "*/machine/lxc-*", "machine", "*/machine"):
        for group in CONTROL_GROUPS.glob(pattern):
            with contextlib.suppress(OSError):
                group.rmdir()


def reap() -> None:
    """Reap children, born here or inherited, for ever."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.02)


def start(command: list[str], output: Path) -> int:
    """Start a program with its output appended to a file; return its pid."""
    return os.posix_spawnp(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def clear(root: Path) -> None:
    """Kill the descendants, stopped ones too, and remove ROOT."""
    deadline = time.monotonic() + 10
    while alive := descendants(os.getpid()):
        if time.monotonic() > deadline:
            raise SystemExit(f"keeper: processes survive: {alive}")
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(root)


def main() -> None:
    """Serve the owner until it lets go."""
    for harmless in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(harmless, lambda *_: None)
    root, kind = Path(sys.argv[1]), sys.argv[2]
    if kind != "session":
        hide_control_groups(all_of_them=kind == "system")
        take_place(root)
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit("keeper: cannot become a subreaper")
    threading.Thread(target=reap, daemon=True).start()
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(start(json.loads(line), root / "libvirtd.out"), flush=True)
    clear(root)
    if kind == "containers":
        leave_control_groups()


if __name__ == "__main__":
    main()
