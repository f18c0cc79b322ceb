"""Who may ask, and how often: the web configuration in force, kept in step with its files."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import logging
import math
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from libvirt_exporter.background import Worker
from libvirt_exporter.config import ConfigError, Problem
from libvirt_exporter.web.security.loading import (
    ClientRights,
    Loaded,
    Stamps,
    load_web_config,
    stamps_of,
)
from libvirt_exporter.web.security.passwords import PasswordChecks, dearest
from libvirt_exporter.web.security.tls import allowed_san
from libvirt_exporter.web.security.web_config import WebConfig

_log = logging.getLogger(__name__)

LOADING_TIME: Final = 5.0
"""Seconds that the files may take, when the exporter starts or is asked to reload them."""
LOOKING_TIME: Final = 0.05
"""Seconds for which a request or a connection waits for a look at the files."""
_MAX_WAITING: Final = 32
"""Password checks that may queue; more are refused, or a flood would be worked off for minutes."""
_BCRYPT_LENGTH: Final = 72
"""Bytes of a password that bcrypt looks at; the bcrypt package (5.0) refuses longer ones."""


class _FollowingContext(ssl.SSLContext):
    """Asks for the context of the moment at every new connection."""

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`, by which asyncio starts TLS on a connection."""
        return self.current().wrap_bio(*args, **kwargs)


class Security:
    """The web configuration in force.

    `file` and the certificates that it names are read again when they change. A mistake in them is
    logged once and leaves the old configuration in force; so does what would open what was closed
    without saying so: a file that was emptied or cut off, or is gone.

    The files are looked at on a thread, as they may be on a file system that does not answer.
    """

    def __init__(self, file: str = "", *, log_notes: bool = True) -> None:
        """Load `file`, '' for none; `ConfigError` when it cannot be used."""
        self._log_notes = log_notes
        self.file = file
        self.last_loaded = 0.0
        """Unix time of the last successful loading."""
        self._in_force = Loaded()
        self._refused = False
        self._unread = False
        """Whether the files have not been read for so long that it was told."""
        self._stamps: Stamps = {}
        self._worker = Worker("web-config")
        self._look: Future[Loaded | None] | None = None
        self._look_began = 0.0
        self._verified: dict[str, tuple[str, bytes]] = {}
        self._digest_key = secrets.token_bytes(16)
        self._passwords = PasswordChecks(_MAX_WAITING)
        self._checks: dict[tuple[str, str, bytes], asyncio.Future[bool]] = {}
        self._tokens = math.inf
        self._refilled = time.monotonic()
        if file:
            try:
                loaded = self._worker.run(partial(load_web_config, file)).result(LOADING_TIME)
            except TimeoutError:
                raise self._too_slow() from None
            self._take(loaded)

    @property
    def config(self) -> WebConfig:
        """The configuration in force."""
        return self._in_force.config

    @property
    def notes(self) -> Sequence[Problem]:
        """What is no mistake in the configuration in force and may still not be intended."""
        return self._in_force.notes

    @property
    def last_reload_successful(self) -> bool:
        """Whether the files as they are now are in force, as far as they let themselves be read."""
        return not (self._refused or self._unread)

    @property
    def asks_who_clients_are(self) -> bool:
        """Whether clients need a password or a certificate."""
        config = self.config
        return bool(config.basic_auth_users) or config.tls_server_config.requires_certificates

    @property
    def certificate_not_after(self) -> float | None:
        """Unix time at which the first of the certificates in force expires; None without TLS."""
        return self._in_force.not_after

    @property
    def client_rights(self) -> ClientRights:
        """What decides which clients may connect."""
        return self._in_force.client_rights

    # Files

    async def reload(self) -> None:
        """Read the files again; `ConfigError` leaves the old configuration in force."""
        if not self.file:
            return
        reading = asyncio.wrap_future(self._worker.run(partial(load_web_config, self.file)))
        try:
            loaded = await asyncio.wait_for(reading, LOADING_TIME)
        except TimeoutError:
            self._unread = True
            raise self._too_slow() from None
        # What was seen before this reading is out of date.
        self._look = None
        self._take(loaded)

    def follow(self) -> None:
        """Read the files again if one of them changed since they were last read.

        Waits for `LOOKING_TIME` at most; what takes longer takes effect at a later call.
        """
        if not self.file:
            return
        began = self._look is None
        if self._look is None:
            self._look = self._worker.run(partial(_changed, self.file, self._stamps))
            self._look_began = time.monotonic()
        try:
            seen = self._look.result(LOOKING_TIME if began else 0)
        except TimeoutError:
            if not self._unread and time.monotonic() - self._look_began > LOADING_TIME:
                self._unread = True
                _log.error("%s; the previous configuration stays in force", self._too_slow())
            return
        self._look = None
        self._unread = False
        if seen is None:
            return
        try:
            self._take(seen)
        except ConfigError as error:
            _log.error("web configuration rejected; the previous one stays in force: %s", error)
        else:
            _log.info("web configuration reloaded: %s", self.file)

    def _take(self, loaded: Loaded) -> None:
        """Put it in force; `ConfigError` for what must not be."""
        self._stamps = loaded.stamps
        self._unread, self._refused = False, True
        if loaded.problems:
            raise ConfigError(loaded.problems)
        first = not self.last_loaded
        if not first and (problems := list(loaded.opening(self._in_force))):
            raise ConfigError(problems)
        for note in loaded.notes if self._log_notes else ():
            _log.warning("%s", note)
        before, self._in_force = self.config, loaded
        if before.basic_auth_users and not self.config.basic_auth_users:
            _log.warning(
                "%s: basic_auth_users is empty: no password is required any longer", self.file
            )
        tls = self.config.tls_server_config
        if before.tls_server_config.requires_certificates and not tls.requires_certificates:
            _log.warning("%s: no client certificate is required any longer", self.file)
        self._refused = False
        self.last_loaded = time.time()

    def _too_slow(self) -> ConfigError:
        problem = f"it or a file that it names was not read within {LOADING_TIME:g} s"
        return ConfigError([Problem(self.file, 0, problem)])

    # TLS

    def server_context(self) -> ssl.SSLContext | None:
        """A context for a listening socket whose connections get the certificates of the moment.

        None for plain HTTP.
        """
        if self._in_force.context is None:
            return None
        context = _FollowingContext(ssl.PROTOCOL_TLS_SERVER)
        context.current = self._current_context
        return context

    def _current_context(self) -> ssl.SSLContext:
        self.follow()
        assert self._in_force.context is not None
        return self._in_force.context

    def allows_certificate(self, certificate: dict[str, Any] | None) -> bool:
        """Whether a client with this verified certificate may connect."""
        allowed = self.config.tls_server_config.client_allowed_sans
        return not allowed or allowed_san(certificate or {}, allowed)

    # Requests

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

    async def admits(self, authorization: str, client: str = "") -> bool:
        """Whether an `Authorization` header names a user with the right password.

        One bcrypt check runs at a time, on a thread; clients, by their address, take turns.
        Passwords found right are remembered (as a keyed digest), wrong ones are not: a flood of
        them cannot push a right one out. `BusyError` when too many wait.
        """
        users = self.config.basic_auth_users
        if not users:
            return True
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        stored = users.get(user)
        digest = hashlib.blake2b(password, key=self._digest_key).digest()
        if self._remembers(user, stored, digest):
            return True
        # An unknown user costs as much time as the dearest known one.
        against = stored or dearest(users.values())
        # Behind a proxy all have one address; so who guesses at one user holds up no other.
        turn = f"{_network(client)} {user if stored else ''}"
        if not await self._checked(turn, user, against, password, digest) or stored is None:
            return False
        self._verified[user] = stored, digest
        return True

    async def _checked(
        self, turn: str, user: str, against: str, password: bytes, digest: bytes
    ) -> bool:
        """Whether the password is right; those who show the same one share a check."""
        key = user, against, digest
        if key not in self._checks:
            check = asyncio.ensure_future(self._passwords.check(turn, password, against))
            check.add_done_callback(partial(self._forget, key))
            self._checks[key] = check
        # Others may wait for the same check when this client goes away.
        return await asyncio.shield(self._checks[key])

    def _forget(self, key: tuple[str, str, bytes], check: asyncio.Future[bool]) -> None:
        del self._checks[key]
        if not check.cancelled():
            check.exception()  # looked at, even if nobody waits for it any more

    def _remembers(self, user: str, stored: str | None, digest: bytes) -> bool:
        known, right = self._verified.get(user, ("", b""))
        return known == stored and secrets.compare_digest(right, digest)


def _changed(file: str, stamps: Stamps) -> Loaded | None:
    """What the files say now; None while they are what they were."""
    return None if stamps_of(stamps) == stamps else load_web_config(file)


def _network(client: str) -> str:
    """The address of a client, of IPv6 the part that one has for oneself."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    prefix = 64 if address.version == 6 else 32
    return str(ipaddress.ip_network((address, prefix), strict=False))


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
