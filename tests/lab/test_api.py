"""The API on real domains: what it says of them, and how soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import httpx
import libvirt
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import paused_domain, shutoff_domain
from tests.lab.exporter import Exporter
from tests.support.waiting import wait_until

VMS: Final = "/api/v1/vms"
MAX_AGE: Final = 120.0
"""Seconds: nothing but an event can have a waiting client answered much sooner."""
SECRET: Final = "S3CR3T-4711"


class Client:
    """Asks an exporter for fields of VMs."""

    def __init__(self, exporter: Exporter) -> None:
        self._http = httpx.Client(base_url=f"http://{exporter.address}", timeout=180)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, **query: Any) -> dict[str, Any]:
        answer = self._http.post(VMS, json=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def refresh(self) -> None:
        """Have a sample taken, which a scrape always does."""
        assert self._http.get("/metrics").status_code == 200

    def get(self, path: str) -> Any:
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The VMs of an answer by id."""
    return {row["vmId"]: row for row in answer["dataList"]}


@pytest.fixture(scope="module")
def patient(
    libvirtd: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of an exporter that takes samples for waiting clients once in two minutes."""
    configuration = {"api": {"max_age": MAX_AGE, "longest_wait": 100}}
    directory = tmp_path_factory.mktemp("patient")
    with (
        Exporter(libvirtd.read_only_uri, directory, configuration) as exporter,
        Client(exporter) as client,
    ):
        yield client


def waiting(client: Client, threads: ThreadPoolExecutor, **query: Any) -> Future[dict[str, Any]]:
    """A query that waits, once it does."""
    client.refresh()
    stamp = client.ask(**query)["queryStamp"]
    future = threads.submit(client.ask, **query, changedSince=stamp, wait=MAX_AGE)
    time.sleep(0.5)
    assert not future.done()
    return future


def test_the_server_does_what_its_document_says(
    libvirtd: PrivateLibvirtd, guests: dict[str, libvirt.virDomain], tmp_path: Path
) -> None:
    """Made-up requests, right and wrong ones, get the answers that the document promises."""
    configuration = {"api": {"longest_wait": "100ms"}}
    with Exporter(libvirtd.read_only_uri, tmp_path / "exporter", configuration) as exporter:
        schema = schemathesis.openapi.from_url(f"http://{exporter.address}/api/v1/openapi.json")
        operations = [*schema.get_all_operations()]
        assert len(operations) >= 4
        for operation in operations:
            assert isinstance(operation, Ok)
            _check(operation.ok(), GenerationMode.POSITIVE)
            # No text is wrong in the path of the other.
            if operation.ok().path == VMS:
                _check(operation.ok(), GenerationMode.NEGATIVE)


def _check(operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        answer = case.call()
        excluded: list[Any] = []
        # That strict refuses names which are unknown here is beyond a schema.
        if answer.status_code == 400 and "unknown field" in answer.text:
            excluded.append(positive_data_acceptance)
        # Nor does one say how long libvirt takes: the timeout may be too short.
        if answer.status_code == 503 and "libvirt did not answer within" in answer.text:
            excluded.append(not_a_server_error)
        # An address holds text: a number in place of a name reads like a name, and {} like nothing.
        if case.method == "GET":
            excluded.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=excluded)

    check()


def test_a_frozen_libvirt_is_told_as_soon_as_the_client_likes(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Instead of nothing at all; and when it goes on, the next query is answered."""
    configuration = {"api": {"max_age": 1}}
    with (
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter", configuration) as exporter,
        httpx.Client(base_url=f"http://{exporter.address}", timeout=60) as client,
    ):
        assert client.get(VMS).status_code == 200
        with fresh_libvirtd.frozen():
            time.sleep(1.5)
            answer = client.get(VMS, params={"timeout": "0.5"})
            assert answer.status_code == 503
            assert answer.json()["error"] == "libvirt did not answer within 0.5 s"
        wait_until(lambda: client.get(VMS).status_code == 200, "an answer", within=30)


def test_real_domains_are_as_documented(
    libvirtd: PrivateLibvirtd, guests: dict[str, libvirt.virDomain], tmp_path: Path
) -> None:
    """Running, paused and shut off; with rates after some seconds, and with diagnostics."""
    uuids = {name: domain.UUIDString() for name, domain in guests.items()}
    with (
        Exporter(libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        Client(exporter) as client,
    ):
        document = client.get("/api/v1/openapi.json")

        def validate(schema: str, found: Any) -> None:
            whole = {**document, "$ref": f"#/components/schemas/{schema}"}
            Draft202012Validator(whole).validate(found)

        first = client.ask(explain=True)
        validate("Changes", first)
        vms = rows(first)
        assert vms[uuids["running"]]["state"] == "running"
        assert vms[uuids["paused"]]["status"] == "Paused"
        assert vms[uuids["off"]]["status"] == "Down"
        assert vms[uuids["chain"]]["disks"].keys() == {"vda", "sda"}
        assert "cpuUser" not in vms[uuids["running"]]
        assert "cpuUser" in first["explanations"][uuids["running"]]
        for uuid in uuids.values():
            validate("Diagnostics", client.get(f"{VMS}/{uuid}/diagnostics"))

        time.sleep(6)
        second = client.ask(changedSince=first["queryStamp"])
        validate("Changes", second)
        assert not second["full"]
        busy = rows(second)[uuids["running"]]
        assert busy["cpuUser"] > 0
        assert "writeRate" in busy["disks"]["vda"]
        assert "devices" not in busy
        assert uuids["off"] not in rows(second)


NUMA: Final = (
    "<cpu mode='host-model'><numa><cell id='0' cpus='0' memory='8' unit='MiB'/>"
    "<cell id='1' cpus='1' memory='8' unit='MiB'/></numa></cpu>"
)


def test_what_statistics_do_not_tell_is_told_of_real_domains(
    libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Shares in force, the CPU asked for, clocks, huge pages, NUMA nodes; of a hung VM too."""
    shares = "<cputune><shares>510</shares></cputune>" if libvirtd.privileged else ""
    elements = {
        "defined": NUMA,
        "transient": f"{NUMA}{shares}<clock offset='localtime'/>",
        "shared": "<memoryBacking><source type='memfd'/></memoryBacking>"
        "<clock offset='timezone' timezone='Asia/Kolkata'/>",
    }
    domains = {
        name: paused_domain(
            libvirtd, name, disks=0, nics=0, persistent=name == "defined", elements=xml
        )
        for name, xml in elements.items()
    }
    defined = domains["defined"]
    names = ["cpuShares", "nice", "cpuType", "timeOffset", "transparentHugePages"]
    with (
        libvirtd.hung(defined),
        Exporter(libvirtd.read_only_uri, tmp_path / "exporter", within=libvirtd.enter) as exporter,
        Client(exporter) as client,
    ):
        vms = rows(client.ask(fields=[*names, "vNodeRuntimeInfo"]))
    found = {name: vms[domain.UUIDString()] for name, domain in domains.items()}
    definition = defined.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    in_force = {name: shares_in_force(domain) for name, domain in domains.items()}
    for domain in domains.values():
        domain.destroy()
    defined.undefine()

    assert {name: row.get("cpuShares") for name, row in found.items()} == in_force
    assert found["transient"].get("nice") == (10 if shares else None)
    assert "mode='host-model'" in definition
    assert found["defined"]["cpuType"] == "hostModel"
    assert found["transient"]["cpuType"].partition(",")[0] not in ("", "hostModel")
    local = time.localtime().tm_gmtoff
    offsets = {name: row.get("timeOffset") for name, row in found.items()}
    assert offsets == {"defined": 0, "transient": local, "shared": 19_800}
    # Of a session daemon's QEMUs the exporter does not know the processes.
    expected = may_have_huge_pages() if libvirtd.privileged else None
    assert found["transient"].get("transparentHugePages") is expected
    assert "transparentHugePages" not in found["shared"]
    assert "vNodeRuntimeInfo" not in found["shared"]
    nodes = host_nodes()
    for name in ("defined", "transient"):
        placement = found[name]["vNodeRuntimeInfo"]
        assert placement.keys() == {"0", "1"}
        assert all(on and set(on) <= nodes for on in placement.values())


def shares_in_force(domain: libvirt.virDomain) -> int | None:
    """What libvirt tells of the domain's control group, else what its XML says."""
    try:
        parameters: Any = domain.schedulerParameters()
    except libvirt.libvirtError:
        text = ElementTree.fromstring(domain.XMLDesc()).findtext("cputune/shares")
        return None if text is None else int(text)
    shares: int = parameters["cpu_shares"]
    return shares


def may_have_huge_pages() -> bool:
    """Whether host and parents leave transparent huge pages to processes of these tests."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    return "[never]" not in setting and "THP_enabled:\t1" in Path("/proc/self/status").read_text()


def host_nodes() -> set[int]:
    """This machine's NUMA nodes; a kernel without NUMA counts as one."""
    directories = Path("/sys/devices/system/node").glob("node[0-9]*")
    return {int(directory.name.removeprefix("node")) for directory in directories} or {0}


def test_an_event_is_told_to_who_waits(libvirtd: PrivateLibvirtd, patient: Client) -> None:
    """A VM that goes on, long before a sample would be due; others are not in the answer."""
    paused_domain(libvirtd, "bystander-api", disks=0, nics=0)
    domain = paused_domain(libvirtd, "resumed", disks=0, nics=0)
    with ThreadPoolExecutor(1) as threads:
        future = waiting(patient, threads, fields=["state", "vmName"])
        started = time.monotonic()
        domain.resume()
        answer = future.result(timeout=MAX_AGE / 2)
        assert time.monotonic() - started < MAX_AGE / 4
    assert rows(answer) == {domain.UUIDString(): {"vmId": domain.UUIDString(), "state": "running"}}


def test_a_vm_that_ends_is_removed_and_down(libvirtd: PrivateLibvirtd, patient: Client) -> None:
    """Its end is told once, with code and message; a new one of the same UUID is told anew."""
    domain = paused_domain(libvirtd, "shortlived", disks=0, nics=0)
    uuid, xml = domain.UUIDString(), domain.XMLDesc()
    with ThreadPoolExecutor(1) as threads:
        future = waiting(patient, threads, fields=["vmName"])
        domain.destroy()
        answer = future.result(timeout=MAX_AGE / 2)
        while rows(answer)[uuid].get("exitCode") != 0:
            # A sample found it gone before the event said why, which is told when it comes.
            answer = patient.ask(fields=["vmName"], changedSince=answer["queryStamp"], wait=MAX_AGE)
        assert answer["removed"] == [uuid]
        assert rows(answer)[uuid]["status"] == "Down"
        assert rows(answer)[uuid]["exitMessage"]
        stamp = answer["queryStamp"]
        again = patient.ask(fields=["vmName"], changedSince=stamp)
        assert (again["dataList"], again["removed"]) == ([], [])
        future = threads.submit(patient.ask, fields=["vmName"], changedSince=stamp, wait=MAX_AGE)
        libvirtd.connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        assert rows(future.result(timeout=MAX_AGE / 2))[uuid]["vmName"] == "shortlived"


def test_the_end_of_the_exporter_is_told_to_who_waits(
    libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """With an answer of nothing new; SIGTERM does not wait for them."""
    shutoff_domain(libvirtd, "quiet", disks=0, nics=0)
    with (
        Exporter(libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        Client(exporter) as client,
        ThreadPoolExecutor(3) as threads,
    ):
        stamp = client.ask(fields=["vmName"])["queryStamp"]
        futures = [
            threads.submit(client.ask, fields=["vmName"], changedSince=stamp, wait=60)
            for _ in range(3)
        ]
        time.sleep(1)
        assert exporter.close() == 0
        for future in futures:
            assert future.result()["dataList"] == []


def test_what_is_sensitive_shows_nowhere(libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """Not in answers, explanations, errors, the description, the page or the log."""
    serial = (
        f"<sysinfo type='smbios'><system><entry name='serial'>{SECRET}</entry></system></sysinfo>"
    )
    nova = (
        f"<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'>"
        f"<n:owner><n:user uuid='{SECRET}'>{SECRET}</n:user></n:owner></n:instance>"
    )
    domain = shutoff_domain(libvirtd, "secretive", disks=0, nics=0, elements=serial, metadata=nova)
    sensitive = ["serial", "nova", "custom", "guestIPs", "username"]
    with (
        Exporter(libvirtd.read_only_uri, tmp_path / "off") as exporter,
        Client(exporter) as client,
    ):
        answer = client.ask(explain=True, fields=[*sensitive, "vmName"])
        assert answer["unknownFields"] == sensitive
        for path in ("/", VMS, f"{VMS}?explain=1", f"{VMS}?fields=seria&strict=1"):
            assert SECRET not in exporter.get(path).text
        document = exporter.get("/api/v1/openapi.json").text
        assert SECRET not in document
        assert not any(f'"{name}"' in document for name in sensitive)
        assert SECRET not in exporter.log
    shown = {"api": {"sensitive_fields": ["serial", "nova"]}}
    with Exporter(libvirtd.read_only_uri, tmp_path / "on", shown) as exporter:
        assert SECRET in exporter.get(f"{VMS}?fields=serial").text
        assert SECRET in exporter.get(f"{VMS}?fields=nova").text
    domain.undefine()


def test_queries_and_scrapes_share_samples(libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """What a scrape has just read is not asked of libvirt again."""
    configuration = {"api": {"max_age": MAX_AGE}}
    with (
        Exporter(libvirtd.read_only_uri, tmp_path / "x", configuration, traced=True) as exporter,
        Client(exporter) as client,
    ):
        exporter.scrape()
        asked = len(exporter.calls("virConnectGetAllDomainStats"))
        for _ in range(5):
            client.ask()
        assert len(exporter.calls("virConnectGetAllDomainStats")) == asked


def test_a_hung_vm_is_told_and_costs_no_other_its_fields(
    libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """It loses what only QEMU knows; of the others nothing changes, and none is removed."""
    hung = paused_domain(libvirtd, "hung-api")
    well = paused_domain(libvirtd, "well-api")
    fields = ["monitorResponse", "disks", "state"]
    answers: list[dict[str, Any]] = []
    with (
        Exporter(
            libvirtd.read_only_uri, tmp_path / "exporter", {"api": {"max_age": "1s"}}
        ) as exporter,
        Client(exporter) as client,
    ):

        def whole() -> bool:
            answers.append(client.ask(fields=fields))
            found = rows(answers[-1])
            return all(found[domain.UUIDString()].get("disks") for domain in (hung, well))

        wait_until(whole, "the disks of both are known")
        with libvirtd.hung(hung):
            time.sleep(1.5)
            after = client.ask(fields=fields, changedSince=answers[-1]["queryStamp"])
            changed = rows(after)
            assert changed[hung.UUIDString()]["monitorResponse"] == -1
            assert changed[hung.UUIDString()]["disks"] is None
            assert well.UUIDString() not in changed
            assert not after["removed"]
