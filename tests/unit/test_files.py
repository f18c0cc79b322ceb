"""What is read as a file, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libvirt_exporter.files import read_file


def test_a_regular_file_is_read_through_links_too(tmp_path: Path) -> None:
    """Up to its limit; Kubernetes mounts secrets as links."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 5) == b"12345"


def test_what_is_larger_is_not_read(tmp_path: Path) -> None:
    """However large it is."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_file(tmp_path / "file", 4)


def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    """A pipe has no other end, a device none at all."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises(OSError, match="not a regular file"):
            read_file(path, 4)
    with pytest.raises(OSError, match="Is a directory"):
        read_file(tmp_path, 4)
    with pytest.raises(OSError, match="No such file"):
        read_file(tmp_path / "nothing", 4)
