"""Reads a web configuration and the certificates that it names; all that may wait for a disk."""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from libvirt_exporter.config import ConfigError, Problem, read_document
from libvirt_exporter.files import read_file
from libvirt_exporter.web.security.expiry import not_after
from libvirt_exporter.web.security.tls import CLIENT_AUTH, TLSError, server_context
from libvirt_exporter.web.security.web_config import (
    Parsed,
    TLSServerConfig,
    WebConfig,
    parse_web_config,
)

_log = logging.getLogger(__name__)

MAX_PEM: Final = 1 << 20
"""Bytes of a file with certificates or a key; all CAs of a browser are a quarter of it."""

Stamps = Mapping[str, tuple[int, int, int] | None]
"""What changes when a file does, by its name; None while it cannot be seen."""


class ClientRights(NamedTuple):
    """What decides which clients may connect."""

    client_auth_type: str = "NoClientCert"
    client_ca: bytes = b""
    """Digest of the certificates that vouch for clients."""
    client_allowed_sans: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """What the files said at one moment."""

    config: WebConfig = WebConfig()  # noqa: RUF009 - immutable
    file: str = ""
    stamps: Stamps = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    """None for plain HTTP."""
    client_rights: ClientRights = ClientRights()  # noqa: RUF009 - immutable
    not_after: float | None = None
    """Unix time at which the first of the certificates expires; None where that is not known."""
    given: Mapping[str, int] = field(default_factory=dict)
    """See `web_config.Parsed`."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    """With any of them, nothing else but the stamps is of use."""

    def opening(self, before: Loaded) -> Iterator[Problem]:
        """Say where this would let in whom the earlier one kept out, without saying so.

        A file that is being written is empty for a moment, or cut off anywhere.
        """
        tls, earlier = self.config.tls_server_config, before.config.tls_server_config
        restart = "restart the exporter if this is intended"
        if tls.enabled != earlier.enabled:
            problem = "tls_server_config: TLS cannot be turned on or off while running"
            yield Problem(self.file, 0, problem, "restart the exporter")
            return
        users = "basic_auth_users"
        if before.config.basic_auth_users and users not in self.given:
            problem = f"{users} is missing: without users, no password would be required"
            yield Problem(self.file, 0, problem, f"write {users}: {{}} if this is intended")
        if earlier.requires_certificates and not tls.requires_certificates:
            option = "tls_server_config.client_auth_type"
            if option not in self.given:
                problem = f"{option} is missing: no client certificate would be required"
                hint = "write client_auth_type: NoClientCert if this is intended"
                yield Problem(self.file, 0, problem, hint)
        if tls.requires_certificates and earlier.requires_certificates:
            if before.client_rights.client_ca and not self.client_rights.client_ca:
                problem = "client_ca_file is missing: all CAs of this system would be trusted"
                yield Problem(self.file, 0, f"tls_server_config.{problem} for clients", restart)
            if earlier.client_allowed_sans and not tls.client_allowed_sans:
                problem = (
                    "client_allowed_sans is missing: every client certificate would be accepted"
                )
                yield Problem(self.file, 0, f"tls_server_config.{problem}", restart)


def load_web_config(file: str) -> Loaded:
    """Read the files; what is wrong with them is in the result."""
    # The stamps are taken before the reading: what changes in between is read again.
    stamps = stamps_of([file])
    try:
        parsed = parse_web_config(read_document(file), file)
        tls = parsed.config.tls_server_config
        if not tls.enabled:
            return Loaded(parsed.config, file, stamps, given=parsed.given, notes=parsed.notes)
        stamps = {**stamps, **stamps_of(tls.files())}
        context, rights, ends = _tls(parsed, file)
    except ConfigError as error:
        return Loaded(file=file, stamps=stamps, problems=error.problems)
    except Exception as error:  # noqa: BLE001 - delivered as a problem
        # Nobody would hear of it, and the old configuration must stay.
        _log.exception("the web configuration cannot be read")
        problem = Problem(file, 0, f"cannot be read: {type(error).__name__}")
        return Loaded(file=file, stamps=stamps, problems=(problem,))
    return Loaded(parsed.config, file, stamps, context, rights, ends, parsed.given, parsed.notes)


def _tls(parsed: Parsed, file: str) -> tuple[ssl.SSLContext, ClientRights, float | None]:
    """See `Loaded`. Raises ConfigError, which says which file fails and why."""
    tls = parsed.config.tls_server_config

    def refused(key: str, problem: str, hint: str = "") -> ConfigError:
        option = f"tls_server_config.{key}"
        line = parsed.given.get(option, 0)
        return ConfigError([Problem(file, line, f"{option}: {problem}", hint)])

    certificate, key, client_ca = (
        _pem(tls, name, refused) for name in ("cert_file", "key_file", "client_ca_file")
    )
    try:
        context = server_context(
            certificate,
            key,
            client_auth=CLIENT_AUTH[tls.client_auth_type],
            client_ca=client_ca or None,
            versions=(tls.min_version, tls.max_version),
            suites=tls.cipher_suites,
            prefer_own_order=tls.prefer_server_cipher_suites,
            curves=tls.curve_preferences,
        )
    except TLSError as error:
        named = getattr(tls, error.key, "")
        text = f"{named}: {error}" if isinstance(named, str) and named else str(error)
        raise refused(error.key, text, error.hint) from None
    digest = hashlib.sha256(client_ca).digest() if client_ca else b""
    rights = ClientRights(tls.client_auth_type, digest, tls.client_allowed_sans)
    return context, rights, _not_after(certificate)


def _not_after(certificate: bytes) -> float | None:
    try:
        return not_after(certificate)
    except ValueError as error:
        # OpenSSL reads it, so it is served all the same.
        _log.warning("the certificate's expiry date cannot be read: %s", error)
        return None


def _pem(tls: TLSServerConfig, option: str, refused: Callable[[str, str], ConfigError]) -> bytes:
    name: str = getattr(tls, option)
    if not name:
        inline: str = getattr(tls, option.removesuffix("_file"))
        return inline.encode()
    try:
        return read_file(name, MAX_PEM)
    except OSError as error:
        reason = f"cannot read {name}: {error.strerror}"
    except ValueError as error:
        reason = f"cannot read {name!r}: {error}"
    raise refused(option, reason)


def stamps_of(files: Iterable[str]) -> Stamps:
    stamps: dict[str, tuple[int, int, int] | None] = {}
    for file in files:
        try:
            status = os.stat(file)
        except (OSError, ValueError):
            stamps[file] = None
        else:
            stamps[file] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamps
