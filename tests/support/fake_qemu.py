"""Processes that pass for QEMU where only /proc is asked: running, stopped, or waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from tests.support.waiting import wait_until

RUNS = "import sys; print(flush=True); sys.stdin.read()"
# The parent of a vfork waits uninterruptibly until the child is a program of its own, and this
# child first opens a FIFO that nobody writes to.
WAITS = (
    "import os, sys; "
    "os.posix_spawn('/bin/true', ['true'], {}, "
    "file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[-1], os.O_RDONLY, 0)])"
)


class Machine:
    """Processes that pass for QEMU, and the directory of their pid files."""

    def __init__(self, directory: Path) -> None:
        os.mkfifo(directory / "fifo")
        self.directory = directory
        self.names: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        program: str = RUNS,
        *,
        file: str | None = None,
        arguments: Sequence[str] = (),
    ) -> str:
        """Start one, with more of QEMU's arguments; returns its UUID."""
        uuid = str(UUID(int=len(self.names) + 1))
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                program,
                "-uuid",
                uuid,
                *arguments,
                str(self.directory / "fifo"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.names[uuid] = name
        self.processes[uuid] = process
        (self.directory / f"{name if file is None else file}.pid").write_text(str(process.pid))
        # While the interpreter starts, any process is found waiting for a moment, in S and in D.
        if program == WAITS:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            wait_until(lambda: bool(children.read_text()), "the process has a child to wait for")
            self.wait_for(uuid, "D")
        else:
            assert process.stdout is not None
            process.stdout.readline()
            self.wait_for(uuid, "S")
        return uuid

    def wait_for(self, uuid: str, letter: str) -> None:
        """Wait until the process is in that state."""
        stat = Path(f"/proc/{self.processes[uuid].pid}/stat")
        wait_until(
            lambda: stat.read_text().rpartition(") ")[2].startswith(letter),
            f"process {stat.parent.name} is in state {letter}",
        )

    def signal(self, uuid: str, number: signal.Signals) -> None:
        self.processes[uuid].send_signal(number)
        self.wait_for(uuid, "T" if number is signal.SIGSTOP else "S")

    def release(self) -> None:
        """Let those go on that wait for the FIFO."""
        os.close(os.open(self.directory / "fifo", os.O_WRONLY))

    def close(self) -> None:
        # Both ends, so that neither side waits for the other, whenever it comes to open its own.
        both = os.open(self.directory / "fifo", os.O_RDWR)
        for process in self.processes.values():
            process.kill()
            process.communicate()
        os.close(both)
