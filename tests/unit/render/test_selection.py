"""Which groups and metrics a scrape wants, and what it asks libvirt for."""

from __future__ import annotations

import pytest

from libvirt_exporter.catalogue import DOMAIN_METRICS, GROUPS
from libvirt_exporter.render.selection import Selection, UnknownGroupError, groups_named

ROWS = {row.name: row for row in DOMAIN_METRICS}
DEFAULT = {group.name for group in GROUPS if group.default}


def names(selection: Selection) -> set[str]:
    """The selected metrics."""
    return {row.name for row in selection.families}


def test_default_is_the_groups_that_are_on_by_default() -> None:
    """`default` is a word for groups."""
    assert groups_named(["default"]) == DEFAULT
    assert {"state", "cpu-total", "block", "info"} <= DEFAULT
    assert not DEFAULT & {"dirtyrate", "kvm", "vm", "block-limits", "block-backing", "block-timed"}


def test_all_is_every_group() -> None:
    """`all` is a word for groups."""
    assert groups_named(["all"]) == {group.name for group in GROUPS}


def test_excluded_groups_are_taken_away() -> None:
    """Whatever named them."""
    assert groups_named(["all"], ["default"]) == {group.name for group in GROUPS} - DEFAULT


@pytest.mark.parametrize(
    ("excluded", "taken_along"),
    [("block", {"block-limits", "block-backing", "block-timed"}), ("vcpu", {"kvm"})],
)
def test_an_excluded_group_is_not_asked_for_by_another_one(
    excluded: str, taken_along: set[str]
) -> None:
    """What libvirt tells with it only is left out too, also where it is named."""
    groups = groups_named(["all", *taken_along], [excluded])
    assert groups == {group.name for group in GROUPS} - {excluded} - taken_along
    assert excluded not in Selection(groups).asks


def test_excluding_what_rides_on_a_group_leaves_that() -> None:
    """Constant limits of disks may be too much where their requests are not."""
    assert "block" in Selection(groups_named(["all"], ["block-limits"])).asks


def test_implied_groups_come_along() -> None:
    """KVM's figures of vCPUs bring those of the domain."""
    assert groups_named(["kvm"]) == {"kvm", "vm"}


def test_unknown_group_is_named() -> None:
    """The error says which."""
    with pytest.raises(UnknownGroupError, match="blocks"):
        groups_named(["block", "blocks"])


def test_groups_choose_their_default_metrics() -> None:
    """Metrics that are off by default need a name."""
    found = names(Selection({"block"}))

    assert "libvirt_domain_block_read_bytes_total" in found
    assert "libvirt_domain_block_path_info" not in found
    assert {ROWS[name].group for name in found} == {"block"}


@pytest.mark.parametrize(
    "pattern", ["libvirt_domain_block_path_info", "block.*.path", "*_path_info"]
)
def test_named_metric_is_added(pattern: str) -> None:
    """By its name or its stats key."""
    assert "libvirt_domain_block_path_info" in names(Selection({"block"}, [pattern]))


def test_named_field_comes_whatever_its_group() -> None:
    """And its bulk group is asked for."""
    selection = Selection({"state"}, ["cpu.time"])

    assert "libvirt_domain_cpu_seconds_total" in names(selection)
    assert "libvirt_domain_cpu_user_seconds_total" not in names(selection)
    assert selection.asks == {"state", "cpu-total"}


def test_named_field_of_another_group_stays_out_of_a_narrowed_scrape() -> None:
    """`collect[]` shows no more than the groups it names."""
    selection = Selection({"state"}, ["cpu.time"], named_from={"state"})

    assert {ROWS[name].group for name in names(selection)} == {"state"}
    assert selection.asks == {"state"}


def test_excluded_metric_is_left_out() -> None:
    """Exclusion is stronger than inclusion."""
    selection = Selection({"balloon"}, ["balloon.*"], ["libvirt_domain_balloon_rss_bytes"])

    assert "libvirt_domain_balloon_rss_bytes" not in names(selection)
    assert "libvirt_domain_balloon_usable_bytes" in names(selection)


def test_group_without_metrics_is_not_asked_for() -> None:
    """Nothing is asked of libvirt that nobody sees."""
    assert Selection({"state", "cpu-total"}, exclude=["cpu.*"]).asks == {"state"}


def test_single_keys_of_a_row_can_be_chosen() -> None:
    """One of KVM's statistics without the forty others."""
    selection = Selection({"state"}, ["vcpu.*.exits.sum"])
    row = ROWS["libvirt_domain_vcpu_kvm_events_total"]

    assert selection.wants(row, "vcpu.0.exits.sum")
    assert not selection.wants(row, "vcpu.0.io_exits.sum")


def test_single_keys_of_a_row_can_be_left_out() -> None:
    """All of KVM's statistics but one."""
    selection = Selection({"kvm"}, exclude=["vcpu.*.exits.sum"])
    row = ROWS["libvirt_domain_vcpu_kvm_events_total"]

    assert not selection.wants(row, "vcpu.0.exits.sum")
    assert selection.wants(row, "vcpu.0.io_exits.sum")


def test_backing_chain_is_asked_for_only_with_its_group() -> None:
    """It costs libvirt time."""
    assert Selection({"block-backing"}).backing
    assert not Selection({"block"}).backing


def test_families_are_in_the_order_of_the_catalogue() -> None:
    """Whatever chose them."""
    selection = Selection({"block", "state"}, ["cpu.time"])

    assert [*selection.families] == [row for row in DOMAIN_METRICS if row in selection.families]
