"""The command `check-config`: all that is wrong with files, in words or as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from msgspec import to_builtins

from libvirt_exporter.commands import blind
from libvirt_exporter.commands.output import failed, show
from libvirt_exporter.config import (
    TARGET_FILES,
    Config,
    ConfigError,
    Place,
    Problem,
    Source,
    chosen_by_vm_fields,
    load,
    notes,
    place_of,
    read,
    written,
)
from libvirt_exporter.web.security.security import Security

STDIN = Path("-")


class Verdict(NamedTuple):
    """What was found in one file."""

    file: str
    mistakes: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What is no mistake and may still not be intended; only of a file without mistakes."""


def check_config(arguments: Namespace) -> int:
    """Print what is wrong with the files; 1 is the status where something is."""
    verdicts = [judge(file) for file in arguments.files]
    mistakes = [mistake for verdict in verdicts for mistake in verdict.mistakes]
    if arguments.format == "json":
        show(f"{as_json(verdicts)}\n")
        return int(bool(mistakes))
    for line in as_text(verdicts):
        show(f"{line}\n")
    return failed("\n".join(map(str, mistakes))) if mistakes else 0


def judge(file: Path) -> Verdict:
    """Return what is wrong with a configuration and with the files that it names.

    One mistake hides no other: what a faulty configuration names is looked at too. `-` is standard
    input, whose relative names are those of the working directory.
    """
    try:
        source = Source("<stdin>", sys.stdin.read()) if file == STDIN else read(file)
    except UnicodeDecodeError:
        mistake = Problem("<stdin>", 0, "not UTF-8 text", "save it as UTF-8")
        return Verdict("<stdin>", (mistake,))
    except ConfigError as error:
        return Verdict(str(file), error.problems)
    mistakes: list[Problem] = []
    config: Config | None = None
    try:
        config = load(source)
    except ConfigError as error:
        mistakes += error.problems
    # What is no YAML has been reported.
    with contextlib.suppress(ConfigError):
        mistakes += _of_named_files(source)
    if mistakes or config is None:
        return Verdict(source.name, ConfigError(mistakes).problems)
    return Verdict(source.name, (), tuple(_notes(config, source)))


def secured(
    config_file: str, place: Place, option: str = "", *, log_notes: bool = True
) -> Security:
    """Return the web configuration. Raises ConfigError with its problems at `place`."""
    try:
        return Security(config_file, log_notes=log_notes)
    except ConfigError as error:
        named = f"{option}: " if option else ""
        raise ConfigError(Problem(*place, f"{named}{each}") for each in error.problems) from None


def is_no_directory(path: str) -> bool:
    """Return whether something else is in this place, as far as this process may see it."""
    try:
        return bool(path) and not stat.S_ISDIR(os.stat(path).st_mode)
    except NotADirectoryError:
        return True
    except OSError:
        return False


def is_missing(path: str) -> bool:
    """Return whether nothing is in this place, as far as this process may see it."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def as_text(verdicts: Collection[Verdict]) -> Iterator[str]:
    """Yield notes and verdicts of files without mistakes; the others' are those of `failures`."""
    for verdict in verdicts:
        for note in verdict.notes:
            place = f"{note.file}:{note.line}" if note.line else note.file
            text = str(note).removeprefix(f"{place}: ")
            yield "\n".join((f"{place}: note: {text}", *blind.wrapped(note.details)))
        if not verdict.mistakes:
            yield f"{verdict.file}: no mistakes"


def as_json(verdicts: Collection[Verdict]) -> str:
    """Return a list with an object for each file: {file, mistakes, notes}.

    Each mistake and note is {file, line, message, hint, details}; line 0 is the file as a whole.
    """
    return json.dumps(to_builtins([verdict._asdict() for verdict in verdicts]), indent=2)


def _of_named_files(source: Source) -> Iterator[Problem]:
    """Yield what is wrong with the files that a text names, as far as it names them."""
    for option in ("events.state_directory", "applications.state_directory"):
        if (directory := _text(option, source)) and is_no_directory(directory):
            yield Problem(*place_of(option, source), f"{directory} is not a directory")
    try:
        _web_config(source)
    except ConfigError as error:
        yield from error.problems
    targets = written("targets", source)
    for alias in targets.content if targets and isinstance(targets.content, Mapping) else ():
        for named in TARGET_FILES:
            keys = ("targets", alias, named)
            if (path := _text(keys, source)) and PurePath(path).is_absolute() and is_missing(path):
                yield Problem(*place_of(keys, source), f"{path} does not exist")


def _web_config(source: Source) -> Security:
    option = "web.config_file"
    name = _text(option, source)
    file = str((source.directory or Path()) / name) if name else ""
    return secured(file, place_of(option, source), option, log_notes=False)


def _text(option: str | Sequence[str], source: Source) -> str:
    value = written(option, source)
    return value.content if value and isinstance(value.content, str) else ""


def _notes(config: Config, source: Source) -> Iterator[Problem]:
    for option, what, remedy in notes(config):
        yield Problem(*place_of(option, source), what, remedy)
    for option, what, names in blind.notes(config):
        yield Problem(*place_of(option, source), what, details=tuple(names))
    yield from _web_config(source).notes
    for option, meaning in chosen_by_vm_fields(config):
        yield Problem(*place_of(option, source), meaning)
