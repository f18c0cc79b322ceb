"""The web configuration file: TLS, users and headers, in the exporter-toolkit's format.

Source of the format: docs/web-configuration.md of https://github.com/prometheus/exporter-toolkit.
Not taken from it, and refused: `cert`, `key` and `client_ca` inline (name files instead), TLS below
1.2, and the client certificate policies that verify nothing.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from libvirt_exporter.config import ConfigError, Problem
from libvirt_exporter.config.durations import parse_duration
from libvirt_exporter.config.problem import suggestion

ClientAuthType = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
TLSVersion = Literal["TLS12", "TLS13"]
Header = Literal[
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
]

_CLIENT_AUTH: Final[Mapping[ClientAuthType, ssl.VerifyMode]] = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_TLS_VERSIONS: Final[Mapping[TLSVersion, ssl.TLSVersion]] = {
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_HEADER_VALUES: Final = {
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
}
_BCRYPT_HASH: Final = re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}")


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mapping of the file; keys that it does not have are mistakes."""


class TLSServerConfig(_Section, frozen=True):
    """`tls_server_config`; file names are relative to the web configuration file."""

    cert_file: str = ""
    key_file: str = ""
    client_auth_type: ClientAuthType = "NoClientCert"
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: TLSVersion = "TLS12"
    max_version: TLSVersion = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    """Go's names, for TLS 1.2; those of TLS 1.3 are always on."""
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()
    """At most one: Python's ssl module (3.11) cannot order several."""

    def files(self) -> tuple[str, ...]:
        """The files whose change means new certificates."""
        return tuple(name for name in (self.cert_file, self.key_file, self.client_ca_file) if name)


class HTTPServerConfig(_Section, frozen=True):
    """`http_server_config`."""

    http2: bool = True
    """Accepted and without effect: this server speaks HTTP/1.1."""
    headers: Mapping[Header, str] = {}
    """Added to every response; blank ones are not sent."""


class RateLimit(_Section, frozen=True):
    """`rate_limit`: a token bucket over all requests."""

    interval: str | int = 0
    """Time in which one request is earned, `500ms`, `1s`, `1m30s`; 0: no limit."""
    burst: int = 1
    """Requests that may come at once."""

    def seconds(self) -> float:
        """`interval` in seconds; ValueError for what is no duration."""
        return parse_duration(str(self.interval))


class WebConfig(_Section, frozen=True):
    """A whole web configuration file."""

    tls_server_config: TLSServerConfig | None = None
    """None: plain HTTP."""
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: Mapping[str, str] = {}
    """bcrypt hash by user; empty: no authentication."""
    rate_limit: RateLimit = RateLimit()


_SECTIONS: Final[Mapping[str, type[_Section]]] = {
    "": WebConfig,
    "tls_server_config": TLSServerConfig,
    "http_server_config": HTTPServerConfig,
    "rate_limit": RateLimit,
}


def parse_web_config(data: object, file: str) -> WebConfig:
    """Check the plain data (None for an empty file) of the YAML document `file`.

    `ConfigError` names every mistake by its key. Files that the configuration names are not read.
    """
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if value is not None}
    try:
        config = msgspec.convert({} if data is None else data, WebConfig)
    except msgspec.ValidationError as error:
        raise ConfigError([_structural_problem(str(error), file)]) from None
    if problems := [
        Problem(file, 0, f"{key}: {message}", hint) for key, message, hint in _mistakes(config)
    ]:
        raise ConfigError(problems)
    tls = config.tls_server_config
    if tls in (None, TLSServerConfig()):
        return msgspec.structs.replace(config, tls_server_config=None)
    return msgspec.structs.replace(
        config, tls_server_config=_with_directory(tls, Path(file).parent)
    )


def _structural_problem(message: str, file: str) -> Problem:
    """msgspec's `Expected … - at `$.key`` in the words of a configuration file."""
    message, _, path = message.partition(" - at ")
    key = path.replace("`", "").replace("$.", "").replace("$", "")
    hint = ""
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", message, re.DOTALL):
        message = f"unknown key {unknown[1]}"
        hint = suggestion(unknown[1], _SECTIONS[key].__struct_fields__)
    return Problem(file, 0, f"{key}: {message}" if key else message, hint)


def _mistakes(config: WebConfig) -> Iterator[tuple[str, str, str]]:
    """What types alone cannot hold: (key, what is wrong, what to do)."""
    for user, stored in config.basic_auth_users.items():
        if not _BCRYPT_HASH.fullmatch(stored):
            hint = "make one with htpasswd -nBC 10 ''"
            yield f"basic_auth_users.{user}", "not a bcrypt hash", hint
    for name, value in config.http_server_config.headers.items():
        key = f"http_server_config.headers.{name}"
        allowed = _HEADER_VALUES.get(name)
        if allowed and value and value.lower() not in allowed:
            yield key, f"{value!r} is not allowed", f"use {' or '.join(allowed)}"
        elif not re.fullmatch("[ -~]*", value):
            yield key, "not one line of printable ASCII", ""
    try:
        if config.rate_limit.seconds() and config.rate_limit.burst < 1:
            yield "rate_limit.burst", "nothing would ever be answered", "use 1 or more"
    except ValueError as error:
        yield "rate_limit.interval", str(error), "use 500ms, 1s, 1m30s or the like"
    if config.tls_server_config not in (None, TLSServerConfig()):
        for option, message, hint in _tls_mistakes(config.tls_server_config):
            yield f"tls_server_config.{option}", message, hint


def _tls_mistakes(tls: TLSServerConfig) -> Iterator[tuple[str, str, str]]:
    if not tls.cert_file:
        yield "cert_file", "missing", "TLS needs a certificate"
    if not tls.key_file:
        yield "key_file", "missing", "TLS needs the certificate's key"
    verifies = tls.client_auth_type != "NoClientCert"
    if tls.client_ca_file and not verifies:
        yield "client_ca_file", "unused", "set client_auth_type: RequireAndVerifyClientCert"
    if verifies and not tls.client_ca_file:
        yield "client_ca_file", "missing", f"{tls.client_auth_type} needs it"
    if tls.client_allowed_sans and tls.client_auth_type != "RequireAndVerifyClientCert":
        hint = "set client_auth_type: RequireAndVerifyClientCert"
        yield "client_allowed_sans", "clients need not show a certificate", hint
    if tls.min_version > tls.max_version:
        yield "min_version", f"{tls.min_version} is above max_version {tls.max_version}", ""
    for suite in tls.cipher_suites:
        if not _known_cipher(suite):
            yield "cipher_suites", f"OpenSSL has no {suite}", "use Go's names of safe suites"
    if len(tls.curve_preferences) > 1:
        yield "curve_preferences", "more than one curve", "name one, or none for the defaults"
    for curve in tls.curve_preferences:
        if curve not in _CURVES:
            yield "curve_preferences", f"unknown curve {curve}", suggestion(curve, _CURVES)


def _with_directory(tls: TLSServerConfig, directory: Path) -> TLSServerConfig:
    names = ("cert_file", "key_file", "client_ca_file")
    return msgspec.structs.replace(
        tls, **{name: str(directory / value) for name in names if (value := getattr(tls, name))}
    )


def tls_context(tls: TLSServerConfig, file: str) -> ssl.SSLContext:
    """A server context from the files that `tls` names.

    `ConfigError` says which one fails and why; `file` is the web configuration, for its text.
    """

    def refuse(key: str, problem: str, hint: str = "") -> ConfigError:
        return ConfigError([Problem(file, 0, f"tls_server_config.{key}: {problem}", hint)])

    for key in ("cert_file", "key_file", "client_ca_file"):
        try:
            if name := getattr(tls, key):
                Path(name).open("rb").close()
        except OSError as error:
            raise refuse(key, f"cannot read {error.filename}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version = _TLS_VERSIONS[tls.min_version]
    context.maximum_version = _TLS_VERSIONS[tls.max_version]
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except OSError as error:
        pair = f"{tls.cert_file} and {tls.key_file}"
        problem = f"{pair} are not a certificate and its unencrypted key: {error}"
        raise refuse("cert_file", problem) from None
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    if tls.client_ca_file:
        try:
            context.load_verify_locations(tls.client_ca_file)
        except OSError as error:
            problem = f"{tls.client_ca_file} holds no certificates: {error}"
            raise refuse("client_ca_file", problem) from None
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    older = [_openssl_cipher(suite) for suite in tls.cipher_suites if "_WITH_" in suite]
    if older:
        context.set_ciphers(":".join(older))
    for curve in tls.curve_preferences:
        try:
            context.set_ecdh_curve(_CURVES[curve])
        except (ssl.SSLError, ValueError) as error:
            # Python 3.11 with OpenSSL 3.0 looks among the NIST curves only.
            problem = f"{ssl.OPENSSL_VERSION} does not take {curve}: {error}"
            hint = "name CurveP256, CurveP384 or CurveP521, or none for the defaults"
            raise refuse("curve_preferences", problem, hint) from None
    return context


def _openssl_cipher(suite: str) -> str:
    """OpenSSL's name of a TLS 1.2 suite: `ECDHE-RSA-AES128-GCM-SHA256` and the like."""
    name = suite.removeprefix("TLS_").replace("_WITH_", "_").replace("AES_", "AES")
    return name.replace("_CBC", "").replace("POLY1305_SHA256", "POLY1305").replace("_", "-")


def _known_cipher(suite: str) -> bool:
    """Whether OpenSSL has the suite; `set_ciphers` itself drops unknown names in silence."""
    if "_WITH_" not in suite:
        known = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()
        return any(cipher["name"] == suite for cipher in known)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(_openssl_cipher(suite))
    except ssl.SSLError:
        return False
    return True


def allowed_san(certificate: Mapping[str, Any], allowed: tuple[str, ...]) -> bool:
    """Whether a verified certificate, as `getpeercert` gives it, has one of the allowed SANs."""
    names = {
        _plain_address(value) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
    }
    return not names.isdisjoint(_plain_address(name) for name in allowed)


def _plain_address(name: str) -> str:
    """An IP address in its short form, anything else unchanged; OpenSSL writes IPv6 in full."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name
