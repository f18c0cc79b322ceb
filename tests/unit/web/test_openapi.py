"""The OpenAPI document: it says what the server does, and nothing that clients may not know."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Api
from libvirt_exporter.contract import QueryRequest
from libvirt_exporter.model import Applications, HostSample
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.query.fields.field import VmField
from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.query.need import Scope
from libvirt_exporter.service.queries import Queries
from libvirt_exporter.service.workers import Workers
from libvirt_exporter.web.openapi import document
from tests.contract.cases import cases
from tests.support.needs import ALL, WHOLE

SENSITIVE = tuple(field.name for field in FIELDS if field.sensitive)


def described(fields: Sequence[VmField] = FIELDS) -> dict[str, Any]:
    """The document as a client reads it."""
    whole: dict[str, Any] = json.loads(msgspec.json.encode(document(fields, longest_wait=60.0)))
    return whole


def validator(name: str) -> Draft202012Validator:
    """For one of the document's schemas."""
    return Draft202012Validator({**described(), "$ref": f"#/components/schemas/{name}"})


def test_schemas_are_schemas_and_references_lead_somewhere() -> None:
    """JSON Schema 2020-12, as OpenAPI 3.1 has it; none is left over."""
    whole = described()
    schemas = whole["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert whole["openapi"].startswith("3.1.")
    assert {*re.findall(r'"#/components/schemas/(\w+)"', json.dumps(whole))} == schemas.keys()


def test_every_field_is_described_with_its_unit() -> None:
    """A VM has these properties and no others; each may be null but vmId."""
    vm = described()["components"]["schemas"]["Vm"]
    assert vm["properties"].keys() == {field.name for field in FIELDS}
    assert vm["required"] == ["vmId"]
    assert vm["additionalProperties"] is False
    for field in FIELDS:
        assert vm["properties"][field.name]["description"].startswith(field.text)
        assert field.unit in vm["properties"][field.name]["description"]


def test_what_clients_may_not_see_is_not_described() -> None:
    """Nowhere in the document, by any of its names."""
    terms = Terms(Config().api, lambda sample: sample.domains, ALL)
    whole = described(tuple(terms.fields.values()))
    assert not {*SENSITIVE} & whole["components"]["schemas"]["Vm"]["properties"].keys()
    # Those that are no ordinary words appear nowhere at all.
    text = json.dumps(whole)
    assert [name for name in SENSITIVE if re.search("[A-Z]", name) and name in text] == []


LISTED = Applications(
    hash="1a2b",
    source="fallback",
    reason="the guest does not allow guest-exec",
    changed=1.5,
    read=2.5,
    names=("kernel-6.1",),
)


@pytest.mark.parametrize("case", cases())
def test_answers_about_recorded_hosts_are_as_described(case: str) -> None:
    """Everything there is to say of them, twice for the rates, and what is absent."""
    sample = cases()[case]

    async def work() -> list[Any]:
        queries: Queries

        async def take(_scope: Scope) -> None:
            raise AssertionError("the sample is fresh")

        with closing(Workers()) as workers:
            terms = Terms(Api(sensitive_fields=SENSITIVE, max_age=1e9), lambda of: of.domains, ALL)
            queries = Queries(
                terms, sample=take, workers=workers, applications=lambda _uuid: LISTED
            )
            queries.saw(sample, WHOLE)
            for domain in sample.domains:
                listed = await queries.applications(domain.uuid)
                assert listed is not None
                assert listed.version == LISTED.hash
                validator("Applications").validate(json.loads(listed.body))
            first = json.loads((await queries.answer(QueryRequest(explain=True))).body)
            queries.saw(later(sample), WHOLE)
            since = QueryRequest(changed_since=first["queryStamp"])
            second = json.loads((await queries.answer(since)).body)
            for row in first["dataList"]:
                found = json.loads((await queries.diagnostics(row["vmId"])).body)
                validator("Diagnostics").validate(found)
            queries.saw(msgspec.structs.replace(later(sample), domains=()), WHOLE)
            third = json.loads((await queries.answer(since)).body)
        return [first, second, third]

    for answer in asyncio.run(work()):
        validator("Changes").validate(answer)


def later(sample: HostSample) -> HostSample:
    """The same host ten seconds later, when every counter has grown."""
    return msgspec.structs.replace(
        sample,
        timestamp=sample.timestamp + 10,
        domains=tuple(
            msgspec.structs.replace(
                domain,
                timestamp=domain.timestamp + 10,
                stats={
                    key: value + 1000 if type(value) is int and value > 1000 else value
                    for key, value in domain.stats.items()
                },
            )
            for domain in sample.domains
        ),
    )
