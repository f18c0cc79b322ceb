"""What a command writes for a person or another program, and how it says what failed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from libvirt_exporter.commands.version import PROGRAM


class OutputError(Exception):
    """What was asked for cannot be written."""


def show(text: str) -> None:
    """Write to stdout what its encoding can carry of the text. Raises OutputError."""
    write(text.encode(sys.stdout.encoding or "utf-8", "replace"))


def write(content: bytes) -> None:
    """Write to stdout. Raises OutputError."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # The interpreter would try once more when it exits, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever closes a pipe has seen enough, and needs no telling.
        told = not isinstance(error, BrokenPipeError)
        reason = f"stdout: cannot be written: {error.strerror}" if told else ""
        raise OutputError(reason) from None


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file in one step, so that nobody ever reads half of it. Raises OutputError.

    The target of a link is replaced; a device or a pipe is written to.
    """
    temporary = ""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = Path(os.path.realpath(path))
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # The collector that reads the file runs as another user.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


def failed(reason: object) -> int:
    """Say on stderr why the command failed; return its exit status."""
    for line in str(reason).splitlines():
        print(f"{PROGRAM}: {printable(line)}", file=sys.stderr)
    return 1


def columns() -> int | None:
    """The width of the terminal; None where there is none, so that grep finds all of a line."""
    # `watch` runs its command in a pipe and tells the width of its terminal by COLUMNS.
    width, _ = shutil.get_terminal_size((0, 0))
    return width or None


def printable(text: str) -> str:
    """Return the text with everything replaced that is not a visible character or a space."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
