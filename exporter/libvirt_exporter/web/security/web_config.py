"""The web configuration file: TLS, users and headers, in the exporter-toolkit's format.

Source of the format: docs/web-configuration.md of https://github.com/prometheus/exporter-toolkit.
What it takes is taken here, but for what is refused on purpose, each with its reason:

- `RequireAnyClientCert`: Python's TLS cannot ask for a certificate without verifying it;
- TLS below 1.2, which is broken (RFC 8996), and no version at all (minimum above maximum);
- TLS options without a certificate, which would leave plain HTTP;
- an empty `client_allowed_sans` and a `rate_limit` without burst, by which nobody gets an answer;
- headers of more than one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from libvirt_exporter.config.conversion import Converter
from libvirt_exporter.config.document import Value
from libvirt_exporter.config.problem import ConfigError, Hint, Problem, Report, suggestion
from libvirt_exporter.config.problem import Path as Option
from libvirt_exporter.web.security import passwords, tls

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""Headers that may be set, with the values that they may have, besides none; () for any."""
_VERIFYING: Final = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION: Final = re.compile(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|\d+(?:\.\d+)?")
_PART: Final = re.compile(r"([\d.]+)([a-zµμ]*)")


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mapping of the file; keys that it does not have are mistakes."""


class TLSServerConfig(_Section, frozen=True):
    """`tls_server_config`; file names are relative to the web configuration file."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    """PEM in the file itself; of a pair like `cert` and `cert_file`, the file counts."""
    cert_file: str = ""
    key_file: str = ""
    client_auth_type: str = "NoClientCert"
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    """Go's names, for TLS 1.2; those of TLS 1.3 are always on."""
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()
    """Go's names in the order of preference; see `tls.curves`."""

    @property
    def enabled(self) -> bool:
        """Whether anything of it is set: without, plain HTTP is served."""
        return self != TLSServerConfig()

    @property
    def requires_certificates(self) -> bool:
        """Whether a client needs a certificate."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    @property
    def vouching(self) -> str:
        """What names the CAs of clients; '' when the system does."""
        return self.client_ca_file or self.client_ca

    def files(self) -> tuple[str, ...]:
        """The files whose change means new certificates."""
        return tuple(name for name in (self.cert_file, self.key_file, self.client_ca_file) if name)


class HTTPServerConfig(_Section, frozen=True):
    """`http_server_config`."""

    http2: bool = True
    """Accepted and without effect: this server speaks HTTP/1.1."""
    headers: Mapping[str, str] = {}
    """Added to every response; blank ones are not sent."""


class RateLimit(_Section, frozen=True):
    """`rate_limit`: a token bucket over all requests."""

    interval: str = "0"
    """Time in which one request is earned, `500ms`, `1s`, `1m30s`; 0: no limit."""
    burst: int = 0
    """Requests that may come at once."""

    def seconds(self) -> float:
        """`interval` in seconds; ValueError for what is no duration."""
        if not _DURATION.fullmatch(self.interval):
            raise ValueError("not a duration")
        parts = _PART.findall(self.interval)
        return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


class WebConfig(_Section, frozen=True):
    """A whole web configuration file."""

    tls_server_config: TLSServerConfig = TLSServerConfig()
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: Mapping[str, str] = {}
    """bcrypt hash by user; empty: no authentication."""
    rate_limit: RateLimit = RateLimit()


class Parsed(NamedTuple):
    """A web configuration that can be used."""

    config: WebConfig
    given: Mapping[str, int]
    """Line of what the file says, even if only `{}`: of `basic_auth_users`,
    `tls_server_config.cert_file` …"""
    notes: tuple[Problem, ...]
    """What its author should know."""


Finding = tuple[Option, str, Hint]
"""Option, what is wrong with it, hint."""


def parse_web_config(root: Value, file: str) -> Parsed:
    """Check the content of the YAML document `file`.

    `ConfigError` names every mistake by its line. Files that the configuration names are not read.
    """
    report = Report(file)
    converter = Converter(report, strict=True, as_written=True, schema=WebConfig)
    config: WebConfig = converter.convert(root, WebConfig, WebConfig())
    given = _given(root)
    for finding in _mistakes(config, given):
        report.add(*finding)
    if report.problems:
        raise ConfigError(report.problems)
    if not given:
        report.add((), "the file is empty: TLS is off and no password is required")
    for finding in _notes(config):
        report.add(*finding)
    tls_config = _with_directory(config.tls_server_config, Path(file).parent)
    config = msgspec.structs.replace(config, tls_server_config=tls_config)
    return Parsed(config, given, tuple(report.problems))


def _given(root: Value) -> Mapping[str, int]:
    if not isinstance(root.content, Mapping):
        return {}
    given = {}
    for section, value in root.content.items():
        if value.content is not None:
            given[section] = value.place.line
        if isinstance(value.content, Mapping):
            for key, option in value.content.items():
                if option.content is not None:
                    given[f"{section}.{key}"] = option.place.line
    return given


def _mistakes(config: WebConfig, given: Collection[str]) -> Iterator[Finding]:
    """What types alone cannot hold."""
    for user, stored in config.basic_auth_users.items():
        if mistake := passwords.mistake(stored):
            yield ("basic_auth_users", user), f"basic_auth_users.{user}: {mistake}", _HASH_HINT
    for name, value in config.http_server_config.headers.items():
        option = ("http_server_config", "headers", name)
        if name not in _HEADERS:
            yield (
                option,
                f"http_server_config.headers: {name!r} cannot be set",
                suggestion(name, _HEADERS),
            )
        elif (allowed := _HEADERS[name]) and value and value not in allowed:
            yield (
                option,
                f"http_server_config.headers.{name}: {value!r} is not allowed",
                f"use {' or '.join(allowed)}",
            )
        elif not re.fullmatch("[ -~]*", value):
            yield (
                option,
                f"http_server_config.headers.{name}: the value must be one line of printable ASCII",
                "",
            )
    limit = config.rate_limit
    try:
        if limit.seconds() and limit.burst < 1:
            message = "rate_limit.burst: a value below 1 rejects every request"
            yield ("rate_limit", "burst"), message, "write 1 or more"
    except ValueError as error:
        message = f"rate_limit.interval: {limit.interval!r} is {error}"
        yield ("rate_limit", "interval"), message, "for example 500ms, 1s or 1m30s"
    if config.tls_server_config.enabled:
        for key, message, hint in _tls_mistakes(config.tls_server_config, given):
            yield ("tls_server_config", key), f"tls_server_config.{key}: {message}", hint


_HASH_HINT: Final = "`htpasswd -nBC 10 ''` prints one"


def _tls_mistakes(
    config: TLSServerConfig, given: Collection[str]
) -> Iterator[tuple[str, str, Hint]]:
    for key, what in (("cert_file", "a certificate"), ("key_file", "the certificate's key")):
        if not (getattr(config, key) or getattr(config, key.removesuffix("_file"))):
            yield key, "missing", f"TLS requires {what}; for plain HTTP, remove tls_server_config"
    auth = config.client_auth_type
    if auth in ("RequireAnyClientCert", "RequireClientCert"):
        hint = (
            "Python's TLS verifies every certificate that it requires: use "
            "RequireAndVerifyClientCert, with the clients' own certificates as client_ca_file"
        )
        yield "client_auth_type", f"{auth} is not supported", hint
    elif auth not in tls.CLIENT_AUTH:
        hint = suggestion(auth, tls.CLIENT_AUTH)
        yield "client_auth_type", f"unknown policy {auth!r}", hint
    elif config.vouching and auth == "NoClientCert":
        key = "client_ca_file" if config.client_ca_file else "client_ca"
        yield (
            key,
            "unused: no client certificate is requested",
            "set client_auth_type: RequireAndVerifyClientCert",
        )
    if "tls_server_config.client_allowed_sans" in given:
        if auth in tls.CLIENT_AUTH and not config.requires_certificates:
            hint = "set client_auth_type: RequireAndVerifyClientCert"
            yield (
                "client_allowed_sans",
                "not used: clients are not required to send a certificate",
                hint,
            )
        elif not config.client_allowed_sans:
            yield (
                "client_allowed_sans",
                "empty: every client would be rejected",
                "remove it, or list the allowed names",
            )
    for key in ("min_version", "max_version"):
        version = getattr(config, key)
        if version in ("TLS10", "TLS11"):
            yield key, f"{version} is insecure (RFC 8996)", "use TLS12 or TLS13"
        elif version not in tls.VERSIONS:
            yield key, f"unknown TLS version {version!r}", suggestion(version, tls.VERSIONS)
    if config.min_version > config.max_version:
        message = f"{config.min_version} is above max_version {config.max_version}"
        yield "min_version", message, "lower min_version or raise max_version"
    for suite in config.cipher_suites:
        if not tls.is_known_cipher(suite):
            yield (
                "cipher_suites",
                f"OpenSSL does not support {suite}",
                "use Go's name of a safe suite, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            )
    for curve in config.curve_preferences:
        if curve not in tls.CURVES:
            yield "curve_preferences", f"unknown curve {curve}", suggestion(curve, tls.CURVES)


def _notes(config: WebConfig) -> Iterator[Finding]:
    """What is no mistake, but easily made."""
    for user, stored in config.basic_auth_users.items():
        if (cost := passwords.cost(stored)) > passwords.HIGH_COST:
            seconds = passwords.seconds(cost)
            message = (
                f"basic_auth_users.{user}: bcrypt cost {cost} takes about {seconds:.0f} s of CPU "
                f"time for each wrong password; other new logins wait for it"
            )
            yield ("basic_auth_users", user), message, "use a cost of 10 to 12"
    section = config.tls_server_config
    for key in ("cert", "key", "client_ca"):
        if getattr(section, key) and getattr(section, f"{key}_file"):
            yield (
                ("tls_server_config", key),
                f"{key} is ignored: {key}_file is set too",
                "remove one of them",
            )
    if section.client_auth_type == "RequestClientCert":
        message = "RequestClientCert does not require a certificate, like NoClientCert"
        hint = "use RequireAndVerifyClientCert"
        yield ("tls_server_config", "client_auth_type"), message, hint
    elif section.client_auth_type in _VERIFYING and not (
        section.client_ca_file or section.client_ca
    ):
        message = (
            "without client_ca_file, all CAs that this system trusts may sign client certificates"
        )
        yield (
            ("tls_server_config", "client_auth_type"),
            message,
            "set client_ca_file to your own CA",
        )
    if len(section.curve_preferences) > 1 and not tls.CAN_ORDER_CURVES:
        message = "this Python supports only one curve: it uses the first that it knows"
        yield (
            ("tls_server_config", "curve_preferences"),
            message,
            "name one curve, or remove the option",
        )


def _with_directory(config: TLSServerConfig, directory: Path) -> TLSServerConfig:
    names = ("cert_file", "key_file", "client_ca_file")
    return msgspec.structs.replace(
        config,
        **{name: str(directory / value) for name in names if (value := getattr(config, name))},
    )
