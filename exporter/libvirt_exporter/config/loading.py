"""Reads a configuration: text → document → Config, every mistake reported in one run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Final, NamedTuple

from msgspec import structs

from libvirt_exporter.config.conversion import Converter
from libvirt_exporter.config.document import Document, Value, parse
from libvirt_exporter.config.meaning import check
from libvirt_exporter.config.problem import ConfigError, Place, Problem, Report, quoted
from libvirt_exporter.config.schema import FLAGS, Config
from libvirt_exporter.files import read_file

MAXIMUM_FILE_SIZE: Final = 1024 * 1024
"""Bytes."""


class Source(NamedTuple):
    """The text of a configuration, and where it is from."""

    name: str
    """What problems call it."""
    text: str
    directory: FilePath | None = None
    """That of relative file names in it; None: they are left as they are."""


def read(path: str | os.PathLike[str]) -> Source:
    """Read a file's text. Raises ConfigError for one that cannot be read."""
    name, text = _read(path)
    return Source(name, text, FilePath(path).parent)


def load(source: str | os.PathLike[str] | Source) -> Config:
    """Read a configuration: a path-like object names a file, a str is the YAML text itself.

    An empty text gives the defaults. A relative `web.config_file` is that of the file's directory.
    Raises ConfigError with every problem found.
    """
    if isinstance(source, str):
        source = Source("<text>", source)
    elif not isinstance(source, Source):
        source = read(source)
    document = parse(source.text, source.name)
    config = _load(document, Config(), Report(source.name), strict=True)
    if not (config.web.config_file and source.directory):
        return config
    web_file = source.directory / config.web.config_file
    return structs.replace(config, web=structs.replace(config.web, config_file=str(web_file)))


def override(config: Config, changes: Mapping[str, object]) -> Config:
    """Return the configuration with some options replaced, keyed `web.listen`.

    Values may be texts as a command line gives them. Raises ConfigError with every problem found,
    each at the flag of its option.
    """
    nowhere = Place("command line", 0)
    sections: dict[str, dict[str, Value]] = {}
    for key, change in changes.items():
        section, _, option = key.partition(".")
        place = Place(FLAGS.get(key, f"--{key}"), 0)
        sections.setdefault(section, {})[option] = _value(change, place)
    root = Value(nowhere, {name: Value(nowhere, options) for name, options in sections.items()})
    return _load(Document(root, []), config, Report(nowhere.file), strict=False)


def place_of(option: str | Sequence[str], source: str | os.PathLike[str] | Source) -> Place:
    """Return where a file sets an option; line 0 where it does not.

    It is named `web.listen`, or by its keys where one of them may hold a dot. Raises ConfigError
    for a file that is no YAML.
    """
    source = source if isinstance(source, Source) else read(source)
    value = written(option, source)
    return value.place if value else Place(source.name, 0)


def written(option: str | Sequence[str], source: Source) -> Value | None:
    """Return what a text has for an option, whatever else is wrong with the text.

    Raises ConfigError for what is no YAML.
    """
    value = parse(source.text, source.name).root
    for key in option.split(".") if isinstance(option, str) else option:
        if not isinstance(value.content, Mapping) or key not in value.content:
            return None
        value = value.content[key]
    return value


def read_document(path: str | os.PathLike[str]) -> Value:
    """Return what a YAML file holds, with the places where it is written.

    Raises ConfigError for a file that cannot be read, is not valid YAML or repeats a key.
    """
    file, text = _read(path)
    document = parse(text, file)
    if document.problems:
        raise ConfigError(document.problems)
    return document.root


def _load(document: Document, base: Config, report: Report, *, strict: bool) -> Config:
    """Return `base` with what the document gives, checked."""
    config: Config = Converter(report, strict=strict).convert(document.root, Config, base)
    for finding in check(config):
        report.add(*finding)
    if problems := document.problems + report.problems:
        raise ConfigError(problems)
    return config


def _read(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the file's name as problems show it, and its text."""
    file = os.fspath(path)
    try:
        content = read_file(path, MAXIMUM_FILE_SIZE)
    except OSError as error:
        raise ConfigError([Problem(file, 0, f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise ConfigError([Problem(quoted(file), 0, f"cannot be read: {error}")]) from None
    try:
        return file, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "not UTF-8 text", "save it as UTF-8")]) from None


def _value(data: object, place: Place) -> Value:
    """Return a flag's value as if it had been read from a document."""
    if isinstance(data, list | tuple):
        return Value(place, tuple(_value(item, place) for item in data))
    content = data if data is None or isinstance(data, str | int | float) else str(data)
    return Value(place, content, str(data))
