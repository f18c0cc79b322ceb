"""The table of VMs for a person at a terminal."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.commands import vms_table
from libvirt_exporter.commands.vms_table import Look
from libvirt_exporter.model import DomainInfo, DomainSample, HostSample, StatValue
from libvirt_exporter.query.overview import Row

RUNNING: dict[str, StatValue] = {"state.state": 1, "state.reason": 1}


def host(*domains: DomainSample) -> HostSample:
    """A sample of a host that answered."""
    return HostSample(timestamp=0.0, duration=0.1, up=True, domains=domains)


def vm(
    name: str, stats: dict[str, StatValue], at: float = 100.0, info: DomainInfo | None = None
) -> DomainSample:
    """A VM known by its name, sampled at a time."""
    return DomainSample(
        uuid=f"uuid of {name}", name=name, active=True, stats=stats, timestamp=at, info=info
    )


def row(before: dict[str, StatValue], now: dict[str, StatValue]) -> Row:
    """The row of a VM sampled twice, two seconds apart."""
    rows = vms_table.rows(host(vm("a", before)), host(vm("a", now, at=102.0)))
    return rows[0]


def unknown(name: str, state: str) -> Row:
    """A VM of which nothing else is known."""
    return Row(name, state, "", None, None, None, None, None, None, None)


def width(line: str) -> int:
    """Columns on a terminal."""
    return sum(
        1 + (unicodedata.east_asian_width(one) in "WF")
        for one in line
        if not unicodedata.combining(one)
    )


def test_state_reason_vcpus_and_memory_come_from_the_statistics() -> None:
    """libvirt's numbers become names, and KiB become bytes."""
    stats = RUNNING | {
        "vcpu.current": 2,
        "balloon.rss": 10,
        "balloon.current": 20,
        "balloon.maximum": 30,
    }

    found = row({}, stats)

    assert (found.state, found.reason, found.vcpus) == ("running", "booted", 2)
    assert (found.rss, found.memory, found.memory_maximum) == (10240, 20480, 30720)


def test_reason_newer_than_this_exporter_keeps_its_number() -> None:
    """What has no name yet is not hidden."""
    assert row({}, {"state.state": 1, "state.reason": 99}).reason == "unknown_99"


def test_what_an_inactive_vm_would_have_comes_from_its_xml() -> None:
    """Without statistics vCPUs and memory are those of the configuration; usage is unknown."""
    info = DomainInfo(uuid="u", name="a", vcpus_current=3, memory_current=4096, memory_maximum=8192)
    off = vm("a", {"state.state": 5, "state.reason": 1}, info=info)

    found = vms_table.rows(host(off), host(off))[0]

    assert (found.vcpus, found.memory, found.memory_maximum) == (3, 4096, 8192)
    assert (found.cpu, found.rss, found.disk, found.net) == (None, None, None, None)


def test_rates_are_differences_over_the_time_between_the_samples() -> None:
    """CPU is in CPUs, disks and interfaces in bytes per second over all devices."""
    found = row(
        {
            "cpu.time": 1_000_000_000,
            "block.0.name": "vda",
            "block.0.rd.bytes": 0,
            "block.0.wr.bytes": 100,
            "block.1.name": "vdb",
            "block.1.rd.bytes": 7,
            "net.0.name": "vnet0",
            "net.0.rx.bytes": 10,
            "net.0.tx.bytes": 10,
        },
        {
            "cpu.time": 4_000_000_000,
            "block.0.name": "vda",
            "block.0.rd.bytes": 200,
            "block.0.wr.bytes": 300,
            "block.1.name": "vdb",
            "block.1.rd.bytes": 17,
            "net.0.name": "vnet0",
            "net.0.rx.bytes": 14,
            "net.0.tx.bytes": 12,
        },
    )

    assert (found.cpu, found.disk, found.net) == (1.5, 205.0, 3.0)


def test_lower_images_of_a_chain_are_not_counted() -> None:
    """Images below the top one have their disk's name, and what they do the top one did not."""
    before: dict[str, StatValue] = {
        "block.0.name": "vda",
        "block.0.rd.bytes": 0,
        "block.1.name": "vda",
        "block.1.backingIndex": 2,
        "block.1.rd.bytes": 0,
    }

    assert row(before, before | {"block.0.rd.bytes": 20, "block.1.rd.bytes": 40}).disk == 10.0


@pytest.mark.parametrize(
    ("before", "now"),
    [({}, {"cpu.time": 5}), ({"cpu.time": 5}, {}), ({"cpu.time": 5}, {"cpu.time": 4})],
    ids=["new", "gone", "restarted"],
)
def test_rate_is_unknown_without_two_values_of_one_counter(
    before: dict[str, StatValue], now: dict[str, StatValue]
) -> None:
    """A counter that came, went or started again gives no rate."""
    assert row(before, now).cpu is None


def test_sample_shared_by_both_gives_no_rate() -> None:
    """Two samples of the same moment are no division by zero."""
    same = host(vm("a", {"cpu.time": 5}))

    assert vms_table.rows(same, same)[0].cpu is None


def test_rows_are_sorted_by_name() -> None:
    """A VM has its place whatever order libvirt lists in."""
    now = host(vm("b", RUNNING), vm("c", RUNNING), vm("a", RUNNING))

    assert [found.name for found in vms_table.rows(now, now)] == ["a", "b", "c"]


def test_table_shows_human_units_and_nothing_for_the_unknown() -> None:
    """Sizes are short, CPU is a percentage of one CPU, gaps are empty."""
    table = [
        Row("a", "running", "booted", 2, 1.5, 2**31, 2**32, 2**42, 1023.0, 0.0),
        unknown("b", "shutoff"),
    ]

    assert vms_table.render(table, None).splitlines() == [
        "NAME  STATE    REASON  VCPUS     CPU  RSS  MEM  MAX  DISK/s  NET/s",
        "a     running  booted      2  150.0%   2G   4G   4T  0.999K      0",
        "b     shutoff",
    ]


@given(st.text(min_size=1, max_size=300), st.integers(min_value=50, max_value=300))
def test_no_name_breaks_the_table_or_commands_the_terminal(name: str, columns: int) -> None:
    """Whatever a VM is called, it has one visible line that fits the terminal."""
    found = Row(name, "running", "booted", 2, 1.5, 2**31, 2**32, 2**42, 1.0, 1.0)

    text = vms_table.render([found], columns)

    lines = text.removesuffix("\n").split("\n")
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable()
        assert width(line) <= columns


def test_narrow_terminal_leaves_columns_out_and_keeps_names_readable() -> None:
    """Name, state and CPU are kept to the last."""
    found = Row("a-long-name-of-a-vm", "running", "booted", 2, 0.5, 1, 1, 1, 1.0, 1.0)

    header, line = vms_table.render([found], 40).splitlines()

    assert header.split() == ["NAME", "STATE", "CPU", "MEM"]
    assert line.startswith("a-long-name-of-a")


def test_names_are_cut_where_no_terminal_limits_them() -> None:
    """In a pipe all columns are there, and names as long as a UUID, but none that fill a line."""
    uuid = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"
    table = [unknown(name, "running") for name in (uuid, "n" * 100)]

    header, first, second = vms_table.render(table, None).splitlines()

    assert header.split()[-1] == "NET/s"
    assert first.split() == [uuid, "running"]
    assert second.split() == [f"{'n' * 39}…", "running"]


def test_stuck_vms_are_told_below_the_table_with_their_time() -> None:
    """Each VM whose QEMU hangs has a line, however narrow the terminal and whatever its state."""
    hung: dict[str, StatValue] = {
        **RUNNING,
        "monitor.responsive": False,
        "monitor.stuck.time": 12_300_000_000,
    }
    answering = vm("b", {**RUNNING, "monitor.responsive": True})
    sample = host(vm("c\x1b", hung), answering, vm("a" * 60, hung))

    table, stuck = vms_table.text(sample, sample, Look(40)).split("\n\n")

    assert len(table.splitlines()) == 4
    assert stuck.splitlines() == [
        f"{'a' * 39}…: stuck for 12 s, QEMU's monitor does not answer",
        "c�: stuck for 12 s, QEMU's monitor does not answer",
    ]
    assert "stuck" not in vms_table.text(host(answering), host(answering), Look())


def test_host_without_vms_has_no_empty_table() -> None:
    """A sentence instead of a header with nothing below."""
    assert vms_table.text(host(), host(), Look()) == "There are no VMs to show.\n"


def busy(name: str, cpu: int | None, net: int = 0) -> tuple[DomainSample, DomainSample]:
    """A VM before and now, two seconds apart; None is a figure that libvirt does not have."""
    stats: dict[str, StatValue] = {"net.0.name": "a", "net.0.rx.bytes": 0, "net.0.tx.bytes": 0}
    now: dict[str, StatValue] = stats | {"net.0.rx.bytes": net}
    if cpu is not None:
        stats, now = {**stats, "cpu.time": 0}, {**now, "cpu.time": cpu}
    return vm(name, RUNNING | stats), vm(name, RUNNING | now, at=102.0)


def names(sort: str = "name", *patterns: str) -> list[str]:
    """The order in which some busy VMs are shown."""
    vms = [busy("b", 5, net=1), busy("a", 9), busy("d", None, net=7), busy("c", 5)]
    before, now = zip(*vms, strict=True)
    text = vms_table.text(host(*before), host(*now), Look(sort=sort, names=patterns))
    return [line.split()[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("sort", "order"), [("name", "abcd"), ("cpu", "abcd"), ("net", "dbac"), ("state", "abcd")]
)
def test_figures_are_sorted_from_the_highest(sort: str, order: str) -> None:
    """Equal ones by name, unknown ones last."""
    assert names(sort) == [*order]


@pytest.mark.parametrize(
    ("patterns", "shown"),
    [((), "abcd"), (("a", "c"), "ac"), (("[ab]",), "ab"), (("uuid of d",), "d"), (("*",), "abcd")],
)
def test_names_choose_the_vms_that_are_shown(patterns: tuple[str, ...], shown: str) -> None:
    """By a shell's patterns of names and UUIDs."""
    assert names("name", *patterns) == [*shown]


def test_a_name_that_no_vm_has_shows_none() -> None:
    """In words, not as an empty table."""
    assert names("name", "e") == []


def test_colours_show_states_without_moving_columns() -> None:
    """The text without them is the same."""
    sample = host(vm("a", RUNNING), vm("b", {"state.state": 3, "state.reason": 1}))
    plain = vms_table.text(sample, sample, Look())
    coloured = vms_table.text(sample, sample, Look(colour=True))
    assert re.sub(r"\x1b\[[0-9]*m", "", coloured) == plain
    assert "\x1b[32ma " in coloured
    assert "\x1b[33mb " in coloured
    assert "\x1b" not in plain


@given(st.sampled_from(sorted(vms_table.SORTED_BY)))
def test_every_column_can_be_sorted_by(sort: str) -> None:
    """Whatever is unknown."""
    assert sorted(names(sort)) == [*"abcd"]
