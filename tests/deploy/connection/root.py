"""A connection of Ansible into a root file system, by chroot; those of ansible-core cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: root
short_description: Run tasks in a root file system of this host
description: Runs tasks in a root file system of this host, whose path is the name of the host.
options:
  remote_addr:
    description: The path of the root file system.
    vars:
      - name: ansible_host
"""


class Connection(ConnectionBase):  # type: ignore[misc] # Ansible has no annotations
    """Commands run under chroot, files are copied."""

    transport = "root"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        command = ["chroot", self.get_option("remote_addr"), "/bin/sh", "-c", cmd]
        # What the host's environment says is not true inside.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, input=in_data or b"", env=environment, capture_output=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self) -> None:
        self._connected = False

    def _inside(self, path: str) -> Path:
        return Path(self.get_option("remote_addr"), path.lstrip("/"))
