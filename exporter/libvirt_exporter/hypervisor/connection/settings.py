"""What the operator chose for one host; whoever acts on an option reads it here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from libvirt_exporter.model import DomainInfo
from libvirt_exporter.patterns.labels import Label

_LOCAL: Final = re.compile(r"qemu(\+unix)?:///")
_SYSTEM: Final = re.compile(r"qemu(\+unix)?:///system(\?|$)")


SYSTEM_PID_FILES: Final = "/run/libvirt/qemu"
"""Where the daemon of the system writes which process is which domain's."""


class ShownDomains(Protocol):
    """Decides which domains are shown."""

    def matches(self, name: str, uuid: str, state: str, info: DomainInfo | None) -> bool | None:
        """Whether a domain is shown; None where that takes its `info`, which is None.

        `state`: as `model.state_name`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class GuestAgentSettings:
    """How guest agents are asked; durations in seconds."""

    response_timeout: float = 2.0
    """What an agent gets for one answer; libvirt takes whole seconds."""
    parallel_calls: int = 2
    """Agents that are asked at once."""
    interval: float = 60.0
    """Between two questions for figures that move: file systems, load, CPUs, users."""
    slow_interval: float = 600.0
    """Between two questions for what seldom changes: system, host name, interfaces."""
    entries: int = 64
    """File systems of one guest that are kept; likewise interfaces, addresses and users."""
    exclude_filesystems: tuple[str, ...] = ()
    """Regular expressions on the whole type of a file system."""
    exclude_mountpoints: tuple[str, ...] = ()
    """Regular expressions on the whole mount point."""


@dataclass(frozen=True, kw_only=True)
class ApplicationsSettings:
    """How the lists of applications are kept; durations in seconds."""

    state_directory: str
    """Where the lists lie."""
    interval: float = 120.0
    """Between two looks at whether anything changed."""
    quiet: float = 60.0
    """Without a change, after one, until the list is read."""
    longest_wait: float = 600.0
    """After a change, until the list is read although others follow."""


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """What the operator chose for one host."""

    uri: str
    name: str = ""
    """The operator's alias, '' for the default host."""
    parallel_calls: int = 4
    stuck_calls: int = 12
    info_refresh: float = 60.0
    """Seconds after which a domain's XML is read again without any event."""
    labels: tuple[Label, ...] = ()
    shown: ShownDomains | None = None
    """The others are asked for their state only; None: there are no others."""
    pid_directory: str | None = SYSTEM_PID_FILES
    """Where a libvirt of this machine keeps `<name>.pid` of each QEMU; None: do not look at
    processes. Only a new Host takes another one."""
    state_directory: str = ""
    """Where counters of events outlive the process; '': they do not. Only a new Host takes another
    one."""
    all_counters: bool = False
    """Whether every counter of events whose labels are known starts at 0 with its domain."""

    guest_agent: GuestAgentSettings | None = None
    """None: no agent is asked, and no read-write connection opened."""
    applications: ApplicationsSettings | None = None
    """None: no lists of applications are kept. They take `guest_agent` too."""

    @property
    def is_local(self) -> bool:
        """Whether this machine is the host."""
        return _LOCAL.match(self.uri) is not None

    @property
    def shows_processes(self) -> bool:
        """Whether the QEMU processes of this libvirt are to be looked at in /proc."""
        if self.pid_directory is None or not self.is_local:
            return False
        # A user's own daemon keeps its files elsewhere.
        return self.pid_directory != SYSTEM_PID_FILES or _SYSTEM.match(self.uri) is not None
