"""The catalogue as a list."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.catalogue import GROUPS, METRICS, SAMPLE_METRICS, WITHHELD, WITHHELD_VALUES
from libvirt_exporter.reference import metrics as metric_list


def by_name() -> dict[str, dict[str, object]]:
    """The JSON rows by metric."""
    return {row["name"]: row for row in json.loads(metric_list.as_json())}


def test_json_rows_have_exactly_the_promised_keys() -> None:
    """Scripts depend on these names."""
    assert {tuple(row) for row in by_name().values()} == {
        (
            *("name", "type", "unit", "help", "labels", "group", "source", "since"),
            *("default", "stability"),
        )
    }


def test_json_has_every_metric_once_in_the_catalogues_order() -> None:
    """Nothing is left out or repeated."""
    assert [row["name"] for row in json.loads(metric_list.as_json())] == [
        metric.name for metric in METRICS
    ]


def test_labels_start_with_the_identity_for_domain_metrics_only() -> None:
    """Series of domains carry domain and uuid; those of the host and the exporter do not."""
    rows = by_name()

    assert rows["libvirt_domain_block_read_bytes_total"]["labels"] == ["domain", "uuid", "device"]
    assert rows["libvirt_up"]["labels"] == []
    assert rows["libvirt_domains"]["labels"] == ["state"]


def test_labels_of_enumerations_are_listed() -> None:
    """The name of the value is a label, and so is that of the enumeration it depends on."""
    rows = by_name()

    assert rows["libvirt_domain_state"]["labels"] == ["domain", "uuid", "state"]
    assert rows["libvirt_domain_state_reason"]["labels"] == ["domain", "uuid", "state", "reason"]
    assert rows["libvirt_domain_vcpu_state"]["labels"] == ["domain", "uuid", "vcpu", "state"]


def test_default_is_false_for_groups_and_metrics_that_are_off() -> None:
    """A metric is on by default only if its group is."""
    rows = by_name()

    assert rows["libvirt_domain_cpu_seconds_total"]["default"] is True
    assert rows["libvirt_domain_graphics_info"]["default"] is False
    assert rows["libvirt_domain_kvm_events_total"]["default"] is False


def test_table_has_a_line_per_metric_and_marks_what_is_off() -> None:
    """A person sees every metric, and which ones have to be asked for."""
    table = metric_list.table(100)
    marks = {name: mark for mark, name in re.findall(r"^(-?) +(libvirt_\w+)", table, re.MULTILINE)}

    assert marks.keys() == {metric.name for metric in METRICS}
    assert marks["libvirt_up"] == ""
    assert marks["libvirt_domain_graphics_info"] == "-"


@given(st.integers(min_value=92, max_value=300))
def test_table_fits_its_width(width: int) -> None:
    """No line is longer than the terminal, from the longest name with type and group on."""
    assert max(map(len, metric_list.table(width).splitlines())) <= width


def test_table_says_what_a_metric_means_where_there_is_room() -> None:
    """The meaning is cut; a narrow terminal does without."""
    wide, narrow = (metric_list.table(width).splitlines()[1] for width in (100, 80))

    assert wide.split()[:3] == narrow.split() == ["libvirt_up", "gauge", "scrape"]
    assert wide.endswith("…")


def test_markdown_has_every_metric_in_the_table_of_its_group() -> None:
    """Each group is a section, and each metric a row of its section."""
    sections = dict(section.split("\n", 1) for section in metric_list.markdown().split("\n## ")[1:])

    for group in GROUPS:
        rows = re.findall(r"^\| `(\w+)`", sections[group.name], re.MULTILINE)
        assert rows == [metric.name for metric in SAMPLE_METRICS if metric.group == group.name], (
            group.name
        )
    assert "| `libvirt_up` | gauge |" in sections["scrape"]


def test_markdown_says_when_each_counter_starts_again() -> None:
    """A counter is named below its group's table, or stands under "All counters"."""
    sections = metric_list.markdown().split("\n## ")
    for metric in METRICS:
        if metric.type == "counter":
            section = next(text for text in sections if f"\n| `{metric.name}`" in text)
            resets = section.partition("Counters start again at 0:")[2]
            assert f"- All counters: {metric.resets}." in resets or re.search(
                rf"`{metric.name}`.*: {re.escape(metric.resets)}\.", resets
            ), metric.name


def test_markdown_lists_what_is_withheld_with_its_reason() -> None:
    """Every withheld key and value stands there with its reason."""
    text = metric_list.markdown()

    for entry in (*WITHHELD, *WITHHELD_VALUES):
        line = next(line for line in text.splitlines() if f"{entry.source}" in line)
        assert entry.reason in text, line


def test_markdown_tables_are_whole() -> None:
    """No cell holds a bar or a line break that would break its row."""
    for line in metric_list.markdown().splitlines():
        if line.startswith("| `libvirt"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 7, line
