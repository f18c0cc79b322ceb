"""What lists of applications cost in memory: on the disk, as they are kept, and if they were not.

As a program, `python -m tests.bench.applications HOW GUESTS PACKAGES`, it measures one way and
writes JSON. The lane is the real one; made-up guests answer in the place of libvirt.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch
from uuid import UUID

import libvirt_qemu

from libvirt_exporter.hypervisor.connection.deadline import Deadline
from libvirt_exporter.hypervisor.connection.observer import Observer
from libvirt_exporter.hypervisor.connection.pool import Connections
from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.connection.settings import (
    ApplicationsSettings,
    GuestAgentSettings,
    HostSettings,
)
from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sources.agents import Agents
from libvirt_exporter.hypervisor.sources.applications import conversation
from libvirt_exporter.hypervisor.sources.applications.lane import ApplicationsLane
from libvirt_exporter.model import DomainInfo, DomainSample
from libvirt_exporter.render.selection import Selection, groups_named
from libvirt_exporter.render.text import TextRenderer
from tests.bench.figures import Column, Figure, Table
from tests.bench.processes import AS_A_SERVICE, ROOT, memory

WAYS: Final = {
    "none": "no lists",
    "disk": "lists as they are kept",
    "memory": "lists in memory too",
}
COLUMNS: Final = (
    Column("lists", "lists"),
    Column("known_bytes", "known MiB", 1 / 2**20),
    Column("rendered_bytes", "and rendered MiB", 1 / 2**20),
    Column("disk_bytes", "disk MiB", 1 / 2**20),
)


def run(guests: int, packages: int) -> Table:
    """Measure each way in a process of its own."""
    figures = {how: _in_process(how, guests, packages) for how in WAYS}
    rows: list[Sequence[Figure]] = [
        [
            words,
            figures[how]["known"] - figures["none"]["known"],
            figures[how]["rendered"] - figures["none"]["rendered"],
            figures[how]["disk"],
        ]
        for how, words in WAYS.items()
    ]
    return Table(
        "applications",
        f"Applications: {guests} guests with {packages} packages each; resident memory beyond that "
        "without lists",
        COLUMNS,
        rows,
        [
            "goal: known < 2 MiB for 1,000 guests with 900 packages each",
            "known: once every list has been read; rendered: with five series more for each guest",
        ],
    )


def _in_process(how: str, guests: int, packages: int) -> dict[str, int]:
    found = subprocess.run(
        [sys.executable, "-m", "tests.bench.applications", how, str(guests), str(packages)],
        cwd=ROOT,
        env=os.environ | AS_A_SERVICE | {"PYTHONPATH": str(ROOT / "exporter")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, int] = json.loads(found.stdout)
    return figures


class _Guests:
    """A libvirt whose guests all have as many packages; it is its own connection and domain."""

    def __init__(self, packages: int) -> None:
        listed = "".join(
            f"install ok installed\tpackage-{number:04}-with-a-usual-name-1.{number}-1\n"
            for number in range(packages)
        )
        self._answers: dict[str, Any] = {
            "guest-info": {
                "version": "7.2",
                "supported_commands": [
                    {"name": name, "enabled": True} for name in ("guest-exec", "guest-exec-status")
                ],
            },
            "guest-get-osinfo": {"id": "debian", "kernel-release": "6.1"},
        }
        self._outputs = [
            base64.b64encode(output.encode()).decode()
            for output in ("/var/lib/dpkg/status 1 1 1000 7\n", listed)
        ]

    def connect(self, _uri: str) -> Any:
        return self

    def isAlive(self) -> int:  # noqa: N802
        return 1

    def close(self) -> None:
        pass

    def lookupByUUIDString(self, _uuid: str) -> Any:  # noqa: N802
        return self

    def answer(self, _domain: object, request: str, _seconds: int, _flags: int) -> str:
        told = json.loads(request)
        match told["execute"]:
            case "guest-exec":
                answer: Any = {"pid": int(told["arguments"]["path"] != "stat")}
            case "guest-exec-status":
                output = self._outputs[told["arguments"]["pid"]]
                answer = {"exited": True, "exitcode": 0, "out-data": output}
            case command:
                answer = self._answers[command]
        return json.dumps({"return": answer})


class _Known(NamedTuple):
    """A lane that has read all lists, and what stays in memory beside it."""

    lane: ApplicationsLane
    drafts: Sequence[DomainDraft]
    beside: object


def _nothing(_session: Session) -> None:
    """Ask a guest nothing."""


async def _read(how: str, uuids: Sequence[str], libvirt: _Guests, directory: Path) -> _Known:
    """Read all lists; without any, ask each agent all the same, as for other figures."""
    infos = {
        uuid: DomainInfo(uuid=uuid, name=f"vm-{uuid[-4:]}", id=1, agent_channel="connected")
        for uuid in uuids
    }
    connections = Connections("qemu:///system", Observer(), libvirt.connect, read_only=False)
    settings = HostSettings(
        uri="qemu:///system",
        guest_agent=GuestAgentSettings(),
        applications=(
            None if how == "none" else ApplicationsSettings(state_directory=str(directory))
        ),
    )
    agents = Agents(connections, settings, info=infos.get, stuck=lambda: ())
    lane = ApplicationsLane(agents)
    drafts = [
        DomainDraft(uuid, f"vm-{uuid[-4:]}", active=True, state={"state.state": 1}, timestamp=1.0)
        for uuid in uuids
    ]
    deadline = Deadline.within(600)
    if how == "none":
        for uuid in uuids:
            await agents.ask(uuid, _nothing, deadline, 60)
    await lane.read(drafts, deadline)
    kept = [lane.list_of(uuid) for uuid in uuids] if how == "memory" else None
    return _Known(lane, drafts, kept)


def measure(how: str, guests: int, packages: int) -> dict[str, int]:
    """Resident memory, and bytes on the disk."""
    uuids = [str(UUID(int=number)) for number in range(guests)]
    libvirt = _Guests(packages)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        patch.object(libvirt_qemu, "qemuAgentCommand", libvirt.answer),
        patch.object(conversation, "FIRST_LOOK", 0.0),
    ):
        known = asyncio.run(_read(how, uuids, libvirt, Path(directory)))
        gc.collect()
        figures = {"known": memory(os.getpid()).now}
        renderer = TextRenderer(Selection(groups_named(["default"])))
        for moment in range(3):
            domains = [
                DomainSample(
                    uuid=draft.uuid,
                    name=draft.name,
                    active=True,
                    stats={
                        "state.state": 1,
                        "cpu.time": moment,
                        **known.lane.domain_stats(draft),
                    },
                    timestamp=float(moment),
                )
                for draft in known.drafts
            ]
            renderer.render(domains)
        del domains
        gc.collect()
        figures["rendered"] = memory(os.getpid()).now
        files = (path for path in Path(directory).rglob("*") if path.is_file())
        figures["disk"] = sum(path.stat().st_size for path in files)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
