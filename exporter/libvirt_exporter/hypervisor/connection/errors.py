"""libvirt's errors sorted by what they mean for a sample, and put into words for a person."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote

import libvirt

from libvirt_exporter.uri import without_secrets

T = TypeVar("T")


class ErrorClass(StrEnum):
    """What an error of a libvirt call means for whoever asked."""

    GONE = "gone"
    """The domain, pool or network no longer exists."""
    NOT_RUNNING = "not_running"
    """The domain exists and is not active."""
    UNSUPPORTED = "unsupported"
    """This driver, or this version of libvirt, lacks the call or the group."""
    DENIED = "denied"
    DISCONNECTED = "disconnected"
    """The connection is lost, or could not be opened."""
    TIMEOUT = "timeout"
    """The daemon gave up waiting for a domain's job or agent."""
    OTHER = "other"


class CallError(Exception):
    """A libvirt call that did not succeed."""

    def __init__(self, message: str, error_class: ErrorClass, code: int = 0) -> None:
        """`code` is libvirt's (virErrorNumber), 0 where it is not libvirt that failed."""
        super().__init__(message)
        self.error_class = error_class
        self.code = code


class OpenError(CallError):
    """No connection could be opened; the message is for a person."""


def call_error(error: Exception, *, uri: str, alive: bool) -> CallError | None:
    """What a call's exception says of the call; None when it is a mistake of this program.

    `alive`: whether the connection to `uri` still is. The message is without the URI's secrets.
    """
    if isinstance(error, CallError):
        return error
    if isinstance(error, libvirt.libvirtError):
        error_class = classify(error) if alive else ErrorClass.DISCONNECTED
        return CallError(without_secrets(str(error), uri), error_class, error.get_error_code() or 0)
    # libvirt-python fails the whole call for one string that is not UTF-8, or one parameter of a
    # type that it does not know.
    if isinstance(error, UnicodeDecodeError) or type(error) is LookupError:
        return CallError(str(error), ErrorClass.OTHER)
    return None


E = TypeVar("E", bound=BaseException)


def detached(error: E) -> E:
    """The error without the frame that caught it, and without what the frames below it hold.

    They hold libvirt's objects, which must not outlive their connection, nor leave its thread.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    frames = error.__traceback__
    return error.with_traceback(frames and frames.tb_next)


class NoAnswerError(Exception):
    """A libvirt call did not come back in the time it was given."""


_TEST_FILE: Final = re.compile(r"test://(/[^?#]+)")
_CHECK_FILE: Final = "Check the file that the URI names"
_CHECK_URI: Final = "Check the URI, for example qemu:///system; `virsh uri` prints the usual one"

_CODES: Final = {
    libvirt.VIR_ERR_NO_DOMAIN: ErrorClass.GONE,
    libvirt.VIR_ERR_NO_STORAGE_POOL: ErrorClass.GONE,
    libvirt.VIR_ERR_NO_NETWORK: ErrorClass.GONE,
    libvirt.VIR_ERR_OPERATION_INVALID: ErrorClass.NOT_RUNNING,
    libvirt.VIR_ERR_NO_SUPPORT: ErrorClass.UNSUPPORTED,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: ErrorClass.UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: ErrorClass.UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: ErrorClass.UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_DENIED: ErrorClass.DENIED,
    libvirt.VIR_ERR_ACCESS_DENIED: ErrorClass.DENIED,
    libvirt.VIR_ERR_AUTH_FAILED: ErrorClass.DENIED,
    libvirt.VIR_ERR_AUTH_CANCELLED: ErrorClass.DENIED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: ErrorClass.DENIED,
    libvirt.VIR_ERR_NO_CONNECT: ErrorClass.DISCONNECTED,
    libvirt.VIR_ERR_INVALID_CONN: ErrorClass.DISCONNECTED,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: ErrorClass.TIMEOUT,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: ErrorClass.TIMEOUT,
    libvirt.VIR_ERR_AGENT_UNSYNCED: ErrorClass.TIMEOUT,
    112: ErrorClass.TIMEOUT,  # VIR_ERR_AGENT_COMMAND_TIMEOUT, new in libvirt 11.2
}


_NAMES_HOST: Final = re.compile(r"[^/]+://[^/]")
_REMOTE: Final = ("tls", "tcp")
"""Transports for which libvirt listens itself."""
_DAEMONS: Final = {
    "qemu": "virtqemud",
    "lxc": "virtlxcd",
    "xen": "virtxend",
    "ch": "virtchd",
    "bhyve": "virtbhyved",
    "vbox": "virtvboxd",
    "vz": "virtvzd",
}
"""The modular daemon of each driver that has one."""


def classify(error: libvirt.libvirtError) -> ErrorClass:
    """The class of an error by its code.

    A lost connection comes under codes that also mean other things (1, 38, 39): whoever holds
    the connection asks it whether it is alive.
    """
    code = error.get_error_code()
    return ErrorClass.OTHER if code is None else _CODES.get(code, ErrorClass.OTHER)


class SupportedCalls:
    """Which calls a driver lacks: each is made once, as its daemon logs an error each time."""

    def __init__(self) -> None:
        self._lacking: set[str] = set()

    def ask(self, name: str, call: Callable[[], T], *, differs: bool = False) -> T | None:
        """The answer of a call, None where the driver lacks it or has none.

        `differs`: whether it may have none of one object and one of another; then only a call that
        the driver does not know at all is not made again. Raises libvirt.libvirtError for every
        other error.
        """
        if name in self._lacking:
            return None
        try:
            return call()
        except libvirt.libvirtError as error:
            if classify(error) is not ErrorClass.UNSUPPORTED:
                raise
            if not differs or error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                self._lacking.add(name)
            return None


def missing_file(uri: str) -> str:
    """Why this URI of the test driver cannot be opened, for a person; '' when nothing is wrong.

    Asked before libvirt (9.0) is, whose libxml2 would complain on stderr.
    """
    found = _TEST_FILE.match(uri)
    if found is None or (path := unquote(found[1])) == "/default" or Path(path).is_file():
        return ""
    line = f"cannot connect to libvirt at {uri}: there is no file {path}. {_CHECK_FILE}"
    return without_secrets(line, uri)


def explain_open_failure(uri: str, error: libvirt.libvirtError, *, read_only: bool = True) -> str:
    """One line for a person: what failed, where, and what to do about it; without secrets."""
    text = str(error).strip()
    line = f"cannot connect to libvirt at {uri}: {text}. {_advice(uri, error, text, read_only)}"
    return without_secrets(line, uri)


def _advice(uri: str, error: libvirt.libvirtError, text: str, read_only: bool) -> str:
    denied = classify(error) is ErrorClass.DENIED or "Permission denied" in text
    scheme, transport = uri.partition(":")[0].partition("+")[::2]
    if not transport and scheme in _DAEMONS and _NAMES_HOST.match(uri):
        transport = "tls"  # which is what libvirt takes
    if transport.endswith("ssh") or transport == "libssh2":
        return (
            "As the user that runs the exporter, `ssh` to that host must succeed without a "
            "question (key, known_hosts); there, that login must be able to open libvirt's socket"
        )
    if transport == "tls" and "certificate" in text.lower():
        return (
            "Check the exporter's certificates (/etc/pki/CA/cacert.pem, "
            "/etc/pki/libvirt/clientcert.pem, /etc/pki/libvirt/private/clientkey.pem, or the "
            "directory that pkipath or pki_directory names), and those of the host"
        )
    if transport in _REMOTE and denied:
        return (
            "That host rejects the exporter: check tls_allowed_dn_list and sasl_allowed_username_"
            "list in its configuration, and the password in the exporter's auth.conf"
        )
    if denied:
        if not read_only:
            return (
                "The read-write socket (libvirt-sock, virtqemud-sock) must be open to the user "
                "that runs the exporter: docs/guest-agent.md has a polkit rule for that"
            )
        return (
            "The read-only socket (libvirt-sock-ro, virtqemud-sock-ro) is open to every user by "
            "default; check its mode, its directory and the polkit rule org.libvirt.unix.monitor"
        )
    code = error.get_error_code()
    daemon = _DAEMONS.get(scheme)
    no_socket = "No such file or directory" in text or "Connection refused" in text
    # Of a driver that it does not know itself, libvirt asks the daemon, if there is one.
    if code == libvirt.VIR_ERR_NO_CONNECT or (no_socket and daemon is None):
        return f"this libvirt has no driver {scheme!r}. {_CHECK_URI}"
    if no_socket:
        listens = ""
        if transport in _REMOTE:
            units = f"libvirtd-{transport}.socket or virtproxyd-{transport}.socket"
            listens = f", that it listens for {transport} ({units})"
        return (
            "Check that libvirt is installed and running there (systemctl status libvirtd "
            f"{daemon}){listens}, and that the URI is right"
        )
    if "unable to parse" in text.lower():
        return _CHECK_URI
    if code in {libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_ERR_XML_DETAIL}:
        return _CHECK_FILE
    flag = " -r" if read_only else ""
    return f"`virsh{flag} -c '{uri}' list` must work as the user that runs the exporter"
