"""The text renderer against its oracle, prometheus_client, on samples that no host would give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields, replace
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from libvirt_exporter.catalogue import GROUPS, SAMPLE_METRICS, WITHHELD
from libvirt_exporter.model import (
    DomainInfo,
    DomainSample,
    GroupOutcome,
    HostInfo,
    HostSample,
    Stats,
    StatValue,
)
from libvirt_exporter.render import keys
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import DomainText, TextRenderer
from tests.support.collector import SampleCollector

SOURCES = sorted(
    {row.source for row in SAMPLE_METRICS if "." in row.source and " " not in row.source}
    | {withheld.source for withheld in WITHHELD}
)
UUIDS = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(3)]
PLACEHOLDERS = {
    "num": ["0", "1", "2"],
    "i": ["0", "1", "2"],
    "name": ["exits", "halt_wait_ns", 'a"b\\c', "%s{}"],
    "feature": ["core_energy", "x"],
    "operation": ["read", "write"],
    "group": ["block", "cpu-total"],
    "mode": ["user", "idle"],
}

texts = (
    st.sampled_from(["", "vda", "vdb", "vnet0", 'q"uote', "back\\slash\\n", "new\nline"])
    | st.sampled_from(["\ud800", "a\0b", "%s %(x)d %%", "\r\u2028\x85", "ü" * 1500, "x" * 3000])
    | st.text(st.characters(), max_size=6)
)
simple: st.SearchStrategy[StatValue] = st.sampled_from([0, 0.0, 0.5, True, "vda"])
floats = st.sampled_from([float("nan"), float("inf"), float("-inf")]) | st.floats(0, 1e30)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the fields of model's structs have."""
    plain = {
        str: texts,
        int: st.integers(-1, 2**70),
        float: floats,
        bool: st.booleans(),
        NoneType: st.none(),
    }
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return structs(kind)
    match get_origin(kind), get_args(kind):
        case origin, (item, end) if origin is tuple and end is Ellipsis:
            return st.lists(of_type(item), max_size=2).map(tuple)
        case origin, items if origin is tuple:
            return st.tuples(*map(of_type, items))
        case origin, _ if origin is Mapping:
            return st.just({})
        case _, items:
            return st.one_of(*map(of_type, items))


def structs(kind: Any, **own: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A struct with any of its optional fields; `own` are strategies for some of its fields."""
    found = {
        field.name: own[field.name] if field.name in own else of_type(field.type)
        for field in fields(kind)
    }
    required = {field.name for field in fields(kind) if field.required}
    return st.fixed_dictionaries(
        {name: strategy for name, strategy in found.items() if name in required},
        optional={name: strategy for name, strategy in found.items() if name not in required},
    ).map(lambda values: kind(**values))


infos = structs(
    DomainInfo,
    custom_labels=st.dictionaries(st.sampled_from(["tenant", "owner"]), texts).map(
        lambda chosen: tuple(chosen.items())
    ),
)


def values_of(key: str) -> st.SearchStrategy[StatValue]:
    """Any value that may stand under a key: counters and bins have no negative ones."""
    if key.startswith("state."):
        return st.integers(-1, 20)
    match = keys.match(key)
    rising = match is not None and any(row.type != "gauge" for row in match.rows)
    integers = st.integers(0 if rising else -(2**40), 2**70)
    return integers | st.integers(0, 3) | floats | st.booleans() | texts


@st.composite
def stats_keys(draw: st.DrawFn) -> list[str]:
    """A key of libvirt's with the keys that its labels come from, or one that nobody knows."""
    if draw(st.integers(0, 9)) == 0:
        return [draw(st.sampled_from(["new.group.3.thing", "block.0.new", "bare", 'o"dd.k\\ey\n']))]
    source = draw(st.sampled_from(SOURCES))
    placeholders = {
        name: draw(st.sampled_from(PLACEHOLDERS.get(name, ["0", "1"])))
        for name in re.findall(r"<(\w+)>", source)
    }
    key = keys.fill(source, placeholders)
    match = keys.match(key)
    rows = match.rows if match else ()
    wheres = {where for row in rows for where in row.labels.values() if not where.startswith("<")}
    wheres |= {str(getattr(row, "start", source)) for row in rows}
    companions = [keys.fill(where, placeholders) for where in sorted(wheres)]
    return [*(name for name in companions if draw(st.integers(0, 9))), key]


@st.composite
def stats(draw: st.DrawFn) -> dict[str, StatValue]:
    """What a domain might say: hostile, incomplete, contradictory."""
    found = draw(st.lists(stats_keys(), max_size=15))
    names = ["state.state", "state.reason", *(key for group in found for key in group)]
    return {
        key: draw(st.sampled_from(["vda", "vdb"]) | texts)
        if key.endswith(".name") and draw(st.booleans())
        else draw(values_of(key))
        for key in names
    }


domain_samples = st.builds(
    DomainSample,
    uuid=st.sampled_from(UUIDS),
    name=st.sampled_from(["a", "b"]) | texts,
    active=st.booleans(),
    stats=stats(),
    timestamp=st.just(0.0),
    info=st.none() | infos,
    missing_groups=st.lists(st.sampled_from(["block", "vcpu"]), unique=True).map(tuple),
)
host_stats: st.SearchStrategy[Stats] = st.just({}) | stats()
host_samples = st.builds(
    HostSample,
    timestamp=st.just(0.0),
    duration=st.floats(0, 10),
    up=st.booleans(),
    host=st.none() | st.just(HostInfo(name="", driver="QEMU", libvirt_version="9.0.0")),
    domains=st.lists(domain_samples, max_size=3).map(tuple),
    groups=st.just((GroupOutcome(group="block", success=False, duration=0.5),)),
    phases=st.just({"list": 0.25}),
    unparsable=st.just((UUIDS[0],)),
    stats=host_stats,
    lanes=st.just({"node": 0.5}),
)
patterns = st.lists(
    st.sampled_from([*SOURCES, *(row.name for row in SAMPLE_METRICS), "block.*", "*_bytes_total"]),
    max_size=2,
)
everything = st.just(Selection({group.name for group in GROUPS}, ["*"]))
selections = everything | st.builds(
    Selection, st.sets(st.sampled_from([group.name for group in GROUPS])), patterns, patterns
)
identities = st.builds(
    Identity,
    st.sampled_from([("domain", "uuid"), ("uuid",), ("domain",), ("tenant", "domain")]),
    st.sampled_from([32, 256]),
)
limits = st.just(0) | st.integers(1, 200)

Parser = Callable[[str], Iterable[Metric]]


def parsed(body: bytes, parser: Parser) -> list[Any]:
    """What a parser reads: families with all their properties and series, values as floats."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            family.unit,
            [(sample.name, sample.labels, float(sample.value)) for sample in family.samples],
        )
        for family in parser(body.decode())
    ]


@pytest.mark.parametrize(
    ("as_openmetrics", "generate", "parser"),
    [
        (False, generate_latest, text_string_to_metric_families),
        (True, openmetrics.generate_latest, openmetrics_parser.text_string_to_metric_families),
    ],
    ids=["text", "openmetrics"],
)
@given(sample=host_samples, selection=selections, identity=identities, series_limit=limits)
def test_exposition_reads_as_what_prometheus_client_writes(
    as_openmetrics: bool,
    generate: Callable[[CollectorRegistry], bytes],
    parser: Parser,
    sample: HostSample,
    selection: Selection,
    identity: Identity,
    series_limit: int,
) -> None:
    """Families, types, help, units, series, their order and values are the same."""
    registry = CollectorRegistry()
    registry.register(
        SampleCollector(lambda: sample, selection, identity, series_limit=series_limit)
    )
    renderer = TextRenderer(selection, identity, series_limit=series_limit)

    body = expose(
        sample,
        renderer.render(sample.domains, sample.stats),
        series_limit=series_limit,
        as_openmetrics=as_openmetrics,
    ).body

    assert parsed(body, parser) == parsed(generate(registry), parser)


@st.composite
def changed(draw: st.DrawFn, domain: DomainSample) -> DomainSample:
    """The same domain a little later: other values, keys, order of keys, name or facts."""
    items = list(domain.stats.items())
    for _ in range(draw(st.integers(1, 6))):
        position = draw(st.integers(0, len(items) - 1)) if items else 0
        match draw(st.sampled_from(["value", "value", "value", "drop", "add", "move"])):
            case "value" if items:
                key, _ = items[position]
                items[position] = (key, draw(values_of(key) | simple))
            case "drop" if items:
                del items[position]
            case "add":
                items += [(key, draw(values_of(key))) for key in draw(stats_keys())]
            case "move" if items:
                items.append(items.pop(position))
    return replace(
        domain,
        stats=dict(items),
        name=draw(st.sampled_from([domain.name, domain.name, "renamed"])),
        info=draw(st.sampled_from([domain.info, domain.info, None]) | infos),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[DomainSample], Stats]]:
    """Samples of a host one after the other, as lists of domains and what is known of the host."""
    history = [(draw(st.lists(domain_samples, min_size=1, max_size=3)), draw(host_stats))]
    for _ in range(draw(st.integers(1, 4))):
        before, host = history[-1]
        later = [draw(st.just(domain) | changed(domain)) for domain in before]
        match draw(st.sampled_from(["", "", "", "order", "come", "go", "back", "host"])):
            case "order":
                later.reverse()
            case "come":
                later.insert(draw(st.integers(0, len(later))), draw(domain_samples))
            case "go" if later:
                del later[draw(st.integers(0, len(later) - 1))]
            case "back":
                later = [*history[0][0]]
            case "host":
                host = draw(host_stats)
        history.append((later, host))
    return history


def shown(rendered: DomainText, series_limit: int) -> Any:
    """All that a rendering says."""
    tally = rendered.tally
    return (
        [(row.name, lines) for row, lines in rendered.families],
        tally.series(series_limit),
        tally.dropped(series_limit),
        tally.unmapped(),
    )


@given(history=histories(), selection=selections, identity=identities, series_limit=limits)
def test_kept_plans_render_like_new_ones(
    history: list[tuple[list[DomainSample], Stats]],
    selection: Selection,
    identity: Identity,
    series_limit: int,
) -> None:
    """Whatever changed since the last sample, no plan is used that does not fit any more."""

    def renderer() -> TextRenderer:
        return TextRenderer(selection, identity, series_limit=series_limit)

    kept = renderer()
    for domains, host in history:
        expected = renderer().render(domains, host)
        assert shown(kept.render(domains, host), series_limit) == shown(expected, series_limit)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_rendering_that_fails_leaves_nothing_behind(count: int) -> None:
    """What is shown next is right, although one plan had taken over the sample by then."""
    selection = Selection({group.name for group in GROUPS}, ["*"])
    kept = TextRenderer(selection)

    def domains(first: dict[str, StatValue], second: int) -> list[DomainSample]:
        found: list[dict[str, StatValue]] = [first, {"cpu.time": second}]
        return [
            DomainSample(uuid=uuid, name=uuid, active=True, stats=stats, timestamp=0.0)
            for uuid, stats in zip(UUIDS[:2], found, strict=True)
        ]

    kept.render(domains({"cpu.time": 1}, 1))
    later: dict[str, StatValue] = {"cpu.time": 2, "balloon.current": 3}
    with pytest.raises(OverflowError):
        kept.render(domains(later, 10**400))
    after = domains(later, 1)[:count]

    assert shown(kept.render(after), 0) == shown(TextRenderer(selection).render(after), 0)
