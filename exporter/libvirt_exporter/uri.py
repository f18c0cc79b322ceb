"""libvirt URIs, and texts that may contain one, without what only their owner should know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

_HIDDEN: Final = "***"
_HARMLESS: Final = frozenset(
    {"known_hosts_verify", "mode", "no_tty", "no_verify", "proxy", "socket", "sshauth"}
)
"""Parameters whose value is no secret, nor where one is."""
_URI: Final = re.compile(r"(?P<begin>[^?#]*?//)?(?:(?P<user>[^/]*)@)?(?P<rest>[^?#]*)", re.DOTALL)


def redacted(uri: str) -> str:
    """Return the URI without user and password, and without values such as those of `keyfile=`.

    What is no URI is taken apart the same way; a plain one stays as it is.
    """
    # What is hidden may bring another part to the front: `#a@//b@`.
    while (shown := _once_redacted(uri)) != uri:
        uri = shown
    return shown


def _once_redacted(uri: str) -> str:
    parts = _URI.match(uri)
    assert parts is not None
    user = f"{_HIDDEN}@" if parts["user"] is not None else ""
    shown = (parts["begin"] or "") + user + parts["rest"]
    if parts.end() < len(uri):
        shown += uri[parts.end()] + re.sub(r"[^&;#]+", _parameter, uri[parts.end() + 1 :])
    return shown


def without_secrets(text: str, uri: str) -> str:
    """Return a message about `uri` with the URI redacted, and each of its secrets hidden."""
    for spelling in dict.fromkeys((uri, unquote(uri))):
        text = text.replace(spelling, redacted(spelling))
    for secret in sorted(set(_secrets(uri)), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
    return text


def _parameter(found: re.Match[str]) -> str:
    name, equals, _ = found[0].partition("=")
    return found[0] if name in _HARMLESS else f"{name}={_HIDDEN}" if equals else _HIDDEN


def _secrets(uri: str) -> Iterator[str]:
    """User, password and values of parameters, as they are written and as libvirt reads them."""
    parts = _URI.match(uri)
    assert parts is not None
    texts = list((parts["user"] or "").split(":", 1))
    for parameter in re.split("[&;#]", uri[parts.end() + 1 :]):
        name, _, value = parameter.partition("=")
        if name not in _HARMLESS:
            texts.append(value)
    for text in texts:
        yield from filter(None, (text, unquote(text)))
