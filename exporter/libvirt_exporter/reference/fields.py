"""docs/api.md: the fields as a document, made from their table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.fields.table import FIELDS

_INTRODUCTION: Final = """\
# Fields as JSON

`GET /api/v1/vms` and `POST /api/v1/vms` return fields of VMs instead of series. A client that sends
the stamp of an earlier answer gets only what changed since. This file is made from the table of
fields by `docs/build.py`; `/api/v1/openapi.json` describes the same API to programs.

| parameter | means | default |
|---|---|---|
| `vmIds` | UUIDs of the VMs to return | all VMs |
| `fields` | names of the fields to return | all, except those marked "by name only" |
| `exclude` | names of fields to omit; `vmId` is always returned | none |
| `changedSince` | `queryStamp` of an earlier answer to the same query | everything is returned |
| `wait` | seconds to wait for a change, at most `api.longest_wait` | 0 |
| `timeout` | seconds to wait for libvirt, then 503 | `libvirt.timeout`, and never above it or 60 |
| `explain` | 1: return why a field has no value | 0 |
| `strict` | 1: reject unknown names of fields with status 400 | 0 |
| `target` | alias of a configured target | the host of `libvirt.uri` |

`GET` takes lists separated by commas, or parameters several times; `POST` takes a JSON object of
the same keys. An answer is of a sample that is `api.max_age` old at most, and taken after the last
event that libvirt reported. Without such a sample the answer takes as long as a new one: allow for
`wait` and `libvirt.timeout` together, or set `timeout`. The sample is finished all the same, and
answers the next query. Status 503 means that libvirt does not answer, or that `web.max_requests`
queries are being answered already; clients that wait for a change are counted apart, with the same
limit. `Retry-After` is the number of seconds to wait before the next try.

```console
$ curl -s 'http://localhost:9177/api/v1/vms?fields=status,memUsage'
{"dataList": [{"vmId": "6e1f0a4c-…", "status": "Up", "memUsage": 41}], "queryStamp": "…",
 "full": true, "removed": [], "unknownFields": [], "unknownVmIds": []}
```

- A field without a value is absent. One that had a value and has none any more is sent as null,
  once.
- `full`: the answer holds everything and replaces what was known; so it is without a stamp, with
  one that is too old, of another exporter or process, or of another choice of VMs and fields.
- `removed`: VMs that are gone. One that ended is also in `dataList` once, as Down with its exit
  code, reason and message.
- Rates and ratios come from two samples of one run of the VM, so they are absent at first; the
  sample before is 5 s old or more. They are rounded, because every further digit would be news at
  every sample.
- What changes with the time alone (`elapsedTime`, `statsAge`) is no change.
- Sensitive fields do not exist until `api.sensitive_fields` names them
  ([what is hidden](safety.md#what-leaves-the-host)).

## Follow changes

`changedSince` is the stamp of the answer before, and `wait` lets the exporter answer when something
has changed. This keeps a copy of two fields of all VMs:

```python
import json
import time
from urllib.parse import urlencode
from urllib.request import urlopen

query = {"fields": "status,memUsage", "wait": 30}
vms = {}
while True:
    try:
        with urlopen("http://localhost:9177/api/v1/vms?" + urlencode(query), timeout=60) as got:
            answer = json.load(got)
    except OSError as error:  # no connection, or 503 while libvirt does not answer
        print(error, flush=True)
        time.sleep(5)
        continue
    if answer["full"]:  # the first answer, and after a restart of the exporter
        vms.clear()
    for change in answer["dataList"]:
        vms.setdefault(change["vmId"], {}).update(change)
    for vm_id in answer["removed"]:
        vms.pop(vm_id, None)
    query["changedSince"] = answer["queryStamp"]
    print(len(vms), "VMs,", len(answer["dataList"]), "changed", flush=True)
```

Statistics change all the time. A client that wants them and the rest as soon as it changes runs two
loops with two choices of `fields`, each with its own stamp.

## Diagnostics and applications

`GET /api/v1/vms/{vmId}/diagnostics` returns Nova's standardised diagnostics. Of its figures,
`memory_details.used` is what the guest has in use by its own account, as for `memUsage`, where it
reports that, else the size of its balloon; `uptime` does not start again at a reboot of the guest.
It takes `target` too. `GET /api/v1/targets` lists the targets for Prometheus' service discovery.

`GET /api/v1/vms/{vmId}/applications` returns what is installed in a VM, where `appsList` is
among `api.sensitive_fields` and lists are kept (`applications.enabled`,
[guest-agent.md](guest-agent.md)). `hash` is the SHA-256 of the names, each with a newline at its
end, and the ETag: with `?hash=` or If-None-Match of a list that the client knows, the answer is 304
while there is no other. `POST` to the same address requests that the list is read again,
`applications.quiet` after the last time at the earliest; the answer, 202, has the hash of the
list that is known now. For a VM that does not run, the last list is returned. Both take `target`.

```console
$ curl -s http://localhost:9177/api/v1/vms/6e1f0a4c-…/applications
{"vmId": "6e1f0a4c-…", "hash": "5d41…", "count": 412, "source": "dpkg", "complete": true,
 "changed": 1764457200.1, "read": 1764457200.1, "applications": ["adduser-3.134", "apt-2.6.1", …]}
```
"""

_VDSM: Final = """\
Names and words are VDSM's, so a few differ from those of the metrics: the watchdog's actions
`ignore`, `destroy` and `log` are `none`, `poweroff` and `debug` there, which are libvirt's words.
"""

_CHANGE: Final = {
    "static": "seldom",
    "event": "by event",
    "agent": "seldom",
    "sampled": "each sample",
    "time": "with time; no news",
}


def markdown() -> str:
    """The whole document."""
    return "\n".join(
        (
            _INTRODUCTION,
            "## The fields of VDSM's design\n",
            _VDSM,
            *_table(field for field in FIELDS if not field.own),
            "\n## More fields\n",
            *_table(field for field in FIELDS if field.own),
            "\n## Fields with parts\n",
            "Parts without a value are absent; the field changes as a whole.\n",
            *_parts(),
            "",
        )
    )


def _table(fields: Iterable[VmField]) -> Iterable[str]:
    yield "| field | type | unit | meaning | source | changes | metric | why without a value |"
    yield "|---|---|---|---|---|---|---|---|"
    for field in fields:
        cells = (
            f"`{field.name}`{''.join(_marks(field))}",
            _type(field.schema),
            field.unit,
            field.text,
            field.source,
            _CHANGE[field.change],
            ", ".join(f"`{metric}`" for metric in field.metrics),
            field.why_absent,
        )
        yield f"| {' | '.join(map(_cell, cells))} |"


def _marks(field: VmField) -> Iterable[str]:
    if field.sensitive:
        yield " (sensitive)"
    if field.on_request:
        yield " (by name only)"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace(">", "&gt;")


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in one or a few words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return f"object of {_type(schema['additionalProperties'])}"
        case list() as kinds:
            return " or ".join(kinds)
        case None:
            return "any"
        case kind:
            return str(kind)


def _parts() -> Iterable[str]:
    for field in FIELDS:
        schema = field.schema
        while "items" in schema or isinstance(schema.get("additionalProperties"), Mapping):
            schema = schema.get("items") or schema["additionalProperties"]
        if properties := schema.get("properties"):
            yield f"### {field.name}\n"
            yield "| part | type | meaning |"
            yield "|---|---|---|"
            for name, part in properties.items():
                cells = f"`{name}`", _type(part), part["description"]
                yield f"| {' | '.join(map(_cell, cells))} |"
            yield ""
