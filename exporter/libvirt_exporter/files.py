"""Reads files that may have been exchanged for something else: a pipe, a device, a terabyte."""

from __future__ import annotations

import errno
import os
import stat


def read_file(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; links are followed.

    Takes as long as the disk does, which may be for ever (a network file system). Raises OSError,
    with a `strerror` for a person, also for what is no regular file (EINVAL, EISDIR) or is larger
    (EFBIG).
    """
    # Opening a device may already do something, opening a pipe waits for its other end.
    _refuse_irregular(os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        _refuse_irregular(os.fstat(descriptor).st_mode)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes")
    return content


def _refuse_irregular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
