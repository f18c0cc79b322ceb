"""What guest agents say, from a real one in a real guest, and from one that does its worst."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import libvirt
import libvirt_qemu
import pytest

from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings
from libvirt_exporter.hypervisor.sources.guest_answers import QUESTIONS
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, paused_domain
from tests.lab.exporter import Answer, Exporter, series
from tests.lab.fake_agent import Answer as Answered
from tests.lab.fake_agent import FakeAgent, fake_agent, packages_answer
from tests.lab.guests import running_guest, wait_for_console
from tests.lab.malformed import WELL_FORMED, malformed
from tests.support.waiting import wait_until

INTERVAL: Final = 5.0
"""Seconds, the least that the configuration takes."""
AGENTS: Final = {
    "guest_agent": {"enabled": True, "interval": INTERVAL, "slow_interval": INTERVAL},
    "api": {"max_age": "1s"},
}
FIELDS: Final = (
    *("disksUsage", "guestCPUCount", "guestFQDN", "guestIPs", "netIfaces", "session", "username"),
)
OPEN: Final = {
    **AGENTS,
    "fields": {"include": ["libvirt_domain_guest_*"]},
    "api": {
        "max_age": "1s",
        "sensitive_fields": [name for name in FIELDS if name != "guestCPUCount"],
    },
}
"""Everything that an agent says is shown."""


def value(answer: Answer, name: str, **labels: str) -> float | None:
    """Of the one series with these labels among others."""
    found = [
        number
        for (metric, all_labels), number in answer.samples.items()
        if metric == f"libvirt_domain_guest_{name}" and labels.items() <= dict(all_labels).items()
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def in_guest(domain: libvirt.virDomain, *command: str) -> None:
    """Run a program in a guest and wait for its end."""

    def execute(name: str, **arguments: Any) -> Any:
        request = json.dumps({"execute": name, "arguments": arguments})
        return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, 30, 0))["return"]

    path, *rest = command
    pid = execute("guest-exec", path=path, arg=rest)["pid"]
    wait_until(lambda: execute("guest-exec-status", pid=pid)["exited"], f"{command} ended", 60)


@pytest.fixture(scope="module")
def guest(libvirtd: PrivateLibvirtd) -> Iterator[libvirt.virDomain]:
    """A guest with an agent, and a file system on its disk."""
    domain = running_guest(libvirtd, "with-agent", "file-system", agent=True, nics=1)
    wait_for_console(libvirtd, "with-agent", "lab: file-system done")
    yield domain
    domain.destroy()


def answered(exporter: Exporter, domain: str, *, everything: bool = False) -> Answer:
    """The first scrape, of this domain or all, that has an answer to the last question."""

    def scrape() -> list[Answer]:
        answer = exporter.scrape() if everything else exporter.scrape(domain=domain)
        found = value(answer, "agent_answer_timestamp_seconds", domain=domain, kind="interfaces")
        return [answer] * bool(found)

    return wait_until(scrape, f"the agent of {domain} answers", 60)[0]


def vm(exporter: Exporter, name: str, *fields: str) -> dict[str, Any]:
    query = ",".join(("vmName", *fields))
    rows = json.loads(exporter.get(f"/api/v1/vms?fields={query}").text)["dataList"]
    (found,) = (row for row in rows if row["vmName"] == name)
    return dict(found)


def test_figures_are_those_that_the_guest_reports(
    libvirtd: PrivateLibvirtd, guest: libvirt.virDomain, tmp_path: Path
) -> None:
    """File systems, system, CPUs, users, host name, interfaces; as series and as fields."""
    with Exporter(libvirtd.read_only_uri, tmp_path, OPEN) as exporter:
        answer = answered(exporter, guest.name())
        told: Any = guest.guestInfo(0)
        row = vm(exporter, guest.name(), *FIELDS)

    labels = {"mountpoint": "/data", "fstype": "ext4", "guest_device": "vda"}
    size, used = told["fs.0.total-bytes"], told["fs.0.used-bytes"]
    assert value(answer, "filesystem_size_bytes", **labels) == size
    assert value(answer, "filesystem_used_bytes", **labels) == used
    assert value(answer, "agent_up") == 1
    assert value(answer, "cpus_online") == 1
    assert value(answer, "users") == told["user.count"] == 0
    assert value(answer, "hostname_info", hostname="lab-guest") == 1
    assert value(answer, "filesystem_disk_info", device="vda", **labels) == 1
    mac = told["if.1.hwaddr"]
    assert value(answer, "interface_info", interface="eth0", mac=mac) == 1
    assert value(answer, "os_info", id="lab", kernel_release=told["os.kernel-release"]) == 1
    at = value(answer, "agent_answer_timestamp_seconds", kind="cpus")
    assert at is not None
    assert time.time() - 60 < at < time.time()
    assert all(
        number == 0 for (name, _), number in answer.samples.items() if name.endswith("_dropped")
    )
    assert row["disksUsage"] == [{"path": "/data", "fs": "ext4", "total": size, "used": used}]
    assert row["guestCPUCount"] == 1
    assert row["guestFQDN"] == "lab-guest"
    assert row["guestIPs"] == "192.0.2.10"
    assert [interface["name"] for interface in row["netIfaces"]] == ["eth0", "lo"]
    assert row["netIfaces"][0]["hw"] == mac
    assert row["netIfaces"][0]["inet"] == ["192.0.2.10"]
    assert (row["session"], row["username"]) == ("LoggedOff", "None")


def test_a_file_written_in_the_guest_moves_what_is_used_in_the_next_reading(
    libvirtd: PrivateLibvirtd, guest: libvirt.virDomain, tmp_path: Path
) -> None:
    """By its size, within an interval."""
    with Exporter(libvirtd.read_only_uri, tmp_path, AGENTS) as exporter:

        def used() -> float:
            return value(exporter.scrape(domain=guest.name()), "filesystem_used_bytes") or 0

        before = wait_until(used, "the agent answers")
        in_guest(guest, "/bin/busybox", "dd", "if=/dev/zero", "of=/data/new", "bs=1M", "count=8")
        in_guest(guest, "/bin/busybox", "sync")
        wait_until(lambda: used() >= before + 8 * MIB, "the file shows", 2 * INTERVAL)
        assert used() < before + 9 * MIB


def sockets_of(libvirtd: PrivateLibvirtd) -> int:
    """Connections to the daemon's read-write socket."""
    path = re.escape(str(libvirtd.socket_directory / "libvirt-sock"))
    # Flags 0: no listening socket.
    return len(
        re.findall(rf" 00000000 \S+ 03 .* {path}$", Path("/proc/net/unix").read_text(), re.M)
    )


def test_the_read_write_socket_is_opened_only_where_agents_are_asked(
    libvirtd: PrivateLibvirtd, guest: libvirt.virDomain, tmp_path: Path
) -> None:
    """Whatever is scraped or queried otherwise; nothing else but agents is asked on it."""
    before = sockets_of(libvirtd)
    assert before >= 1  # the lab's own
    everything = {"groups": {"include": ["all"]}, "fields": {"include": ["libvirt_domain_*"]}}
    with Exporter(libvirtd.read_only_uri, tmp_path / "off", everything, traced=True) as exporter:
        for _ in range(3):
            exporter.scrape()
            exporter.get("/api/v1/vms")
            assert sockets_of(libvirtd) == before
        assert exporter.calls("virConnectOpenReadOnly")
        assert not exporter.calls("virConnectOpen", "virConnectOpenAuth")
    with Exporter(libvirtd.read_only_uri, tmp_path / "on", AGENTS, traced=True) as exporter:
        answered(exporter, guest.name())
        assert before < sockets_of(libvirtd) <= before + 2
        opened = exporter.calls("virConnectOpen")
    assert 1 <= len(opened) <= 2


# An agent that does its worst.


def usual_answer(command: str) -> Answered:
    """What an agent with nothing to tell says."""
    answers: dict[str, Any] = {
        "guest-get-osinfo": {"id": "plain"},
        "guest-get-host-name": {"host-name": "plain"},
        "guest-get-vcpus": [{"logical-id": 0, "online": True, "can-offline": False}],
    }
    return {"return": answers.get(command, [])}


@pytest.fixture
def agent(only_agent: FakeAgent, libvirtd: PrivateLibvirtd) -> FakeAgent:
    """The agent of the guest `fake`, which has just connected."""
    domain = libvirtd.connection.lookupByName("fake")
    only_agent.answer = usual_answer
    only_agent.reopen()
    for state in ("disconnected", "connected"):
        wait_until(lambda: f"state='{state}'" in domain.XMLDesc(), f"{state}", 60)  # noqa: B023
    return only_agent


@pytest.fixture(scope="module")
def only_agent(libvirtd: PrivateLibvirtd) -> Iterator[FakeAgent]:
    """The agent of the guest `fake`, beside which there is another domain."""
    with fake_agent(libvirtd.root / "agent") as agent:
        domain = running_guest(
            libvirtd, "fake", "no-agent", agent=True, agent_socket=agent.socket, disks=0
        )
        other = paused_domain(libvirtd, "beside", disks=1, nics=1)
        wait_for_console(libvirtd, "fake", "lab: no-agent done")
        wait_until(lambda: "state='connected'" in domain.XMLDesc(), "the channel is connected", 60)
        yield agent
        other.destroy()
        domain.destroy()


def file_system(mountpoint: str, number: int = 0) -> dict[str, Any]:
    return {
        "name": f"vda{number}",
        "mountpoint": mountpoint,
        "type": "ext4",
        "total-bytes": 1000,
        "used-bytes": 100,
        "disk": [],
    }


def resident(exporter: Exporter) -> float:
    """Bytes of memory that the exporter uses."""
    return exporter.scrape().samples[series("process_resident_memory_bytes")]


def mount_points(answer: Answer) -> list[str]:
    """Those of the file systems of the guest `fake`."""
    return [
        dict(labels)["mountpoint"]
        for (name, labels), _ in answer.samples.items()
        if name == "libvirt_domain_guest_filesystem_size_bytes" and dict(labels)["domain"] == "fake"
    ]


def errors(answer: Answer) -> float:
    """How often its agent failed."""
    return sum(
        number
        for (name, labels), number in answer.samples.items()
        if name == "libvirt_domain_guest_agent_errors_total" and dict(labels)["domain"] == "fake"
    )


def beside(answer: Answer) -> dict[str, int]:
    """How many series the other domain has, by metric."""
    found: dict[str, int] = {}
    for (name, labels), _ in answer.domain_samples.items():
        if dict(labels)["domain"] == "beside":
            found[name] = found.get(name, 0) + 1
    return found


ASKED_BY: Final = {
    "guest-get-fsinfo": "filesystems",
    "guest-get-load": "load",
    "guest-get-vcpus": "cpus",
    "guest-get-users": "users",
    "guest-get-osinfo": "os",
    "guest-get-host-name": "hostname",
    "guest-network-get-interfaces": "interfaces",
    "guest-get-devices": "drivers",
}
"""Kind of question by the agent's command."""
FSINFO: Final = "guest-get-fsinfo"
LONG: Final = b'{"return": "' + b"x" * (10 * MIB) + b'"}\n'
HOSTILE: Final = '/"quotes"\n# HELP libvirt_up forged\nlibvirt_up 0\n\\ \u202e{a="b"}'


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, None),
        (b"\xff\xfe garbage \x00 {{{\n", None),
        (LONG, None),
        ({"return": {"a": [[[]]] * 1000}}, None),
        ({"return": [file_system(f"/{n}", n) for n in range(100_000)]}, None),
        ({"return": [file_system(f"/{n:03}", n) for n in range(200)]}, 64),
        ({"return": [file_system(HOSTILE)]}, 1),
        ({"return": [file_system("/" + "y" * 100_000)]}, 1),
    ],
    ids=["silence", "garbage", "10 MiB", "nonsense", "100000", "200", "hostile", "long"],
)
def test_an_agent_that_does_its_worst_costs_its_own_figures_only(
    libvirtd: PrivateLibvirtd,
    agent: FakeAgent,
    tmp_path: Path,
    answer: Any,
    shown: int | None,
) -> None:
    """Scrapes are whole beside it, and the exporter does not grow with what it says."""
    with Exporter(libvirtd.read_only_uri, tmp_path, AGENTS) as exporter:
        usual = beside(answered(exporter, "fake", everything=True))
        memory = resident(exporter)
        agent.answer = lambda command: answer if command == FSINFO else usual_answer(command)

        def is_told() -> list[Answer]:
            scraped = exporter.scrape()
            assert scraped.samples[series("libvirt_up")] == 1
            assert beside(scraped) == usual
            found = mount_points(scraped) if shown else errors(scraped)
            return [scraped] * bool(found)

        scraped = wait_until(is_told, "the answer, or its failure, shows", 60)[0]
        assert len(mount_points(scraped)) == (shown or 0)
        assert bool(errors(scraped)) == (shown is None)
        if shown == 64:
            assert value(scraped, "entries_dropped", domain="fake", kind="filesystems") == 200 - 64
        time.sleep(INTERVAL)
        for _ in range(20):
            assert beside(exporter.scrape()) == usual
        assert resident(exporter) < memory + 24 * MIB
        assert exporter.scrape().samples[series("libvirt_exporter_stuck_calls")] == 0


def listing(directory: Path, **api: Any) -> dict[str, Any]:
    """A configuration that keeps lists of applications."""
    return {
        **AGENTS,
        "applications": {"enabled": True, "state_directory": str(directory), "interval": INTERVAL},
        "api": {"max_age": "1s", **api},
    }


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (b"".join(b"install ok installed\tname-%d\n" % n for n in range(100_000)), None),
        (
            b'install ok installed\t/"quotes"\t\x1b[2J\n# HELP libvirt_up forged\n\n\xff\xfe\n'
            b"install ok installed\t" + b"y" * 100_000,
            2,
        ),
    ],
    ids=["100000", "hostile"],
)
def test_a_list_that_does_its_worst_costs_its_own_guest_only(
    libvirtd: PrivateLibvirtd, agent: FakeAgent, tmp_path: Path, listed: bytes, names: int | None
) -> None:
    """Scrapes are whole beside it, names are bounded, and the exporter does not grow by it."""
    agent.answer = lambda command: packages_answer(agent, command, listed) or usual_answer(command)
    settings = listing(tmp_path / "state", sensitive_fields=["appsList"])
    uuid = libvirtd.connection.lookupByName("fake").UUIDString()
    with Exporter(libvirtd.read_only_uri, tmp_path / "exporter", settings) as exporter:
        usual = beside(answered(exporter, "fake", everything=True))
        memory = resident(exporter)
        wanted = "applications" if names else "applications_errors_total"

        def is_told() -> list[Answer]:
            scraped = exporter.scrape()
            assert beside(scraped) == usual
            return [scraped] * bool(value(scraped, wanted, domain="fake"))

        scraped = wait_until(is_told, "the list, or its failure, shows", 60)[0]
        assert value(scraped, "applications", domain="fake") == names
        assert resident(exporter) < memory + 32 * MIB
        page = exporter.get(f"/api/v1/vms/{uuid}/applications")
        assert page.status == (200 if names else 404)
        if names:
            told = json.loads(page.text)["applications"]
            assert len(told) == names
            assert all(len(name) <= 256 and not {*"\n\t\x1b"} & {*name} for name in told)


def test_no_malformed_answer_to_what_is_asked_ends_libvirtd(
    libvirtd: PrivateLibvirtd, agent: FakeAgent
) -> None:
    """libvirtd 9.0 does not survive one to guest-get-disks, which is why that is not asked."""
    domain = libvirtd.connection.lookupByName("fake")
    domain.agentSetResponseTimeout(2)
    tried = 0
    for command, well_formed in WELL_FORMED.items():
        for odd in malformed(well_formed):
            said = {**WELL_FORMED, command: odd}
            agent.answer = lambda asked, said=said: {"return": said.get(asked, [])}  # type: ignore[misc]
            for question in QUESTIONS:
                if question.kind == ASKED_BY[command]:
                    with contextlib.suppress(libvirt.libvirtError):
                        question.keep(question.ask(domain), GuestAgentSettings())
                    assert domain.isActive(), odd
                    tried += 1
    assert tried > 500
    assert not any(command.startswith("guest-get-disks") for command in agent.commands)


def test_what_names_people_hosts_or_addresses_is_on_no_surface_unless_it_is_named(
    libvirtd: PrivateLibvirtd, agent: FakeAgent, tmp_path: Path
) -> None:
    """Pages, series in every format, fields, diagnostics and the log; then where it is named."""
    secrets = (
        *("S3CR3T-user", "S3CR3T-host", "198.51.100.77", "2001:db8::77", "S3CR3T-serial"),
        "S3CR3T-package",
    )

    def answer(command: str) -> Any:
        match command:
            case "guest-get-users":
                return {"return": [{"user": "S3CR3T-user", "login-time": 1.5}]}
            case "guest-get-host-name":
                return {"return": {"host-name": "S3CR3T-host"}}
            case "guest-network-get-interfaces":
                addresses = [
                    {"ip-address-type": "ipv4", "ip-address": "198.51.100.77", "prefix": 24},
                    {"ip-address-type": "ipv6", "ip-address": "2001:db8::77", "prefix": 64},
                ]
                interface = {"name": "eth0", "hardware-address": "02:77:77:77:77:77"}
                return {"return": [{**interface, "ip-addresses": addresses}]}
            case "guest-get-fsinfo":
                pci = {"domain": 0, "bus": 0, "slot": 4, "function": 0}
                place = {"bus-type": "virtio", "bus": 0, "unit": 0, "target": 0}
                disk = {**place, "pci-controller": pci, "dev": "/dev/x", "serial": secrets[4]}
                return {"return": [{**file_system("/"), "disk": [disk]}]}
        packages = b"install ok installed\tS3CR3T-package-1.0\n"
        return packages_answer(agent, command, packages) or usual_answer(command)

    agent.answer = answer
    uuid = libvirtd.connection.lookupByName("fake").UUIDString()
    paths = (
        *("/", "/metrics", "/api/v1/vms", "/api/v1/openapi.json", "/-/healthy", "/-/ready"),
        *(
            f"/api/v1/vms/{uuid}/diagnostics",
            "/api/v1/vms?explain=true",
            "/metrics?collect[]=guest",
        ),
        *(f"/api/v1/vms/{uuid}/applications", "/api/v1/vms?fields=appsList&explain=true"),
    )
    with Exporter(
        libvirtd.read_only_uri, tmp_path / "closed", listing(tmp_path / "state")
    ) as exporter:
        answered(exporter, "fake")
        wait_until(
            lambda: value(exporter.scrape(), "applications", domain="fake"), "the list is read", 60
        )
        said = {path: exporter.get(path).text for path in paths}
        said["openmetrics"] = exporter.get(
            "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}
        ).text
        said["log"] = exporter.log
        assert value(exporter.scrape(), "users", domain="fake") == 1
    shown = {
        (path, secret)
        for path, text in said.items()
        for secret in (*secrets, "02:77:77:77:77:77")
        if secret in text
    }
    assert shown == set()
    shown_again = [*OPEN["api"]["sensitive_fields"], "appsList"]  # type: ignore[index]
    opened = {**OPEN, **listing(tmp_path / "state", sensitive_fields=shown_again)}
    with Exporter(libvirtd.read_only_uri, tmp_path / "open", opened) as exporter:
        answered(exporter, "fake")
        wait_until(
            lambda: value(exporter.scrape(), "applications", domain="fake"), "the list is known", 60
        )
        row = vm(exporter, "fake", *FIELDS, "appsList")
        text = exporter.scrape().text
    assert row["appsList"] == ["S3CR3T-package-1.0"]
    assert row["username"] == "S3CR3T-user"
    assert row["guestFQDN"] == "S3CR3T-host"
    assert row["guestIPs"] == "198.51.100.77"
    assert row["netIfaces"][0]["inet6"] == ["2001:db8::77"]
    assert 'hostname="S3CR3T-host"' in text
    assert "S3CR3T-user" not in text
    assert "198.51.100.77" not in text
