"""Who may ask, and how often: the web configuration in force, kept in step with its files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import math
import os
import secrets
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import bcrypt

from libvirt_exporter.config import ConfigError, Problem, read_yaml
from libvirt_exporter.web.security.web_config import (
    WebConfig,
    allowed_san,
    parse_web_config,
    tls_context,
)
from libvirt_exporter.web.slots import Slots

_log = logging.getLogger(__name__)

_MAX_WAITING: Final = 32
"""Password checks that may queue; more are refused, or a flood would be worked off for minutes."""
_BCRYPT_LENGTH: Final = 72
"""Bytes of a password that bcrypt looks at; the bcrypt package (5.0) refuses longer ones."""

_Stamp = tuple[int, int, int] | None


class _FollowingContext(ssl.SSLContext):
    """Asks for the context of the moment at every new connection."""

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`, by which asyncio starts TLS on a connection."""
        return self.current().wrap_bio(*args, **kwargs)


class Security:
    """The web configuration in force.

    `file` and the certificates that it names are read again when they change; a mistake in them is
    logged once and leaves the old configuration in force.
    """

    def __init__(self, file: str = "") -> None:
        """Load `file`, '' for none; `ConfigError` when it cannot be used."""
        self.config = WebConfig()
        self._file = file
        self._context: ssl.SSLContext | None = None
        self._loaded = False
        self._stamps: dict[str, _Stamp] = {}
        self._verified: dict[str, tuple[str, bytes]] = {}
        self._digest_key = secrets.token_bytes(16)
        self._bcrypt = asyncio.Semaphore()
        self._checks = Slots(_MAX_WAITING, "Too many passwords to check; try again later.")
        self._tokens = math.inf
        self._refilled = time.monotonic()
        self.reload()

    def reload(self) -> None:
        """Read the files again; `ConfigError` leaves the old configuration in force."""
        if not self._file:
            return
        # The stamps are taken before the reading: what changes in between is read again.
        self._stamps = _stamps([self._file])
        config = parse_web_config(read_yaml(self._file), self._file)
        context = None
        if config.tls_server_config:
            self._stamps |= _stamps(config.tls_server_config.files())
            context = tls_context(config.tls_server_config, self._file)
        if self._loaded and (context is None) != (self._context is None):
            problem = "tls_server_config: TLS cannot be turned on or off while running"
            raise ConfigError([Problem(self._file, 0, problem, "restart the exporter")])
        self.config, self._context, self._loaded = config, context, True

    def follow(self) -> None:
        """Read the files again if one of them changed since they were last read."""
        if _stamps(self._stamps) == self._stamps:
            return
        try:
            self.reload()
        except ConfigError as error:
            _log.error("web configuration refused, the old one stays in force: %s", error)
        else:
            _log.info("web configuration read again: %s", self._file)

    def server_context(self) -> ssl.SSLContext | None:
        """A context for a listening socket whose connections get the certificates of the moment.

        None for plain HTTP.
        """
        if self._context is None:
            return None
        context = _FollowingContext(ssl.PROTOCOL_TLS_SERVER)
        context.current = self._current_context
        return context

    def _current_context(self) -> ssl.SSLContext:
        self.follow()
        assert self._context is not None
        return self._context

    def allows_certificate(self, certificate: dict[str, Any] | None) -> bool:
        """Whether a client with this verified certificate may connect."""
        tls = self.config.tls_server_config
        if tls is None or not tls.client_allowed_sans:
            return True
        return allowed_san(certificate or {}, tls.client_allowed_sans)

    def within_rate(self) -> bool:
        """Take one request from the token bucket; False when it is empty."""
        interval = self.config.rate_limit.seconds()
        if not interval:
            return True
        now = time.monotonic()
        earned = (now - self._refilled) / interval
        self._tokens = min(self.config.rate_limit.burst, self._tokens + earned)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def admits(self, authorization: str) -> bool:
        """Whether an `Authorization` header names a user with the right password.

        One bcrypt check runs at a time, on a thread. Passwords found right are remembered (as a
        keyed digest), wrong ones are not: a flood of them cannot push a right one out.
        `BusyError` when too many wait.
        """
        users = self.config.basic_auth_users
        if not users:
            return True
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        stored = users.get(user)
        proof = (stored or "", self._digest(password))
        if self._remembers(user, proof):
            return True
        with self._checks.one():
            async with self._bcrypt:
                if self._remembers(user, proof):
                    return True
                # An unknown user costs as much time as a known one.
                against = stored or next(iter(users.values()))
                right = await asyncio.to_thread(bcrypt.checkpw, password, against.encode())
        if stored is None or not right:
            return False
        self._verified[user] = proof
        return True

    def _digest(self, password: bytes) -> bytes:
        return hashlib.blake2b(password, key=self._digest_key).digest()

    def _remembers(self, user: str, proof: tuple[str, bytes]) -> bool:
        stored, digest = self._verified.get(user, ("", b""))
        return stored == proof[0] and secrets.compare_digest(digest, proof[1])


def _stamps(files: Iterable[str]) -> dict[str, _Stamp]:
    """What changes when a file does; None while it cannot be seen."""
    stamps: dict[str, _Stamp] = {}
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            stamps[file] = None
        else:
            stamps[file] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamps


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """User and password, as far as bcrypt looks at it, of a Basic `Authorization` header."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, ValueError):
        return None
    return (name, password[:_BCRYPT_LENGTH]) if separator else None
