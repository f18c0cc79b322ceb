"""Web configuration files as exporter-toolkit's users write them: the verdict is its own.

Written from its documentation (docs/web-configuration.md of prometheus/exporter-toolkit) and the
kinds of files that its tests name. Where Python's TLS verifies do what Go's does, or doing it would
serve nobody, the file is refused, and the message says why and where.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from libvirt_exporter.config import ConfigError
from libvirt_exporter.web.security.security import Security
from tests.support.authority import Authority

SERVER = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"


class File(NamedTuple):
    """One file and what becomes of it."""

    name: str
    text: str
    words: tuple[str, ...] = ()
    """What the refusal says, with its line, in order; () when the file is good."""


GOOD = [
    File("empty", ""),
    File("comment only", "# nothing\n"),
    File("empty mapping", "{}\n"),
    File(
        "null sections",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
    ),
    File("null headers", "http_server_config:\n  headers:\n"),
    File("null options", f"{SERVER}  client_ca_file:\n  cipher_suites:\n  min_version:\n"),
    File("certificate", SERVER),
    File("no client certificates", f"{SERVER}  client_auth_type: NoClientCert\n"),
    File(
        "client certificates looked at by nobody",
        f"{SERVER}  client_auth_type: RequestClientCert\n",
    ),
    File(
        "verified if given, by the system's CAs",
        f"{SERVER}  client_auth_type: VerifyClientCertIfGiven\n",
    ),
    File(
        "verified if given",
        f"{SERVER}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n",
    ),
    File(
        "required, by the system's CAs", f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n"
    ),
    File(
        "required",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n",
    ),
    File(
        "required with names",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
        "  client_allowed_sans:\n  - prometheus.example\n  - 192.0.2.1\n",
    ),
    File("inline", "tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n"),
    File("key inline", "tls_server_config:\n  cert_file: server.crt\n  key: |\n    {key}\n"),
    File(
        "client CA inline",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca: |\n    {{ca}}\n",
    ),
    File("both, the file counts", f"{SERVER}  cert: unused\n"),
    File(
        "some suites",
        f"{SERVER}  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"
        "  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n  max_version: TLS12\n",
    ),
    File(
        "all suites",
        f"{SERVER}  cipher_suites:\n"
        + "".join(
            f"  - {suite}\n"
            for suite in (
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
                "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
                "TLS_RSA_WITH_AES_128_CBC_SHA",
                "TLS_RSA_WITH_AES_256_GCM_SHA384",
            )
        ),
    ),
    File(
        "the client's order",
        f"{SERVER}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n"
        "  prefer_server_cipher_suites: no\n",
    ),
    File(
        # Go refuses it for the sake of HTTP/2, which is not spoken here.
        "no suite of HTTP/2",
        f"{SERVER}  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n  max_version: TLS12\n",
    ),
    File("one curve", f"{SERVER}  min_version: TLS13\n  curve_preferences: [CurveP521]\n"),
    File(
        "all curves",
        f"{SERVER}  curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]\n",
    ),
    File("versions", f"{SERVER}  min_version: TLS13\n  max_version: TLS13\n"),
    File("HTTP/2", f"{SERVER}http_server_config:\n  http2: true\n"),
    File("no HTTP/2", "http_server_config:\n  http2: false\n"),
    File(
        "headers",
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
        "    Strict-Transport-Security: max-age=31536000; includeSubDomains\n"
        "    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1\n"
        "    Content-Security-Policy: \"default-src 'self' *.example.net\"\n",
    ),
    # Unset, says the documentation; the toolkit's code refuses it.
    File("blank headers", 'http_server_config:\n  headers:\n    X-Frame-Options: ""\n'),
    File(
        "users",
        f"{SERVER}basic_auth_users:\n  anna: {HASH}\n  bert: {HASH.replace('$2y', '$2a')}\n",
    ),
    File("users without TLS", f"basic_auth_users:\n  anna: {HASH}\n"),
    File("number as a user", f"basic_auth_users:\n  7: {HASH}\n"),
    File("no users", "basic_auth_users: {}\n"),
    File("rate limit", "rate_limit:\n  interval: 1s\n  burst: 5\n"),
    File("rate limit in other units", "rate_limit:\n  interval: 1h1.5m200ms10us\n  burst: 1\n"),
    File("no rate limit", "rate_limit:\n  interval: 0\n"),
    File("burst alone", "rate_limit:\n  burst: 5\n"),
]

BAD = [
    File("junk", "hjkl\n", (":1: the file must be a mapping",)),
    File("list", "- a\n", (":1: the file must be a mapping",)),
    File("no YAML", "a: [\n", ("YAML",)),
    File("unknown key", "tls_config: {}\n", (":1: unknown key 'tls_config'", "tls_server_config")),
    File(
        "unknown option", f"{SERVER}  cert_fiel: a\n", (":4: unknown key 'cert_fiel'", "cert_file")
    ),
    File("key twice", "basic_auth_users: {}\nbasic_auth_users: {}\n", (":2:", "given twice")),
    File(
        "no certificate",
        "tls_server_config:\n  key_file: server.key\n",
        (":1:", "cert_file", "missing"),
    ),
    File("no key", "tls_server_config:\n  cert_file: server.crt\n", (":1:", "key_file", "missing")),
    File(
        "empty names",
        'tls_server_config:\n  cert_file: ""\n  key_file: ""\n  client_auth_type: x\n',
        ("cert_file", "missing", "key_file", "missing", ":4:", "unknown policy 'x'"),
    ),
    File(
        "certificate that is not there",
        "tls_server_config:\n  cert_file: nothing\n  key_file: server.key\n",
        (":2: tls_server_config.cert_file: cannot read", "No such file"),
    ),
    File(
        "key that is not there",
        "tls_server_config:\n  cert_file: server.crt\n  key_file: nothing\n",
        (":3: tls_server_config.key_file: cannot read", "No such file"),
    ),
    File(
        "key of another certificate",
        "tls_server_config:\n  cert_file: server.crt\n  key_file: ca.key\n",
        (":2: tls_server_config.cert_file:", "KEY_VALUES_MISMATCH"),
    ),
    File(
        "certificate that is none",
        "tls_server_config:\n  cert: x\n  key_file: server.key\n",
        ("tls_server_config.cert_file: not a certificate",),
    ),
    File("CA without a policy", f"{SERVER}  client_ca_file: ca.crt\n", (":4:", "unused")),
    File("inline CA without a policy", f"{SERVER}  client_ca: x\n", (":4:", "client_ca", "unused")),
    File(
        "CA that is not there",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: nothing\n",
        (":5: tls_server_config.client_ca_file: cannot read",),
    ),
    File(
        "CA that is none",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.key\n",
        (":5: tls_server_config.client_ca_file:", "contains no certificates"),
    ),
    File(
        "names without a policy",
        f"{SERVER}  client_allowed_sans: [a]\n",
        (":4:", "not required to send a certificate"),
    ),
    File(
        "names with an optional certificate",
        f"{SERVER}  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [a]\n",
        (":5:", "not required to send a certificate"),
    ),
    File(
        "unknown policy",
        f"{SERVER}  client_auth_type: Verify\n",
        (":4:", "unknown policy 'Verify'"),
    ),
    File(
        "unknown suite",
        f"{SERVER}  cipher_suites: [TLS_X]\n",
        (":4:", "OpenSSL does not support TLS_X"),
    ),
    File("broken suite", f"{SERVER}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", (":4:", "RC4")),
    File("unknown curve", f"{SERVER}  curve_preferences: [CurveP1]\n", (":4:", "unknown curve")),
    File("unknown version", f"{SERVER}  min_version: TLS111\n", (":4:", "unknown TLS version")),
    File(
        "header that is not for users", "http_server_config:\n  headers:\n    Server: x\n", (":3:",)
    ),
    File(
        "unknown value of a header",
        "http_server_config:\n  headers:\n    X-Frame-Options: DENY\n",
        (":3:", "'DENY' is not allowed", "deny"),
    ),
    File(
        "another unknown value",
        "http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n",
        (":3:", "nosniff"),
    ),
    File(
        "password that is no hash",
        "basic_auth_users:\n  anna: secret\n",
        (":2:", "not a bcrypt hash"),
    ),
    File("no password", "basic_auth_users:\n  anna:\n", (":2:", "not a bcrypt hash")),
    File("users as a list", f"basic_auth_users: [{HASH}]\n", (":1:", "basic_auth_users must be")),
    File("text for a truth", 'http_server_config:\n  http2: "yes"\n', (":2:", "true or false")),
    File("no duration", "rate_limit:\n  interval: soon\n  burst: 1\n", (":2:", "not a duration")),
    *(
        File(
            f"hash of cost {cost}",
            f"basic_auth_users:\n  anna: {HASH.replace('$10$', f'${cost}$')}\n",
            (":2: basic_auth_users.anna: bcrypt cost", "4 to 31"),
        )
        for cost in ("00", "03", "32", "99")
    ),
]

STRICTER = [
    File(
        "any certificate at all",
        f"{SERVER}  client_auth_type: RequireAnyClientCert\n",
        (":4:", "is not supported", "Python's TLS verifies", "RequireAndVerifyClientCert"),
    ),
    File(
        "its older name",
        f"{SERVER}  client_auth_type: RequireClientCert\n",
        (":4:", "is not supported"),
    ),
    File("TLS 1.0", f"{SERVER}  min_version: TLS10\n", (":4:", "insecure", "RFC 8996")),
    File("TLS 1.1", f"{SERVER}  max_version: TLS11\n", (":4:", "insecure", "RFC 8996")),
    File(
        "no version at all",
        f"{SERVER}  min_version: TLS13\n  max_version: TLS12\n",
        (":4:", "lower min_version or raise max_version"),
    ),
    File(
        "TLS options without a certificate",
        "tls_server_config:\n  min_version: TLS13\n",
        (":1:", "for plain HTTP, remove tls_server_config"),
    ),
    File(
        "no names at all",
        f"{SERVER}  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: []\n",
        (":5:", "every client would be rejected"),
    ),
    File(
        "no burst",
        "rate_limit:\n  interval: 1s\n",
        (":1:", "a value below 1 rejects every request"),
    ),
    File(
        "header of two lines",
        'http_server_config:\n  headers:\n    X-XSS-Protection: "a\\nb: c"\n',
        (":3:", "must be one line"),
    ),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates under the names that the files use."""
    directory = tmp_path_factory.mktemp("toolkit")
    Authority(directory).issue("server", "IP:127.0.0.1")
    shutil.copy(directory / "ca.crt", directory / "client_ca.crt")
    return directory


def write(file: File, directory: Path) -> str:
    text = file.text
    for place, name in (("{cert}", "server.crt"), ("{key}", "server.key"), ("{ca}", "ca.crt")):
        text = text.replace(place, (directory / name).read_text().replace("\n", "\n    "))
    path = directory / "web.yml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.name)
def test_good_files_are_taken(file: File, directory: Path) -> None:
    """As exporter-toolkit takes them."""
    security = Security(write(file, directory))
    assert security.config.tls_server_config.enabled is ("tls_server_config:\n " in file.text)
    assert (security.server_context() is not None) is security.config.tls_server_config.enabled


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.name)
def test_bad_files_are_refused(file: File, directory: Path) -> None:
    """As exporter-toolkit refuses them, and with the line."""
    refused(file, directory)


@pytest.mark.parametrize("file", STRICTER, ids=lambda file: file.name)
def test_what_is_stricter_on_purpose_says_why(file: File, directory: Path) -> None:
    """exporter-toolkit takes these files, and then serves something else, nobody, or worse."""
    refused(file, directory)


def refused(file: File, directory: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        Security(write(file, directory))
    rest = str(raised.value)
    for word in file.words:
        assert word in rest
        rest = rest.partition(word)[2]
    assert HASH not in str(raised.value)
    assert "secret" not in str(raised.value)
