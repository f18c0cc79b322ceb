"""What guest agents answer, read with distrust: whoever runs the guest chooses every byte."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple

from libvirt_exporter.hypervisor.sources.applications.recipes import UNIX, Recipe
from libvirt_exporter.interning import intern

LARGEST_OUTPUT: Final = 4 << 20
"""Bytes of a program's output that are looked at; libvirt passes on about 3 MiB."""
MOST_ENTRIES: Final = 50_000
LONGEST_ENTRY: Final = 256
"""Characters of an entry that are kept."""
_LONGEST_FACT: Final = 128
_MARK_BYTES: Final = 8


Trouble = Literal["refused", "silent", "denied", "over", "other"]
"""The guest does not allow or know the command; it did not answer in time; libvirt does not allow
it; the guest is gone or no longer runs; anything else."""


class GuestError(Exception):
    """The guest did not say what it was asked for; the message is for the operator."""

    def __init__(self, message: str, trouble: Trouble = "other") -> None:
        super().__init__(message)
        self.trouble = trouble


class Abilities(NamedTuple):
    """What an agent says of itself."""

    version: str
    runs_programs: bool


class System(NamedTuple):
    """What it says of its system; '' where it does not."""

    name: str = ""
    """`debian`, `mswindows` …"""
    kernel: str = ""


class Facts(NamedTuple):
    """What an agent says of itself and its system, as above."""

    version: str
    runs_programs: bool
    system: str
    kernel: str

    @property
    def fallback(self) -> tuple[str, ...]:
        """What is known without running anything in the guest, as VDSM lists it; sorted."""
        named = (("kernel", self.kernel), ("qemu-guest-agent", self.version))
        return tuple(f"{name}-{version}" for name, version in named if version)


class Outcome(NamedTuple):
    """How a program in the guest ended."""

    status: int
    """-1 when a signal ended it."""
    output: bytes


class Listing(NamedTuple):
    """All applications of a guest, sorted."""

    entries: tuple[str, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the entries in UTF-8, each with a newline at its end."""
        return hashlib.sha256("".join(f"{entry}\n" for entry in self.entries).encode()).hexdigest()


def _mapping(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise GuestError("the agent's answer is not a JSON object")
    return answer


def _text(value: object) -> str:
    # Most guests of a host say the same.
    return intern(clean(value)[:_LONGEST_FACT]) if isinstance(value, str) else ""


def clean(text: str) -> str:
    """The text without what cannot be shown, or is no UTF-8, on one line."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return shown.encode(errors="replace").decode()


def abilities(answer: Any) -> Abilities:
    """From the answer to guest-info; raises GuestError."""
    told = _mapping(answer)
    commands = told.get("supported_commands")
    enabled = {
        name
        for command in (commands if isinstance(commands, list) else ())
        if isinstance(command, dict) and command.get("enabled") is True
        if isinstance(name := command.get("name"), str)
    }
    return Abilities(
        version=_text(told.get("version")),
        runs_programs={"guest-exec", "guest-exec-status"} <= enabled,
    )


def system(answer: Any) -> System:
    """From the answer to guest-get-osinfo; raises GuestError."""
    told = _mapping(answer)
    return System(name=_text(told.get("id")), kernel=_text(told.get("kernel-release")))


def process(answer: Any) -> int:
    """The number of a program that was started; raises GuestError."""
    number = _mapping(answer).get("pid")
    if type(number) is not int:
        raise GuestError("the agent did not return the ID of the process")
    return number


def outcome(answer: Any) -> Outcome | None:
    """How a program ended; None while it runs. Raises GuestError."""
    told = _mapping(answer)
    if told.get("exited") is not True:
        return None
    if told.get("out-truncated"):
        raise GuestError("the program's output exceeds the agent's limit")
    encoded = told.get("out-data", "")
    if not isinstance(encoded, str) or len(encoded) > LARGEST_OUTPUT * 4 // 3 + 4:
        raise GuestError("the program's output is too long")
    try:
        output = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GuestError(f"the program's output is not base64: {error}") from None
    status = told.get("exitcode", -1)
    return Outcome(status if type(status) is int else -1, output)


def mark(parts: Iterable[bytes]) -> str:
    """A short text that stands for these."""
    digest = hashlib.blake2b(digest_size=_MARK_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def unix_mark(output: bytes) -> tuple[Recipe, str] | None:
    """Which package manager has a database, by UNIX_PROBE, and what stands for its state."""
    found: dict[bytes, bytes] = {}
    for line in output.splitlines():
        name, _, rest = line.partition(b" ")
        fields = rest.split(b" ")
        # A tool that is there for other reasons has an empty database, or none.
        if len(fields) == 4 and fields[2] != b"0":
            found[name] = rest
    for recipe in UNIX:
        there = [name for name in map(str.encode, recipe.databases) if name in found]
        if there:
            return recipe, mark(part for name in there for part in (name, found[name]))
    return None


def listing(recipe: Recipe) -> Callable[[Any], Listing | None]:
    """Reads the answer about the recipe's program: what it listed; None while it runs.

    It raises GuestError.
    """

    def read(answer: Any) -> Listing | None:
        ended = outcome(answer)
        if ended is None:
            return None
        if ended.status != 0:
            raise GuestError(f"{recipe.listing.path} failed with status {ended.status}")
        lines = ended.output.decode(errors="replace").split("\n")
        if len(lines) > MOST_ENTRIES + 1:
            raise GuestError(f"the guest lists more than {MOST_ENTRIES} applications")
        entries = (clean(recipe.entry(line.rstrip("\r")))[:LONGEST_ENTRY] for line in lines if line)
        return Listing(tuple(sorted(entry for entry in entries if entry)))

    return read
