"""The measure of all else: one bulk call, made by a process that does nothing but that.

As a program, `python -m tests.bench.raw URI BITS`, it makes the call once for each line
that it reads and answers with the number of values.
"""

from __future__ import annotations

import subprocess
import sys

import libvirt

from tests.bench.processes import ROOT, Answer


class RawClient:
    """Such a process; a context manager that ends it."""

    def __init__(self, uri: str, bits: int) -> None:
        """`bits`: the groups to ask for, as libvirt has them."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.raw", uri, str(bits)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def call(self) -> Answer:
        """Make the call and wait for it; its values count as series."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        values = int(self._process.stdout.readline())
        return Answer(0, lambda: values)


def main() -> None:
    """Serve the owner until it lets go."""
    connection = libvirt.openReadOnly(sys.argv[1])
    for _ in iter(sys.stdin.readline, ""):
        records = connection.getAllDomainStats(int(sys.argv[2]))
        print(sum(len(values) for _, values in records), flush=True)


if __name__ == "__main__":
    main()
