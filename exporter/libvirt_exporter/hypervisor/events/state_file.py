"""What must outlive the exporter, as one JSON file per host in a directory of its own.

The file is replaced as a whole, so whoever reads it sees the old or the new one. One that cannot
be understood is set aside under another name, with a warning, and costs nothing but its content.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import time
from pathlib import Path
from typing import Final

import msgspec

from libvirt_exporter.files import read_file, replace_private_file
from libvirt_exporter.hypervisor.events.domain_history import DomainHistory
from libvirt_exporter.hypervisor.events.history import Memory
from libvirt_exporter.model import VanishedDomain
from libvirt_exporter.uri import redacted

log = logging.getLogger(__name__)

VERSION: Final = 1
MAX_SIZE: Final = 64 << 20
"""Bytes of a file that is read: over ten times what 10,000 domains with all events need."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    uri: str
    """Redacted."""
    domains: dict[str, DomainHistory]
    vanished: list[VanishedDomain] = []


class StateFile:
    """The file of one host. `load` and `write` block as long as the disk does."""

    def __init__(self, directory: str, uri: str) -> None:
        self.path = Path(directory, f"events-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json")
        self._uri = redacted(uri)
        self._failing = False

    def load(self) -> Memory:
        """What was saved; nothing where there is no usable file."""
        try:
            data = read_file(self.path, MAX_SIZE)
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            if error.errno == errno.EFBIG:
                self._set_aside(error)
            else:
                text = "%s cannot be read, counters of events start at 0: %s"
                log.warning(text, self.path, error.strerror)
            return Memory()
        try:
            content = msgspec.json.decode(data, type=_Content)
            if (content.version, content.uri) != (VERSION, self._uri):
                raise ValueError(f"version {content.version} of {redacted(content.uri)}")
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
            return Memory()
        return Memory(content.domains, content.vanished)

    def encode(self, memory: Memory) -> bytes:
        """The content of the file; quick, and a picture of this moment."""
        return msgspec.json.encode(_Content(VERSION, self._uri, memory.domains, memory.vanished))

    def write(self, content: bytes) -> bool:
        """Replace the file, readable by its owner only; whether that succeeded.

        A failure is logged once, until one has succeeded again.
        """
        try:
            replace_private_file(str(self.path), content)
        except OSError as error:
            if not self._failing:
                log.warning("counters of events cannot be saved: %s", error)
            self._failing = True
        else:
            self._failing = False
        return not self._failing

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{int(time.time())}")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
        log.warning("%s is damaged (%s) and was renamed to %s", self.path, error, aside.name)
