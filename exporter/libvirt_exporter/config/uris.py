"""What can be seen to be wrong with a libvirt URI without opening it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from libvirt_exporter.config.problem import quoted
from libvirt_exporter.nearest import nearest
from libvirt_exporter.uri import redacted

_FORM: Final = re.compile(
    r"(?P<driver>[a-z][a-z0-9]*)(\+(?P<transport>[a-z0-9]+))?:(?P<rest>\S*)", re.ASCII
)

_TRANSPORTS: Final = ("unix", "ssh", "tls", "tcp", "libssh", "libssh2", "ext")
"""https://libvirt.org/uri.html#transport-configuration"""

_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "bhyve": ("/system",),
    "ch": ("/session", "/system"),
    "lxc": ("/", "/system"),
    "qemu": ("/session", "/system"),
    "vbox": ("/session", "/system"),
    "xen": ("/", "/system"),
}
"""Drivers whose URIs have few paths: https://libvirt.org/drivers.html."""

_DRIVERS: Final = (
    *("bhyve", "ch", "esx", "gsx", "hyperv", "lxc", "openvz", "qemu", "test", "vbox"),
    *("vmwareplayer", "vmwarews", "vmwarefusion", "vpx", "vz", "xen"),
)


def uri_mistake(uri: str) -> tuple[str, str] | None:
    """Return what is wrong with the URI and what to do about it; None where nothing is seen.

    A driver that resembles no known one may be that of a newer libvirt.
    """
    shown = quoted(redacted(uri))
    parts = _FORM.fullmatch(uri)
    if "${" in uri or "$(" in uri:
        return f"{shown} is not a libvirt URI", "environment variables are not expanded"
    if parts is None and "." in uri and re.fullmatch("[A-Za-z0-9.-]+", uri):
        return f"{shown} is not a libvirt URI", f"for example qemu+tls://{uri}/system"
    if parts is None:
        return f"{shown} is not a libvirt URI", "for example qemu:///system"
    driver, transport = parts["driver"], parts["transport"]
    if driver not in _DRIVERS and (hint := nearest(driver, _DRIVERS)):
        return f"libvirt has no driver {driver} ({shown})", hint
    if transport and transport not in _TRANSPORTS:
        hint = nearest(transport, _TRANSPORTS) or f"known: {', '.join(_TRANSPORTS)}"
        return f"libvirt has no transport {transport} ({shown})", hint
    scheme = f"{driver}+{transport}" if transport else driver
    return _path_mistake(scheme, parts["rest"], shown)


def _path_mistake(scheme: str, rest: str, shown: str) -> tuple[str, str] | None:
    driver = scheme.partition("+")[0]
    known = _PATHS.get(driver, ())
    location = re.split("[?#]", rest, maxsplit=1)[0]
    parts = re.fullmatch("(//(?P<host>[^/]*))?(?P<path>/.*)?", location)
    path = parts and parts["path"]
    if not known or path in known or (driver == "qemu" and path == "/embed"):
        return None
    if not path:
        # `qemu://system` has its path where the host belongs.
        misplaced = f"/{location.strip('/')}"
        right = f"//{misplaced}" if misplaced in known else f"{location or '//'}{known[-1]}"
        return f"{shown} has no path", f"write {scheme}:{right}"
    hint = nearest(path, known) or f"known: {', '.join(known)}"
    return f"the driver {driver} has no path {path} ({shown})", hint
