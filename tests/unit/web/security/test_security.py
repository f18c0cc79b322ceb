"""The web configuration file: what it may say, and what it does to requests."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from libvirt_exporter.config import ConfigError
from libvirt_exporter.config.document import parse
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.web.app import create_app
from libvirt_exporter.web.problems import BusyError
from libvirt_exporter.web.security import loading as loading_module
from libvirt_exporter.web.security import security as security_module
from libvirt_exporter.web.security.loading import Stamps, stamps_of
from libvirt_exporter.web.security.middleware import SecurityMiddleware
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.security.tls import allowed_san
from libvirt_exporter.web.security.web_config import Parsed, WebConfig, parse_web_config
from tests.support.fake_service import FakeService
from tests.support.waiting import wait_until

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
TLS = {"cert_file": "c.pem", "key_file": "k.pem"}


def parsed(data: object, file: str = "web.yml") -> Parsed:
    """What a web configuration of this data says, were it written in `file`."""
    document = parse(yaml.safe_dump(data), file)
    if document.problems:
        raise ConfigError(document.problems)
    return parse_web_config(document.root, file)


def problem(data: object) -> str:
    with pytest.raises(ConfigError) as raised:
        parsed(data)
    return str(raised.value)


def write(path: Path, data: object) -> str:
    """Write a web configuration in such a way that the change is seen within one clock tick."""
    path.write_text(yaml.safe_dump(data))
    written = path.stat().st_mtime_ns
    os.utime(path, ns=(written, written + path.stat().st_size * 1000 + 1))
    return str(path)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def answers(security: Security, *authorizations: str) -> list[httpx.Response]:
    """The answers to one request for each Authorization header, '' for none."""

    async def run() -> list[httpx.Response]:
        app = SecurityMiddleware(PlainTextResponse("inside"), security)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            return [
                await client.get("/", headers={"Authorization": value} if value else {})
                for value in authorizations
            ]

    return asyncio.run(run())


def statuses(security: Security, *authorizations: str) -> list[int]:
    return [response.status_code for response in answers(security, *authorizations)]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt was asked about."""
    asked: list[bytes] = []
    real: Callable[[bytes, bytes], bool] = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return asked


def test_empty_file_means_no_security() -> None:
    """Nothing, an empty mapping and empty sections are all valid."""
    empty: dict[str, object] = {"tls_server_config": {}, "basic_auth_users": None}
    for data in (None, {}, empty):
        assert parsed(data).config == WebConfig()


def test_whole_toolkit_file_is_understood() -> None:
    """Every option that has a meaning here is read, and files are relative to the configuration."""
    data = {
        "tls_server_config": {
            **TLS,
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": "/etc/ca.pem",
            "client_allowed_sans": ["prometheus"],
            "min_version": "TLS12",
            "max_version": "TLS13",
            "cipher_suites": [
                "TLS_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            ],
            "prefer_server_cipher_suites": False,
            "curve_preferences": ["X25519"],
        },
        "http_server_config": {"http2": True, "headers": {"X-Frame-Options": "deny"}},
        "basic_auth_users": {"prometheus": HASH},
        "rate_limit": {"interval": "500ms", "burst": 20},
    }
    config = parsed(data, "/etc/exporter/web.yml").config
    assert config.tls_server_config.cert_file == "/etc/exporter/c.pem"
    assert config.tls_server_config.client_ca_file == "/etc/ca.pem"
    assert config.rate_limit.seconds() == 0.5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["must be a mapping of options"]),
        ({"tls_config": {}}, ["unknown key 'tls_config'", "did you mean tls_server_config?"]),
        (
            {"tls_server_config": {"certfile": "x"}},
            ["unknown key 'certfile' in tls_server_config", "did you mean cert_file?"],
        ),
        ({"tls_server_config": {"cert_file": [5]}}, ["tls_server_config.cert_file", "text"]),
        ({"tls_server_config": {"cert_file": "c"}}, ["tls_server_config.key_file", "missing"]),
        (
            {"tls_server_config": {**TLS, "min_version": "TLS10"}},
            ["tls_server_config.min_version", "TLS10"],
        ),
        (
            {"tls_server_config": {**TLS, "min_version": "TLS13", "max_version": "TLS12"}},
            ["min_version", "above"],
        ),
        (
            {"tls_server_config": {**TLS, "client_auth_type": "RequireAnyClientCert"}},
            ["client_auth_type", "RequireAnyClientCert"],
        ),
        ({"tls_server_config": {**TLS, "client_ca_file": "x"}}, ["client_ca_file", "unused"]),
        (
            {"tls_server_config": {**TLS, "client_allowed_sans": ["x"]}},
            ["client_allowed_sans", "client_auth_type"],
        ),
        (
            {"tls_server_config": {**TLS, "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"]}},
            ["cipher_suites", "TLS_RSA_WITH_RC4_128_SHA"],
        ),
        (
            {"tls_server_config": {**TLS, "cipher_suites": ["TLS_AES_1"]}},
            ["cipher_suites", "TLS_AES_1"],
        ),
        (
            {"tls_server_config": {**TLS, "curve_preferences": ["CurveP25"]}},
            ["curve_preferences", "did you mean CurveP256?"],
        ),
        ({"basic_auth_users": {"anna": "secret"}}, ["basic_auth_users.anna", "bcrypt"]),
        (
            {"http_server_config": {"headers": {"X-Frame-Options": "maybe"}}},
            ["X-Frame-Options", "sameorigin"],
        ),
        (
            {"http_server_config": {"headers": {"X-XSS-Protection": "a\r\nSet-Cookie: b"}}},
            ["X-XSS-Protection", "one line"],
        ),
        ({"http_server_config": {"headers": {"Server": "x"}}}, ["headers", "Server"]),
        ({"rate_limit": {"interval": "soon"}}, ["rate_limit.interval", "soon"]),
        ({"rate_limit": {"interval": "1s", "burst": 0}}, ["rate_limit.burst"]),
    ],
)
def test_mistakes_name_file_key_and_remedy(data: object, words: list[str]) -> None:
    """Each mistake is told by file and key, with what was probably meant."""
    text = problem(data)
    assert text.startswith("web.yml:")
    for word in words:
        assert word in text


def test_all_mistakes_are_told_at_once() -> None:
    """One run shows all mistakes, and never a password."""
    text = problem(
        {"basic_auth_users": {"a": "hunter2", "b": "x"}, "rate_limit": {"interval": "?"}}
    )
    assert len(text.splitlines()) == 3
    assert "hunter2" not in text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["tls_server_config", "basic_auth_users", "rate_limit", "headers"])
                | st.text(),
                inner,
            )
        ),
    )
)
def test_any_data_is_a_configuration_or_a_clear_error(data: Any) -> None:
    """No plain data raises anything but ConfigError."""
    try:
        config = parsed(data).config
    except ConfigError as error:
        told = str(error)
    else:
        assert isinstance(config, WebConfig)
        return
    assert told.startswith("web.yml:")


def test_without_users_everybody_is_admitted() -> None:
    """No file, no authentication."""
    assert statuses(Security(), "", basic("a", "b")) == [200, 200]


def test_only_right_passwords_are_admitted(tmp_path: Path) -> None:
    """Users get in with their own password; all else is a 401 that browsers understand."""
    users = {"anna": HASH, "bert": OTHER_HASH}
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": users}))
    assert statuses(security, basic("anna", "right"), basic("bert", "other")) == [200, 200]
    refused = [
        "",
        basic("anna", "wrong"),
        basic("anna", "other"),
        basic("anna", ""),
        basic("nobody", "right"),
        basic("", "right"),
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"anna").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:right").decode(),
        "Bearer right",
    ]
    assert statuses(security, *refused) == [401] * len(refused)
    challenge = answers(security, "")[0].headers["WWW-Authenticate"]
    assert challenge.startswith("Basic realm=")


def test_long_passwords_are_cut_as_bcrypt_does(tmp_path: Path) -> None:
    """bcrypt looks at 72 bytes; a longer password still works."""
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": stored}}))
    assert statuses(security, basic("a", "x" * 100), basic("a", "x" * 71)) == [200, 401]


def test_right_password_is_checked_once(tmp_path: Path, checks: list[bytes]) -> None:
    """bcrypt is slow on purpose: what it found right is remembered, what it found wrong is not."""
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    assert statuses(security, *[basic("a", "right")] * 3) == [200] * 3
    assert checks == [b"right"]
    assert statuses(security, *[basic("a", "wrong")] * 2) == [401] * 2
    assert checks == [b"right", b"wrong", b"wrong"]


def test_unknown_user_costs_a_check_too(tmp_path: Path, checks: list[bytes]) -> None:
    """The time of an answer does not tell who exists, even with another user's password."""
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    assert statuses(security, basic("nobody", "right"), basic("nobody", "right")) == [401, 401]
    assert checks == [b"right", b"right"]


def test_unknown_users_cost_as_much_as_the_dearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the users are ordered: a quick answer would say that a user does not exist."""
    dear = bcrypt.hashpw(b"right", bcrypt.gensalt(5)).decode()
    asked: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda _, hashed: asked.append(hashed))
    users = {"a": HASH, "b": dear, "c": OTHER_HASH}
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": users}))
    assert statuses(security, basic("nobody", "x"), basic("c", "x")) == [401, 401]
    assert asked == [dear.encode(), OTHER_HASH.encode()]


def test_dear_hashes_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what one check costs."""
    for cost, warned in ((14, False), (16, True), (31, True)):
        caplog.clear()
        stored = HASH.replace("$04$", f"${cost}$")
        Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": stored}}))
        assert (f"bcrypt cost {cost} takes about" in caplog.text) is warned


def test_flood_of_one_client_leaves_room_for_others(tmp_path: Path) -> None:
    """Nobody is remembered after a start, and somebody guesses: others are let in soon."""
    users = {"a": HASH, "b": OTHER_HASH}
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": users}))

    async def run() -> None:
        flood = [
            asyncio.create_task(security.admits(basic("nobody", f"{number}"), "2001:db8::7:1"))
            for number in range(500)
        ]
        await asyncio.sleep(0)
        others = [
            asyncio.create_task(security.admits(basic(user, password), client))
            for user, password, client in (
                ("a", "right", "192.0.2.1"),
                ("b", "other", "192.0.2.2"),
                ("a", "wrong", "192.0.2.3"),
                # Behind one proxy with who guesses.
                ("b", "other", "2001:db8::7:1"),
            )
        ]
        assert await asyncio.gather(*others) == [True, True, False, True]
        assert sum(task.done() for task in flood) > 400
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert {type(result) for result in results} == {bool, BusyError}

    asyncio.run(run())


def test_addresses_of_one_network_share_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has 2^64 addresses of IPv6 for oneself."""
    monkeypatch.setattr(security_module, "_MAX_WAITING", 4)
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))

    async def run() -> None:
        flood = [
            asyncio.create_task(security.admits(basic("x", f"{n}"), f"2001:db8::{n:x}"))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        assert await security.admits(basic("a", "right"), "2001:db8:0:1::1")
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(run())


def test_the_same_password_is_checked_once_at_a_time(tmp_path: Path, checks: list[bytes]) -> None:
    """Twenty scrapers that begin together cost one check."""
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))

    async def run() -> None:
        asked = [security.admits(basic("a", "right"), f"192.0.2.{n}") for n in range(20)]
        assert await asyncio.gather(*asked) == [True] * 20

    asyncio.run(run())
    assert checks == [b"right"]


def test_flood_of_passwords_is_refused_but_known_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few checks may wait; meanwhile who was admitted before is admitted at once."""
    monkeypatch.setattr(security_module, "_MAX_WAITING", 2)
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))

    async def run() -> None:
        assert await security.admits(basic("a", "right"))
        flood = [
            asyncio.create_task(security.admits(basic("a", f"wrong {number}")))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        assert await security.admits(basic("a", "right"))
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert results[:2] == [False, False]
        assert [type(result) for result in results[2:]] == [BusyError] * 3

    asyncio.run(run())


def test_changed_users_hold_without_restart(tmp_path: Path) -> None:
    """A new password in the file takes effect, and the old one ends, remembered or not."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    assert statuses(security, basic("a", "right")) == [200]
    write(Path(file), {"basic_auth_users": {"a": OTHER_HASH, "b": HASH}})
    assert statuses(security, basic("a", "right"), basic("a", "other")) == [401, 200]


def test_broken_change_keeps_the_old_users(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in the file is logged once and admits nobody new."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    write(Path(file), {"basic_auth_user": {}})
    assert statuses(security, "", "", basic("a", "right")) == [401, 401, 200]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "unknown key 'basic_auth_user'" in caplog.text


def test_vanished_file_keeps_the_old_users(tmp_path: Path) -> None:
    """Deleting the file does not open the door."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    Path(file).unlink()
    assert statuses(security, "") == [401]


@pytest.mark.parametrize(
    "left",
    [
        "",
        "# all gone\n",
        "{}\n",
        "basic_auth_users:\n",
        "rate_limit:\n  interval: 0\nbasic_",
        "rate_limit: {}\n",
        "a: [\n",
        "\0",
        None,
    ],
)
def test_nothing_opens_what_was_closed_without_saying_so(
    tmp_path: Path, left: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is emptied, cut off, broken or gone, one after the other, lets nobody in."""
    file = Path(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    security = Security(str(file))
    file.write_text("")
    assert statuses(security, "", basic("a", "right")) == [401, 200]
    file.unlink()
    assert statuses(security, "", basic("a", "right")) == [401, 200]
    if left is not None:
        file.write_text(left)
    assert statuses(security, "", "", basic("a", "right")) == [401, 401, 200]
    assert not security.last_reload_successful
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert len(caplog.records) <= 3
    write(file, {"basic_auth_users": {"b": OTHER_HASH}})
    assert statuses(security, "", basic("b", "other")) == [401, 200]
    assert security.last_reload_successful


def test_no_users_can_be_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that says so opens the door, and the log says so too."""
    file = Path(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    security = Security(str(file))
    file.write_text("basic_auth_users: {}\n")
    assert statuses(security, "") == [200]
    assert security.last_reload_successful
    assert "basic_auth_users is empty: no password is required any longer" in caplog.text


def test_file_without_content_is_warned_of_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have been emptied before; exporter-toolkit takes it."""
    file = tmp_path / "web.yml"
    file.write_text("")
    assert statuses(Security(str(file)), "") == [200]
    assert "the file is empty: TLS is off and no password is required" in caplog.text


def test_last_reload_is_told(tmp_path: Path) -> None:
    """Whether what is in the files is in force, and since when."""
    before = time.time()
    file = Path(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    security = Security(str(file))
    loaded = security.last_loaded
    assert before <= loaded <= time.time()
    assert security.last_reload_successful
    write(file, {"basic_auth_users": "hunter2"})
    with pytest.raises(ConfigError) as raised:
        asyncio.run(security.reload())
    assert "hunter2" not in str(raised.value)
    assert not security.last_reload_successful
    assert security.last_loaded == loaded
    write(file, {"basic_auth_users": {"b": HASH}})
    asyncio.run(security.reload())
    assert security.last_reload_successful
    assert security.last_loaded > loaded


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "terabyte"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """Neither at the start nor later; nobody waits for it."""

    def put() -> None:
        file.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "device":
            file.symlink_to("/dev/zero")
        elif kind == "directory":
            file.mkdir()
        else:
            with file.open("wb") as sparse:
                sparse.truncate(10**12)

    file = Path(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    security = Security(str(file))
    put()
    started = time.monotonic()
    assert statuses(security, "", basic("a", "right")) == [401, 200]
    assert not security.last_reload_successful
    with pytest.raises(ConfigError, match=r"web\.yml: cannot be read"):
        Security(str(file))
    assert time.monotonic() - started < 2


def test_file_system_that_does_not_answer_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests go on under the old configuration; who asks for a reload hears of it in time."""
    file = Path(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    security = Security(str(file))
    assert statuses(security, basic("a", "right")) == [200]
    answers = threading.Event()

    def hanging(files: Iterable[str]) -> Stamps:
        answers.wait()
        return stamps_of(files)

    monkeypatch.setattr(loading_module, "stamps_of", hanging)
    monkeypatch.setattr(security_module, "stamps_of", hanging)
    started = time.monotonic()
    assert statuses(security, *[basic("a", "right"), ""] * 50) == [200, 401] * 50
    assert time.monotonic() - started < 1
    assert security.last_reload_successful
    monkeypatch.setattr(security_module, "LOADING_TIME", 0.05)
    with pytest.raises(ConfigError, match="was not read within"):
        asyncio.run(security.reload())
    with pytest.raises(ConfigError, match="was not read within"):
        Security(str(file))
    assert statuses(security, "", "") == [401, 401]
    assert not security.last_reload_successful
    write(file, {"basic_auth_users": {"b": OTHER_HASH}})
    answers.set()
    wait_until(lambda: statuses(security, basic("b", "other")) == [200], "the file is followed")
    assert security.last_reload_successful
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) <= 1


def test_hanging_files_are_complained_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By whoever asks something, once they hang for longer than a slow disk takes."""
    security = Security(write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}}))
    answers = threading.Event()
    monkeypatch.setattr(security_module, "stamps_of", lambda files: answers.wait() and {})
    monkeypatch.setattr(security_module, "LOADING_TIME", 60.0)
    assert statuses(security, "") == [401]
    assert caplog.records == []
    monkeypatch.setattr(security_module, "LOADING_TIME", 0.0)
    assert statuses(security, "", "") == [401, 401]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not security.last_reload_successful
    answers.set()


def test_explicit_reload_raises_what_is_wrong(tmp_path: Path) -> None:
    """Who asks for a reload hears about the mistake, and the old configuration stays."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    write(Path(file), {"basic_auth_users": {"a": "x"}})
    with pytest.raises(ConfigError, match=r"basic_auth_users\.a"):
        asyncio.run(security.reload())
    assert security.config.basic_auth_users == {"a": HASH}


def test_missing_file_is_an_error_at_start(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(ConfigError, match=r"nosuch\.yml"):
        Security(str(tmp_path / "nosuch.yml"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unusable_certificate_is_named(tmp_path: Path, content: str | None) -> None:
    """Missing and unreadable certificates are told by key and path."""
    for name in ("c.pem", "k.pem"):
        if content is not None:
            (tmp_path / name).write_text(content)
    file = write(tmp_path / "web.yml", {"tls_server_config": TLS})
    with pytest.raises(ConfigError, match=r"tls_server_config\.cert_file: .*c\.pem"):
        Security(file)


def test_configured_headers_are_added(tmp_path: Path) -> None:
    """To refusals too; blank ones are not sent."""
    data = {
        "basic_auth_users": {"a": HASH},
        "http_server_config": {
            "headers": {"Strict-Transport-Security": "max-age=60", "X-XSS-Protection": ""}
        },
    }
    security = Security(write(tmp_path / "web.yml", data))
    for response in answers(security, "", basic("a", "right")):
        assert response.headers["Strict-Transport-Security"] == "max-age=60"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-XSS-Protection" not in response.headers


def test_rate_limit_refills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst one request per interval is answered, the others get 429."""
    now = 1000.0
    monkeypatch.setattr("libvirt_exporter.web.security.security.time.monotonic", lambda: now)
    data = {"rate_limit": {"interval": "2s", "burst": 2}}
    security = Security(write(tmp_path / "web.yml", data))
    responses = answers(security, "", "", "")
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[2].headers["Retry-After"] == "2"
    now += 2
    assert statuses(security, "", "") == [200, 429]
    now += 3600
    assert statuses(security, "", "", "") == [200, 200, 429]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (("prometheus.example",), True),
        (("ops@example.org",), True),
        (("spiffe://example/prometheus",), True),
        (("192.0.2.1",), True),
        (("2001:db8::1",), True),
        (("other.example", "2001:db8::2"), False),
        (("example",), False),
    ],
)
def test_client_certificates_are_matched_by_exact_name(
    allowed: tuple[str, ...], expected: bool
) -> None:
    """DNS names, addresses, e-mail and URI names count, each as a whole."""
    certificate = {
        "subjectAltName": (
            ("DNS", "prometheus.example"),
            ("email", "ops@example.org"),
            ("URI", "spiffe://example/prometheus"),
            ("IP Address", "192.0.2.1"),
            ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
        )
    }
    assert allowed_san(certificate, allowed) is expected


def test_documented_example_is_valid() -> None:
    """The commented example loads as it is, and with its comments taken away."""
    example = Path(__file__).parents[4] / "config" / "web-config.yml"
    text = example.read_text()
    assert parsed(yaml.safe_load(text), str(example)).config == WebConfig()
    options = "\n".join(line[1:] for line in text.splitlines() if line.startswith("#"))
    _, _, uncommented = options.partition("\n---\n")
    config = parsed(yaml.safe_load(uncommented), str(example)).config
    assert config.tls_server_config.enabled
    assert config.basic_auth_users
    assert config.rate_limit.seconds()


def test_refused_logins_are_counted_and_logged_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A request without any login is none: that is how a browser begins."""
    stored = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{anna: '{stored}'}}\n")
    telemetry = Telemetry(process=False)
    app = create_app(FakeService(), web_config=Security(str(file)), telemetry=telemetry)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as session:
            logins = [None, ("anna", "y"), ("anna", "z"), ("anna", "x")]
            return [(await session.get("/metrics", auth=login)).status_code for login in logins]

    assert asyncio.run(ask()) == [401, 401, 401, 200]
    name = "libvirt_exporter_http_refused_logins_total"
    assert telemetry.registry.get_sample_value(name) == 2
    assert [record.message for record in caplog.records] == [
        "login of 127.0.0.1 rejected: wrong user or password"
    ]


def status_of(method: str, path: str, file: str, *, health_without_login: bool) -> int:
    """The status of one request without a password, behind another one for the same."""
    app = create_app(
        FakeService(), web_config=Security(file), health_without_login=health_without_login
    )

    async def run() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            await client.request(method, path)
            return (await client.request(method, path)).status_code

    return asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready", "/-%2Fhealthy"])
def test_health_needs_no_password_where_that_is_chosen(
    method: str, path: str, tmp_path: Path
) -> None:
    """A load balancer or kubelet has none; without the option nobody gets in without."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"anna": HASH}})

    assert status_of(method, path, file, health_without_login=False) == 401
    assert status_of(method, path, file, health_without_login=True) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/-/healthy"),
        ("OPTIONS", "/-/ready"),
        ("GET", "/-/reload"),
        ("POST", "/-/reload"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/api/v1/vms"),
        ("GET", "/-/healthy/"),
        ("GET", "//-/healthy"),
        ("GET", "/-/Healthy"),
        ("GET", "/-/healthy/..%2F..%2Fmetrics"),
        ("GET", "/metrics?/-/healthy"),
        ("GET", "/-/healthy%00"),
        ("GET", "/metrics;/-/healthy"),
    ],
)
def test_nothing_but_health_is_read_without_a_password(
    method: str, path: str, tmp_path: Path
) -> None:
    """Another method, or a path that only resembles one of the two, is asked for a password."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"anna": HASH}})

    assert status_of(method, path, file, health_without_login=True) == 401


def test_health_without_a_password_counts_for_the_rate_limit(tmp_path: Path) -> None:
    """The limit is on requests, whoever sends them."""
    limit = {"interval": "1h", "burst": 1}
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"anna": HASH}, "rate_limit": limit})

    assert status_of("GET", "/-/healthy", file, health_without_login=True) == 429
