"""TLS: what a web configuration says of it, in the terms of OpenSSL and Python's ssl module."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

CLIENT_AUTH: Final[Mapping[str, ssl.VerifyMode]] = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
"""Go's policies for client certificates. `RequestClientCert` asks for one and looks at none."""
VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""OpenSSL's names of Go's curves."""
CAN_ORDER_CURVES: Final = hasattr(ssl.SSLContext, "set_groups")
"""Python 3.15 and later, with OpenSSL 3.2 or later."""


class TLSError(Exception):
    """What cannot be used, and why."""

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        """`key` is that of the option in `tls_server_config`."""
        super().__init__(problem)
        self.key = key
        self.hint = hint


def server_context(
    certificate: bytes,
    key: bytes,
    *,
    client_auth: ssl.VerifyMode,
    client_ca: bytes | None,
    versions: tuple[str, str],
    suites: Sequence[str],
    prefer_own_order: bool,
    curves: Sequence[str],
) -> ssl.SSLContext:
    """Make a context from PEM texts and Go's names; TLSError.

    Without `client_ca` the certificates that the system trusts are used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version, context.maximum_version = (VERSIONS[name] for name in versions)
    try:
        with _as_file(certificate) as certificate_file, _as_file(key) as key_file:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate_file, key_file, password="")
    except OSError as error:
        raise TLSError(
            "cert_file", f"not a certificate with its unencrypted key: {error}"
        ) from None
    context.verify_mode = client_auth
    # As in Go, each of the certificates is trusted, not only those that signed themselves.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if client_ca is not None:
        try:
            with _as_file(client_ca) as client_ca_file:
                context.load_verify_locations(client_ca_file)
        except OSError as error:
            raise TLSError("client_ca_file", f"contains no certificates: {error}") from None
    elif client_auth != ssl.CERT_NONE:
        context.set_default_verify_paths()
    if prefer_own_order:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if older := [_openssl_cipher(suite) for suite in suites if "_WITH_" in suite]:
        context.set_ciphers(":".join(older))
    _choose_curves(context, curves)
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A name under which OpenSSL reads the content, which never gets to a disk."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _choose_curves(context: ssl.SSLContext, curves: Sequence[str]) -> None:
    names = [CURVES[curve] for curve in curves]
    if not names:
        return
    if CAN_ORDER_CURVES:
        context.set_groups(":".join(names))  # type: ignore[attr-defined]
        return
    for name in names:
        # Python 3.11 with OpenSSL 3.0 looks among the NIST curves only.
        with contextlib.suppress(ssl.SSLError, ValueError):
            context.set_ecdh_curve(name)
            return
    problem = f"this Python with {ssl.OPENSSL_VERSION} does not support {', '.join(curves)}"
    hint = "use CurveP256, CurveP384 or CurveP521, or remove the option"
    raise TLSError("curve_preferences", problem, hint)


def _openssl_cipher(suite: str) -> str:
    """OpenSSL's name of a TLS 1.2 suite: `ECDHE-RSA-AES128-GCM-SHA256` and the like."""
    name = suite.removeprefix("TLS_").removeprefix("RSA_WITH_").replace("_WITH_", "_")
    name = name.replace("AES_", "AES").replace("_CBC", "")
    return name.replace("POLY1305_SHA256", "POLY1305").replace("_", "-")


def is_known_cipher(suite: str) -> bool:
    """Whether OpenSSL has the suite of Go's name; `set_ciphers` drops unknown names in silence."""
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
