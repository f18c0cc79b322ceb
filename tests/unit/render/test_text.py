"""The text renderer: kept plans, order, limits, headers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from libvirt_exporter.catalogue import DOMAIN_METRICS
from libvirt_exporter.model import DomainSample, Stats, StatValue
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer, header
from tests.support.samples import ALL, DEFAULT, TYPICAL_INFO, domain, typical

ROWS = {row.name: row for row in DOMAIN_METRICS}


def text(renderer: TextRenderer, *domains: DomainSample) -> str:
    """What a renderer writes."""
    return b"".join(renderer.render(domains).parts(openmetrics=False)).decode()


def with_stats(**changes: StatValue | None) -> Callable[[DomainSample], DomainSample]:
    """Changes some statistics (`__` in a name is a dot); None drops one."""

    def change(sample: DomainSample) -> DomainSample:
        stats = dict(sample.stats)
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                del stats[key]
            else:
                stats[key] = value
        return replace(sample, stats=stats)

    return change


def reordered(sample: DomainSample) -> DomainSample:
    """The same statistics, those of two vCPUs in each other's place."""
    places = {"vcpu.0.time": "vcpu.1.time", "vcpu.1.time": "vcpu.0.time"}
    keys = [places.get(key, key) for key in sample.stats]
    return replace(sample, stats={key: sample.stats[key] for key in keys})


@pytest.mark.parametrize(
    "change",
    [
        with_stats(cpu__time=6_000_000_000),
        with_stats(cpu__time=0.5),
        with_stats(cpu__time=float("nan")),
        with_stats(cpu__time="much"),
        with_stats(vcpu__current=1.5),
        with_stats(vcpu__current=True),
        with_stats(cpu__time=None),
        with_stats(state__state=3, state__reason=5),
        with_stats(state__reason=9),
        with_stats(block__1__name="vdc"),
        with_stats(block__1__name="vda"),
        with_stats(net__0__name="vnet7"),
        with_stats(vcpu__0__state=0),
        with_stats(**{"balloon__last-update": 0}),
        reordered,
        lambda sample: replace(sample, name="renamed"),
        lambda sample: replace(sample, info=None),
        lambda sample: replace(sample, info=replace(TYPICAL_INFO, autostart=False)),
    ],
)
def test_plan_is_not_used_for_what_it_does_not_fit(
    change: Callable[[DomainSample], DomainSample],
) -> None:
    """After a change, and after the change back, a renderer writes what a new one does."""
    renderer = TextRenderer(ALL)
    before, after = typical(), change(typical())

    for sample in (before, after, before):
        assert text(renderer, sample) == text(TextRenderer(ALL), sample)
    assert text(renderer, after) != text(renderer, before)


def test_unmapped_keys_are_those_of_the_last_sample() -> None:
    """A key that comes or goes is noticed, though it makes no series."""
    renderer = TextRenderer(ALL)

    assert renderer.render([typical()]).tally.unmapped() == {}
    assert renderer.render([with_stats(cpu__new=1)(typical())]).tally.unmapped() == {"cpu.new": 1}
    assert renderer.render([typical()]).tally.unmapped() == {}


def test_new_values_need_no_new_plan() -> None:
    """Plans are kept as long as only values change."""
    renderer = TextRenderer(DEFAULT)
    text(renderer, typical())
    plans = dict(renderer._plans)
    text(renderer, with_stats(cpu__time=7)(typical()))

    assert plans == renderer._plans


def test_plans_of_vanished_domains_are_dropped() -> None:
    """A host that makes and ends domains all day does not grow."""
    renderer = TextRenderer(DEFAULT)
    for number in range(5):
        text(renderer, typical(uuid=f"uuid-{number}"))

    assert [*renderer._plans] == ["uuid-4"]


def test_second_domain_of_the_same_identity_is_left_out() -> None:
    """Its series are counted as duplicates, the first one's stay."""
    selection = Selection({"state"})
    rendered = TextRenderer(selection).render([domain({"state.state": state}) for state in (1, 3)])

    assert 'state="running"} 1' in b"".join(rendered.parts(openmetrics=False)).decode()
    assert rendered.tally.dropped(0) == {"limit": 0, "duplicate": 8}


def test_domain_is_shown_once_no_other_has_its_identity() -> None:
    """Although nothing has changed about it."""
    renderer = TextRenderer(Selection({"state"}), Identity(("domain",)))
    first, second = domain({"state.state": 1}, uuid="a"), domain({"state.state": 3}, uuid="b")
    text(renderer, first, second)
    renamed = replace(first, name="renamed")

    assert text(renderer, renamed, second) == text(
        TextRenderer(Selection({"state"}), Identity(("domain",))), renamed, second
    )


def test_families_are_contiguous_over_domains() -> None:
    """All domains' series of one family stand together below one header."""
    body = text(TextRenderer(ALL), typical(uuid="a"), typical(uuid="b", name="db"))
    families = [line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")]

    assert len(families) == len(set(families))
    assert families == [row.name for row in DOMAIN_METRICS if row.name in families]


def test_series_limit_leaves_out_the_last_families_whole() -> None:
    """State comes first and stays."""
    rendered = TextRenderer(ALL, series_limit=20).render([typical()])
    lines = [line for _, lines in rendered.families for line in lines.split(b"\n")[1:]]

    assert len(lines) <= 20
    assert rendered.families[0][0] is ROWS["libvirt_domain_state"]
    assert rendered.tally.dropped(20)["limit"] > 0


def test_no_domains_write_nothing() -> None:
    """No header without series."""
    assert text(TextRenderer(ALL)) == ""


def test_header_of_a_counter() -> None:
    """OpenMetrics drops `_total` there and names the unit."""
    row = ROWS["libvirt_domain_cpu_seconds_total"]

    assert header(row, openmetrics=False) == (
        f"# HELP libvirt_domain_cpu_seconds_total {row.help}\n"
        "# TYPE libvirt_domain_cpu_seconds_total counter"
    )
    assert header(row, openmetrics=True) == (
        f"# HELP libvirt_domain_cpu_seconds {row.help}\n"
        "# TYPE libvirt_domain_cpu_seconds counter\n"
        "# UNIT libvirt_domain_cpu_seconds seconds"
    )


POOLS: Stats = {
    "node.cpus": 4,
    "node.cpu.user.time": 1_500_000_000,
    "pool.0.name": 'a"b\\c',
    "pool.0.responsive": True,
    "pool.0.capacity": 300,
    "pool.1.name": "x" * 300,
    "pool.1.capacity": 400,
}
"""What is known of a host with two pools."""


def test_the_host_has_its_own_labels_only() -> None:
    """Whatever tells domains apart; names are escaped and cut as everywhere."""
    rendered = TextRenderer(DEFAULT).render([typical()], POOLS)
    body = b"".join(rendered.parts(openmetrics=False)).decode()

    assert "\nlibvirt_node_cpus 4\n" in body
    assert '\nlibvirt_node_cpu_seconds_total{mode="user"} 1.5\n' in body
    assert '\nlibvirt_storage_pool_capacity_bytes{pool="a\\"b\\\\c"} 300\n' in body
    assert '\nlibvirt_storage_pool_responsive{pool="a\\"b\\\\c"} 1\n' in body
    assert re.search(r'\nlibvirt_storage_pool_capacity_bytes\{pool="x{247}~\w{8}"\} 400\n', body)
    assert body.index("libvirt_storage_pool") < body.index("libvirt_domain")
    assert rendered.tally.series(0)["node"] == 2
    assert rendered.tally.unmapped() == {}


def test_the_hosts_groups_and_fields_are_chosen_like_any() -> None:
    """By group, by name and by key."""
    selection = Selection({"node"}, ["pool.*.capacity"], ["libvirt_node_cpus"])
    rendered = TextRenderer(selection).render([], POOLS)

    assert [row.name for row, _ in rendered.families] == [
        "libvirt_node_cpu_seconds_total",
        "libvirt_storage_pool_capacity_bytes",
    ]
    assert selection.lanes == {"node", "storage"}
    assert selection.asks == frozenset()
