"""The JSON Schemas that fields are described by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

BOOLEAN: Final[Schema] = {"type": "boolean"}
STRING: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
INTEGER: Final[Schema] = {"type": "integer"}
PERCENT: Final[Schema] = {"type": "number", "minimum": 0}
SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}


def enum_of(values: Iterable[str]) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": [*values]}


def object_of(**parts: tuple[Schema, str]) -> Schema:
    """An object of which each part may be absent; parts are a schema and a meaning with unit."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {**schema, "description": text} for name, (schema, text) in parts.items()
        },
    }


def map_of(schema: Schema) -> Schema:
    """An object with any keys, and values of one kind."""
    return {"type": "object", "additionalProperties": schema}


def list_of(schema: Schema) -> Schema:
    """An array of items of one kind."""
    return {"type": "array", "items": schema}
