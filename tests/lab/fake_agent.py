"""A guest agent that says what a test wants, on the socket of a guest's channel.

libvirt takes it for the guest's own: it connects to the socket that the domain XML names, once a
program in the guest has opened the channel (scenario `no-agent`). QEMU connects to it first.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

Answer = Mapping[str, Any] | bytes | None
"""What to return, or the bytes to send instead of JSON, or nothing at all."""


class FakeAgent:
    """Answers each command with what `answer` says of it; may be changed at any time."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.answer: Callable[[str], Answer] = lambda _command: {}
        self.commands: list[str] = []
        """Those that were asked, but for the greeting."""
        self.arguments: Mapping[str, Any] = {}
        """Of the last of them."""
        self._connections: list[BufferedIOBase] = []
        """QEMU's, then libvirt's."""
        self._server = socketserver.ThreadingUnixStreamServer(str(socket), self._handler())
        self._server.daemon_threads = True
        socket.chmod(0o777)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reopen(self) -> None:
        """Have the guest close the channel and open it again: libvirt has given up after an error
        of the protocol, as it does with a real agent."""
        self._connections[0].write(b"again\n")
        self._connections[0].flush()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        agent = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                agent._connections.append(self.wfile)
                with contextlib.suppress(OSError):
                    for line in self.rfile:
                        self.wfile.write(agent._reply(line))

        return Handler

    def _reply(self, line: bytes) -> bytes:
        try:
            request = json.loads(line.strip(b"\xff \r\n"))
        except ValueError:
            return b""
        command = request["execute"]
        if command.startswith("guest-sync"):
            mark = b"\xff" if command == "guest-sync-delimited" else b""
            return mark + _line({"return": request["arguments"]["id"]})
        self.commands.append(command)
        self.arguments = request.get("arguments", {})
        answer = self.answer(command)
        match answer:
            case None:
                return b""
            case bytes():
                return answer
        return _line(answer)


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


@contextlib.contextmanager
def fake_agent(socket: Path) -> Iterator[FakeAgent]:
    """One that listens on this socket."""
    agent = FakeAgent(socket)
    try:
        yield agent
    finally:
        agent.close()


def packages_answer(agent: FakeAgent, command: str, listed: bytes) -> Answer:
    """What a Debian guest says whose dpkg-query writes this; None to any other command."""
    match command:
        case "guest-info":
            names = ("guest-exec", "guest-exec-status")
            commands = [{"name": name, "enabled": True, "success-response": True} for name in names]
            return {"return": {"version": "7.2.0", "supported_commands": commands}}
        case "guest-get-osinfo":
            return {"return": {"id": "debian", "kernel-release": "6.1"}}
        case "guest-exec":
            return {"return": {"pid": 1 if agent.arguments["path"] == "stat" else 2}}
        case "guest-exec-status":
            probed = b"/var/lib/dpkg/status 1 1 1000 7\n"
            output = base64.b64encode(probed if agent.arguments["pid"] == 1 else listed).decode()
            return {"return": {"exited": True, "exitcode": 0, "out-data": output}}
    return None
