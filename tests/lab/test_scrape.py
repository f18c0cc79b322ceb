"""One scrape of a real host: complete, right, and nothing else."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import libvirt
import pytest
from prometheus_client.openmetrics import parser as openmetrics

from libvirt_exporter.catalogue import WITHHELD
from tests.lab import circumstances, expectation
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import (
    HOSTILE_NAMES,
    MIB,
    Machine,
    create,
    paused_domain,
    shutoff_domain,
    state,
    statistics,
)
from tests.lab.exporter import EVERYTHING, Exporter, Series, series
from tests.support.waiting import wait_until

ROUNDS: Final = 20
"""Scrapes within which every figure must once be right while it stands still."""

HOST_METRIC: Final = "libvirt_(node|storage_pool|network)_"

PRIVATE: Final = {
    "title": "the payroll of Ms Example",
    "description": "call 555-0100 before you touch it",
    "user": "jane.example",
    "user id": "77777777-0000-0000-0000-000000000001",
    "address": "198.51.100.77",
    "serial": "4f5e6d7c-serial",
}
"""What names a person, an address or a device, and free text."""

TUNING: Final = (
    "<cputune><shares>512</shares></cputune>"
    "<perf><event name='cpu_clock' enabled='yes'/><event name='page_faults' enabled='yes'/></perf>"
)

PROJECT: Final = "88888888-0000-0000-0000-000000000002"

INSTANCE: Final = f"""
<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
  <nova:package version='27.0.0'/><nova:name>web "1" \\ ä</nova:name>
  <nova:creationTime>2026-03-01 12:00:00</nova:creationTime>
  <nova:flavor name='m1.tiny'>
    <nova:memory>much</nova:memory><nova:vcpus>2</nova:vcpus>
  </nova:flavor>
  <nova:owner>
    <nova:user uuid='{PRIVATE["user id"]}'>{PRIVATE["user"]}</nova:user>
    <nova:project uuid='{PROJECT}'>shop</nova:project>
  </nova:owner>
  <nova:root type='image' uuid='99999999-0000-0000-0000-000000000003'/>
  <nova:ports><nova:port uuid='99999999-0000-0000-0000-000000000004'>
    <nova:ip type='fixed' address='{PRIVATE["address"]}' ipVersion='4'/>
  </nova:port></nova:ports>
</nova:instance>"""


@pytest.fixture(scope="module")
def host(
    libvirtd: PrivateLibvirtd,
    guests: dict[str, libvirt.virDomain],
    hostile: list[libvirt.virDomain],
) -> Iterator[PrivateLibvirtd]:
    """The lab's guests, those with hostile names, and one with much to tell."""
    running = guests["running"]
    wait_until(lambda: "balloon.usable" in statistics(running), "balloon statistics", 30)
    wait_until(lambda: "state='connected'" in running.XMLDesc(), "the agent is connected", 30)
    assert hostile
    domains = [create(libvirtd, talkative(libvirtd))]
    domains += [*with_jobs(libvirtd), *with_a_past(libvirtd)]
    # A session daemon has neither, a container may forbid perf.
    with contextlib.suppress(libvirt.libvirtError):
        domains.append(paused_domain(libvirtd, "tuned", disks=0, nics=0, elements=TUNING))
    yield libvirtd
    for domain in domains:
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)


def talkative(libvirtd: PrivateLibvirtd) -> Machine:
    """A machine whose XML says a lot, some of it nobody's business."""
    image = libvirtd.images / f"{libvirtd.unused_name('raw')}.img"
    image.write_bytes(bytes(1024**2))
    return Machine(
        name="talkative",
        disks=1,
        nics=2,
        user_nics=2,
        watchdog="none",
        title=PRIVATE["title"],
        metadata=INSTANCE,
        elements=f"<description>{PRIVATE['description']}</description>"
        "<cpu><topology sockets='1' cores='2' threads='1'/></cpu>"
        "<clock offset='variable' adjustment='-3600'/>",
        devices="<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' keymap='de'/>"
        "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writeback'/>"
        f"<source file='{image}'/><target dev='vdb' bus='virtio'/>"
        f"<serial>{PRIVATE['serial']}</serial><readonly/>"
        "<iotune><total_bytes_sec>1000000</total_bytes_sec><read_iops_sec>100</read_iops_sec>"
        "</iotune></disk>",
    )


def with_jobs(libvirtd: PrivateLibvirtd) -> Iterator[libvirt.virDomain]:
    """A domain whose disk is copied at 1 byte/s and one whose backup nobody fetches."""
    copied = paused_domain(libvirtd, "copied", disks=1, nics=0, data=MIB)
    image = libvirtd.images / f"{libvirtd.unused_name('copy')}.qcow2"
    source = f"<disk type='file'><source file='{image}'/><driver type='qcow2'/></disk>"
    transient = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    copied.blockCopy("vda", source, {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: 1}, transient)
    yield copied
    saved = paused_domain(libvirtd, "saved", disks=1, nics=0, data=MIB)
    scratch = libvirtd.images / f"{libvirtd.unused_name('scratch')}.qcow2"
    disk = f"<disk name='vda' type='file'><scratch file='{scratch}'/></disk>"
    server = f"<server transport='unix' socket='{libvirtd.root}/backup'/>"
    no_checkpoint: Any = None  # annotated as a str, wrongly
    saved.backupBegin(
        f"<domainbackup mode='pull'>{server}<disks>{disk}</disks></domainbackup>", no_checkpoint
    )
    yield saved


def with_a_past(libvirtd: PrivateLibvirtd) -> Iterator[libvirt.virDomain]:
    """Domains with snapshots, with a checkpoint, and that ended well and badly."""
    kept = paused_domain(libvirtd, "kept", disks=1, nics=0)
    for name in ("first", "second"):
        kept.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>")
    yield kept
    marked = paused_domain(libvirtd, "marked", persistent=True, disks=1, nics=0)
    marked.checkpointCreateXML("<domaincheckpoint><name>only</name></domaincheckpoint>")
    yield marked
    ended = paused_domain(libvirtd, "ended", persistent=True, disks=0, nics=0)
    ended.destroy()
    yield ended
    missing = "<disk type='file'><source file='/missing'/><target dev='vda'/></disk>"
    broken = shutoff_domain(libvirtd, "broken", disks=0, nics=0, devices=missing)
    with pytest.raises(libvirt.libvirtError):
        broken.create()
    yield broken


@pytest.fixture(scope="module")
def everything(
    host: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    """An exporter that shows all there is, from where the QEMU processes are to be seen."""
    directory = tmp_path_factory.mktemp("everything")
    within = host.enter if host.privileged else ()
    with Exporter(host.read_only_uri, directory, EVERYTHING, within=within) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def exporter(host: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter without any configuration."""
    with Exporter(host.read_only_uri, tmp_path_factory.mktemp("default")) as exporter:
        yield exporter


def identity_of(domain: libvirt.virDomain) -> dict[str, str]:
    """The labels that every series of a domain has."""
    return {"domain": domain.name(), "uuid": domain.UUIDString()}


def of_the_bulk_call(connection: libvirt.virConnect) -> tuple[expectation.Values, set[str]]:
    """What the bulk call says now, and the keys that must be reported as unmapped."""
    found: expectation.Values = {}
    unknown: set[str] = set()
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
    for domain, stats in connection.getAllDomainStats(0, flags):
        identity = identity_of(domain)
        values, keys = expectation.of_statistics(stats, identity, domain.XMLDesc())
        found |= values
        if domain.isActive():
            found[series("libvirt_domain_monitor_responsive", **identity)] = 1
        unknown |= keys
    return found, unknown


def of_other_sources(
    libvirtd: PrivateLibvirtd, connection: libvirt.virConnect
) -> expectation.Values:
    """What other calls and /proc say now."""
    found: expectation.Values = {}
    for domain in connection.listAllDomains():
        identity = identity_of(domain)
        found |= circumstances.of_calls(domain, identity)
        # The exporter looks for processes where a system daemon says their pids.
        if libvirtd.privileged and domain.isActive():
            pid, is_kvm = libvirtd.qemu_pid(domain), domain.name() == "kvm"
            found |= circumstances.of_process(pid, identity, kvm=is_kvm)
    return found


def is_proven(key: Series, before: float, exported: float, after: float) -> bool:
    """Whether a figure is right between two others; a gauge that moved there proves nothing."""
    match key[0]:
        case "libvirt_domain_start_time_seconds":
            return abs(exported - before) <= 1  # Rounded to a second.
        case circumstances.MOVING:
            return 0 < exported <= after  # A lane may be a little behind.
    only_grows = key[0].endswith(("_total", "_last_update_timestamp_seconds"))
    lies_between = before <= exported <= after
    assert lies_between or not only_grows, key
    return lies_between and (only_grows or before == after)


def test_every_figure_of_the_host_is_exported_and_no_other(
    host: PrivateLibvirtd, everything: Exporter
) -> None:
    """Between two raw readings counters lie between, constants are equal; the series are those.

    What events have brought about since the exporter began is judged by its shape.
    """
    began = time.time() - 60
    connection = host.connect(read_only=True)
    moved = host.connection.lookupByName("bare")
    moved.resume()
    moved.suspend()
    backup = series(
        "libvirt_domain_job_info",
        **identity_of(connection.lookupByName("saved")),
        operation="backup",
        job_type="unbounded",
    )
    wait_until(lambda: backup in everything.scrape().samples, "the backup is found", 120)
    unproven: dict[Series, tuple[float, float, float]] = {}
    for number in range(ROUNDS):
        before = of_other_sources(host, connection)
        # The quick figures of the bulk call are read right before and after the scrape.
        figures, unknown = of_the_bulk_call(connection)
        answer = everything.scrape()
        after, _ = of_the_bulk_call(connection)
        before |= figures
        after |= of_other_sources(host, connection)
        facts: expectation.Values = {}
        born: set[Series] = set()
        for domain in connection.listAllDomains():
            identity = identity_of(domain)
            facts |= expectation.of_xml(domain, identity)
            born |= circumstances.born_with(domain, identity)
        exported = answer.domain_samples
        told = exported.keys() - before.keys() - facts.keys() - born
        happened = [(key, exported[key]) for key in told]
        assert circumstances.unlike_events(happened, since=began) == []
        assert before.keys() | facts.keys() | born == exported.keys() - told
        assert before.keys() == after.keys()
        assert {key: exported[key] for key in facts} == facts
        assert {key for key in born if exported[key]} == set()
        unmapped = {
            dict(labels)["key"]
            for name, labels in answer.samples
            if name == "libvirt_exporter_unmapped_stats_keys"
        }
        assert unmapped == {re.sub(r"\b\d+\b", "<n>", key) for key in unknown}
        unproven = {
            key: (before[key], exported[key], after[key])
            for key in (unproven if number else before)
            if not is_proven(key, before[key], exported[key], after[key])
        }
        if not unproven:
            return
    pytest.fail(f"never right while it stood still: {unproven}")


def test_what_is_withheld_is_documented(host: PrivateLibvirtd) -> None:
    """The keys of this host that give no series, being structure, are on the documented list."""
    records = host.connect(read_only=True).getAllDomainStats()
    structure = {key for _, stats in records for key in stats if expectation.NOTHING.fullmatch(key)}
    documented = [re.sub(r"<\w+>", "[^.]+", row.source) for row in WITHHELD]
    assert "net.count" in structure
    assert [
        key for key in structure if not any(re.fullmatch(pattern, key) for pattern in documented)
    ] == []


def test_a_shut_off_domain_has_its_state_and_its_xml_only(everything: Exporter) -> None:
    """No figure that libvirt invents for a domain without a process gets through."""
    names = {name for name, _ in everything.scrape(domain="off").domain_samples}
    assert {"libvirt_domain_state", "libvirt_domain_info", "libvirt_domain_block_info"} <= names
    figures = ("cpu_seconds", "cpu_user", "balloon_current", "vcpus_current", "read_bytes")
    assert [name for name in names if any(figure in name for figure in figures)] == []


def test_what_is_private_is_not_there_by_default(
    host: PrivateLibvirtd, exporter: Exporter, everything: Exporter
) -> None:
    """Free text, persons, addresses, serial numbers and paths need a configuration."""
    private = [*PRIVATE.values(), str(host.images)]
    text = exporter.scrape().text
    assert [what for what in private if what in text] == []
    assert PROJECT in text
    shown = everything.scrape().text
    assert [what for what in private if what not in shown] == [PRIVATE["address"]]


def test_the_default_shows_a_part_of_everything(exporter: Exporter, everything: Exporter) -> None:
    """Choosing fewer groups changes no series; what is left out is what is off by default."""
    shown = exporter.scrape().domain_samples.keys()
    assert shown < everything.scrape().domain_samples.keys()
    assert [
        name for name, _ in shown if re.search("_kvm_|_backing_(?!chain_)|dirtyrate|_path_", name)
    ] == []


def test_the_scrape_counts_what_it_shows(host: PrivateLibvirtd, everything: Exporter) -> None:
    """Domains by state and series by group add up, and on a healthy host nothing is amiss."""
    answer = everything.scrape()
    states = Counter(state(domain)[0] for domain in host.connect(read_only=True).listAllDomains())
    counted = {
        dict(labels)["state"]: value
        for (name, labels), value in answer.samples.items()
        if name == "libvirt_domains"
    }
    assert counted["paused"] == states[libvirt.VIR_DOMAIN_PAUSED]
    assert counted["running"] == states[libvirt.VIR_DOMAIN_RUNNING]
    assert counted["shutoff"] == states[libvirt.VIR_DOMAIN_SHUTOFF]
    assert sum(counted.values()) == states.total()

    def values(name: str) -> list[float]:
        return [value for (found, _), value in answer.samples.items() if found == name]

    of_the_host = [name for name, _ in answer.samples if re.match(HOST_METRIC, name)]
    assert of_the_host
    assert sum(values("libvirt_exporter_series")) == len(answer.domain_samples) + len(of_the_host)
    assert set(values("libvirt_scrape_group_success")) == {1}
    assert set(values("libvirt_scrape_incomplete_domains")) == {0}
    assert set(values("libvirt_scrape_series_dropped")) == {0}
    assert values("libvirt_scrape_unparsable_domain_xml") == [0]


def test_hostile_names_arrive_in_both_formats(exporter: Exporter) -> None:
    """Names with quotes, backslashes, line breaks and 240 characters are read back as they are."""
    assert set(HOSTILE_NAMES) < exporter.scrape().domains
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = exporter.get("/metrics", accept)
    names = {
        sample.labels["domain"]
        for family in openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if "domain" in sample.labels
    }
    assert set(HOSTILE_NAMES) < names
