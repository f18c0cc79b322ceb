"""Files and directories that keep the exporter from doing what its configuration says."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from libvirt_exporter.commands.check_config import is_missing
from libvirt_exporter.commands.doctor.finding import Finding, hint, problem

PRIVATE: Final = "/var/lib/private/"
"""Where systemd keeps the state of units with a dynamic user; `/var/lib/NAME` is a link to it."""


def state_directory_findings(
    directory: str, what: str = "the counts of events"
) -> Iterator[Finding]:
    """Yield what keeps this process from keeping `what` there; '' is nowhere.

    Tries it with a file that has no name, so that nothing is left behind.
    """
    if not directory:
        return
    remedy = (
        "make it writable for the exporter's user, for example with "
        f"`install -d -m 700 -o USER {shlex.quote(directory)}`; the systemd unit creates "
        "/var/lib/libvirt-exporter for its user"
    )
    reason = _unusable(Path(directory))
    if reason and os.geteuid() != 0 and _is_private(directory):
        found = f"whether {what} can be saved in {directory} is known to its systemd unit alone"
        yield hint(found, "run `libvirt-exporter doctor` as root")
    elif reason:
        found = f"{what} cannot be saved in {directory} by uid {os.geteuid()}: {reason}"
        yield problem(found, remedy)
    elif os.geteuid() == 0 and _only_for_root(Path(directory)):
        found = f"only root can write to {directory}: another user's exporter cannot save {what}"
        yield hint(found, remedy)


def file_findings(files: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what keeps this process from reading the files of a target, by their options."""
    for option, path in files.items():
        if is_missing(path):
            yield problem(f"{option}: {path} does not exist", "create it, or correct the option")
        elif not os.access(path, os.R_OK, effective_ids=True):
            yield problem(
                f"{option}: {path} cannot be read by uid {os.geteuid()}",
                f"make it readable for the exporter's user: `ls -ld {shlex.quote(path)}`, `chown`",
            )


def _unusable(directory: Path) -> str:
    """Why this process cannot write files there, and read those that are there; '' when it can."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        for kept in directory.glob("events-*.json"):
            kept.open("rb").close()
    except FileNotFoundError:
        # The exporter would make it.
        place = _nearest(directory)
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            return f"it does not exist, and {place} is not writable"
    except OSError as error:
        return f"{error.strerror}"
    return ""


def _is_private(directory: str) -> bool:
    """Whether systemd keeps it for a unit with a dynamic user, whom alone it lets in there."""
    return os.path.realpath(directory).startswith(PRIVATE)


def _only_for_root(directory: Path) -> bool:
    status = _nearest(directory).stat()
    others = stat.S_IWOTH if status.st_gid == 0 else stat.S_IWOTH | stat.S_IWGRP
    return status.st_uid == 0 and not status.st_mode & others


def _nearest(directory: Path) -> Path:
    """The directory, or what is there of the way to it."""
    return next(place for place in (directory, *directory.parents) if os.path.exists(place))
