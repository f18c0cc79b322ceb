"""What is said with one agent to learn what is installed in its guest.

A program in the guest may take long, or never end. So it is started, and looked at now and then;
nothing waits in between, neither for it nor in libvirt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from libvirt_exporter.hypervisor.sources.applications import answers
from libvirt_exporter.hypervisor.sources.applications.answers import Facts, GuestError, Listing
from libvirt_exporter.hypervisor.sources.applications.recipes import (
    UNIX_PROBE,
    WINDOWS,
    WINDOWS_PROBE,
    Program,
    Recipe,
)

T = TypeVar("T", covariant=True)
R = TypeVar("R")

FIRST_LOOK: Final = 0.05
"""Seconds until a program is looked at for the first time, doubled every time …"""
LONGEST_PAUSE: Final = 2.0
"""… up to these."""
PROGRAM_TIME: Final = 60.0
"""Seconds that a program in the guest may take."""


class Reader(Protocol[T]):
    """Reads an answer; may take some milliseconds of CPU time, and raises GuestError."""

    def __call__(self, answer: Any, /) -> T: ...


class Ask(Protocol):
    """Has one agent carry out one command, and its answer read."""

    async def __call__(self, command: str, arguments: Mapping[str, Any], read: Reader[R], /) -> R:
        """Raises GuestError, and what a call to an agent raises."""
        ...


class Seen(NamedTuple):
    """What stands for the applications of a guest, without them."""

    source: str
    mark: str
    """Another text when something was installed, removed or replaced."""
    recipe: Recipe | None
    """What lists them; None where only the fallback is to be had."""
    reason: str = ""
    """Why that is."""


async def introduce(ask: Ask) -> Facts:
    """Which system it is, and what its agent may do."""
    agent = await ask("guest-info", {}, answers.abilities)
    try:
        system = await ask("guest-get-osinfo", {}, answers.system)
    except GuestError as error:
        if error.trouble != "refused":
            raise
        system = answers.System()
    return Facts(*agent, *system)


async def look(ask: Ask, facts: Facts) -> Seen:
    """What stands for the applications of the guest."""
    if not facts.runs_programs:
        return _fallback(facts, "the guest does not allow guest-exec")
    try:
        if facts.system == "mswindows":
            ended = await run(ask, WINDOWS_PROBE, answers.outcome)
            return Seen("windows", answers.mark([ended.output]), WINDOWS)
        ended = await run(ask, UNIX_PROBE, answers.outcome)
    except GuestError as error:
        if error.trouble != "refused":
            raise
        return _fallback(facts, f"the guest failed to run a program: {error}")
    found = answers.unix_mark(ended.output)
    if found is None:
        return _fallback(facts, "the guest has no supported package manager")
    return Seen(found[0].name, found[1], found[0])


def _fallback(facts: Facts, reason: str) -> Seen:
    said = answers.mark(part.encode(errors="replace") for part in facts.fallback)
    return Seen("fallback", said, None, reason)


async def fetch(ask: Ask, facts: Facts, seen: Seen) -> Listing:
    """All applications of the guest."""
    if seen.recipe is None:
        return Listing(facts.fallback)
    return await run(ask, seen.recipe.listing, answers.listing(seen.recipe))


async def run(ask: Ask, program: Program, read: Reader[R | None]) -> R:
    """Run a program in the guest; `read` gets the answers about it, and returns None until it ends.

    Raises GuestError.
    """
    arguments: dict[str, Any] = {
        "path": program.path,
        "arg": list(program.arguments),
        "capture-output": True,
    }
    if program.environment:
        arguments["env"] = list(program.environment)
    pid = await ask("guest-exec", arguments, answers.process)
    loop = asyncio.get_running_loop()
    until = loop.time() + PROGRAM_TIME
    pause = FIRST_LOOK
    while True:
        await asyncio.sleep(pause)
        ended = await ask("guest-exec-status", {"pid": pid}, read)
        if ended is not None:
            return ended
        if loop.time() >= until:
            raise GuestError(f"{program.path} did not end within {PROGRAM_TIME:g} s")
        pause = min(2 * pause, LONGEST_PAUSE)
