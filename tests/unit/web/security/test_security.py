"""The web configuration file: what it may say, and what it does to requests."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
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
from libvirt_exporter.web.problems import BusyError
from libvirt_exporter.web.security import security as security_module
from libvirt_exporter.web.security.middleware import SecurityMiddleware
from libvirt_exporter.web.security.security import Security
from libvirt_exporter.web.security.web_config import WebConfig, allowed_san, parse_web_config

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
TLS = {"cert_file": "c.pem", "key_file": "k.pem"}


def problem(data: object) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_web_config(data, "web.yml")
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
        assert parse_web_config(data, "web.yml") == WebConfig()


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
    config = parse_web_config(data, "/etc/exporter/web.yml")
    assert config.tls_server_config is not None
    assert config.tls_server_config.cert_file == "/etc/exporter/c.pem"
    assert config.tls_server_config.client_ca_file == "/etc/ca.pem"
    assert config.rate_limit.seconds() == 0.5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ["web.yml", "object"]),
        ({"tls_config": {}}, ["unknown key tls_config", "did you mean tls_server_config?"]),
        (
            {"tls_server_config": {"certfile": "x"}},
            ["tls_server_config: unknown key certfile", "did you mean cert_file?"],
        ),
        ({"tls_server_config": {"cert_file": 5}}, ["tls_server_config.cert_file", "str"]),
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
        (
            {"tls_server_config": {**TLS, "client_auth_type": "RequireAndVerifyClientCert"}},
            ["client_ca_file", "missing"],
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
        (
            {"tls_server_config": {**TLS, "curve_preferences": ["CurveP256", "X25519"]}},
            ["curve_preferences", "more than one"],
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
    assert text.startswith("web.yml: ")
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
        config = parse_web_config(data, "web.yml")
    except ConfigError as error:
        told = str(error)
    else:
        assert isinstance(config, WebConfig)
        return
    assert told.startswith("web.yml: ")


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
    assert "unknown key basic_auth_user" in caplog.text


def test_vanished_file_keeps_the_old_users(tmp_path: Path) -> None:
    """Deleting the file does not open the door."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    Path(file).unlink()
    assert statuses(security, "") == [401]


def test_explicit_reload_raises_what_is_wrong(tmp_path: Path) -> None:
    """Who asks for a reload hears about the mistake, and the old configuration stays."""
    file = write(tmp_path / "web.yml", {"basic_auth_users": {"a": HASH}})
    security = Security(file)
    write(Path(file), {"basic_auth_users": {"a": "x"}})
    with pytest.raises(ConfigError, match=r"basic_auth_users\.a"):
        security.reload()
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
    assert parse_web_config(yaml.safe_load(text), str(example)) == WebConfig()
    options = "\n".join(line[1:] for line in text.splitlines() if line.startswith("#"))
    _, _, uncommented = options.partition("\n---\n")
    config = parse_web_config(yaml.safe_load(uncommented), str(example))
    assert config.tls_server_config is not None
    assert config.basic_auth_users
    assert config.rate_limit.seconds()
