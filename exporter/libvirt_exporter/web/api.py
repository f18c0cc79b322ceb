"""The routes of the API: fields of VMs as JSON, their diagnostics, and what describes both."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, structs
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libvirt_exporter.contract import QueryAnswer, QueryRequest, RequestError
from libvirt_exporter.nearest import nearest
from libvirt_exporter.web import openapi
from libvirt_exporter.web.bodies import Bodies, PiecewiseResponse
from libvirt_exporter.web.connected import while_connected
from libvirt_exporter.web.negotiation import accepts_gzip
from libvirt_exporter.web.problems import TooLargeError
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.slots import Slots
from libvirt_exporter.web.target_parameter import only_target, refuse_several

VMS: Final = "/api/v1/vms"
DIAGNOSTICS: Final = "/api/v1/vms/{vmId}/diagnostics"
APPLICATIONS: Final = "/api/v1/vms/{vmId}/applications"
DOCUMENT: Final = "/api/v1/openapi.json"
MAX_BODY: Final = 1024 * 1024
"""Bytes of a posted query: 25,000 UUIDs."""

_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False, "": False}
_BUSY: Final = "the limit of concurrent requests is reached (web.max_requests)", "try again later"
_LONGEST_NAME: Final = 64
"""Characters of a name that is repeated in an answer."""
_LONGEST_TIMEOUT: Final = 60.0
"""Seconds; a client that gives libvirt more does not get more."""


class _Posted(Struct, rename="camel", forbid_unknown_fields=True):
    vm_ids: str | list[str] = []
    fields: str | list[str] = []
    exclude: str | list[str] = []
    changed_since: str = ""
    wait: Annotated[float, Meta(ge=0)] = 0.0
    timeout: Annotated[float, Meta(ge=0)] = 0.0
    explain: bool | Literal[0, 1] = False
    strict: bool | Literal[0, 1] = False
    target: str = ""


_PARAMETERS: Final = tuple(field.encode_name for field in structs.fields(_Posted))
_LISTS: Final = ("vmIds", "fields", "exclude")
"""Those that may be given several times."""


class Api:
    """Answers the requests of the API."""

    def __init__(self, service: Service, max_requests: float, bodies: Bodies) -> None:
        """`max_requests` that wait for a change may run at once, and as many that do not."""
        self._service = service
        self._bodies = bodies
        self._quick, self._waiting = (
            Slots(max_requests, *_BUSY, hosts=lambda: len(service.aliases)) for _ in range(2)
        )

    def routes(self) -> list[Route]:
        return [
            Route(VMS, self.vms, methods=["GET", "POST"]),
            Route(DIAGNOSTICS, self.diagnostics),
            Route(APPLICATIONS, self.applications, methods=["GET", "POST"]),
            Route(DOCUMENT, self.document),
        ]

    async def vms(self, request: Request) -> Response:
        """Fields of VMs."""
        gzip = accepts_gzip(",".join(request.headers.getlist("Accept-Encoding")))
        if request.method == "POST":
            _refuse_beside_body(request)
            alias, query = _posted(await _body(request), gzip=gzip)
        else:
            alias = only_target(request.query_params)
            query = _in_address(request.query_params, gzip=gzip)
        target = self._service.target(alias)
        with contextlib.ExitStack() as held:
            held.enter_context((self._waiting if query.wait else self._quick).one(host=alias))
            answer = await while_connected(request, target.query(query))
            return self._json(answer, held.pop_all())

    async def diagnostics(self, request: Request) -> Response:
        """Nova's diagnostics of a VM."""
        alias = only_target(request.query_params)
        target = self._service.target(alias)
        with contextlib.ExitStack() as held:
            held.enter_context(self._quick.one(host=alias))
            diagnostics = target.diagnostics(request.path_params["vmId"])
            return self._json(await while_connected(request, diagnostics), held.pop_all())

    async def applications(self, request: Request) -> Response:
        """What is installed in a VM, or 304 where the client knows it; POST: read it again."""
        reads_again, parameters = request.method == "POST", request.query_params
        allowed = ("target",) if reads_again else ("target", "hash")
        for name in parameters:
            if name not in allowed:
                raise _unknown_parameter(name, allowed)
        alias, vm_id = only_target(parameters), request.path_params["vmId"]
        target = self._service.target(alias)
        with contextlib.ExitStack() as held:
            held.enter_context(self._quick.one(host=alias))
            if reads_again:
                answer = await while_connected(request, target.read_applications(vm_id))
                return self._json(answer, held.pop_all(), status=202)
            answer = await while_connected(request, target.applications(vm_id))
            tag = f'"{answer.version}"'
            if parameters.get("hash") == answer.version or _is_named(request, tag):
                return Response(status_code=304, headers={"ETag": tag})
            return self._json(answer, held.pop_all(), ETag=tag)

    async def document(self, _request: Request) -> Response:
        """What the API is, in the words of OpenAPI."""
        # Fields are the same of all: the configuration chooses them for all targets.
        target = self._service.target(min(self._service.aliases))
        longest_wait = target.config.api.longest_wait
        document = openapi.document(target.fields, longest_wait=longest_wait)
        return self._json(QueryAnswer(body=msgspec.json.encode(document)), contextlib.ExitStack())

    def _json(
        self,
        answer: QueryAnswer,
        held: contextlib.ExitStack,
        *,
        status: int = 200,
        **headers: str,
    ) -> Response:
        headers |= {
            "Content-Type": "application/json",
            "Vary": "Accept-Encoding",
            "Cache-Control": "no-store",
        }
        if answer.content_encoding:
            headers["Content-Encoding"] = answer.content_encoding
        response = PiecewiseResponse(answer.body, self._bodies, headers=headers, held=held)
        response.status_code = status
        return response


def _is_named(request: Request, tag: str) -> bool:
    """Whether If-None-Match has the tag, which is a strong one, or any."""
    named = [part.strip() for part in ",".join(request.headers.getlist("If-None-Match")).split(",")]
    return any(part.removeprefix("W/") == tag or part == "*" for part in named)


def _in_address(parameters: QueryParams, *, gzip: bool) -> QueryRequest:
    for name in parameters:
        if name not in _PARAMETERS:
            raise _unknown_parameter(name)
        refuse_several(parameters, name, *_LISTS)
    return QueryRequest(
        vm_ids=_list(parameters, "vmIds"),
        fields=_list(parameters, "fields"),
        exclude=_list(parameters, "exclude"),
        changed_since=parameters.get("changedSince", ""),
        wait=_seconds(parameters, "wait"),
        timeout=min(_seconds(parameters, "timeout"), _LONGEST_TIMEOUT),
        explain=_flag(parameters, "explain"),
        strict=_flag(parameters, "strict"),
        gzip=gzip,
    )


def _unknown_parameter(name: str, known: Sequence[str] = _PARAMETERS) -> RequestError:
    hint = nearest(name, known) or f"there are {', '.join(known)}"
    return RequestError(f"unknown parameter {name[:_LONGEST_NAME]}", hint)


def _list(parameters: QueryParams, name: str) -> tuple[str, ...]:
    """What stands in all parameters of the name."""
    return tuple(part for text in parameters.getlist(name) for part in _split(text))


def _split(text: str) -> tuple[str, ...]:
    """What stands between commas, but for blanks."""
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _seconds(parameters: QueryParams, name: str) -> float:
    try:
        seconds = float(parameters.get(name, "0"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise RequestError(f"{name} is not a number of seconds", f"for example {name}=30")
    return seconds


def _flag(parameters: QueryParams, name: str) -> bool:
    flag = _FLAGS.get(parameters.get(name, "").lower())
    if flag is None:
        raise RequestError(f"{name} must be 1 or 0", f"for example {name}=1")
    return flag


def _refuse_beside_body(request: Request) -> None:
    """Raise RequestError for what would change the meaning of a body, and is not looked at."""
    if request.query_params:
        raise RequestError(
            "a POST requires its parameters in the body",
            "or use GET with all parameters in the address",
        )
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise RequestError("the body is compressed", "send it without Content-Encoding")


def _posted(body: bytes, *, gzip: bool) -> tuple[str, QueryRequest]:
    """The alias of the host that is asked, and what it is asked."""
    try:
        posted = msgspec.json.decode(body, type=_Posted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            f"the body is invalid: {error}",
            f"it is a JSON object with any of {', '.join(_PARAMETERS)}; {{}} asks for everything",
        ) from None
    return posted.target, QueryRequest(
        vm_ids=_names(posted.vm_ids),
        fields=_names(posted.fields),
        exclude=_names(posted.exclude),
        changed_since=posted.changed_since,
        wait=posted.wait,
        timeout=min(posted.timeout, _LONGEST_TIMEOUT),
        explain=bool(posted.explain),
        strict=bool(posted.strict),
        gzip=gzip,
    )


def _names(value: str | list[str]) -> tuple[str, ...]:
    """A list, or a text that is one as in an address."""
    return _split(value) if isinstance(value, str) else tuple(value)


async def _body(request: Request) -> bytes:
    """The body, which may come without saying how long it is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLargeError(
                f"the body is longer than {MAX_BODY} bytes",
                "ask for fewer VMs at once, or for all",
            )
    return bytes(body)
