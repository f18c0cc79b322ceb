"""The 59 fields of the design, and the exporter's own: what each says of which sample."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from libvirt_exporter.catalogue import GROUPS, METRICS
from libvirt_exporter.model import DomainInfo, NumaCell, Stats, VanishedDomain
from libvirt_exporter.query.diagnostics import ASKS, LANES, diagnostics
from libvirt_exporter.query.fields.field import VmField, VmView
from libvirt_exporter.query.fields.table import BY_NAME, FIELDS, values
from tests.contract.cases import cases
from tests.contract.synthetic import GUEST
from tests.support.samples import TYPICAL_INFO, TYPICAL_STATS, UUID, domain
from tests.support.vm_views import NOW, QEMU, described, explain, infos, running, stats, view, views


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


DESIGNED = words(
    """
acpiEnable appsList balloonInfo boot cdrom clientIp copyPasteEnable cpuShares cpuSys cpuType cpuUser
custom devices disks disksUsage display displayInfo displayIp displayPort displaySecurePort
displayType elapsedTime emulatedMachine exitCode exitMessage guestCPUCount guestFQDN guestIPs
keyboardLayout kvmEnable maxVCpus memGuaranteedSize memSize memUsage memoryStats migrationProgress
monitorResponse netIfaces network nicModel nice pauseCode pid serial session smp smpCoresPerSocket
smpThreadsPerCore statsAge status timeOffset transparentHugePages username vNodeRuntimeInfo vmId
vmJobs vmName vmType watchdogEvent
"""
)
SENSITIVE = words(
    """
username session clientIp guestIPs netIfaces guestFQDN appsList custom disksUsage displayIp
displayPort displaySecurePort displayInfo cdrom serial
"""
)
AGENT = words(
    """
appsList disksUsage guestCPUCount guestFQDN guestIPs netIfaces session username
"""
)
NAMES = [field.name for field in FIELDS]


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """Of the field's values."""
    return Draft202012Validator(BY_NAME[name].schema)


# The table.


def test_table_has_the_59_fields_of_the_design_in_its_order() -> None:
    """No name is missing or spelled otherwise, and the exporter's own come after."""
    assert len(DESIGNED) == 59
    assert NAMES[:59] == DESIGNED
    assert [field.name for field in FIELDS if not field.own] == DESIGNED
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_row_has_a_valid_schema_and_says_all_a_reader_needs(field: VmField) -> None:
    """Its schema is one, and meaning, source and reason of absence are sentences or terms."""
    Draft202012Validator.check_schema(field.schema)
    assert field.text.endswith(".")
    assert field.source
    assert field.why_absent.endswith(".")


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_metric_of_a_row_is_in_the_catalogue(field: VmField) -> None:
    """Where a row names a metric, there is one."""
    assert {*field.metrics} <= {metric.name for metric in METRICS}
    assert bool(field.metrics) != bool(field.no_metric)


MEASURED = [field for field in FIELDS if field.metric and field.unit]


@pytest.mark.parametrize("field", MEASURED, ids=lambda field: field.name)
def test_metric_of_a_row_measures_the_same(field: VmField) -> None:
    """Metrics have base units, whatever multiple of them the field has."""
    base = {
        "s": "seconds",
        "% of one CPU": "seconds",
        **dict.fromkeys(("bytes", "KiB", "MiB", "%"), "bytes"),
    }
    assert base[field.unit] in field.metric.split("_")


def test_fields_that_name_persons_addresses_serials_or_paths_are_sensitive() -> None:
    """All of the design's list are, and of ours metadata as such, serials and addresses."""
    metadata = {"nova", "ovirt", "instance", "libosinfo", "kubevirt"}

    sensitive = {field.name for field in FIELDS if field.sensitive}

    assert sensitive == {*SENSITIVE, *metadata, "diskSerials", "lunGUIDs"}


def test_only_the_list_of_applications_must_be_named() -> None:
    """It is tens of kB for each VM."""
    assert [field.name for field in FIELDS if field.on_request] == ["appsList"]


def test_fields_of_the_guest_agent_are_those_that_only_it_can_tell() -> None:
    """They change when it says so."""
    assert [field.name for field in FIELDS if field.change == "agent"] == AGENT


# Whatever the sample.


@given(views)
def test_no_sample_makes_a_field_raise_or_break_its_schema(view: VmView) -> None:
    """Statistics of wrong kinds, any XML, vanished domains: absent, or of the promised form."""
    found = values(view, NAMES)

    for name, value in msgspec.json.decode(msgspec.json.encode(found)).items():
        validator(name).validate(value)
    assert found.keys() | explain(view, NAMES).keys() == {*NAMES}
    assert found.keys().isdisjoint(explain(view, NAMES))


@pytest.mark.parametrize("case", sorted(cases()))
def test_recorded_hosts_give_values_of_the_promised_form(case: str) -> None:
    """Each domain of each recording, with itself 10 s earlier."""
    host = cases()[case]
    for sample in host.domains:
        earlier = msgspec.structs.replace(sample, timestamp=sample.timestamp - 10)
        found = values(VmView(host, sample, earlier), NAMES)

        for name, value in found.items():
            validator(name).validate(value)
        assert {"vmId", "vmName", "state", "statsAge"} <= found.keys()


@given(infos, stats(), stats(), st.floats(0, 2e9))
def test_static_fields_depend_on_the_xml_alone(
    info: DomainInfo, some: Stats, other: Stats, time: float
) -> None:
    """So a poll need not look at them while a domain's XML is the same."""
    static = [field.name for field in FIELDS if field.change == "static"]
    sample = domain(some, info=info, timestamp=NOW)
    changed = domain(other, info=info, timestamp=time)

    assert values(VmView(QEMU, sample, None, NOW), static) == values(
        VmView(QEMU, changed, sample, time), static
    )


@given(views, st.floats(0, 2e9))
def test_only_fields_that_say_so_depend_on_the_clock(view: VmView, now: float) -> None:
    """The others are the same whenever a sample is looked at."""
    lasting = [field.name for field in FIELDS if field.change != "time" and not field.by_clock]
    at_another_time = msgspec.structs.replace(view, now=now)

    assert values(view, lasting) == values(at_another_time, lasting)


@given(views)
def test_only_sampled_fields_depend_on_the_earlier_sample(view: VmView) -> None:
    """What is called static or event is the same with the first sample as with the next."""
    settled = [field.name for field in FIELDS if field.change in ("static", "event")]
    first = msgspec.structs.replace(view, earlier=None)

    assert values(view, settled) == values(first, settled)


def test_unknown_names_are_left_out() -> None:
    """Who asks decides what to say of them."""
    assert values(running(), ["nonsense", "vmId"]) == {"vmId": UUID}


def test_order_is_that_of_the_names() -> None:
    """Answers are in the order in which fields were asked for."""
    assert [*values(running(), ["vmName", "status", "vmId"])] == ["vmName", "status", "vmId"]


# Explanations.


def test_explanation_says_what_stands_in_the_way() -> None:
    """A domain that is gone, or off, or whose XML is not known, before the field's own reason."""
    gone = VmView(QEMU, VanishedDomain(uuid=UUID, name="web", timestamp=NOW))

    assert "not exist" in explain(gone, ["memUsage"])["memUsage"]
    off = view({}, active=False)
    for name in ("memUsage", "elapsedTime", "startTime", "pid"):
        assert "not active" in explain(off, [name])[name]
    assert "XML" in explain(view({}), ["boot"])["boot"]
    assert explain(described(), ["boot"]) == {"boot": BY_NAME["boot"].why_absent}
    assert explain(running(), ["vmName"]) == {}


# What it takes.

OWNERS: Final[Mapping[str, str]] = {
    "balloon": "balloon",
    "block": "block",
    "blockjob": "jobs",
    "cpu": "cpu-total",
    "diskerror": "errors",
    "guest": "guest_agent",
    "job": "jobs",
    "net": "interface",
    "numa": "numa",
    "pause": "errors",
    "process": "processes",
    "start": "processes",
    "vcpu": "vcpu",
}
"""What must be asked for to have the keys that begin so."""
FREE: Final = frozenset({"state", "event", "exit", "graphics"})
"""How the keys begin that are in every sample."""
MONITOR: Final = frozenset({"balloon", "block"})
"""Whoever asks for one of these learns whether the monitor answers."""


def only(wanted: Collection[str], stats: Stats) -> Stats:
    """The statistics that there are when just this was asked for."""

    def there(key: str) -> bool:
        word = key.partition(".")[0]
        if word == "monitor":
            return not MONITOR.isdisjoint(wanted)
        return word in FREE or OWNERS[word] in wanted

    return {key: value for key, value in stats.items() if there(key)}


def spared(view: VmView, wanted: Collection[str]) -> VmView:
    """The view from samples for which just this was asked."""
    domain, earlier = view.domain, view.earlier
    if earlier is not None:
        earlier = replace(earlier, stats=only(wanted, earlier.stats))
    return replace(view, domain=replace(domain, stats=only(wanted, domain.stats)), earlier=earlier)


@given(views)
def test_every_field_says_what_must_be_asked_for_it(view: VmView) -> None:
    """It has the same value where nothing else was asked; a key of an unknown kind fails."""
    for field in FIELDS:
        assert field.value(spared(view, {*field.asks, *field.lanes})) == field.value(view), field


EVERYTHING: Final[Stats] = {
    **TYPICAL_STATS,
    **GUEST,
    "monitor.responsive": True,
    "pause.code": 1,
    "process.pid": 7,
    "process.guest.time": 9,
    "process.transparent_hugepages": True,
    "start.time": int((NOW - 10) * 10**9),
    "job.operation": 5,
    "job.data_total": 2,
    "job.data_remaining": 1,
    "blockjob.count": 0,
    "numa.0.node.0": True,
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_no_field_asks_for_what_it_does_not_use(field: VmField) -> None:
    """Without any of it the value is another one; of what may come second, without all."""
    before = {**EVERYTHING, "vcpu.0.time": 1, "cpu.time": 1}
    info = replace(TYPICAL_INFO, type="qemu", vcpus_current=1, numa_cells=(NumaCell(0, (0, 1)),))
    sample = domain(EVERYTHING, info=info, timestamp=NOW)
    whole = VmView(QEMU, sample, domain(before, timestamp=NOW - 10), NOW)
    wanted = {*field.asks, *field.lanes}
    # Any of the groups shows whether the monitor answers; processes tell two runs apart.
    second = MONITOR if field.name == "monitorResponse" else {"processes"}
    if field.name == "status":
        second |= {"guest_agent"}  # whether the guest has booted, where there is no job
    value = field.sign or field.value
    for name in wanted - second or wanted - MONITOR:
        assert value(spared(whole, wanted - {name})) != value(whole), name
    assert not wanted or value(spared(whole, ())) != value(whole)


def test_the_needs_of_fields_are_groups_and_lanes_that_exist() -> None:
    """Nobody answers to any other name."""
    assert {ask for field in FIELDS for ask in field.asks} <= {
        ask for group in GROUPS for ask in group.asks
    }
    assert {lane for field in FIELDS for lane in field.lanes} <= {
        lane for group in GROUPS for lane in group.lanes
    }


@given(views)
def test_diagnostics_say_what_must_be_asked_for_them(view: VmView) -> None:
    """As the fields do."""
    assert diagnostics(spared(view, ASKS | LANES)) == diagnostics(view)
