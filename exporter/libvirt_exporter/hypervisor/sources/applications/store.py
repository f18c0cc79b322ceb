"""The lists of applications on the disk: one JSON file for each guest, in a directory of each host.

In memory is what is said of a list, not the list. A file is replaced as a whole; one that cannot be
understood is removed, as the guest can be asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from libvirt_exporter.files import read_file, replace_private_file
from libvirt_exporter.interning import intern
from libvirt_exporter.model import Applications

log = logging.getLogger(__name__)

VERSION: Final = 1
MAX_SIZE: Final = 32 << 20
"""Bytes of a file that is read: more than the longest list takes."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Head(Struct, frozen=True, kw_only=True, gc=False):
    """What is said of a list without reading it."""

    hash: str
    """SHA-256 of the entries, each with a newline at its end."""
    count: int
    source: str
    mark: str
    """What stood for the guest's applications when they were listed."""
    changed: float
    """Unix time at which another list than before was read, or the first one."""
    read: float
    """Unix time of the last reading."""
    reason: str = ""
    """Why the list is not complete; '' where it is."""


class _Content(Head, frozen=True, kw_only=True):
    version: int
    applications: tuple[str, ...]


class _Beginning(Head, frozen=True, kw_only=True):
    version: int


class Store:
    """The lists of one host. Every method blocks as long as the disk does."""

    def __init__(self, directory: str, uri: str) -> None:
        name = f"applications-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
        self.path = Path(directory, name)
        self._directory = str(self.path)
        self._failing = False

    def load(self) -> dict[str, Head]:
        """What is said of all lists, by UUID; whatever else lies there is removed."""
        heads: dict[str, Head] = {}
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return heads
        except OSError as error:
            log.warning("lists of applications cannot be read: %s", error)
            return heads
        for name in names:
            file, uuid = f"{self._directory}/{name}", name.removesuffix(".json")
            try:
                if name == uuid or not _UUID.fullmatch(uuid):
                    raise ValueError("not a list of applications")
                beginning = msgspec.json.decode(read_file(file, MAX_SIZE), type=_Beginning)
                if beginning.version != VERSION:
                    raise ValueError(f"version {beginning.version}")
            except (OSError, ValueError, RecursionError) as error:
                log.warning("%s is not usable and was removed: %s", file, error)
                with contextlib.suppress(OSError):
                    os.unlink(file)
                continue
            heads[uuid] = _head(beginning)
        return heads

    def write(self, uuid: str, head: Head, entries: Collection[str]) -> bool:
        """Replace the list of a guest; whether that succeeded. Logs the first failure of a row."""
        content = _Content(
            version=VERSION,
            applications=tuple(entries),
            **{name: getattr(head, name) for name in Head.__struct_fields__},
        )
        try:
            # What a power failure may leave behind is found to be of no use, and read again.
            replace_private_file(self._file(uuid), msgspec.json.encode(content), durable=False)
        except OSError as error:
            if not self._failing:
                log.warning("lists of applications cannot be saved: %s", error)
            self._failing = True
        else:
            self._failing = False
        return not self._failing

    def read(self, uuid: str) -> Applications | None:
        """The list of a guest; None where there is none that can be read."""
        try:
            content = msgspec.json.decode(read_file(self._file(uuid), MAX_SIZE), type=_Content)
        except (OSError, ValueError, RecursionError):
            return None
        return Applications(
            hash=content.hash,
            source=content.source,
            reason=content.reason,
            changed=content.changed,
            read=content.read,
            names=content.applications,
        )

    def remove(self, uuids: Iterable[str]) -> None:
        """Remove the lists of guests that are gone."""
        for uuid in uuids:
            with contextlib.suppress(OSError):
                os.unlink(self._file(uuid))

    def _file(self, uuid: str) -> str:
        """Raises OSError for what is no UUID, which might be a path.

        No Path: that would keep the names of all files for good.
        """
        if not _UUID.fullmatch(uuid):
            raise FileNotFoundError(uuid)
        return f"{self._directory}/{uuid}.json"


def _head(beginning: _Beginning) -> Head:
    known = {name: getattr(beginning, name) for name in Head.__struct_fields__}
    return Head(**known | {"source": intern(beginning.source)})
