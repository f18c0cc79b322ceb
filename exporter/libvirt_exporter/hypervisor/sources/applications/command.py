"""One command to a guest's agent, through libvirt's library for QEMU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import libvirt
import libvirt_qemu
import msgspec

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sources.agents import error_name, is_over
from libvirt_exporter.hypervisor.sources.applications.answers import GuestError, Trouble
from libvirt_exporter.hypervisor.sources.applications.conversation import Reader

R = TypeVar("R")

_TROUBLES: Final[Mapping[str, Trouble]] = {
    "timeout": "silent",
    "denied": "denied",
    "refused": "refused",
    "": "refused",
}
_NO_PROGRAM: Final = re.compile(r"Failed to execute child process")
"""What glib says in the guest where there is no such program."""


def carry_out(
    session: Session,
    uuid: str,
    command: str,
    arguments: Mapping[str, Any],
    read: Reader[R],
    seconds: int,
) -> R:
    """Have the agent carry out a command within `seconds`; what `read` makes of its answer.

    Runs on the connection's thread. Raises GuestError; libvirt.libvirtError where the connection
    is lost.
    """
    request = {"execute": command, **({"arguments": arguments} if arguments else {})}
    try:
        domain = session.domain(uuid)
        text = libvirt_qemu.qemuAgentCommand(
            domain, msgspec.json.encode(request).decode(), seconds, 0
        )
    except libvirt.libvirtError as error:
        if not session.alive:
            raise
        raise GuestError(str(error), _trouble(error)) from None
    except UnicodeDecodeError as error:
        raise GuestError(f"the agent's answer is not UTF-8: {error}") from None
    try:
        answer = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise GuestError(f"the agent's answer is not JSON: {error}") from None
    if not isinstance(answer, dict) or "return" not in answer:
        raise GuestError("the agent's answer has no `return`")
    return read(answer["return"])


def _trouble(error: libvirt.libvirtError) -> Trouble:
    if is_over(error):
        return "over"
    if _NO_PROGRAM.search(str(error)):
        return "refused"
    return _TROUBLES.get(error_name(error), "other")
