"""The API described for programs: an OpenAPI 3.1 document, made from the table of fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from libvirt_exporter import __version__
from libvirt_exporter.query.fields.field import VmField

Schema = Mapping[str, Any]


def _object(properties: Mapping[str, Schema], text: str = "", **optional: Schema) -> Schema:
    """An object of all these properties, perhaps of the optional ones, and of no others."""
    return {
        "type": "object",
        **({"description": text} if text else {}),
        "additionalProperties": False,
        "required": [*properties],
        "properties": {**properties, **optional},
    }


def _list(items: Schema, text: str = "") -> Schema:
    return {"type": "array", "items": items, **({"description": text} if text else {})}


def _part(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = _list(_TEXT)
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_INTEGER: Final[Schema] = {"type": ["integer", "null"]}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}

_CHANGES: Final = _object(
    {
        "dataList": _list(_part("Vm"), "VMs and their fields, or those fields that changed."),
        "queryStamp": {**_TEXT, "description": "For changedSince of the next request."},
        "full": {
            **_FLAG,
            "description": "Whether this is everything, and replaces all that the client knew.",
        },
        "removed": _list(
            _TEXT, "VMs that are gone; one that ended is also in dataList once, as Down."
        ),
        "unknownFields": _list(_TEXT, "Names in fields that mean nothing here."),
        "unknownVmIds": _list(_TEXT, "Those of vmIds that are no VM here."),
    },
    explanations={
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": _TEXT},
        "description": "By VM and field without a value: what it takes to have one.",
    },
)
_DIAGNOSTICS: Final = _object(
    {
        "state": {"enum": ["pending", "running", "paused", "shutdown", "crashed", "suspended"]},
        "driver": {"enum": ["libvirt", "xenapi", "vmwareapi", "ironic", "hyperv"]},
        "hypervisor": _TEXT_OR_NULL,
        "hypervisor_os": _TEXT_OR_NULL,
        "uptime": {**_INTEGER, "description": "Seconds."},
        "config_drive": _FLAG,
        "num_cpus": _COUNT,
        "num_nics": _COUNT,
        "num_disks": _COUNT,
        "memory_details": _object({"maximum": _INTEGER, "used": _INTEGER}, "MiB."),
        "cpu_details": _list(
            _object(
                {"id": _INTEGER, "time": _INTEGER, "utilisation": _INTEGER},
                "Time is nanoseconds, utilisation percent.",
            )
        ),
        "nic_details": _list(
            _object(
                {
                    "mac_address": _TEXT_OR_NULL,
                    **{
                        f"{way}_{what}": _INTEGER
                        for way in ("rx", "tx")
                        for what in ("octets", "errors", "drop", "packets", "rate")
                    },
                },
                "Octets are bytes, rates bytes per second.",
            )
        ),
        "disk_details": _list(
            _object(
                {
                    "read_bytes": _INTEGER,
                    "read_requests": _INTEGER,
                    "write_bytes": _INTEGER,
                    "write_requests": _INTEGER,
                    "errors_count": _INTEGER,
                }
            )
        ),
    },
    "What OpenStack Nova's API 2.48 answers; null is what is not known.",
)
_TARGET: Final = "Alias of the host that is asked; none: the one that is no target."
_TARGETS: Final = _list(
    _object(
        {
            "targets": _list(_TEXT, "The address of this exporter."),
            "labels": {"type": "object", "additionalProperties": _TEXT},
        }
    )
)
_APPLICATIONS: Final = _object(
    {
        "vmId": _TEXT,
        "hash": {**_TEXT, "description": "SHA-256 of the names, each with a newline at its end."},
        "count": _COUNT,
        "source": {"enum": ["dpkg", "rpm", "apk", "pacman", "windows", "fallback"]},
        "complete": {**_FLAG, "description": "Whether the guest's package manager listed them."},
        "changed": {
            "type": "number",
            "description": "Unix time of the first reading of this list.",
        },
        "read": {"type": "number", "description": "Unix time of the last one."},
        "applications": _list(_TEXT, "As name-version, sorted."),
    },
    reason={**_TEXT, "description": "Why the list is not complete."},
)
_READING: Final = _object(
    {"hash": {**_TEXT_OR_NULL, "description": "Of the list that is known now; null: none is."}}
)
_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "The request makes no sense.",
    "401": "The exporter wants a user and password.",
    "404": "There is no such VM, or no such target.",
    "413": "The body is too long.",
    "429": "Too many requests, by the web configuration of the exporter.",
    "503": "libvirt does not answer, or too many requests are being answered.",
}


_VM_ID: Final[Schema] = {
    "name": "vmId",
    "in": "path",
    "required": True,
    "description": "UUID of the VM.",
    "schema": _TEXT,
}
_TARGET_PARAMETER: Final[Schema] = {
    "name": "target",
    "in": "query",
    "description": _TARGET,
    "schema": _TEXT,
}


def document(fields: Iterable[VmField], *, longest_wait: float) -> Schema:
    """The whole document; `fields`: those that exist for clients, `longest_wait`: seconds."""
    parameters = _parameters(longest_wait)
    fields = tuple(fields)
    names = {field.name for field in fields}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "libvirt-exporter",
            "version": __version__,
            "description": "Fields of the VMs of a libvirt host, and what changed of them.",
        },
        "paths": {
            "/api/v1/vms": {
                "get": {
                    "operationId": "queryVms",
                    "summary": "Fields of VMs, or what changed of them since an earlier answer.",
                    "parameters": [
                        {
                            "name": name,
                            "in": "query",
                            "description": text,
                            "schema": schema,
                            **({"explode": False} if schema is _TEXTS else {}),
                        }
                        for name, (schema, text) in parameters.items()
                    ],
                    "responses": _responses("Changes", "404"),
                },
                "post": {
                    "operationId": "postQuery",
                    "summary": "The same with the parameters in the body, which may be longer.",
                    "requestBody": {"required": True, "content": _json("Query")},
                    "responses": _responses("Changes", "404", "413"),
                },
            },
            "/api/v1/vms/{vmId}/diagnostics": {
                "get": {
                    "operationId": "vmDiagnostics",
                    "summary": "A VM's diagnostics in the form of OpenStack Nova.",
                    "parameters": [_VM_ID, _TARGET_PARAMETER],
                    "responses": _responses("Diagnostics", "404"),
                }
            },
            "/api/v1/targets": {
                "get": {
                    "operationId": "targets",
                    "summary": "The targets, as Prometheus' HTTP service discovery takes them.",
                    "responses": _responses("Targets"),
                }
            },
            **(_APPLICATION_PATHS if "appsList" in names else {}),
        },
        "components": {
            "schemas": {
                "Query": _query(parameters),
                "Vm": _vm(fields),
                "Changes": _CHANGES,
                "Diagnostics": _DIAGNOSTICS,
                "Targets": _TARGETS,
                **(
                    {"Applications": _APPLICATIONS, "Reading": _READING}
                    if "appsList" in names
                    else {}
                ),
                "Problem": _object({"error": _TEXT, "hint": _TEXT}),
            }
        },
    }


def _parameters(longest_wait: float) -> Mapping[str, tuple[Schema, str]]:
    """Schema and meaning of what a query consists of."""
    return {
        "vmIds": (_TEXTS, "UUIDs of the VMs to answer for; none: all."),
        "fields": (_TEXTS, "Names of the fields to answer with; none: all that need no naming."),
        "exclude": (_TEXTS, "Names of fields to leave out; vmId stays."),
        "changedSince": (
            _TEXT,
            "queryStamp of an earlier answer to the same choice; any other text: tell everything.",
        ),
        "wait": (
            {"type": "number", "minimum": 0},
            f"Seconds to wait for a change while there is none, at most {longest_wait:g}.",
        ),
        "timeout": (
            {"type": "number", "minimum": 0},
            "Seconds to wait for libvirt, at most 60, then 503; 0: for as long as is configured.",
        ),
        "explain": (_FLAG, "Say of each field without a value what it takes to have one."),
        "strict": (_FLAG, "Refuse unknown names of fields."),
        "target": (_TEXT, _TARGET),
    }


def _query(parameters: Mapping[str, tuple[Schema, str]]) -> Schema:
    """The body of a POST; a text in the place of a list has commas in it, as an address."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {
                **schema,
                **({"type": ["array", "string"]} if schema is _TEXTS else {}),
                "description": text,
            }
            for name, (schema, text) in parameters.items()
        },
    }


def _vm(fields: Iterable[VmField]) -> Schema:
    known = {field.name: field for field in fields}
    vm_id = known.pop("vmId")
    return _object(
        {"vmId": {**vm_id.schema, "description": vm_id.text}},
        "A field without a value is absent. Null says, once, that there is no value any more.",
        **{
            field.name: {
                "anyOf": [field.schema, {"type": "null"}],
                "description": f"{field.text} ({field.unit})" if field.unit else field.text,
            }
            for field in known.values()
        },
    )


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _part(name)}}


def _responses(name: str, *more: str, success: str = "200") -> dict[str, Any]:
    """An answer, and the problems that there may be instead."""
    return {success: {"description": "The answer.", "content": _json(name)}} | {
        status: {"description": _PROBLEMS[status], "content": _json("Problem")}
        for status in sorted({"400", "401", "429", "503", *more})
    }


_APPLICATION_PATHS: Final[Schema] = {
    "/api/v1/vms/{vmId}/applications": {
        "get": {
            "operationId": "vmApplications",
            "summary": "What is installed in a VM; exists where appsList may be shown.",
            "parameters": [
                _VM_ID,
                _TARGET_PARAMETER,
                {
                    "name": "hash",
                    "in": "query",
                    "description": "Of the list that the client knows, as If-None-Match.",
                    "schema": _TEXT,
                },
            ],
            "responses": {
                **_responses("Applications", "404"),
                "304": {"description": "The client knows the list."},
            },
        },
        "post": {
            "operationId": "readVmApplications",
            "summary": "Have the list read again, a minute after the last time at soonest.",
            "parameters": [_VM_ID, _TARGET_PARAMETER],
            "responses": _responses("Reading", "404", success="202"),
        },
    },
}
