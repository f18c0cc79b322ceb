"""Reads files that may have been exchanged for something else, and replaces files as a whole."""

from __future__ import annotations

import contextlib
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


def replace_private_file(path: str, content: bytes, *, durable: bool = True) -> None:
    """Replace a file by one that its owner only may read; its directory is made where needed.

    Whoever reads it sees the old or the new one; after a power failure too where it is `durable`,
    which takes as long as the disk does. Raises OSError, and leaves the old file then.
    """
    part = f"{os.path.splitext(path)[0]}.part"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        # Not through a link or into a file that somebody put there.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        with open(part, "xb", opener=_private) as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
