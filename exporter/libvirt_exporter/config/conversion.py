"""Turns a document into the schema's structs, leaf by leaf, so that one mistake hides no other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from msgspec import NODEFAULT, Meta, Struct, ValidationError, convert, inspect, structs

from libvirt_exporter.config.document import Value
from libvirt_exporter.config.durations import format_duration, meant_duration, parse_duration
from libvirt_exporter.config.meant import (
    MEANT_KEYS,
    meant_item,
    meant_items,
    meant_number,
    meant_pattern,
    meant_section,
    meant_truth,
)
from libvirt_exporter.config.problem import Hint, Path, Problem, Report, dotted, quoted, suggestion
from libvirt_exporter.config.schema import Config
from libvirt_exporter.nearest import nearest


class Converter:
    """Converts values to the types that the schema's annotations name.

    With `strict` false, texts are also taken for the numbers and booleans they spell. With
    `as_written`, as Go's YAML has it, anything is also taken for the text that it is written as,
    empty is the default, and messages do not repeat what may be a secret.
    """

    def __init__(
        self,
        report: Report,
        *,
        strict: bool,
        as_written: bool = False,
        schema: type[Struct] = Config,
    ) -> None:
        """Report what is wrong to `report`; `schema` is the whole of which parts are converted."""
        self._report = report
        self._strict = strict
        self._as_written = as_written
        self._schema = schema

    def convert(self, value: Value, kind: Any, default: Any, path: Path = ()) -> Any:
        """Return the value as `kind`; `default` where it is empty or faulty (then reported)."""
        self._report.locate(path, value.place)
        if isinstance(value.content, Problem):
            self._report.mark_faulty(path)
            return default
        bare = _bare(kind)
        is_struct = isinstance(bare, type) and issubclass(bare, Struct)
        is_group = is_struct or get_origin(bare) in (tuple, Mapping)
        if value.content is None and (self._as_written or is_group):
            return default
        if is_struct and isinstance(value.content, Mapping):
            base = default if isinstance(default, bare) else None
            return self._struct(value.content, bare, base, path)
        content: object = value.content
        if get_origin(bare) is tuple and isinstance(value.content, tuple):
            item = get_args(bare)[0]
            if of_list := _extra(kind, "item"):
                item = Annotated[item, Meta(extra={"item": of_list})]
            content = tuple(
                self.convert(child, item, _blank(item), (*path, position))
                for position, child in enumerate(value.content)
            )
        elif get_origin(bare) is Mapping and isinstance(value.content, Mapping):
            item = get_args(bare)[1]
            content = {
                key: self.convert(child, item, _blank(item), (*path, key))
                for key, child in value.content.items()
            }
        elif bare is str and self._as_written and isinstance(content, int | float):
            content = value.source
        elif isinstance(content, str) and is_duration(kind):
            content = _seconds(content)
        elif isinstance(content, str) and get_origin(bare) is Literal:
            content = _word(content, kind)
        try:
            return convert(content, kind, strict=self._strict)
        except ValidationError:
            message = f"{dotted(path) or 'the file'} must be {describe(kind)}"
            if self._as_written:
                self._report.add(path, message)
            else:
                self._report.add(path, f"{message}, not {_show(value)}", _hint(value, kind, path))
            return default

    def _struct(
        self, content: Mapping[str, Value], kind: type[Struct], base: Struct | None, path: Path
    ) -> Struct:
        fields = structs.fields(kind)
        names = [field.name for field in fields]
        for key in content:
            if key not in names:
                self._report.locate((*path, key), content[key].place)
                message = f"unknown key {quoted(key)}{_inside(path)}"
                self._report.add((*path, key), message, partial(self._key_hint, key, path, names))
        options = {}
        for field in fields:
            default = default_of(field) if base is None else getattr(base, field.name)
            field_path = (*path, field.name)
            if field.name in content:
                default = self.convert(content[field.name], field.type, default, field_path)
            elif field.required:
                self._report.add(field_path, f"{field.name!r} is missing{_inside(path)}")
            options[field.name] = default
        return kind(**options)

    def _key_hint(self, key: str, path: Path, names: list[str]) -> str:
        """Return where the key belongs, if it is known in one other section, or a similar key."""
        owners = [
            section.name
            for section in structs.fields(self._schema)
            for option in _options(self._schema, section.name)
            if key in (option, f"{section.name}.{option}")
        ]
        if self._schema is Config and len(path) < 2 and (meant := MEANT_KEYS.get(key)):
            return meant
        if len(path) < 2 and len(owners) == 1:
            return f"did you mean {key.rpartition('.')[2]} inside {owners[0]}?"
        section, _, option = key.partition(".")
        if not path and (options := _options(self._schema, section)):
            found = nearest(option, options)
            return found.replace("?", f" inside {section}?") or f"write {section}: as a mapping"
        return suggestion(key, names)


def _options(schema: type[Struct], name: str) -> tuple[str, ...]:
    """Return the options of a section; none of what is no section."""
    sections = {section.name: section.default for section in structs.fields(schema)}
    return getattr(sections.get(name), "__struct_fields__", ())


def describe(kind: Any) -> str:
    """Return in words what an annotation of the schema allows: `a whole number from 1 to 16`."""
    if words := _extra(kind, "words"):
        return str(words)
    info = inspect.type_info(kind)
    if isinstance(info, inspect.Metadata):
        info = info.type
    match info:
        case inspect.FloatType() if is_duration(kind):
            return f"a duration{_range(info.ge, info.le, format_duration)} such as 9s or 1m30s"
        case inspect.IntType():
            return f"a whole number{_range(info.ge, info.le, str)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            # msgspec 0.22 sorts `info.values`.
            return f"one of {', '.join(get_args(_bare(kind)))}"
        case inspect.VarTupleType():
            nonempty = " that is not empty" if info.min_length else ""
            return f"a list of {_plural(info.item_type)}{nonempty}"
        case inspect.DictType():
            return f"a mapping of names to {_plural(info.value_type)}"
        case inspect.StructType():
            return "a mapping of options"
        case _:
            return "text"


def is_duration(kind: Any) -> bool:
    """Return whether an annotation of the schema stands for a duration."""
    return bool(_extra(kind, "duration"))


def _plural(info: inspect.Type) -> str:
    return "mappings" if isinstance(info, inspect.StructType) else "texts"


def _range(low: Any, high: Any, show: Any) -> str:
    return f" from {show(low)}" + ("" if high is None else f" to {show(high)}")


def _seconds(text: str) -> object:
    try:
        return parse_duration(text)
    except ValueError:
        return text


def _show(value: Value) -> str:
    if value.content is None:
        return "empty"
    if isinstance(value.content, tuple):
        return "a list"
    return "a mapping" if isinstance(value.content, Mapping) else quoted(value.source)


def _word(text: str, kind: Any) -> str:
    """Return one of a Literal's words for another spelling of it, or one of its aliases."""
    word = text.lower()
    aliases: Mapping[str, str] = _extra(kind, "aliases") or {}
    return aliases.get(word, word if word in get_args(_bare(kind)) else text)


def _hint(value: Value, kind: Any, path: Path) -> Hint:
    bare = _bare(kind)
    if get_origin(bare) is Literal:
        return partial(nearest, value.source, get_args(bare))
    if is_duration(kind):
        if value.source.replace(".", "").isdecimal():
            return "a number without a unit is in seconds"
        meant = meant_duration(value.source)
        return f"write {meant}" if meant else ""
    if bare is int or bare is bool:
        return (meant_number if bare is int else meant_truth)(value.source)
    if get_origin(bare) is tuple and value.source and not isinstance(value.content, bool):
        items = meant_items(value.source, _extra(kind, "item"))
        return f"write [{', '.join(map(quoted, items))}]"
    if get_origin(bare) is tuple and isinstance(value.content, Mapping) and not _examples(kind):
        on = [key for key, item in value.content.items() if item.content is not False]
        return f"write [{', '.join(on)}]"
    if isinstance(bare, type) and issubclass(bare, Struct):
        return meant_section(path, bare, value)
    if bare is str and (item := _extra(kind, "item")) and value.source:
        return f"write {quoted(meant_item(value.source, item))}"
    if bare is str and isinstance(value.content, Mapping):
        if item == "pattern" and (meant := meant_pattern(value)):
            return f"write {quoted(meant)}"
        return "put it in quotes, or leave out the space after the colon"
    if bare is str and isinstance(value.content, tuple):
        texts = [item.source for item in value.content if item.source]
        only = f"write {texts[0]}" if len(texts) == 1 else "write one text"
        return _extra(kind, "several") or only
    if bare is str and value.source and not isinstance(value.content, str):
        return "put it in quotes"
    return f"for example {_flow(examples[0])}" if (examples := _examples(kind)) else ""


def _examples(kind: Any) -> list[Any]:
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((meta.examples for meta in metas if meta.examples), [])


def _flow(data: object) -> str:
    """Return plain data as YAML in one line."""
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=math.inf).strip()


def _extra(kind: Any, name: str) -> Any:
    """Return what an annotation of the schema says besides msgspec's own constraints."""
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((meta.extra[name] for meta in metas if name in (meta.extra or {})), None)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _inside(path: Path) -> str:
    return f" in {dotted(path)}" if path else ""


def _blank(kind: Any) -> Any:
    """Return what stands in for a faulty value that has no default."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind(**{field.name: default_of(field) for field in structs.fields(kind)})
    return ""


def default_of(field: structs.FieldInfo) -> Any:
    """Return an option's default; a required one is a text, and '' stands in for it."""
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else ""
