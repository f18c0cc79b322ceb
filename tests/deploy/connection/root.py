"""A connection of Ansible into another root of this host; those of ansible-core cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: root
short_description: Run tasks in another root of this host
description: Runs tasks in a root file system of this host, or in a system that is booted from one.
options:
  remote_addr:
    description: The path of the root file system, or the number of the process 1 of the system.
    vars:
      - name: ansible_host
"""


class Connection(ConnectionBase):  # type: ignore[misc] # Ansible has no annotations
    """Commands run under chroot or nsenter, files are copied."""

    transport = "root"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        host = self.get_option("remote_addr")
        enter = ["nsenter", "--target", host, "--all"] if host.isdigit() else ["chroot", host]
        # What the host's environment says is not true inside.
        environment = {
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done = subprocess.run(
            [*enter, "/bin/sh", "-c", cmd],
            input=in_data or b"",
            env=environment,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self) -> None:
        self._connected = False

    def _inside(self, path: str) -> Path:
        host = self.get_option("remote_addr")
        return Path(f"/proc/{host}/root" if host.isdigit() else host, path.lstrip("/"))
