"""The catalogue keeps libvirt's facts and Prometheus' naming rules."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from libvirt_exporter import catalogue
from libvirt_exporter.catalogue import (
    DOMAIN_FILES,
    DOMAIN_METRICS,
    GROUPS,
    HOST_FILES,
    HOST_METRICS,
    METRICS,
    SAMPLE_METRICS,
    WITHHELD,
    WITHHELD_VALUES,
)
from libvirt_exporter.catalogue.metric import (
    Exporter,
    Fact,
    Histogram,
    Metric,
    Scale,
    Stat,
    StatEnum,
    StatInfo,
)
from libvirt_exporter.model import STATES
from libvirt_exporter.render import keys
from tests.contract.synthetic import StatsKey, stats_keys

STATS_KEYS = {declared.key: declared for declared in stats_keys()}
OWN_KEYS = {
    *("monitor", "sample", "process", "start", "event", "exit", "graphics", "pause", "diskerror"),
    *("job", "blockjob", "lastjob", "numa", "container", "guest"),
}
"""First parts of keys that no bulk statistics call gives: they come from elsewhere."""
STATS_ROWS = [
    row
    for row in DOMAIN_METRICS
    if not isinstance(row, Fact)
    and row.source.split(".")[0] not in OWN_KEYS
    and row.source != "state.change.time"
]
"""Rows on libvirt's own statistics."""

REFUSED_LABELS = {"le", "job", "instance", "domain", "uuid", "quantile"}
ABBREVIATIONS = {
    *("rd", "wr", "fl", "rx", "tx", "pkts", "pkt", "errs", "err", "reqs", "req", "net", "num"),
    *("mem", "mb", "kb", "gb", "kib", "mib", "gib", "b", "ns", "us", "ms", "s", "sec", "secs"),
    *("msec", "usec", "nsec", "pct", "percent", "cnt", "cfg", "addr", "desc"),
    *("milliseconds", "microseconds", "nanoseconds", "kibibytes", "mebibytes", "megabytes"),
}
TYPES = {"counter", "gauge", "histogram", "summary"}
SCALES = {
    "ns": Scale.NANOSECONDS,
    "KiB": Scale.KIBIBYTES,
    "MiB/s": Scale.MEBIBYTES,
    "bytes": Scale.ONE,
    "s": Scale.ONE,
}
BASE_UNITS = {
    "ns": "seconds",
    "s": "seconds",
    "KiB": "bytes",
    "bytes": "bytes",
    "MiB/s": "bytes_per_second",
}


BACKING_SINCE = "1.2.12"
"""First libvirt with VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING."""


def version(text: str) -> tuple[int, ...]:
    """A version that compares as a number."""
    return tuple(map(int, text.split(".")))


def unit_of(declared: StatsKey) -> str:
    """libvirt's unit of a key, without what is said about it."""
    return declared.unit.split(" ")[0] if declared.unit else ""


def example(pattern: str) -> str:
    """One key that a pattern stands for."""
    return re.sub(r"<(\w+)>", lambda found: "exits" if found[1] == "name" else "0", pattern)


def by_name(metric: Metric) -> str:
    """The metric's name, as the id of a test."""
    return metric.name


def test_every_file_is_registered() -> None:
    """A file that nobody lists would have no metric."""
    listed = {file.__name__.split(".")[-1] for file in (*HOST_FILES, *DOMAIN_FILES)}
    files = {path.stem for path in Path(str(catalogue.__file__)).parent.glob("*.py")}

    forgotten = files - listed - {"__init__", "metric", "exporter"}

    assert not forgotten, (
        f"name {sorted(forgotten)} in HOST_FILES or DOMAIN_FILES of "
        "exporter/libvirt_exporter/catalogue/__init__.py"
    )


@pytest.mark.parametrize("key", STATS_KEYS)
def test_every_key_of_libvirt_is_mapped_or_withheld(key: str) -> None:
    """No statistic that libvirt declares would be reported as unmapped."""
    assert keys.match(example(key)) is not None, (
        f"give {key} a row in METRICS, or an entry in WITHHELD, of the file of its group in "
        "exporter/libvirt_exporter/catalogue, then `make golden docs`"
    )


@pytest.mark.parametrize("row", STATS_ROWS, ids=by_name)
def test_every_row_names_a_key_of_libvirt(row: Metric) -> None:
    """A row's source is a key that libvirt declares, or a special case of one."""
    special = row.source.replace("<name>_ns.sum", "<name>.sum")
    special = re.sub(r"pkg\.<index>\.(core_energy|activity)$", "pkg.<index>.<feature>", special)

    assert special in STATS_KEYS, (
        f"{row.name} is made of {special}, which libvirt does not declare: correct the row in "
        f"exporter/libvirt_exporter/catalogue, or declare the key in "
        "tests/contract/libvirt_stats.json as libvirt's source does, then `make golden`; the first "
        "part of a key of the exporter's own goes into OWN_KEYS here"
    )
    since = STATS_KEYS[special].since
    if getattr(row, "lower", False):
        since = max(since, BACKING_SINCE, key=version)
    assert row.since == ("" if row.group == "state" else since)


@pytest.mark.parametrize("row", STATS_ROWS, ids=by_name)
def test_type_follows_from_what_libvirt_counts(row: Metric) -> None:
    """Counters are counters, all else is a gauge; bins of requests make a histogram."""
    declared = STATS_KEYS.get(row.source)
    if isinstance(row, Histogram):
        assert declared is not None
        assert row.type == "histogram"
        assert declared.semantic == "counter"
    elif declared is not None:
        assert row.type == ("counter" if declared.semantic == "counter" else "gauge")


@pytest.mark.parametrize(
    "row", [row for row in STATS_ROWS if isinstance(row, Stat | Histogram)], ids=by_name
)
def test_unit_and_scale_follow_from_libvirts_unit(row: Stat | Histogram) -> None:
    """Values arrive in base units, and the name says which."""
    if isinstance(row, Histogram):
        assert (row.scale, row.unit) == (Scale.NANOSECONDS, "seconds")
        return
    declared = STATS_KEYS.get(row.source)
    unit = unit_of(declared) if declared else ("ns" if "_ns." in row.source else "")

    assert row.scale is SCALES.get(unit, Scale.ONE)
    if declared is None:
        assert row.unit == ("seconds" if unit == "ns" else row.unit)
    elif row.source.endswith("poll-max-ns") or unit in BASE_UNITS:
        assert row.unit == BASE_UNITS[unit]
    else:
        assert row.unit == ""


@pytest.mark.parametrize("row", METRICS, ids=by_name)
def test_name_is_well_formed(row: Metric) -> None:
    """Names have the prefix and spelled-out words, and no suffix that Prometheus gives itself."""
    assert re.fullmatch(r"libvirt_[a-z][a-z0-9]*(_[a-z0-9]+)*", row.name)
    assert not set(row.name.split("_")) & (ABBREVIATIONS | TYPES)
    assert not row.name.endswith(("_count", "_sum", "_bucket", "_created"))
    if row in HOST_METRICS:
        assert row.name.startswith(("libvirt_node_", "libvirt_storage_pool_", "libvirt_network_"))
    elif not isinstance(row, Exporter):
        assert row.name.startswith("libvirt_domain_")
    constant = isinstance(row, StatInfo) or (isinstance(row, Fact) and not row.value)
    assert not constant or row.name.endswith(("_info", "_labels"))


@pytest.mark.parametrize("row", METRICS, ids=by_name)
def test_labels_clash_with_nothing(row: Metric) -> None:
    """No label is one that Prometheus or the identity of a domain uses.

    `libvirt_domain_info` alone shows what of `domain` and `uuid` is no identity label.
    """
    names = list(row.labels)
    if row.name == "libvirt_domain_info":
        names = [name for name in names if name not in ("domain", "uuid")]
    if isinstance(row, StatEnum):
        names += [row.label, *([row.within.label] if row.within else [])]

    assert not set(names) & REFUSED_LABELS
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


@pytest.mark.parametrize("row", METRICS, ids=by_name)
def test_help_says_something_and_ends_with_the_source(row: Metric) -> None:
    """HELP is a sentence on one line and tells where the value comes from."""
    assert re.match(r"[A-Z0-9]", row.text)
    assert row.text.endswith(".")
    assert "\n" not in row.help
    assert bool(row.source) != (isinstance(row, Exporter) and row.help == row.text)
    assert not row.source or row.help == f"{row.text} Source: {row.source}."


@pytest.mark.parametrize("row", METRICS, ids=by_name)
def test_counters_and_only_they_tell_when_they_reset(row: Metric) -> None:
    """Who uses `increase()` can look up what a reset means."""
    assert bool(row.resets) == (row.type in ("counter", "histogram"))


def test_names_are_unique() -> None:
    """Neither two rows nor their OpenMetrics families share a name."""
    assert len({row.name for row in METRICS}) == len(METRICS)
    assert len({row.family for row in METRICS}) == len(METRICS)


def test_help_texts_are_unique() -> None:
    """No two metrics claim to be the same."""
    texts = [row.help for row in METRICS]

    assert len(texts) == len(set(texts))


def test_groups_of_the_exposition_are_contiguous() -> None:
    """What belongs together stands together; images of a chain may stand among the limits."""
    order = [group for group, _ in groupby(row.group for row in SAMPLE_METRICS)]
    outside = [group for group in order if group not in ("block-limits", "block-backing")]

    assert len(outside) == len(set(outside))


def test_groups_are_those_of_the_metrics() -> None:
    """Every group has metrics, every metric of a domain has a group."""
    names = [group.name for group in GROUPS]

    used = {row.group for row in SAMPLE_METRICS}

    assert len(names) == len(set(names))
    assert used == set(names), (
        f"groups without metrics: {sorted(set(names) - used)}; of metrics without group: "
        f"{sorted(used - set(names))}: correct GROUPS or METRICS of their file in "
        "exporter/libvirt_exporter/catalogue"
    )
    assert all(implied in names for group in GROUPS for implied in group.implies)


def test_limit_on_series_has_a_place_for_every_group_but_the_most_important() -> None:
    """A new group says when it is left out, or is named here."""
    always = {"state", "monitor", "job", "node", "storage", "network"}
    places = [group.left_out for group in GROUPS if group.left_out is not None]
    undecided = {group.name for group in GROUPS if group.left_out is None} - always

    assert not undecided, (
        f"give {sorted(undecided)} a place (`left_out`) in its file in "
        "exporter/libvirt_exporter/catalogue, or say here that it is always shown"
    )
    assert len(places) == len(set(places)), "two groups have the same `left_out`"


def test_groups_ask_libvirt_for_what_their_keys_need() -> None:
    """A statistics row's group asks for the bulk group that holds the key."""
    asks = {group.name: group.asks for group in GROUPS}
    for row in STATS_ROWS:
        if declared := STATS_KEYS.get(row.source):
            assert declared.group in asks[row.group], (
                f"{row.name} needs libvirt's group {declared.group}: name it in `asks` of the "
                f"group {row.group} in exporter/libvirt_exporter/catalogue"
            )


def test_enumerations_have_libvirts_names() -> None:
    """States and reasons are complete as of libvirt 12.4."""
    rows = {row.name: row for row in DOMAIN_METRICS if isinstance(row, StatEnum)}
    state, reason = rows["libvirt_domain_state"], rows["libvirt_domain_state_reason"]

    assert dict(state.values) == dict(enumerate(STATES))
    assert {number: max(names) for number, names in reason.values_within.items()} == {
        0: 0,
        1: 11,
        2: 0,
        3: 14,
        4: 1,
        5: 8,
        6: 1,
        7: 0,
    }


def test_withheld_keys_have_reasons_and_no_metrics() -> None:
    """Nothing is both shown and withheld, and whoever asks learns why it is not shown."""
    shown = {row.source for row in SAMPLE_METRICS}

    assert all(entry.reason.endswith(".") for entry in (*WITHHELD, *WITHHELD_VALUES))
    assert not shown & {entry.source for entry in WITHHELD}


def test_a_line_in_the_catalogue_fits_its_unit() -> None:
    """Scales compute as they are called."""
    assert Scale.ONE(5) == 5
    assert Scale.NANOSECONDS(1_500_000_000) == 1.5
    assert Scale.MILLISECONDS(1500) == 1.5
    assert Scale.PERCENT(20) == 0.2
    assert Scale.KIBIBYTES(3) == 3072
    assert Scale.MEBIBYTES(2) == 2_097_152
