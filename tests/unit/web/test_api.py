"""The routes of the API: what a client may write, and what it gets for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from libvirt_exporter.contract import NotFoundError, QueryRequest, RequestError, UnavailableError
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web.api import MAX_BODY
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.security.security import Security
from tests.support.fake_service import FakeService, client

VMS = "/api/v1/vms"


def ask(service: FakeService, method: str, path: str, **more: Any) -> httpx.Response:
    async def work() -> httpx.Response:
        async with client(service) as session:
            return await session.request(method, path, **more)

    return asyncio.run(work())


def asked(method: str, path: str, **more: Any) -> QueryRequest:
    """What the service is asked."""
    service = FakeService()
    answer = ask(service, method, path, **more)
    assert answer.status_code == 200, answer.text
    (query,) = service.queries
    return query


def refused(method: str, path: str, **more: Any) -> tuple[int, str, str]:
    """Status, error and hint of an answer that says what is wrong."""
    service = FakeService()
    answer = ask(service, method, path, **more)
    assert service.queries == []
    return problem(answer)


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document.keys() == {"error", "hint"}
    assert "Traceback" not in answer.text
    return answer.status_code, document["error"], document["hint"]


# What a client may write


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", QueryRequest()),
        ("?fields=", QueryRequest()),
        ("?fields=status", QueryRequest(fields=("status",))),
        ("?fields=a,b&fields=c", QueryRequest(fields=("a", "b", "c"))),
        ("?fields=%20a%20,,b", QueryRequest(fields=("a", "b"))),
        ("?exclude=a&vmIds=x,y", QueryRequest(exclude=("a",), vm_ids=("x", "y"))),
        ("?changedSince=1-2-3", QueryRequest(changed_since="1-2-3")),
        ("?explain=1&strict=true", QueryRequest(explain=True, strict=True)),
        ("?explain=0&strict=False", QueryRequest()),
        ("?wait=0", QueryRequest()),
        ("?timeout=2.5", QueryRequest(timeout=2.5)),
    ],
)
def test_an_address_says_what_is_asked(query: str, expected: QueryRequest) -> None:
    """Lists between commas, or in parameters of the same name; blanks are nothing."""
    assert asked("GET", VMS + query) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, QueryRequest()),
        ({"fields": "status"}, QueryRequest(fields=("status",))),
        ({"fields": "a, b"}, QueryRequest(fields=("a", "b"))),
        ({"fields": ["a", "b"], "exclude": "c"}, QueryRequest(fields=("a", "b"), exclude=("c",))),
        ({"fields": " ", "vmIds": ""}, QueryRequest()),
        ({"fields": [""]}, QueryRequest(fields=("",))),
        ({"vmIds": ["x"], "changedSince": " "}, QueryRequest(vm_ids=("x",), changed_since=" ")),
        ({"timeout": 2.5}, QueryRequest(timeout=2.5)),
        ({"explain": True, "strict": True}, QueryRequest(explain=True, strict=True)),
        ({"vmIds": ["x"] * 10_000}, QueryRequest(vm_ids=("x",) * 10_000)),
    ],
)
def test_a_body_says_what_is_asked(body: dict[str, Any], expected: QueryRequest) -> None:
    """The same keys as JSON, where a text for a list reads as in an address."""
    assert asked("POST", VMS, json=body) == expected


def test_of_a_key_that_is_repeated_the_last_one_counts() -> None:
    """As JSON readers do."""
    body = '{"fields": "a", "fields": "b"}'
    assert asked("POST", VMS, content=body) == QueryRequest(fields=("b",))


@pytest.mark.parametrize(
    ("query", "error", "hint"),
    [
        ("?feilds=a", "unknown parameter feilds", "did you mean fields?"),
        ("?x=1", "unknown parameter x", "there are vmIds, fields"),
        ("?wait=30&wait=0", "wait is given 2 times", "ask for one at a time"),
        ("?changedSince=a&changedSince=", "changedSince is given 2 times", "one at a time"),
        ("?wait=soon", "wait is not a number", "wait=30"),
        ("?wait=-1", "wait is not a number", ""),
        ("?timeout=-1", "timeout is not a number", "timeout=30"),
        ("?wait=nan", "wait is not a number", ""),
        ("?wait=1e999", "wait is not a number", ""),
        ("?explain=maybe", "explain must be 1 or 0", "explain=1"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(query: str, error: str, hint: str) -> None:
    """400 with what is wrong and what would be right."""
    status, message, advice = refused("GET", VMS + query)
    assert status == 400
    assert message.startswith(error)
    assert hint in advice


@pytest.mark.parametrize(
    ("path", "headers", "error"),
    [
        ("?fields=status", {}, "a POST requires its parameters in the body"),
        ("?", {"Content-Encoding": "gzip"}, "the body is compressed"),
    ],
)
def test_nothing_beside_a_body_is_silently_passed_over(
    path: str, headers: dict[str, str], error: str
) -> None:
    """Who filters in the address and posts `{}` would get everything, and wonder."""
    status, message, hint = refused("POST", VMS + path, content=b"{}", headers=headers)
    assert (status, message) == (400, error)
    assert hint


def test_a_body_may_say_that_it_is_not_compressed() -> None:
    """`identity` is what no header means."""
    headers = {"Content-Encoding": "identity"}
    assert asked("POST", VMS, content=b"{}", headers=headers) == QueryRequest()


def test_an_address_that_is_too_long_is_told_the_way_out() -> None:
    """Hundreds of UUIDs fit into a body."""
    status, _, hint = refused("GET", f"{VMS}?vmIds={'x' * 17_000}")
    assert status == 414
    assert "POST" in hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"status"',
        b'{"feilds": []}',
        b'{"fields": 1}',
        b'{"fields": [1]}',
        b'{"fields": {"a": "b"}}',
        b'{"vmIds": [null]}',
        b'{"changedSince": 7}',
        b'{"wait": "1"}',
        b'{"wait": -1}',
        b'{"timeout": -1}',
        b'{"wait": 1e999}',
        b'{"wait": ' + b"9" * 5000 + b"}",
        b'{"explain": 2}',
        b'{"fields": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"fields": "\xff\xfe"}',
        b'{"fields": "\\ud800"}',
        b"\x00" * 10,
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes) -> None:
    """400 whatever is wrong with it, and never more than that."""
    status, message, hint = refused("POST", VMS, content=body)
    assert status == 400
    assert message.startswith("the body is invalid: ")
    assert "vmIds" in hint


@settings(max_examples=settings().max_examples * 2)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_body_makes_the_exporter_fail(body: bytes) -> None:
    """It is understood, or refused with 400."""
    assert ask(FakeService(), "POST", VMS, content=body).status_code in {200, 400}


@settings(max_examples=settings().max_examples * 2)
@given(
    st.dictionaries(
        st.sampled_from(["vmIds", "fields", "exclude", "changedSince", "wait", "explain", "x"]),
        st.text(max_size=20),
    )
)
def test_no_address_makes_the_exporter_fail(parameters: dict[str, str]) -> None:
    """It is understood, or refused with 400."""

    async def work() -> int:
        service = FakeService()
        service.release.set()
        async with client(service) as session:
            return (await session.get(VMS, params=parameters)).status_code

    assert asyncio.run(work()) in {200, 400}


def test_a_body_of_a_mebibyte_is_read_and_a_longer_one_is_not() -> None:
    """Also when it comes in pieces and does not say how long it is."""

    async def pieces(size: int) -> AsyncIterator[bytes]:
        yield b"{}"
        for _ in range((size - 2) // 1024):
            yield b" " * 1024
        yield b" " * ((size - 2) % 1024)

    assert asked("POST", VMS, content=b"{}".ljust(MAX_BODY)) == QueryRequest()
    assert asked("POST", VMS, content=pieces(MAX_BODY)) == QueryRequest()
    for body in (b"{}".ljust(MAX_BODY + 1), pieces(MAX_BODY + 1)):
        status, message, _ = refused("POST", VMS, content=body)
        assert status == 413
        assert str(MAX_BODY) in message


def test_elsewhere_a_long_body_is_refused_as_ever() -> None:
    """The larger limit is that of one route."""
    answer = ask(FakeService(), "POST", "/-/reload", content=b" " * 70_000)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"].startswith("text/plain")


# What it gets


def test_an_answer_is_json_that_nobody_keeps() -> None:
    """With the encoding that the client accepts."""
    plain = ask(FakeService(), "GET", VMS)
    assert plain.headers["Content-Type"] == "application/json"
    assert plain.headers["Cache-Control"] == "no-store"
    assert plain.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain.headers
    assert asked("POST", VMS, content=b"{}", headers={"Accept-Encoding": "gzip;q=0"}).gzip is False

    async def raw() -> list[Message]:
        sent: list[Message] = []
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"accept-encoding", b"gzip")]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": VMS,
            "query_string": b"",
            "headers": headers,
        }
        await create_app(FakeService())(scope, receive, send)
        return sent

    (start, _) = asyncio.run(raw())
    assert (b"content-encoding", b"gzip") in start["headers"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (RequestError("unknown field stat", "did you mean state?"), 400),
        (NotFoundError("unknown field stat", "did you mean state?"), 404),
        (UnavailableError("unknown field stat", "did you mean state?"), 503),
    ],
)
@pytest.mark.parametrize("path", [VMS, f"{VMS}/x/diagnostics", f"{VMS}/x/applications"])
def test_what_goes_wrong_is_said_as_json(path: str, failure: Exception, status: int) -> None:
    """With the status that fits."""
    service = FakeService()
    service.failure = failure
    found = problem(ask(service, "GET", path))
    assert found == (status, "unknown field stat", "did you mean state?")


def test_a_failure_of_ours_says_nothing_of_itself() -> None:
    """500 in JSON; the reason is for the log."""
    service = FakeService()
    service.failure = RuntimeError("secret")
    status, error, _ = problem(ask(service, "GET", VMS))
    assert status == 500
    assert "secret" not in error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/", 404),
        ("GET", f"{VMS}/x", 404),
        ("DELETE", VMS, 405),
        ("POST", f"{VMS}/x/diagnostics", 405),
        ("PUT", f"{VMS}/x/applications", 405),
        ("GET", f"{VMS}/x/applications?hsah=1a2b", 400),
        ("POST", f"{VMS}/x/applications?hash=1a2b", 400),
        ("GET", f"{VMS}?fields={'x' * 17_000}", 414),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_said_as_json(
    method: str, path: str, status: int
) -> None:
    """On all paths of the API; 405 says what is allowed."""
    answer = ask(FakeService(), method, path)
    assert problem(answer)[0] == status
    assert ("Allow" in answer.headers) is (status == 405)
    assert answer.headers["Cache-Control"] == "no-store"


def test_diagnostics_are_those_of_the_vm_in_the_path() -> None:
    """Whatever stands there is handed on as text."""
    assert ask(FakeService(), "GET", f"{VMS}/%20%C3%A9/diagnostics").json() == {"asked": " é"}


APPLICATIONS = f"{VMS}/x/applications"


def test_a_list_of_applications_has_its_hash_as_the_tag() -> None:
    """Of the VM in the path."""
    answer = ask(FakeService(), "GET", APPLICATIONS)

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1a2b"')
    assert answer.json() == {"asked": "x"}
    other = ask(FakeService(), "GET", f"{APPLICATIONS}?hash=ffff", headers={"If-None-Match": '"f"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?hash=1a2b", None),
        ("", '"1a2b"'),
        ("", 'W/"1a2b"'),
        ("", '"f", "1a2b"'),
        ("", "*"),
        ("?hash=ffff", '"1a2b"'),
    ],
)
def test_a_client_that_knows_the_list_is_told_so(query: str, named: str | None) -> None:
    """304 without a body, and with the tag."""
    headers = {} if named is None else {"If-None-Match": named}
    answer = ask(FakeService(), "GET", APPLICATIONS + query, headers=headers)

    assert (answer.status_code, answer.headers["ETag"]) == (304, '"1a2b"')
    assert answer.content == b""


def test_a_post_has_the_list_read_again() -> None:
    """Nobody waits until it has been."""
    service = FakeService()
    answer = ask(service, "POST", APPLICATIONS)

    assert (answer.status_code, answer.json()) == (202, {"hash": None})
    assert service.read_again == ["x"]


@pytest.mark.parametrize(
    "path",
    [VMS, f"{VMS}/x/diagnostics", f"{VMS}/x/applications", "/api/v1/openapi.json", "/api/"],
)
def test_nobody_is_told_anything_without_a_password(path: str, tmp_path: Path) -> None:
    """Where there are users, all routes of the API are for them only."""
    file = tmp_path / "web.yml"
    file.write_text(
        f"basic_auth_users: {{anna: {bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}}}"
    )
    service = FakeService()
    app = create_app(service, web_config=Security(str(file)))

    async def work() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as session:
            return await session.get(path)

    answer = asyncio.run(work())
    assert problem(answer)[0] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert service.queries == []


# Waiting


@pytest.mark.parametrize(
    ("path", "query", "handler"),
    [
        (VMS, b"wait=60", VMS),
        (VMS, b"", VMS),
        (f"{VMS}/x/diagnostics", b"", f"{VMS}/{{vmId}}/diagnostics"),
        (f"{VMS}/x/applications", b"", f"{VMS}/{{vmId}}/applications"),
        ("/metrics", b"", "/metrics"),
        ("/", b"", "/"),
    ],
)
def test_a_client_that_goes_away_ends_its_wait(path: str, query: bytes, handler: str) -> None:
    """Nothing goes on for somebody who is not there; nginx' 499 counts it."""

    async def work() -> None:
        service = FakeService()
        service.holds_everything = True
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message: Message) -> None:
            pass

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": query,
            "headers": [],
        }
        telemetry = Telemetry(process=False)
        app = create_app(service, telemetry=telemetry)
        request = asyncio.ensure_future(app(scope, receive, send))
        await service.arrived.wait()
        gone.set()
        await request
        await asyncio.sleep(0)
        assert service.ended == ["cancelled"]
        name, left = "libvirt_exporter_http_requests_total", {"handler": handler, "code": "499"}
        assert telemetry.registry.get_sample_value(name, left) == 1

    asyncio.run(asyncio.wait_for(work(), 20))


def test_waiting_clients_are_in_nobodys_way() -> None:
    """As many as may wait leave room for queries and scrapes; one more is told to come back."""

    async def work() -> None:
        service = FakeService()
        async with client(service, max_requests=2) as session:
            waits = [asyncio.create_task(session.get(f"{VMS}?wait=60")) for _ in range(2)]
            while service.waiting < 2:
                service.arrived.clear()
                await service.arrived.wait()
            one_more = await session.get(f"{VMS}?wait=60")
            assert problem(one_more)[0] == 503
            assert one_more.headers["Retry-After"] == "1"
            assert (await session.get(VMS)).status_code == 200
            assert (await session.get("/metrics")).status_code == 200
            service.release.set()
            assert [answer.status_code for answer in await asyncio.gather(*waits)] == [200, 200]
            assert (await session.get(f"{VMS}?wait=60")).status_code == 200

    asyncio.run(asyncio.wait_for(work(), 20))
