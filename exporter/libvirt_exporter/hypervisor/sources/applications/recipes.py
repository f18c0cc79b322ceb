"""How each system is asked what is installed on it; data, for qemu-ga's guest-exec.

The first program of a kind is cheap: what it writes is another text when something was installed,
removed or replaced. The second one lists everything, and runs only then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program in the guest; no shell looks at its arguments."""

    path: str
    """Found by PATH."""
    arguments: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """`NAME=value`, instead of the agent's own; none: the agent's own."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What lists the applications of one kind of system."""

    name: str
    """The label `source`."""
    databases: tuple[str, ...] = ()
    """Files or directories that are others, or have another time or size, after a change. Empty:
    of a system with a probe of its own."""
    listing: Program
    entry: Callable[[str], str]
    """What a line of the list says: `name-version`, '' where it is no installed application."""


_ENVIRONMENT: Final = ("LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")


def _unix(path: str, *arguments: str) -> Program:
    return Program(path=path, arguments=arguments, environment=_ENVIRONMENT)


def _as_it_is(line: str) -> str:
    return line


def _dpkg_entry(line: str) -> str:
    """Of `install ok installed` and a tab; a package that is removed keeps its configuration."""
    state, _, entry = line.partition("\t")
    return "" if state.endswith((" not-installed", " config-files")) else entry


def _pacman_entry(line: str) -> str:
    return line.replace(" ", "-", 1)


def _windows_entry(line: str) -> str:
    name, _, version = line.partition("\t")
    return f"{name}-{version}" if name and version else name


UNIX: Final = (
    Recipe(
        name="dpkg",
        databases=("/var/lib/dpkg/status",),
        listing=_unix("dpkg-query", "-W", "-f", "${Status}\t${Package}-${Version}\n"),
        entry=_dpkg_entry,
    ),
    Recipe(
        name="rpm",
        # In the order of their age: Berkeley DB, NDB, SQLite; since Fedora 36 below /usr.
        databases=tuple(
            f"{directory}/{file}"
            for directory in ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
            for file in ("Packages", "Packages.db", "rpmdb.sqlite")
        ),
        listing=_unix("rpm", "-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\n"),
        entry=_as_it_is,
    ),
    Recipe(
        name="apk",
        databases=("/lib/apk/db/installed", "/usr/lib/apk/db/installed"),
        listing=_unix("apk", "info", "-v"),
        entry=_as_it_is,
    ),
    Recipe(
        name="pacman",
        databases=("/var/lib/pacman/local",),
        listing=_unix("pacman", "-Q"),
        entry=_pacman_entry,
    ),
)
"""Where several package managers are there, the first one that has a database."""

UNIX_PROBE: Final = _unix(
    "stat",
    *("-L", "-c", "%n %Y %Z %s %i"),
    *(database for recipe in UNIX for database in recipe.databases),
)
"""A line for each database that is there: name, times of change in seconds, bytes, inode. coreutils
and busybox have all of it; what is not there makes it fail, and is no failure."""

_UNINSTALL: Final = (
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
)

WINDOWS_PROBE: Final = Program(
    path="cmd.exe",
    arguments=(
        "/c",
        *("reg", "query", _UNINSTALL[0], "/s", "/v", "DisplayVersion", "&"),
        *("reg", "query", _UNINSTALL[1], "/s", "/v", "DisplayVersion"),
    ),
)
"""The keys of all applications and their versions."""

WINDOWS: Final = Recipe(
    name="windows",
    listing=Program(
        path="powershell.exe",
        arguments=(
            *("-NoProfile", "-NonInteractive", "-Command"),
            "[Console]::OutputEncoding=[Text.Encoding]::UTF8;"
            "Get-ItemProperty "
            + ",".join(f"'Registry::{key}\\*'" for key in _UNINSTALL)
            + " -ErrorAction SilentlyContinue|Where-Object{$_.DisplayName}|"
            "ForEach-Object{$_.DisplayName+[char]9+$_.DisplayVersion}",
        ),
    ),
    entry=_windows_entry,
)
