"""The default file of the configuration, its reference and JSON Schema, made from the schema."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from libvirt_exporter.config.conversion import default_of, describe, is_duration
from libvirt_exporter.config.durations import format_duration
from libvirt_exporter.config.schema import FLAGS, Config, CustomLabel, Target
from libvirt_exporter.model import STATES
from libvirt_exporter.patterns.expressions import LONGEST_TEXT
from libvirt_exporter.patterns.metadata import METADATA

_FILE_HEADER = """\
# yaml-language-server: $schema=exporter.schema.json
#
# Every option of libvirt-exporter with its default. Keep the options that you change.
# `libvirt-exporter check-config FILE` reports every mistake with its line.
# Durations: 9s, 500ms, 5m, 1m30s, or a plain number of seconds.
"""

_FILE_WIDTH: Final = 100
"""Columns of a comment."""

_PLAIN_TEXT = re.compile(r"([a-z/]|[0-9.]+[a-z])[\w/.@*=+-]*(:[\w/.@*=+-]+)*")
"""Texts that need no quotes in YAML, but for words such as `yes`."""

_INTRODUCTION = """\
# Configuration

`libvirt-exporter --config.file FILE` reads one YAML file. Without the flag, the defaults below
apply: no path is searched, and no environment variable is read. A command line flag overrides the
option in the same row. `config/exporter.yml` holds every option with its default,
`config/exporter.schema.json` is a JSON Schema for editors.

`libvirt-exporter check-config FILE` reports every mistake in one run, each with file and line:
unknown and repeated keys, wrong types, names and patterns that match nothing known. A file with a
mistake is rejected at start; on reload the previous configuration stays in force.

- Durations are written `9s`, `500ms`, `5m`, `1m30s` (units `d h m s ms`, in this order), or as a
  plain number of seconds.
- An empty section, list or mapping has its default.
- Anchors, aliases and merge keys (`<<`) work; several documents in one file do not.
"""

_PATTERNS = f"""\
### Patterns of `domains`

| pattern | matches |
|---|---|
| any other text | a regular expression that matches the whole name |
| `uuid:<UUID>` | the domain with this UUID |
| `state:<name>` | domains in this state: {", ".join(STATES)} |
| `metadata:<key>=<regular expression>` | domains whose metadata value matches as a whole; \
keys are {", ".join(METADATA)} |
| `label:<name>=<regular expression>` | domains whose custom label matches as a whole |

Regular expressions are those of [RE2](https://github.com/google/re2/wiki/Syntax), as in
Prometheus: matching is fast for every name that a tenant may choose. Look-around and
back-references are not supported, and `\\w`, `\\d`, `\\s`, `\\b` match ASCII only (`\\pL` is any
letter, `\\pN` any digit). A domain is hidden if an expression would have to match a text of more
than {LONGEST_TEXT} characters.

In a name that starts with a word and a colon, write the colon as `\\:`. A missing value matches
nothing. Patterns on metadata and labels require the domain's XML: until it is read, or if it cannot
be parsed, the domain is hidden and counted in `libvirt_scrape_hidden_domains`.
"""

_FIELD_PATTERNS = """\
A pattern names a metric (`libvirt_domain_block_*`) or a stats key. A key is written with its
placeholders (`block.<num>.rd.times`), with `*` (`block.*.rd.*`), or as libvirt returns it for one
device (`block.0.rd.times`). `docs/metrics.md` lists metrics and keys.
"""

_LABEL_RULES = """\
Label names follow Prometheus: letters, digits and `_`, without a leading digit or `__`. `le`, `job`
and `instance` are rejected. Expressions are the XPath subset of Python's ElementTree.
"""

_AFTER = {"fields": _FIELD_PATTERNS, "domains": _PATTERNS, "labels": _LABEL_RULES}
_ENTRIES: dict[str, tuple[str, type[Struct]]] = {
    "labels": ("labels.custom", CustomLabel),
    "targets": ("targets", Target),
}


def configuration_file() -> str:
    """Return `config/exporter.yml`: every option with its default, explained above it."""
    blocks = [_FILE_HEADER]
    for section in structs.fields(Config):
        if isinstance(section.default, Struct):
            kind = type(section.default)
            lines = [*_comment(_meaning(kind), ""), f"{section.name}:"]
            lines += [line for option in structs.fields(kind) for line in _written(option, "  ")]
        else:
            lines = _written(section, "")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def configuration_markdown() -> str:
    """Return `docs/configuration.md`."""
    parts = [_INTRODUCTION]
    for section in structs.fields(Config):
        parts.append(f"## {section.name}\n")
        if isinstance(section.default, Struct):
            kind = type(section.default)
            parts += [f"{_meaning(kind)}\n", _table(kind, f"{section.name}.")]
        else:
            parts.append(f"{_description(section.type)}\n")
        if section.name in _ENTRIES:
            name, kind = _ENTRIES[section.name]
            parts += [f"Each entry of `{name}`:\n", _table(kind, "")]
        if section.name in _AFTER:
            parts.append(_AFTER[section.name])
    return "\n".join(parts)


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file.

    It knows types, ranges and keys; names of groups and fields, and what must fit together, are
    left to `check-config`.
    """
    schema = msgspec.json.schema(Config)
    for definition in schema["$defs"].values():
        del definition["title"]
        for option in definition["properties"].values():
            if option.get("type") == "number" and "pattern" in option:
                option["type"] = ["number", "string"]
                option["default"] = format_duration(option["default"])
            elif "$ref" in option:
                # An empty section is allowed; its default is that of its options.
                option.pop("default", None)
                option["anyOf"] = [{"$ref": option.pop("$ref")}, {"type": "null"}]
            elif option.get("type") in ("array", "object"):
                option["type"] = [option["type"], "null"]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return msgspec.json.decode(msgspec.json.encode(schema), type=dict[str, Any])


def _meaning(kind: type[Struct]) -> str:
    """What the section is for, in one line."""
    return " ".join((kind.__doc__ or "").split())


def _table(kind: type[Struct], prefix: str) -> str:
    rows = ["| option | type | default | flag | meaning |", "|---|---|---|---|---|"]
    for field in structs.fields(kind):
        name = f"{prefix}{field.name}"
        flag = f"`{FLAGS[name]}`" if name in FLAGS else ""
        meaning = _description(field.type)
        rows.append(
            f"| `{name}` | {describe(field.type)} | {_default(field)} | {flag} | {meaning} |"
        )
    return "\n".join(rows) + "\n"


def _default(field: structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default = _plain_default(field)
    return f"`{default if default and isinstance(default, str) else json.dumps(default)}`"


def _plain_default(field: structs.FieldInfo) -> object:
    """Return the default as a file may spell it."""
    default = default_of(field)
    return format_duration(default) if is_duration(field.type) else default


def _written(option: structs.FieldInfo, indent: str) -> list[str]:
    """Return the lines of an option in YAML: meaning, range and examples above its default."""
    text = _description(option.type)
    allowed = describe(option.type).partition(" such as ")[0]
    if allowed.startswith(("a duration", "a whole number", "one of")):
        text += f" {allowed[0].upper()}{allowed[1:]}."
    examples: list[object] = _json_schema(option.type).get("examples", [])
    return [
        *_comment(text, indent),
        *(f"{indent}# {option.name}: {_yaml(example)}" for example in examples),
        f"{indent}{option.name}: {_yaml(_plain_default(option))}",
    ]


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(text, _FILE_WIDTH, initial_indent=prefix, subsequent_indent=prefix)


def _yaml(value: object) -> str:
    """Return plain data as YAML in one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value):
        return value
    return json.dumps(value)


def _description(kind: Any) -> str:
    return str(_json_schema(kind)["description"])


def _json_schema(kind: Any) -> dict[str, Any]:
    """Return what an annotation of the schema adds to the JSON Schema."""
    info = msgspec.inspect.type_info(kind)
    schema = info.extra_json_schema if isinstance(info, msgspec.inspect.Metadata) else None
    return schema or {}
