"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from libvirt_exporter.nearest import nearest

Path = tuple[str | int, ...]
"""Where an option stands in the schema: `("labels", "custom", 0, "xpath")`."""


Hint = str | Callable[[], str]
"""What to do about a problem, or a call that finds it out."""

Finding = tuple[Path, str, Hint]
"""Option, what is wrong with it, hint."""

MAXIMUM_SEARCHES: Final = 20
"""Hints that one report searches for: to compare a name with all others takes milliseconds."""


class Place(NamedTuple):
    """Where something was written."""

    file: str
    """Path of the file as given, or the command line flag."""
    line: int
    """Counted from 1; 0 where there are no lines."""


class Problem(Struct, frozen=True):
    """One mistake: where it is, what it is, and (unless '') what to do about it."""

    file: str
    line: int
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()
    """What it concerns, where that is too much for one line."""

    def __str__(self) -> str:
        """Return `file:line: message; hint`, on one line and printable whatever was configured."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )


class ConfigError(Exception):
    """A configuration that cannot be used. `str()` gives one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep each problem once, in the order of lines."""
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class Report:
    """Collects problems under the paths of the options they concern.

    One mistake gives one problem: what follows from another, because it concerns the same option,
    one that holds it or one inside it, is dropped.
    """

    def __init__(self, file: str) -> None:
        """Start an empty report on `file`."""
        self.problems: list[Problem] = []
        self._places: dict[Path, Place] = {(): Place(file, 0)}
        self._faulty: set[Path] = set()
        self._around_faulty: set[Path] = set()
        self._searches = 0

    def locate(self, path: Path, place: Place) -> None:
        """Remember where the option at `path` was written."""
        self._places[path] = place

    def add(self, path: Path, message: str, hint: Hint = "") -> None:
        """Report a problem where `path`, or else the nearest option that holds it, was written.

        Hints that have to be searched for are left out after the first `MAXIMUM_SEARCHES`.
        """
        outward = _outward(path)
        if path in self._around_faulty or not self._faulty.isdisjoint(outward):
            return
        self.mark_faulty(path)
        place = next(self._places[path] for path in outward if path in self._places)
        if callable(hint):
            hint = hint() if self._searches < MAXIMUM_SEARCHES else ""
            self._searches += 1
        self.problems.append(Problem(*place, message, hint))

    def mark_faulty(self, path: Path) -> None:
        """Drop what will be reported on `path`: its fault has been reported elsewhere."""
        self._faulty.add(path)
        self._around_faulty.update(_outward(path))


def _outward(path: Path) -> list[Path]:
    return [path[:length] for length in range(len(path), -1, -1)]


def dotted(path: Path) -> str:
    """Return the path as operators write it: `labels.custom[0].xpath`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def quoted(text: str) -> str:
    """Return the text in quotes, and not endless."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def suggestion(word: str, known: Collection[str]) -> str:
    """Return a hint that names what was probably meant, or all there is if that is not much."""
    few = f"known: {', '.join(known)}" if 0 < len(known) <= 20 else ""
    return nearest(word, known) or few
