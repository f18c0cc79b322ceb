"""Several hosts in one configuration: what holds for each, and what is wrong with what is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Final, NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from libvirt_exporter.config.problem import Finding, quoted
from libvirt_exporter.config.schema import Config, Target
from libvirt_exporter.config.uris import uri_mistake

_URI: Final = re.compile(r"[a-z][a-z0-9]*(\+(?P<transport>[a-z0-9]+))?:(//(?P<host>[^/?#]*))?\S*")
_ALIAS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS: Final = frozenset({"job", "instance", "le"})
"""Labels that are Prometheus' own, or that of the target itself."""
_SHORTEST_TIMEOUT: Final = 0.1
"""Seconds; as that of `libvirt`."""


class _File(NamedTuple):
    """An option that names a file, which libvirt takes as a parameter of the URI."""

    parameter: str
    transports: Collection[str]
    """Those that it means something to; none: to all."""


_FILES: Final[Mapping[str, _File]] = {
    "pki_directory": _File("pkipath", ("tls",)),
    "key_file": _File("keyfile", ("ssh", "libssh", "libssh2")),
    "known_hosts": _File("known_hosts", ("libssh", "libssh2")),
    "credentials_file": _File("authfile", ()),
}

TARGET_FILES: Final = tuple(_FILES)
"""Options of a target that name a file or directory."""


def aliases(config: Config) -> tuple[str, ...]:
    """All that is served: '' for the host of `libvirt.uri`, if there is one, and the targets."""
    return (*([""] if config.libvirt.uri else []), *config.targets)


def of_target(config: Config, alias: str) -> Config:
    """The configuration as it is for one of `aliases` alone: its host is that of `libvirt`."""
    alone = replace(config, targets={}) if config.targets else config
    if not alias:
        return alone
    target = config.targets[alias]
    libvirt = replace(
        config.libvirt,
        uri=connection_uri(target),
        name=alias,
        timeout=target.timeout or config.libvirt.timeout,
        parallel_calls=target.parallel_calls or config.libvirt.parallel_calls,
        stuck_calls=target.stuck_calls or config.libvirt.stuck_calls,
    )
    agent = replace(config.guest_agent, enabled=config.guest_agent.enabled and target.guest_agent)
    return replace(alone, libvirt=libvirt, guest_agent=agent)


def connection_uri(target: Target) -> str:
    """The URI with the target's files, and with ssh kept from asking a person."""
    parameters = {
        file.parameter: value
        for option, file in _FILES.items()
        if (value := getattr(target, option))
    }
    if _transport(target.uri) == "ssh" and not _has(target.uri, "no_tty"):
        parameters["no_tty"] = "1"
    if not parameters:
        return target.uri
    written = "&".join(f"{name}={quote(value, safe='/')}" for name, value in parameters.items())
    return f"{target.uri}{'&' if '?' in target.uri else '?'}{written}"


def files_of(target: Target) -> Mapping[str, str]:
    """The files and directories that a target names, by option."""
    return {option: value for option in _FILES if (value := getattr(target, option))}


def target_mistakes(config: Config) -> Iterator[Finding]:
    taken = {config.libvirt.uri: "libvirt.uri"} if config.libvirt.uri else {}
    for alias, target in config.targets.items():
        path = ("targets", alias)
        if not _ALIAS.fullmatch(alias):
            hint = "use letters, digits, . _ and -, as in a host name"
            yield path, f"{quoted(alias)} is not an alias", hint
        if found := uri_mistake(target.uri):
            yield (*path, "uri"), *found
            continue
        yield from _file_mistakes(alias, target)
        if (uri := connection_uri(target)) in taken:
            hint = "give each host once"
            if uri == config.libvirt.uri:
                hint += '; set libvirt.uri: "" to serve the targets only'
            yield (*path, "uri"), f"{taken[uri]} has the same URI", hint
        taken.setdefault(uri, f"the target {alias}")
        if 0 < target.timeout < _SHORTEST_TIMEOUT:
            message = f"timeout must be at least {_SHORTEST_TIMEOUT:g}s"
            yield (*path, "timeout"), message, "0 means libvirt.timeout"
        for name in target.labels:
            if not _LABEL.fullmatch(name) or name in _OWN_LABELS:
                hint = (
                    "use letters, digits and _, without a leading digit or __; not job or instance"
                )
                yield (*path, "labels", name), f"{quoted(name)} cannot be a label here", hint


def _file_mistakes(alias: str, target: Target) -> Iterator[Finding]:
    transport = _transport(target.uri)
    for option, value in files_of(target).items():
        path, file = ("targets", alias, option), _FILES[option]
        if not PurePath(value).is_absolute():
            yield path, f"{quoted(value)} is not an absolute path", f"for example /etc/{value}"
        elif file.transports and transport not in file.transports:
            schemes = ", ".join(f"qemu+{each}" for each in file.transports)
            what = f"{transport} does not use {option}" if transport else f"{option} is unused"
            hint = f"it is for {schemes}"
            if option == "known_hosts" and transport == "ssh":
                hint += "; ssh has UserKnownHostsFile in ssh_config for that"
            yield path, what, hint
        elif _has(target.uri, file.parameter):
            message = f"the URI already sets {file.parameter}="
            yield path, message, "set it in one place"


def _transport(uri: str) -> str:
    """How the host is reached; '' on this machine."""
    found = _URI.fullmatch(uri)
    if found is None:
        return ""
    # libvirt takes TLS for a host that is reached in no other way.
    return found["transport"] or ("tls" if found["host"] else "")


def _has(uri: str, parameter: str) -> bool:
    return re.search(rf"[?&;]{parameter}=", uri) is not None
