"""What is installed in guests: listed by a real dpkg through a real agent, and by one that lies."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import libvirt
import libvirt_qemu
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.exporter import Answer, Exporter
from tests.lab.guest_image import PACKAGE
from tests.lab.guests import running_guest
from tests.support.waiting import wait_until

MIB: Final = 1 << 20
QUIET: Final = 5.0


def lists(directory: Path, **changes: object) -> dict[str, Any]:
    """A configuration that keeps lists in a directory and shows them."""
    return {
        "guest_agent": {"enabled": True, "interval": 5, "slow_interval": 5, **changes},
        "applications": {
            "enabled": True,
            "state_directory": str(directory),
            "interval": 5,
            "quiet": QUIET,
        },
        "api": {"max_age": "1s", "sensitive_fields": ["appsList"]},
    }


def in_guest(domain: libvirt.virDomain, *command: str) -> str:
    """What a program in a guest writes; waits for its end."""

    def execute(name: str, **arguments: Any) -> Any:
        request = json.dumps({"execute": name, "arguments": arguments})
        return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, 30, 0))["return"]

    path, *rest = command
    pid = execute("guest-exec", path=path, arg=rest, **{"capture-output": True})["pid"]
    ended: list[Mapping[str, Any]] = []

    def has_ended() -> bool:
        ended.append(execute("guest-exec-status", pid=pid))
        return bool(ended[-1]["exited"])

    wait_until(has_ended, f"{command} ended", 60)
    assert ended[-1]["exitcode"] == 0, ended[-1]
    return base64.b64decode(ended[-1].get("out-data", "")).decode()


def value(answer: Answer, name: str, domain: str, **labels: str) -> float | None:
    """Of the one series of a VM with these labels among others."""
    wanted = {"domain": domain, **labels}.items()
    found = [
        number
        for (metric, all_labels), number in answer.samples.items()
        if metric == f"libvirt_domain_guest_applications{name}"
        and wanted <= dict(all_labels).items()
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def run_in_guests(exporter: Exporter, name: str) -> int:
    """How often the exporter has run a program in guests, by the time of a scrape."""
    exporter.scrape()
    return sum(
        f'"path":"{name}"' in call.arguments.replace("\\", "")
        for call in exporter.calls("virDomainQemuAgentCommand")
    )


def hash_of(names: list[str]) -> str:
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


@pytest.fixture
def guest(libvirtd: PrivateLibvirtd) -> Iterator[libvirt.virDomain]:
    """A guest with a real agent and a real database of hundreds of packages."""
    domain = running_guest(libvirtd, "packages", agent=True, disks=0)
    wait_until(lambda: "state='connected'" in domain.XMLDesc(), "the agent is connected", 60)
    yield domain
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()


def test_the_packages_of_a_guest_are_listed_and_read_again_only_when_they_change(
    libvirtd: PrivateLibvirtd, guest: libvirt.virDomain, tmp_path: Path
) -> None:
    """Exactly those that dpkg lists; one more changes count and hash once, after the quiet time;
    a restart of the exporter reads nothing, and the list goes with the VM."""
    name, uuid = guest.name(), guest.UUIDString()
    page = f"/api/v1/vms/{uuid}/applications"
    # Another test's guest may have an agent too.
    settings = lists(tmp_path / "state") | {"domains": {"include": [name]}}
    packages = sorted(
        line.partition("\t")[2]
        for line in in_guest(
            guest, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}-${Version}\n"
        ).splitlines()
        if line[1] == "i"
    )
    assert len(packages) > 300
    with Exporter(libvirtd.read_only_uri, tmp_path / "1", settings, traced=True) as exporter:

        def counted() -> float | None:
            return value(exporter.scrape(domain=name), "", name)

        wait_until(counted, "the list is read", 60)
        assert counted() == len(packages)
        answer = exporter.get(page)
        told = json.loads(answer.text)
        assert told["applications"] == packages
        assert (told["hash"], told["count"]) == (hash_of(packages), len(packages))
        assert (told["source"], told["complete"]) == ("dpkg", True)
        first = told["hash"]
        assert value(exporter.scrape(), "_info", name, hash=first, source="dpkg") == 1
        assert exporter.get(f"{page}?hash={first}").status == 304
        assert exporter.get(page, {"If-None-Match": answer.headers["ETag"]}).status == 304
        (row,) = json.loads(exporter.get(f"/api/v1/vms?vmIds={uuid}&fields=appsList").text)[
            "dataList"
        ]
        assert row["appsList"] == packages
        assert "appsList" not in exporter.get("/api/v1/vms").text
        file = next((tmp_path / "state").glob(f"applications-*/{uuid}.json"))
        assert os.stat(file).st_mode & 0o777 == 0o600

        looked = run_in_guests(exporter, "stat")
        seen = set()
        in_guest(guest, "dpkg", "--force-bad-path", "--install", str(PACKAGE))

        def changed() -> bool:
            found = counted()
            seen.add(found)
            return found == len(packages) + 1

        wait_until(changed, "the new package is listed", 60)
        assert seen == {len(packages), len(packages) + 1}
        assert run_in_guests(exporter, "stat") > looked
        assert run_in_guests(exporter, "dpkg-query") == 2
        added = json.loads(exporter.get(page).text)
        assert set(added["applications"]) - set(packages) == {"lab-package-1.0-1"}
        assert added["hash"] != first

        looked = run_in_guests(exporter, "stat")
        wait_until(lambda: run_in_guests(exporter, "stat") >= looked + 2, "it looks on", 60)
        assert run_in_guests(exporter, "dpkg-query") == 2
        checked = value(exporter.scrape(), "_checked_timestamp_seconds", name)
        assert checked is not None
        assert added["read"] < checked < time.time()

    with Exporter(libvirtd.read_only_uri, tmp_path / "2", settings, traced=True) as exporter:
        wait_until(
            lambda: value(exporter.scrape(), "", name) == len(packages) + 1, "it is known", 30
        )
        wait_until(lambda: run_in_guests(exporter, "stat"), "it looks", 60)
        assert json.loads(exporter.get(page).text) == added
        assert run_in_guests(exporter, "dpkg-query") == 0

        assert exporter.get(page, method="POST").status == 202
        wait_until(lambda: run_in_guests(exporter, "dpkg-query") == 1, "it is read", 30)
        assert json.loads(exporter.get(page).text)["hash"] == added["hash"]

        guest.destroy()

        def is_gone() -> bool:
            exporter.scrape()
            return not file.exists()

        wait_until(is_gone, "the list is gone with the VM", 30)
        assert exporter.get(page).status == 404
