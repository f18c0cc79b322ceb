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
        "dataList": _list(_part("Vm"), "VMs with their fields, or with the fields that changed."),
        "queryStamp": {**_TEXT, "description": "Value for changedSince of the next request."},
        "full": {
            **_FLAG,
            "description": "Whether the answer is complete and replaces everything that the "
            "client knew.",
        },
        "removed": _list(
            _TEXT, "VMs that no longer exist. A VM that ended is also in dataList once, as Down."
        ),
        "unknownFields": _list(_TEXT, "Unknown names in fields."),
        "unknownVmIds": _list(_TEXT, "UUIDs in vmIds without a VM."),
    },
    explanations={
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": _TEXT},
        "description": "Why a field has no value, by VM and field.",
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
                "Time in nanoseconds, utilisation in percent.",
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
                "Octets in bytes, rates in bytes per second.",
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
    "Answer of OpenStack Nova's API 2.48; unknown values are null.",
)
_TARGET: Final = "Alias of the target. Without it: the host of libvirt.uri."
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
            "description": "Unix time at which this list was first read.",
        },
        "read": {"type": "number", "description": "Unix time at which this list was last read."},
        "applications": _list(_TEXT, "As name-version, sorted."),
    },
    reason={**_TEXT, "description": "Why the list is not complete."},
)
_READING: Final = _object(
    {"hash": {**_TEXT_OR_NULL, "description": "Hash of the known list; null if there is none."}}
)
_PROBLEMS: Final[Mapping[str, str]] = {
    "400": "The request is invalid.",
    "401": "User and password are required.",
    "404": "The VM or target does not exist.",
    "413": "The body is too long.",
    "429": "The rate limit of the web configuration is exceeded.",
    "503": "libvirt does not respond, or too many requests are in progress.",
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
            "description": "Fields of the VMs of a libvirt host, and their changes.",
        },
        "paths": {
            "/api/v1/vms": {
                "get": {
                    "operationId": "queryVms",
                    "summary": "Return fields of VMs, or their changes since an earlier answer.",
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
                    "summary": "The same query with the parameters in the body, which may be "
                    "longer.",
                    "requestBody": {"required": True, "content": _json("Query")},
                    "responses": _responses("Changes", "404", "413"),
                },
            },
            "/api/v1/vms/{vmId}/diagnostics": {
                "get": {
                    "operationId": "vmDiagnostics",
                    "summary": "Return a VM's diagnostics in the format of OpenStack Nova.",
                    "parameters": [_VM_ID, _TARGET_PARAMETER],
                    "responses": _responses("Diagnostics", "404"),
                }
            },
            "/api/v1/targets": {
                "get": {
                    "operationId": "targets",
                    "summary": "Return the targets in the format of Prometheus' HTTP service "
                    "discovery.",
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
        "vmIds": (_TEXTS, "UUIDs of the VMs to return. Default: all."),
        "fields": (
            _TEXTS,
            "Names of the fields to return. Default: all, except those that must be named.",
        ),
        "exclude": (_TEXTS, "Names of fields to omit; vmId is always returned."),
        "changedSince": (
            _TEXT,
            "queryStamp of an earlier answer to the same query. Any other text returns everything.",
        ),
        "wait": (
            {"type": "number", "minimum": 0},
            f"Seconds to wait for a change, at most {longest_wait:g}.",
        ),
        "timeout": (
            {"type": "number", "minimum": 0},
            (
                "Seconds to wait for libvirt, at most 60; then the answer is 503. 0: the "
                "configured timeout."
            ),
        ),
        "explain": (_FLAG, "Return why a field has no value."),
        "strict": (_FLAG, "Reject unknown names of fields with status 400."),
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
        "A field without a value is absent. Null means, once, that the field no longer has a "
        "value.",
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
            "summary": (
                "Return the applications installed in a VM. Requires appsList in "
                "api.sensitive_fields."
            ),
            "parameters": [
                _VM_ID,
                _TARGET_PARAMETER,
                {
                    "name": "hash",
                    "in": "query",
                    "description": "Hash of the list that the client has, as in If-None-Match.",
                    "schema": _TEXT,
                },
            ],
            "responses": {
                **_responses("Applications", "404"),
                "304": {"description": "The client's list is current."},
            },
        },
        "post": {
            "operationId": "readVmApplications",
            "summary": "Read the list again, at most once a minute.",
            "parameters": [_VM_ID, _TARGET_PARAMETER],
            "responses": _responses("Reading", "404", success="202"),
        },
    },
}
