"""What a domain's sample shows: base units, names for numbers, nothing that nobody said."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from libvirt_exporter.catalogue import DOMAIN_METRICS
from libvirt_exporter.catalogue.metric import Fact, Stat
from libvirt_exporter.model import (
    REASONS,
    STATES,
    CpuTune,
    Disk,
    DomainInfo,
    OpenStackInfo,
    StatValue,
    Watchdog,
)
from libvirt_exporter.render.series import Identity
from tests.support.samples import (
    ALL,
    DEFAULT,
    TYPICAL_INFO,
    TYPICAL_STATS,
    UUID,
    domain,
    series,
    typical,
    value,
)

STATS = [row for row in DOMAIN_METRICS if isinstance(row, Stat)]
DOMAIN_ONLY = Identity(labels=("domain",))


def filled(pattern: str) -> str:
    """One key that a pattern stands for."""
    return re.sub(r"<(\w+)>", lambda found: "name" if found[1] == "name" else "1", pattern)


@pytest.mark.parametrize("raw", [0, 1, 123_456_789_012_345, 2**64 - 1])
@pytest.mark.parametrize("row", STATS, ids=lambda row: row.name)
def test_value_is_the_raw_value_in_base_units(row: Stat, raw: int) -> None:
    """Every row: raw × scale, under the labels that its companions give."""
    stats: dict[str, StatValue] = {}
    labels = {}
    for label, where in row.labels.items():
        if where.startswith("<"):
            labels[label] = filled(where)
        else:
            stats[filled(where)] = labels[label] = f"the {label}"
    if row.lower:
        # The top image comes first.
        stats = {"block.0.name": "the device", **stats}
    stats[filled(row.source)] = raw
    shown = ",".join(f'{label}="{text}"' for label, text in labels.items())

    found = value(stats, row.name, shown)

    numerator, denominator = row.scale.value
    if row.zero_is_absent and raw == 0:
        assert found is None
    else:
        assert found is not None
        assert float(found) == raw * numerator / denominator
        assert denominator != 1 or found == str(raw * numerator)


def test_integers_are_written_without_loss() -> None:
    """More digits than a float has."""
    assert value({"balloon.current": 2**60 + 1}, "libvirt_domain_balloon_current_bytes") == str(
        (2**60 + 1) * 1024
    )


def test_truth_values_are_0_and_1() -> None:
    """libvirt's booleans are numbers."""
    name = "libvirt_domain_vcpu_kvm_current"
    labels = 'vcpu="0",stat="blocking"'

    assert value({"vcpu.0.blocking.cur": True}, name, labels) == "1"
    assert value({"vcpu.0.blocking.cur": False}, name, labels) == "0"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("100%s %(x)d %%", "100%s %(x)d %%"),
        ('a"b', r"a\"b"),
        ("a\\nb", r"a\\nb"),
        ("a\nb", r"a\nb"),
        ("a\0b\ud800", "a\ufffdb\ufffd"),
        ("虚拟机", "虚拟机"),
    ],
)
def test_hostile_name_is_escaped(name: str, shown: str) -> None:
    """Whatever a domain is called, its series are whole."""
    assert series(domain({"cpu.time": 10**9}, name=name)) == {
        f'libvirt_domain_cpu_seconds_total{{domain="{shown}"}}': "1.0"
    }


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_figure_has_no_series(raw: float) -> None:
    """Neither NaN nor infinity is exported."""
    assert value({"cpu.time": raw}, "libvirt_domain_cpu_seconds_total") is None


def test_text_under_a_numeric_key_is_unmapped() -> None:
    """A changed type shows as an unmapped key, not as a crash."""
    assert series(domain({"cpu.time": "much", "state.state": "on"})) == {}


def test_device_without_a_name_has_no_series() -> None:
    """An interface that libvirt does not name cannot be told from another."""
    assert series(domain({"net.0.rx.bytes": 5})) == {}


def test_guest_that_never_reported_has_no_time_of_report() -> None:
    """libvirt says 0 there."""
    name = "libvirt_domain_balloon_last_update_timestamp_seconds"

    assert value({"balloon.last-update": 0}, name) is None
    assert value({"balloon.last-update": 1_700_000_000}, name) == "1700000000"


def test_nothing_is_shown_of_a_measurement_that_nobody_has_started() -> None:
    """libvirt has zeros and a method for it, QEMU's default."""
    stats: dict[str, StatValue] = {
        "dirtyrate.calc_status": 0,
        "dirtyrate.calc_start_time": 0,
        "dirtyrate.calc_period": 0,
        "dirtyrate.calc_mode": "page-sampling",
    }
    status = 'libvirt_domain_dirtyrate_status{domain="web",status="unstarted"}'
    assert series(domain(stats), selection=ALL, identity=DOMAIN_ONLY) == {status: "1"}
    stats |= {"dirtyrate.calc_status": 1, "dirtyrate.calc_start_time": 7}
    assert len(series(domain(stats), selection=ALL, identity=DOMAIN_ONLY)) == 4


@pytest.mark.parametrize(
    "key",
    [
        *(f"block.0.timed_group.0.rd_latency_{which}" for which in ("min", "max", "avg")),
        "block.0.timed_group.0.flush_latency_avg",
        "vcpu.0.wait",
        "vcpu.0.delay",
    ],
)
def test_a_0_of_which_there_was_nothing_to_measure_is_absent(key: str) -> None:
    """No request within the window; a kernel that does not count how long threads wait."""
    stats: dict[str, StatValue] = {"block.0.name": "vda", "block.0.timed_group.0.interval": 60}
    assert series(domain({**stats, key: 0}), selection=ALL) == {}
    assert len(series(domain({**stats, key: 1}), selection=ALL)) == 1
    depth = {**stats, "block.0.timed_group.0.rd_queue_depth_avg": 0.0}
    assert len(series(domain(depth), selection=ALL)) == 1


@pytest.mark.parametrize("number", range(len(STATES)))
def test_state_is_one_of_all_states(number: int) -> None:
    """1 for the current one, 0 for each other."""
    found = series(domain({"state.state": number}))

    assert found == {
        f'libvirt_domain_state{{domain="web",state="{name}"}}': str(int(position == number))
        for position, name in enumerate(STATES)
    }


def test_unknown_state_has_a_name_with_its_number() -> None:
    """A state newer than this exporter is shown beside the known ones."""
    found = series(domain({"state.state": 9, "state.reason": 3}))

    assert found['libvirt_domain_state{domain="web",state="unknown_9"}'] == "1"
    assert found['libvirt_domain_state{domain="web",state="running"}'] == "0"
    assert (
        found['libvirt_domain_state_reason{domain="web",state="unknown_9",reason="unknown_3"}']
        == "1"
    )


@pytest.mark.parametrize(
    ("state", "reason"), [(state, reason) for state in REASONS for reason in REASONS[state]]
)
def test_reason_is_named_within_its_state(state: int, reason: int) -> None:
    """Only the current reason has a series."""
    found = series(domain({"state.state": state, "state.reason": reason}))
    reasons = {name: text for name, text in found.items() if "_reason{" in name}

    assert reasons == {
        f'libvirt_domain_state_reason{{domain="web",state="{STATES[state]}",'
        f'reason="{REASONS[state][reason]}"}}': "1"
    }


def test_reason_without_a_state_has_no_name() -> None:
    """The number means nothing by itself."""
    assert series(domain({"state.reason": 1})) == {}


def test_histogram_is_cumulative_and_ends_at_infinity() -> None:
    """A bin's upper bound is the next one's lower bound, in seconds."""
    stats: dict[str, StatValue] = {"block.0.name": "vda"}
    for index, (start, count) in enumerate([(0, 5), (10_000, 3), (2_000_000_000, 2)]):
        stats[f"block.0.latency_histogram.read.bin.{index}.start"] = start
        stats[f"block.0.latency_histogram.read.bin.{index}.value"] = count
    bucket = 'libvirt_domain_block_read_latency_seconds_bucket{domain="web",device="vda",le='

    assert series(domain(stats)) == {
        f'{bucket}"1e-05"}}': "5",
        f'{bucket}"2.0"}}': "8",
        f'{bucket}"+Inf"}}': "10",
    }


def test_bins_are_ordered_by_bound() -> None:
    """Ten comes after nine, not after one."""
    stats: dict[str, StatValue] = {"block.0.name": "vda"}
    for index in reversed(range(12)):
        stats[f"block.0.latency_histogram.read.bin.{index}.value"] = 1
        stats[f"block.0.latency_histogram.read.bin.{index}.start"] = index * 10**9

    assert [name.split('le="')[1] for name in series(domain(stats))] == [
        *(f'{second}.0"}}' for second in range(1, 12)),
        '+Inf"}',
    ]


CHAIN: dict[str, StatValue] = {
    "block.count": 3,
    **{f"block.{layer}.name": "vda" for layer in range(2)},
    **{f"block.{layer}.backingIndex": 2 - layer for layer in range(2)},
    **{f"block.{layer}.path": f"/{layer}" for layer in range(2)},
    **{f"block.{layer}.capacity": 100 + layer for layer in range(2)},
    "block.2.name": "vdb",
    "block.2.capacity": 7,
}


def test_lower_images_have_metrics_of_their_own() -> None:
    """The top image's series carry no index, lower ones the `backing_index`."""
    found = series(domain(CHAIN))
    lower = "libvirt_domain_block_backing_capacity_bytes"

    assert {name: text for name, text in found.items() if "capacity" in name} == {
        'libvirt_domain_block_capacity_bytes{domain="web",device="vda"}': "100",
        'libvirt_domain_block_capacity_bytes{domain="web",device="vdb"}': "7",
        f'{lower}{{domain="web",device="vda",backing_index="1"}}': "101",
    }


def test_snapshot_changes_no_series_of_the_top_image() -> None:
    """Neither labels nor number of the series that were there before."""
    before = {
        key: number
        for key, number in TYPICAL_STATS.items()
        if not key.startswith("block.1.") and key != "block.count"
    }
    moved = {key.replace("block.0.", "block.1."): number for key, number in before.items()}
    after = {**before, **moved, "block.0.backingIndex": 5, "block.0.path": "/images/snapshot"}
    names = {
        name
        for name in series(domain(before), selection=ALL)
        if "_path_info" not in name and "libvirt_domain_block_backing" not in name
    }

    assert names <= series(domain(after), selection=ALL).keys()
    assert series(domain(before), selection=DEFAULT) == series(domain(after), selection=DEFAULT)


def test_typical_domain_stays_below_130_series() -> None:
    """2 vCPUs, 2 disks, 1 NIC, memory figures, all default groups."""
    assert 70 < len(series(typical(), selection=DEFAULT)) <= 130


def test_facts_come_from_the_domain_xml() -> None:
    """Constant 1 with labels, or a number."""
    found = series(domain(info=TYPICAL_INFO))

    assert found['libvirt_domain_cpu_shares{domain="web"}'] == "1024"
    assert found['libvirt_domain_autostart{domain="web"}'] == "1"
    assert (
        found[
            'libvirt_domain_watchdog_info{domain="web",device="watchdog0",model="i6300esb",action="pause"}'
        ]
        == "1"
    )
    assert (
        found['libvirt_domain_block_source_info{domain="web",device="vda",source="/images/0"}']
        == "1"
    )
    assert (
        'libvirt_domain_block_info{domain="web",device="vda",kind="disk",bus="virtio",'
        'source_type="file",format="qcow2",cache="",io="",discard="",error_policy="",'
        'readonly="false"}'
    ) in found


def test_facts_that_the_xml_does_not_tell_have_no_series() -> None:
    """No 0 and no empty label set in their place."""
    info = DomainInfo(uuid=UUID, name="web", cpu_tune=CpuTune(quota=float("nan")))

    assert series(domain(info=info), identity=Identity()) == {}


def test_domain_without_xml_has_its_statistics() -> None:
    """Facts are missing, nothing else."""
    facts = {row.name for row in DOMAIN_METRICS if isinstance(row, Fact)}
    without = series(typical(info=None))
    complete = series(typical())

    assert without.items() <= complete.items()
    assert {name.split("{")[0] for name in complete.keys() - without.keys()} <= facts


@pytest.mark.parametrize(
    "private",
    [
        "libvirt_domain_openstack_user_info",
        "libvirt_domain_block_serial_info",
        "libvirt_domain_block_source_info",
        "libvirt_domain_graphics_info",
        "libvirt_domain_description_info",
    ],
)
def test_private_facts_are_off_by_default(private: str) -> None:
    """Persons, paths, serials, addresses and free text must be named."""
    info = replace(
        TYPICAL_INFO,
        title="mine",
        disks=(Disk(device="vda", serial="42", source="/x"),),
        openstack=OpenStackInfo(user_name="me", project_name="p"),
    )
    found = series(typical(info=info), selection=DEFAULT)

    assert 'libvirt_domain_openstack_info{domain="web"' in "".join(found)
    assert not any(name.startswith(private) for name in found)


def test_same_device_twice_is_shown_once_and_counted() -> None:
    """Prometheus refuses two series of the same name and labels."""
    info = replace(TYPICAL_INFO, watchdogs=(Watchdog("itco", "reset"),) * 2)
    found = [name for name in series(domain(info=info)) if "watchdog" in name]

    assert found == [
        'libvirt_domain_watchdog_info{domain="web",device="",model="itco",action="reset"}'
    ]


NOTHING_KNOWN = ",".join(
    f'{name}=""'
    for name in (
        *("type", "os_type", "arch", "machine", "firmware", "cpu_mode", "cpu_model"),
        *("sockets", "cores", "threads"),
    )
)


def test_identity_may_be_a_chosen_label() -> None:
    """It is on every series then, no longer on `libvirt_domain_labels`; the UUID is on the info."""
    info = DomainInfo(uuid=UUID, name="web", custom_labels=(("tenant", "a"), ("owner", "b")))
    sample = domain({"cpu.time": 0}, info=info)

    assert series(sample, identity=Identity(("tenant", "domain"))) == {
        f'libvirt_domain_info{{tenant="a",domain="web",uuid="{UUID}",{NOTHING_KNOWN}}}': "1",
        'libvirt_domain_labels{tenant="a",domain="web",owner="b"}': "1",
        'libvirt_domain_cpu_seconds_total{tenant="a",domain="web"}': "0.0",
    }


def test_chosen_labels_are_empty_while_the_xml_is_unknown() -> None:
    """The series exist all the same."""
    assert [*series(domain({"cpu.time": 0}), identity=Identity(("tenant", "uuid")))] == [
        f'libvirt_domain_cpu_seconds_total{{tenant="",uuid="{UUID}"}}'
    ]


def test_every_label_is_cut_at_the_limit() -> None:
    """Identity and descriptive ones alike."""
    info = replace(TYPICAL_INFO, title="t" * 3000)
    found = "".join(series(domain(name="n" * 3000, info=info), identity=Identity(("domain",), 32)))

    assert "n" * 23 + "~" in found
    assert "t" * 23 + "~" in found
    assert "n" * 24 not in found
    assert "t" * 24 not in found


@pytest.mark.parametrize(
    ("channel", "expected"), [("connected", "1"), ("disconnected", "0"), ("", None)]
)
def test_the_agent_is_connected_or_not_where_it_has_a_channel(
    channel: str, expected: str | None
) -> None:
    """Without one there is nothing to say."""
    found = series(domain(info=replace(TYPICAL_INFO, agent_channel=channel)))

    assert found.get('libvirt_domain_agent_connected{domain="web"}') == expected
