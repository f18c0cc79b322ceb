"""What a query learns from a sample."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from libvirt_exporter.contract import (
    NotFoundError,
    QueryAnswer,
    QueryRequest,
    RequestError,
    normalised_uuid,
)
from libvirt_exporter.model import Applications, DomainSample, HostSample
from libvirt_exporter.nearest import nearest
from libvirt_exporter.query.changes import Changes, Filter, Row
from libvirt_exporter.query.diagnostics import ASKS, LANES, diagnostics
from libvirt_exporter.query.fields.field import VmField, encoded
from libvirt_exporter.query.fields.table import FIELDS, reason
from libvirt_exporter.query.need import MOST_IDS, Need, Scope, covers

_GZIP_LEVEL: Final = 1
_SMALL: Final = 500
"""Bytes of a body that fits into one packet as it is, and hardly gets smaller."""
_LONGEST_NAME: Final = 64
"""Characters of an unknown name that is repeated."""
_SENSITIVE: Final = frozenset(field.name for field in FIELDS if field.sensitive)


class QueryOptions(Protocol):
    """What the configuration says about queries."""

    @property
    def sensitive_fields(self) -> Collection[str]:
        """Names of the sensitive fields that clients may see."""
        ...

    @property
    def tombstones(self) -> float:
        """Seconds for which a VM that is gone is remembered."""
        ...

    @property
    def max_age(self) -> float:
        """Seconds for which a sample may be used."""
        ...

    @property
    def longest_wait(self) -> float:
        """Seconds that a client may wait for a change."""
        ...


class Terms:
    """What the configuration lets clients see."""

    def __init__(
        self,
        api: QueryOptions,
        shown: Callable[[HostSample], Sequence[DomainSample]],
        enabled: Need,
    ) -> None:
        """`shown`: the domains of a sample that exist for clients. `enabled`: what may be asked."""
        self.api = api
        self.shown = shown
        self.enabled = enabled
        self.fields = {
            field.name: field
            for field in FIELDS
            if not field.sensitive or field.name in api.sensitive_fields
        }

    def unknown(self, names: Collection[str]) -> list[str]:
        """Those of the names that are no field, or none that may be seen, once each."""
        return [name for name in dict.fromkeys(names) if name not in self.fields]

    def chosen(self, request: QueryRequest) -> list[VmField]:
        """The fields that a request asks for."""
        named, excluded = {*request.fields}, {*request.exclude}
        return [
            field
            for name, field in self.fields.items()
            if (name in named if named else not field.on_request) and name not in excluded
        ]

    def need(self, request: QueryRequest) -> Need:
        """What it takes to answer a request."""
        fields = self.chosen(request)
        vm_ids = None
        if 0 < len(request.vm_ids) <= MOST_IDS:
            vm_ids = frozenset(map(normalised_uuid, request.vm_ids))
        return self._may_need(
            frozenset(group for field in fields for group in field.asks),
            frozenset(lane for field in fields for lane in field.lanes),
            vm_ids,
        )

    def diagnostics_need(self, vm_id: str) -> Need:
        """What it takes to tell a VM's diagnostics."""
        return self._may_need(ASKS, LANES, frozenset({normalised_uuid(vm_id)}))

    def applications_need(self) -> Need:
        """What it takes to know what is installed in VMs: that guests are asked that are due."""
        return self._may_need(frozenset(), frozenset({"applications"}), None)

    def refuse_applications(self) -> None:
        """Raise NotFoundError unless clients may see what is installed in the guests."""
        if "appsList" not in self.fields:
            raise NotFoundError(
                "lists of applications are not enabled in the API",
                "add appsList to api.sensitive_fields",
            )

    def _may_need(
        self, groups: frozenset[str], lanes: frozenset[str], vm_ids: frozenset[str] | None
    ) -> Need:
        return Need(
            groups=groups & self.enabled.groups,
            lanes=lanes & self.enabled.lanes,
            vm_ids=vm_ids,
        )

    def refuse_unknown(self, request: QueryRequest) -> None:
        """Raise RequestError for the first name that is unknown."""
        for name in self.unknown((*request.fields, *request.exclude)):
            if name in _SENSITIVE:
                hint = "it is sensitive: add it to api.sensitive_fields"
            else:
                hint = nearest(name, self.fields) or "docs/api.md lists the fields"
            raise RequestError(f"unknown field {name[:_LONGEST_NAME]}", hint)


class Taken(NamedTuple):
    """A sample, when it was taken, and what its rates are taken against."""

    sample: HostSample
    earlier: Sequence[HostSample]
    """The youngest first."""
    began: float
    """Time of the event loop."""
    number: int
    scope: Scope
    """What it was taken for."""


class Reply(NamedTuple):
    nothing: bool
    """Whether the client learns nothing by it."""
    answer: QueryAnswer


class _Body(Struct, rename="camel"):
    data_list: list[Row]
    query_stamp: str
    full: bool
    removed: list[str]
    unknown_fields: list[str]
    unknown_vm_ids: list[str]
    explanations: dict[str, dict[str, str]] | UnsetType = UNSET


class Clerk:
    """Computes answers, on one thread."""

    def __init__(
        self,
        terms: Terms,
        pause: Callable[[], None] = lambda: None,
        applications: Callable[[str], Applications | None] = lambda _uuid: None,
    ) -> None:
        """`pause` is called after each VM, and may let others go first.

        `applications`: what is installed in a VM, as in `VmView`.
        """
        self._pause = pause
        self._list_of = applications
        self._changes = Changes(terms.api.tombstones, pause, applications)
        self._committed = 0
        self._scope: Scope = frozenset()
        self._terms: Terms | None = None

    def _commit(self, terms: Terms, taken: Taken) -> None:
        if taken.number > self._committed or terms is not self._terms:
            self._changes.tombstones = terms.api.tombstones
            sample, shown = taken.sample, terms.shown(taken.sample)
            self._changes.commit(sample, shown, taken.earlier, time.time())
            self._committed, self._terms = taken.number, terms
            self._scope = taken.scope

    def reply(self, terms: Terms, taken: Taken, request: QueryRequest) -> Reply | None:
        """What a request learns from this sample, or from a newer one that is known already.

        None when the latter was not taken for this too, so that another one has to be taken.
        """
        if request.strict:
            terms.refuse_unknown(request)
        self._commit(terms, taken)
        if not covers(self._scope, terms.need(request)):
            return None
        ids = {text: normalised_uuid(text) for text in request.vm_ids}
        chosen = Filter(terms.chosen(request), ids.values(), request.exclude)
        changed = self._changes.since(request.changed_since.strip(), chosen)
        there = {*self._changes.uuids, *changed.removed}
        body = _Body(
            data_list=changed.rows,
            query_stamp=changed.stamp,
            full=changed.full,
            removed=changed.removed,
            unknown_fields=terms.unknown(request.fields),
            unknown_vm_ids=[text for text, uuid in ids.items() if uuid not in there],
        )
        if request.explain:
            body.explanations = {}
            for uuid, absent in self._changes.absent(chosen).items():
                body.explanations[uuid] = {
                    field.name: reason(view, field) for field, view in absent
                }
                self._pause()
        return Reply(changed.nothing, _answer(body, compress=request.gzip))

    def diagnostics(self, terms: Terms, taken: Taken, vm_id: str) -> QueryAnswer | None:
        """Nova's diagnostics of a VM; None as from `reply`."""
        self._commit(terms, taken)
        if not covers(self._scope, terms.diagnostics_need(vm_id)):
            return None
        uuid = normalised_uuid(vm_id)
        view = self._changes.views(Filter((), [uuid]), ASKS).get(uuid)
        if view is None:
            raise _no_such_vm()
        return _answer(diagnostics(view))

    def applications(self, terms: Terms, taken: Taken, vm_id: str) -> QueryAnswer | None:
        """What is installed in a VM, running or not; None where that is not known."""
        self._commit(terms, taken)
        terms.refuse_applications()
        uuid = normalised_uuid(vm_id)
        if uuid not in self._changes.uuids:
            raise _no_such_vm()
        found = self._list_of(uuid)
        if found is None:
            return None
        content = {
            "vmId": uuid,
            "hash": found.hash,
            "count": len(found.names),
            "source": found.source,
            "complete": not found.reason,
            **({"reason": found.reason} if found.reason else {}),
            "changed": found.changed,
            "read": found.read,
            "applications": found.names,
        }
        return replace(_answer(content), version=found.hash)


def _no_such_vm() -> NotFoundError:
    return NotFoundError("there is no such VM", "vmId is its UUID; /api/v1/vms lists them")


def _answer(content: object, *, compress: bool = False) -> QueryAnswer:
    body = encoded(content)
    if compress and len(body) > _SMALL:
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return QueryAnswer(body=body, content_encoding="gzip")
    return QueryAnswer(body=body)
