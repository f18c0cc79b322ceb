"""What changed since a stamp: nothing is lost, little is sent twice."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import re
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec.structs import replace

from libvirt_exporter.model import (
    Applications,
    DomainInfo,
    DomainSample,
    HostSample,
    Stats,
    StatValue,
    VanishedDomain,
)
from libvirt_exporter.query.changes import MAX_TOMBSTONES, Changed, Changes, Filter
from libvirt_exporter.query.fields.field import ABSENT, Change, VmField, VmView
from libvirt_exporter.query.fields.rates import increase, interval
from libvirt_exporter.query.fields.table import FIELDS, values
from libvirt_exporter.query.history import History
from libvirt_exporter.query.need import Need, Scope, covers
from libvirt_exporter.query.need import merged as merged_needs
from tests.support import vm_views
from tests.support.needs import ALL, WHOLE

TOMBSTONES = 100.0
BOOT = 60.0

Vms = dict[str, dict[str, Any]]
"""VMs by id, and their fields."""


def field(name: str, change: Change, value: Callable[[VmView], Any], **more: Any) -> VmField:
    return VmField(
        name=name,
        schema={},
        text="",
        source="",
        change=change,
        value=value,
        why_absent=f"no {name}",
        **more,
    )


def title(view: VmView) -> Any:
    return view.info.title or ABSENT if view.info is not None else ABSENT


def reason(view: VmView) -> Any:
    """Reads `detail` only where `state.reason` says so."""
    found = view.domain.stats.get("state.reason", ABSENT)
    return view.domain.stats.get("detail", ABSENT) if found == 2 else found


def jobs(view: VmView) -> Any:
    """Looks at every key."""
    return sorted(key for key in view.domain.stats if key.startswith("job.")) or ABSENT


def booting(view: VmView) -> Any:
    start = view.domain.stats.get("start")
    return ABSENT if start is None else view.now - float(start) < BOOT


def disk(view: VmView) -> Any:
    if "bytes" not in view.domain.stats:
        return ABSENT
    found = {"bytes": view.domain.stats["bytes"]}
    seconds = interval(view)
    if seconds is not None and view.earlier is not None:
        grown = increase(view.domain.stats, "bytes", view.earlier.stats)
        if grown is not None:
            found["rate"] = grown / seconds
    return found


def elapsed(view: VmView) -> Any:
    start = view.domain.stats.get("start")
    return ABSENT if start is None else view.now - float(start)


TABLE = (
    field("vmId", "static", lambda view: view.domain.uuid),
    field("vmName", "static", lambda view: view.domain.name),
    field("title", "static", title),
    field("reason", "event", reason),
    field("jobs", "event", jobs, lanes=("jobs",)),
    field("booting", "event", booting, by_clock=True),
    field("users", "agent", lambda view: view.domain.stats.get("users", ABSENT)),
    field("disk", "sampled", disk, asks=("block",)),
    field("elapsed", "time", elapsed),
)
BY_NAME = {each.name: each for each in TABLE}


def chosen(*names: str, vm_ids: Iterable[str] = ()) -> Filter:
    return Filter((BY_NAME[name] for name in names or BY_NAME), tuple(vm_ids))


def domain(uuid: str, timestamp: float, title: str = "", **stats: StatValue) -> DomainSample:
    return DomainSample(
        uuid=uuid,
        name=f"vm-{uuid}",
        active=True,
        stats={key.replace("_", "."): value for key, value in stats.items()},
        timestamp=timestamp,
        info=info(uuid, title),
    )


@functools.cache
def info(uuid: str, title: str) -> DomainInfo:
    """The same object again, as the inventory has it until the XML is read anew."""
    return DomainInfo(uuid=uuid, name=f"vm-{uuid}", title=title)


def again(domain: DomainSample, timestamp: float, **stats: StatValue) -> DomainSample:
    """The domain in a later sample, with some statistics changed."""
    changed = {key.replace("_", "."): value for key, value in stats.items()}
    return replace(domain, timestamp=timestamp, stats={**domain.stats, **changed})


def host(timestamp: float, *domains: DomainSample, **more: Any) -> HostSample:
    return HostSample(timestamp=timestamp, duration=0.0, up=True, domains=domains, **more)


class Watched:
    """Changes that are given one sample after the other, all domains shown."""

    def __init__(self) -> None:
        self.changes = Changes(TOMBSTONES)
        self.history = History()

    def commit(self, sample: HostSample, shown: Sequence[DomainSample] | None = None) -> None:
        domains = sample.domains if shown is None else shown
        self.changes.commit(sample, domains, self.history.before(sample), sample.timestamp)
        self.history.add(sample, WHOLE)

    def full(self, of: Filter) -> Changed:
        return self.changes.since("", of)


def rows(changed: Changed) -> list[dict[str, Any]]:
    """The rows as a client reads them."""
    decoded: list[dict[str, Any]] = json.loads(msgspec.json.encode(changed.rows))
    return decoded


def merged(known: Vms, changed: Changed) -> Vms:
    """What a client knows after an answer, by the rules of the API."""
    known = {} if changed.full else {uuid: dict(fields) for uuid, fields in known.items()}
    for row in rows(changed):
        fields = known.setdefault(row.pop("vmId"), {})
        fields |= row
        for name in [name for name, value in fields.items() if value is None]:
            del fields[name]
    for uuid in changed.removed:
        known.pop(uuid, None)
    return known


# One thing at a time


def test_first_answer_is_everything_that_has_a_value() -> None:
    """Without a stamp every VM comes with all its fields, and no null."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0, title="one", start=0), domain("b", 0)))

    answer = watched.full(chosen("title", "booting"))

    assert answer.full
    assert rows(answer) == [{"vmId": "a", "title": "one", "booting": True}, {"vmId": "b"}]


@pytest.mark.parametrize("stamp", ["", " ", "x", "1-2-3", "0" * 12 + "-1-" + "0" * 16, "é" * 40])
def test_any_text_that_is_no_stamp_of_ours_gets_everything(stamp: str) -> None:
    """What is not understood is no error, and no silent gap."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0)))

    answer = watched.changes.since(stamp, chosen())

    assert answer.full
    assert len(answer.rows) == 1


def test_nothing_changed_is_an_empty_answer() -> None:
    """A sample that says the same leaves nothing to tell, whatever the time."""
    watched = Watched()
    first = domain("a", 0, title="one", bytes=7, start=-100)
    stamp = ""
    for time in (0, 6, 12, 18, 24):
        watched.commit(host(time, again(first, time)))
        answer = watched.changes.since(stamp, chosen())
        stamp = answer.stamp
    assert answer.nothing
    assert not answer.full


def test_only_the_fields_that_changed_are_sent() -> None:
    """One field of one VM of two changes, and comes alone, with the time-derived ones."""
    watched = Watched()
    a, b = domain("a", 0, state_reason=1, start=0), domain("b", 0, state_reason=1, start=0)
    watched.commit(host(0, a, b))
    stamp = watched.full(chosen()).stamp
    watched.commit(host(1, a, again(b, 1, state_reason=5)))

    (row,) = rows(watched.changes.since(stamp, chosen()))

    assert row.keys() == {"vmId", "reason", "elapsed"}
    assert (row["vmId"], row["reason"]) == ("b", 5)


def test_a_field_of_another_generation_than_the_stamp_is_found() -> None:
    """What changed while this client did not ask is told, also when another one heard it first."""
    watched = Watched()
    a = domain("a", 0, state_reason=1)
    watched.commit(host(0, a))
    mine, all_of_it = chosen("reason"), chosen()
    stamp, others = watched.full(mine).stamp, watched.full(all_of_it).stamp
    for time, reason in ((1, 5), (2, 6), (3, 6)):
        watched.commit(host(time, again(a, time, state_reason=reason)))
        others = watched.changes.since(others, all_of_it).stamp
    assert rows(watched.changes.since(stamp, mine)) == [{"vmId": "a", "reason": 6}]


def test_clients_of_different_events_do_not_hide_them_from_each_other() -> None:
    """What one of them was last told is still watched for the other."""
    watched = Watched()
    a = domain("a", 0, state_reason=1, users=1)
    watched.commit(host(0, a))
    mine, other = chosen("reason"), chosen("users")
    stamp = watched.full(mine).stamp
    watched.full(other)
    watched.commit(host(1, again(a, 1, state_reason=5)))
    assert rows(watched.changes.since(stamp, mine)) == [{"vmId": "a", "reason": 5}]


def test_an_event_of_a_former_life_is_no_excuse() -> None:
    """A VM that is back is compared with what it was since then, not before."""
    watched = Watched()
    a = domain("a", 0, state_reason=1)
    only = chosen("reason")
    watched.commit(host(0, a))
    stamp = watched.full(only).stamp
    watched.commit(host(1))
    for time, reason in ((2, 5), (3, 1)):
        watched.commit(host(time, again(a, time, state_reason=reason)))
        answer = watched.changes.since(stamp, only)
        assert rows(answer) == [{"vmId": "a", "reason": reason}]
        stamp = answer.stamp


def test_of_a_large_value_the_sign_is_kept_and_the_value_read_when_it_is_sent() -> None:
    """Another sign is news; a value that cannot be had at that moment is left out."""
    lists: dict[str, Applications] = {}
    reads: list[str] = []

    def read(uuid: str) -> Applications | None:
        reads.append(uuid)
        return lists.get(uuid)

    def listed(*names: str) -> Applications:
        return Applications(hash="", source="dpkg", changed=0.0, read=0.0, names=names)

    apps = next(field for field in FIELDS if field.name == "appsList")
    it, wanted = Changes(TOMBSTONES, applications=read), Filter([apps])
    first = domain("a", 10.0, **{"guest.apps.hash": "1"})
    lists["a"] = listed("x-1")
    it.commit(host(10.0, first), [first], (), 10.0)
    answer = it.since("", wanted)
    assert rows(answer) == [{"vmId": "a", "appsList": ["x-1"]}]

    it.commit(host(20.0, again(first, 20.0)), [again(first, 20.0)], (), 20.0)
    assert rows(it.since(answer.stamp, wanted)) == []
    assert reads == ["a"]

    other = again(first, 30.0, **{"guest.apps.hash": "2"})
    lists["a"] = listed("x-2", "y-1")
    it.commit(host(30.0, other), [other], (), 30.0)
    assert rows(it.since(answer.stamp, wanted)) == [{"vmId": "a", "appsList": ["x-2", "y-1"]}]
    lists.clear()
    assert rows(it.since("", wanted)) == [{"vmId": "a"}]


def test_time_alone_is_no_change_but_its_end_is() -> None:
    """elapsed never brings a VM into an answer by itself, except as null when it is lost."""
    watched = Watched()
    a = domain("a", 0, start=-100)
    only = chosen("elapsed")
    watched.commit(host(0, a))
    stamp = watched.full(only).stamp
    watched.commit(host(50, again(a, 50)))
    assert watched.changes.since(stamp, only).nothing
    watched.commit(host(60, domain("a", 60)))
    assert rows(watched.changes.since(stamp, only)) == [{"vmId": "a", "elapsed": None}]


def test_a_value_that_depends_on_the_clock_changes_without_a_new_statistic() -> None:
    """The end of the boot is told although the statistics stay what they were."""
    watched = Watched()
    a = domain("a", 0, start=0)
    only = chosen("booting")
    watched.commit(host(0, a))
    stamp = watched.full(only).stamp
    watched.commit(host(59, again(a, 59)))
    assert watched.changes.since(stamp, only).nothing
    watched.commit(host(61, again(a, 61)))
    assert rows(watched.changes.since(stamp, only)) == [{"vmId": "a", "booting": False}]


def test_rates_come_to_rest_once() -> None:
    """After the last byte the rate becomes 0, is sent once more, and then no more."""
    watched = Watched()
    only = chosen("disk")
    sent, stamp = [], ""
    for time, counter in ((0, 0), (6, 60), (12, 60), (18, 60), (24, 60)):
        watched.commit(host(time, domain("a", time, bytes=counter)))
        answer = watched.changes.since(stamp, only)
        stamp = answer.stamp
        sent.append([row["disk"] for row in rows(answer)])
    assert sent == [
        [{"bytes": 0}],
        [{"bytes": 60, "rate": 10.0}],
        [{"bytes": 60, "rate": 0.0}],
        [],
        [],
    ]


def test_a_rate_follows_the_time_that_it_covers() -> None:
    """While the earlier sample is from before the last byte, the rate falls with every sample."""
    watched = Watched()
    only = chosen("disk")
    sent, stamp = [], ""
    for time, counter in ((0, 0), (5, 60), (6, 60), (8, 60)):
        watched.commit(host(time, domain("a", time, bytes=counter)))
        answer = watched.changes.since(stamp, only)
        stamp = answer.stamp
        sent += [row["disk"].get("rate") for row in rows(answer)]
    assert sent == [None, 12.0, 10.0, 7.5]


def test_a_new_name_is_a_change() -> None:
    """It is told before the XML is read again."""
    watched = Watched()
    a = domain("a", 0)
    watched.commit(host(0, a))
    stamp = watched.full(chosen("vmName")).stamp
    watched.commit(host(1, replace(a, name="other")))
    assert rows(watched.changes.since(stamp, chosen("vmName"))) == [
        {"vmId": "a", "vmName": "other"}
    ]


def test_two_samples_that_are_too_close_have_no_rate() -> None:
    """A domain that was asked late in the one and early in the other; the rate comes afterwards."""
    watched = Watched()
    only = chosen("disk")
    sent, stamp = [], ""
    for time, asked in ((0, 5.5), (6, 6.0), (12, 12.0)):
        watched.commit(host(time, domain("a", asked, bytes=1)))
        answer = watched.changes.since(stamp, only)
        stamp = answer.stamp
        sent.append([row["disk"] for row in rows(answer)])
    assert sent == [[{"bytes": 1}], [], [{"bytes": 1, "rate": 0.0}]]


def test_a_vm_that_stops_has_no_rates_any_more() -> None:
    """Although its statistics stay what they were."""
    watched = Watched()
    for time in (0, 6):
        a = domain("a", time, bytes=time)
        watched.commit(host(time, a))
    stamp = watched.full(chosen("disk")).stamp
    watched.commit(host(12, again(replace(a, active=False), 12)))
    assert rows(watched.changes.since(stamp, chosen("disk"))) == [
        {"vmId": "a", "disk": {"bytes": 6}}
    ]


def test_what_is_not_to_be_had_any_more_is_null_once() -> None:
    """Null tells of the loss; it is not repeated, and not part of a full answer."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0, users=2)))
    only = chosen("users")
    stamp = watched.full(only).stamp
    watched.commit(host(1, domain("a", 1)))

    answer = watched.changes.since(stamp, only)

    assert rows(answer) == [{"vmId": "a", "users": None}]
    assert watched.changes.since(answer.stamp, only).nothing
    assert rows(watched.full(only)) == [{"vmId": "a"}]


def test_a_stamp_of_another_filter_gets_everything() -> None:
    """A stamp vouches for its own fields and VMs only."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0), domain("b", 0)))
    narrow = watched.full(chosen("title")).stamp
    for other in (chosen(), chosen("reason"), chosen("title", vm_ids="a")):
        assert watched.changes.since(narrow, other).full
    assert not watched.changes.since(narrow, chosen("title")).full
    assert not watched.changes.since(narrow, chosen("title", "vmId")).full


def test_a_stamp_of_the_future_or_of_another_process_gets_everything() -> None:
    """Neither is trusted."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0)))
    stamp = watched.full(chosen()).stamp
    epoch, generation, digest = stamp.split("-")
    assert watched.changes.since(f"{epoch}-{int(generation) + 1}-{digest}", chosen()).full
    restarted = Watched()
    restarted.commit(host(0, domain("a", 0)))
    assert restarted.changes.since(stamp, chosen()).full


def test_a_new_vm_comes_with_all_its_fields() -> None:
    """One that appeared since the stamp is told like in a first answer."""
    watched = Watched()
    a, b = domain("a", 0, title="one"), domain("b", 1, title="two")
    watched.commit(host(0, a))
    stamp = watched.full(chosen("title", "reason")).stamp
    watched.commit(host(1, again(a, 1), b))
    assert rows(watched.changes.since(stamp, chosen("title", "reason"))) == [
        {"vmId": "b", "title": "two"}
    ]


def test_a_vanished_vm_is_removed_and_down_once() -> None:
    """With its exit code and message, whatever fields are asked for, unless they are excluded."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0), domain("b", 0)))
    title = chosen("title")
    curt = Filter(title.fields, exclude=["exitMessage"])
    stamp = watched.full(title).stamp
    words = "VM terminated with error"
    exits: Stats = {"exit.code": 1, "exit.reason": 1, "exit.message": words}
    gone = VanishedDomain(uuid="b", name="vm-b", timestamp=1, stats=exits)
    watched.commit(host(1, domain("a", 1), vanished=(gone,)))

    answer = watched.changes.since(stamp, title)

    assert answer.removed == ["b"]
    assert rows(answer) == [
        {"vmId": "b", "status": "Down", "exitCode": 1, "exitReason": 1, "exitMessage": words}
    ]
    assert watched.changes.since(answer.stamp, title).nothing
    assert rows(watched.changes.since(stamp, curt)) == [
        {"vmId": "b", "status": "Down", "exitCode": 1, "exitReason": 1}
    ]
    assert watched.full(title).removed == []


def test_an_end_that_becomes_known_late_is_told_again() -> None:
    """The event may come after the sample that found the VM gone."""
    watched = Watched()
    only = chosen("title")
    watched.commit(host(0, domain("a", 0)))
    stamp = watched.full(only).stamp
    for time, code in ((1, 1), (2, 0), (3, 0)):
        gone = VanishedDomain(uuid="a", name="vm-a", timestamp=1, stats={"exit.code": code})
        watched.commit(host(time, vanished=(gone,)))
        answer = watched.changes.since(stamp, only)
        stamp = answer.stamp
        told = [(row["status"], row["exitCode"]) for row in rows(answer)]
        assert told == ([("Down", code)] if time < 3 else [])
        assert answer.removed == (["a"] if time < 3 else [])


def test_a_vm_that_is_hidden_is_removed_but_not_said_to_be_down() -> None:
    """Nobody may say that it is down, since it runs."""
    watched = Watched()
    a, b = domain("a", 0), domain("b", 0)
    watched.commit(host(0, a, b))
    stamp = watched.full(chosen()).stamp
    watched.commit(host(1, a, b), shown=[a])
    answer = watched.changes.since(stamp, chosen())
    assert (answer.rows, answer.removed) == ([], ["b"])


def test_a_filter_on_vms_hears_of_its_own_only() -> None:
    """Others change and vanish unheard."""
    watched = Watched()
    domains = [domain(uuid, 0, title="x") for uuid in "abc"]
    watched.commit(host(0, *domains))
    only = chosen("title", vm_ids=["a", "b", "nobody"])
    stamp = watched.full(only).stamp
    watched.commit(host(1, domain("a", 1, title="y")))
    answer = watched.changes.since(stamp, only)
    assert answer.removed == ["b"]
    assert {row["vmId"] for row in rows(answer)} == {"a", "b"}


def test_a_vm_that_is_back_is_told_anew_with_nulls_for_what_it_lost() -> None:
    """A client that never heard of its absence is left with nothing of its former life."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0, title="one", users=3)))
    only = chosen("title", "users", "reason")
    stamp = watched.full(only).stamp
    watched.commit(host(1))
    between = watched.changes.since(stamp, only)
    watched.commit(host(2, domain("a", 2, title="one", state_reason=1)))

    answer = watched.changes.since(stamp, only)

    assert answer.removed == []
    assert rows(answer) == [{"vmId": "a", "title": "one", "users": None, "reason": 1}]
    known = merged(merged({"a": {"title": "one", "users": 3}}, between), between)
    assert merged(known, watched.changes.since(between.stamp, only)) == {
        "a": {"title": "one", "reason": 1}
    }


def test_a_stamp_from_before_a_forgotten_tombstone_is_too_old() -> None:
    """Instead of a gap it gets everything; stamps since then are as good as ever."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0), domain("b", 0)))
    before = watched.full(chosen()).stamp
    watched.commit(host(1, domain("a", 1)))
    after = watched.changes.since(before, chosen()).stamp
    watched.commit(host(1 + TOMBSTONES, domain("a", 1 + TOMBSTONES)))
    assert watched.changes.since(before, chosen()).removed == ["b"]
    watched.commit(host(2 + TOMBSTONES, domain("a", 2 + TOMBSTONES)))
    assert watched.changes.since(before, chosen()).full
    assert not watched.changes.since(after, chosen()).full


def test_tombstones_are_bounded() -> None:
    """A host of short-lived VMs makes old stamps useless, not the exporter large."""
    watched = Watched()
    keeper = domain("keeper", 0)
    crowd = [domain(str(number), 0) for number in range(MAX_TOMBSTONES + 1)]
    watched.commit(host(0, keeper, crowd[0]))
    oldest = watched.full(chosen("title")).stamp
    watched.commit(host(1, keeper, *crowd[1:]))
    newer = watched.full(chosen("title")).stamp
    watched.commit(host(2, keeper))
    assert watched.changes.since(oldest, chosen("title")).full
    assert len(watched.changes.since(newer, chosen("title")).removed) == MAX_TOMBSTONES


def held(work: Callable[[], None]) -> int:
    """Bytes that are in use after the work and were not before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_however_many_filters_are_asked_for_little_is_kept() -> None:
    """Each choice of fields and VMs is another one; ten thousand take no more than a few do."""
    watched = Watched()
    vms = [domain(str(number), 0, title="one", users=3) for number in range(3)]
    watched.commit(host(0, *vms))
    names = [name for name in BY_NAME if name != "vmId"]

    def ask(first: int, last: int) -> None:
        for number in range(first, last):
            some = [name for bit, name in enumerate(names) if number >> bit & 1]
            watched.full(chosen(*some, vm_ids=[f"{number % 3}", f"nobody-{number}"]))

    some = held(lambda: ask(0, 1000))
    assert held(lambda: ask(1000, 10_000)) < some


def test_vms_that_come_and_go_leave_nothing_behind_in_the_end() -> None:
    """Neither they nor their values are kept once their tombstones have been forgotten."""
    watched = Watched()
    clock = itertools.count()

    def live_and_die(lives: int) -> None:
        for _ in range(lives):
            now = next(clock) * TOMBSTONES
            vm = DomainSample(
                uuid=f"vm-{now}",
                name=f"vm-{now}",
                active=True,
                stats={"users": f"{now:020}" * 200},
                timestamp=now,
            )
            watched.commit(host(now, vm))
            watched.full(chosen())

    some = held(lambda: live_and_die(20))
    assert held(lambda: live_and_die(500)) < 2 * some


def test_what_nobody_asks_for_is_not_computed() -> None:
    """A field is evaluated when it is asked for, and again only when it may have changed."""
    computed: list[str] = []

    def noting(name: str) -> Callable[[VmView], Any]:
        def value(view: VmView) -> Any:
            computed.append(name)
            return view.domain.stats.get("state.reason", 0) if name == "event" else 1

        return value

    table = {name: field(name, name, noting(name)) for name in ("static", "event", "sampled")}
    asked, unasked = Filter([table["static"], table["event"]]), Filter([table["sampled"]])
    watched = Watched()
    a = domain("a", 0, state_reason=1, bytes=0)
    stamp = ""

    def computed_for(sample: HostSample) -> list[str]:
        nonlocal stamp
        computed.clear()
        watched.commit(sample)
        stamp = watched.changes.since(stamp, asked).stamp
        return sorted(set(computed))

    assert computed_for(host(0, a)) == ["event", "static"]
    assert computed_for(host(1, again(a, 1, bytes=1))) == []
    assert computed_for(host(2, again(a, 2, state_reason=5))) == ["event"]
    other = replace(a, timestamp=3, info=DomainInfo(uuid="a", name="a"))
    assert computed_for(host(3, other)) == ["event", "static"]
    watched.changes.since("", unasked)
    assert "sampled" in computed


def test_a_field_is_computed_once_a_sample_whoever_asks_for_it() -> None:
    """Clients with different choices share what they have in common."""
    computed: list[str] = []

    def value(view: VmView) -> Any:
        computed.append(view.domain.uuid)
        return view.domain.stats.get("bytes", 0)

    shared = field("shared", "sampled", value)
    watched = Watched()
    for time in (0, 1):
        watched.commit(host(time, domain("a", time, bytes=time)))
        computed.clear()
        for name in ("title", "reason", "users"):
            watched.full(Filter([shared, BY_NAME[name]]))
        assert computed == ["a"]


def test_views_are_those_of_the_filter() -> None:
    """The VMs as they are now, without those that nobody asked for."""
    watched = Watched()
    watched.commit(host(0, domain("a", 0), domain("b", 0)))
    assert watched.changes.views(chosen(), ()).keys() == {"a", "b"}
    assert watched.changes.views(chosen(vm_ids=["b", "c"]), ()).keys() == {"b"}


# History


def test_rates_are_taken_against_the_youngest_sample_that_is_old_enough() -> None:
    """Five seconds at least, and with a sample every second never ten."""
    history = History()
    ages = []
    for time in range(40):
        sample = host(time)
        ages.append([time - before.timestamp for before in history.before(sample)])
        history.add(sample, WHOLE)
    assert ages[:5] == [[]] * 5
    assert all(len(age) == 1 and 5 <= age[0] < 10 for age in ages[5:])


def test_samples_from_before_the_clock_was_set_back_are_forgotten() -> None:
    """No rate is taken against the future."""
    history = History()
    history.add(host(1000), WHOLE)
    history.add(host(0), WHOLE)
    assert not history.before(host(4))
    assert [before.timestamp for before in history.before(host(6))] == [0]


# All things at once

IDS = ("a", "b", "c")
FILTERS = (
    chosen(*(name for name in BY_NAME if name != "jobs")),
    chosen("reason"),
    chosen("users"),
    chosen("users"),
    chosen("disk", "elapsed"),
    chosen("booting", "title", "disk", vm_ids=["a", "c"]),
    chosen("jobs", "users", vm_ids=["c"]),
    chosen("elapsed", vm_ids=["b", "nobody"]),
    chosen("vmId"),
)
KEYS = ("state.reason", "detail", "users", "bytes", "start", "job.0", "job.1", "unread")


OWNERS = {"bytes": "block", "job": "jobs"}
"""What must be asked for, by the first word of the keys; all others are in every sample."""


def need_of(chosen: Filter) -> Need:
    """What it takes to evaluate a filter."""
    return Need(
        groups=frozenset(name for each in chosen.fields for name in each.asks),
        lanes=frozenset(name for each in chosen.fields for name in each.lanes),
        vm_ids=chosen.vm_ids or None,
    )


SCOPES = st.sets(st.sampled_from([*map(need_of, FILTERS)]), min_size=1).map(merged_needs)
"""What samples are taken for: any of the filters together."""


class Client:
    """What one client has learnt, and the stamps that it was given."""

    def __init__(self, chosen: Filter) -> None:
        self.chosen = chosen
        self.known: Vms = {}
        self.stamps: list[str] = [""]


class LostUpdates(RuleBasedStateMachine):
    """A host that changes in every way, and clients that ask for it in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.domains = {uuid: domain(uuid, self.now, bytes=0) for uuid in IDS}
        self.hidden: set[str] = set()
        self.clients = [Client(each) for each in FILTERS]
        self.restart()

    def sampled(self, scope: Scope) -> HostSample:
        """A sample in which every object is a new one, as those of libvirt are.

        It has what the scope asks for of each domain, and nothing else.
        """
        domains = []
        for each in self.domains.values():
            wanted = [need for need in scope if need.vm_ids is None or each.uuid in need.vm_ids]
            asked = frozenset(name for need in wanted for name in need.groups | need.lanes)
            stats = {
                key: value
                for key, value in each.stats.items()
                if OWNERS.get(key.partition(".")[0]) in (None, *asked)
            }
            asks = tuple(sorted(asked - {"jobs"}))
            domains.append(replace(each, timestamp=self.now, stats=stats, asked=asks))
        return host(self.now, *domains)

    @rule()
    def restart(self) -> None:
        """The exporter forgets all; its clients do not."""
        self.changes, self.history = Changes(TOMBSTONES), History()
        self.sample(0.0)

    @rule(seconds=st.sampled_from([0.5, 6.0, 6.0, 61.0, TOMBSTONES + 1]))
    def sample(self, seconds: float) -> None:
        """A query has a sample of everything taken, after some time."""
        self.sample_for(seconds, WHOLE)

    @rule(seconds=st.sampled_from([0.5, 6.0, 6.0]), scope=SCOPES)
    def sample_for(self, seconds: float, scope: Scope) -> None:
        """A query has one taken for what it needs."""
        self.now += seconds
        self.scope = scope
        sample = self.sampled(scope)
        shown = [each for each in sample.domains if each.uuid not in self.hidden]
        earlier = self.history.before(sample)
        self.changes.commit(sample, shown, earlier, self.now)
        self.history.add(sample, scope)
        self.views = {each.uuid: VmView(sample, each, None, self.now) for each in shown}
        self.earlier = [{each.uuid: each for each in old.domains} for old in earlier]

    @rule(seconds=st.sampled_from([0.5, 6.0]), scope=SCOPES)
    def scrape(self, seconds: float, scope: Scope) -> None:
        """A scrape has one taken, which no query sees."""
        self.now += seconds
        self.history.add(self.sampled(scope), scope)

    @rule(uuid=st.sampled_from(IDS), title=st.sampled_from(["", "one"]))
    def appear(self, uuid: str, title: str) -> None:
        if uuid not in self.domains:
            self.domains[uuid] = domain(uuid, self.now, title=title, bytes=0)

    @rule(uuid=st.sampled_from(IDS))
    def vanish(self, uuid: str) -> None:
        self.domains.pop(uuid, None)

    @rule(uuid=st.sampled_from(IDS))
    def hide_or_show(self, uuid: str) -> None:
        self.hidden ^= {uuid}

    @rule(uuid=st.sampled_from(IDS), key=st.sampled_from(KEYS), value=st.integers(0, 3))
    def change(self, uuid: str, key: str, value: int) -> None:
        if before := self.domains.get(uuid):
            now: StatValue = value
            if key == "start":
                now = self.now - 30 * value
            elif key == "bytes":
                now = int(before.stats.get("bytes", 0)) + value
            self.domains[uuid] = replace(before, stats={**before.stats, key: now})

    @rule(uuid=st.sampled_from(IDS), key=st.sampled_from(KEYS))
    def lose(self, uuid: str, key: str) -> None:
        if before := self.domains.get(uuid):
            rest = {name: value for name, value in before.stats.items() if name != key}
            self.domains[uuid] = replace(before, stats=rest)

    @rule(uuid=st.sampled_from(IDS), title=st.sampled_from(["", "one", "two"]))
    def redefine(self, uuid: str, title: str) -> None:
        if before := self.domains.get(uuid):
            info = DomainInfo(uuid=uuid, name=before.name, title=title)
            self.domains[uuid] = replace(before, info=info)

    @rule(uuid=st.sampled_from(IDS), name=st.sampled_from(["x", "y"]))
    def rename(self, uuid: str, name: str) -> None:
        if before := self.domains.get(uuid):
            self.domains[uuid] = replace(before, name=name)

    @rule(uuid=st.sampled_from(IDS))
    def start_or_stop(self, uuid: str) -> None:
        if before := self.domains.get(uuid):
            self.domains[uuid] = replace(before, active=not before.active)

    @rule()
    def everybody_polls(self) -> None:
        for asking in self.clients:
            self.ask(asking, asking.stamps[-1])
            assert self.changes.since(asking.stamps[-1], asking.chosen).nothing

    @rule(client=st.integers(0, len(FILTERS) - 1))
    def poll(self, client: int) -> None:
        self.ask(self.clients[client], self.clients[client].stamps[-1])

    @rule(client=st.integers(0, len(FILTERS) - 1), back=st.integers(1, 5))
    def poll_with_an_old_stamp(self, client: int, back: int) -> None:
        asking = self.clients[client]
        self.ask(asking, asking.stamps[-min(back, len(asking.stamps))])

    @rule(client=st.integers(0, len(FILTERS) - 1), other=st.integers(0, len(FILTERS) - 1))
    def poll_with_the_stamp_of_another(self, client: int, other: int) -> None:
        asking, owner = self.clients[client], self.clients[other]
        if owner.chosen.digest != asking.chosen.digest:
            self.ask(asking, owner.stamps[-1])

    @rule(client=st.integers(0, len(FILTERS) - 1))
    def poll_with_a_stamp_of_the_future(self, client: int) -> None:
        asking = self.clients[client]
        if match := re.fullmatch("(.*)-(.*)-(.*)", asking.stamps[-1]):
            self.ask(asking, f"{match[1]}-{int(match[2]) + 1000}-{match[3]}")

    def ask(self, client: Client, stamp: str) -> None:
        need = need_of(client.chosen)
        if not covers(self.scope, need):
            self.sample_for(0.5, merged_needs([*self.scope, need]))
        answer = self.changes.since(stamp, client.chosen)
        client.known = merged(client.known, answer)
        client.stamps.append(answer.stamp)
        assert self.comparable(client.known) == self.comparable(self.truth(client.chosen))

    def truth(self, chosen: Filter) -> Vms:
        views = {
            uuid: view
            for uuid, view in self.views.items()
            if not chosen.vm_ids or uuid in chosen.vm_ids
        }
        return {
            uuid: {
                each.name: value
                for each in chosen.fields
                if (value := each.value(self.with_earlier(view, each))) is not ABSENT
            }
            for uuid, view in views.items()
        }

    def with_earlier(self, view: VmView, field: VmField) -> VmView:
        """The view with the youngest of the earlier samples that has what the field takes."""
        for old in self.earlier:
            found = old.get(view.domain.uuid)
            if found is not None and {*field.asks} <= {*(found.asked or ())}:
                return replace(view, earlier=found)
        return view

    @staticmethod
    def comparable(vms: Vms) -> Vms:
        """Of what is derived from the time only whether it is there."""
        return {
            uuid: {name: value if name != "elapsed" else "…" for name, value in fields.items()}
            for uuid, fields in vms.items()
        }


def test_a_rate_goes_when_it_would_be_taken_against_a_vm_that_was_off() -> None:
    """Though not one figure of it has changed since it was off for a moment."""
    model = LostUpdates()
    model.start_or_stop("a")
    model.sample(6.0)
    model.start_or_stop("a")
    model.sample(0.5)
    model.everybody_polls()
    model.sample(6.0)
    model.everybody_polls()


TestLostUpdates = LostUpdates.TestCase
TestLostUpdates.settings = settings(
    max_examples=settings().max_examples * 3 // 2,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)


# The real table

WHOLE_NUMBERS = vm_views.stats().map(
    # The statistics of libvirt never change their type, and 1 is True to a dictionary.
    lambda stats: {key: value for key, value in stats.items() if type(value) in (int, str)}
)
STEPS = st.fixed_dictionaries(
    {"seconds": st.sampled_from([1.0, 6.0, 61.0])},
    optional={"stats": WHOLE_NUMBERS, "info": vm_views.infos, "active": st.booleans()},
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(WHOLE_NUMBERS, st.lists(STEPS, min_size=1, max_size=5))
def test_no_field_of_the_table_is_lost(stats: Stats, steps: list[dict[str, Any]]) -> None:
    """Each is as it says of itself: it follows its own inputs and nothing else."""
    now = vm_views.NOW
    vm = DomainSample(uuid="a", name="a", active=True, stats=stats, timestamp=now)
    everything = Filter(FIELDS)
    clients = [Client(everything), Client(everything)] + [
        Client(Filter(field for field in FIELDS if field.change == change))
        for change in ("static", "event", "sampled")
    ]
    watched = Watched()
    for number, step in enumerate([{"seconds": 0.0}, *steps]):
        now += step.pop("seconds")
        vm = replace(vm, timestamp=now, **step)
        watched.commit(host(now, vm))
        (view,) = watched.changes.views(everything, ALL.groups).values()
        # The second one asks at the beginning and at the end only.
        for client in clients if number in (0, len(steps)) else (clients[0], *clients[2:]):
            answer = watched.changes.since(client.stamps[-1], client.chosen)
            client.known = merged(client.known, answer)
            client.stamps.append(answer.stamp)
            names = [field.name for field in client.chosen.lasting]
            truth = json.loads(msgspec.json.encode(values(view, names)))
            known = {name: client.known["a"].get(name) for name in names}
            assert {name: value for name, value in known.items() if value is not None} == truth


# Samples that were taken for less


BLOCK: Scope = frozenset({Need(groups=frozenset({"block"}))})
LITTLE: Scope = frozenset({Need()})


class Narrowed(LostUpdates):
    """The host of the model, without chance."""

    def known_rate(self, client: Client) -> Any:
        self.ask(client, client.stamps[-1])
        return client.known["a"]["disk"].get("rate")


def test_a_sample_that_lacks_a_field_does_not_take_it_away() -> None:
    """Whoever asks for the field learns nothing by what was sampled for others."""
    model = Narrowed()
    disks, reasons = Client(chosen("disk")), Client(chosen("reason"))
    model.ask(disks, "")
    for _ in range(3):
        model.sample_for(0.5, LITTLE)
        model.ask(reasons, reasons.stamps[-1])
    model.sample_for(0.5, BLOCK)
    assert model.changes.since(disks.stamps[-1], disks.chosen).nothing


def test_rates_go_on_when_what_is_sampled_becomes_more_or_less() -> None:
    """They are taken against the youngest sample that has the figures of the field."""
    model = Narrowed()
    disks = Client(chosen("disk"))
    rates = []
    for scope in (BLOCK, BLOCK, LITTLE, WHOLE, LITTLE, BLOCK, WHOLE, BLOCK):
        model.change("a", "bytes", 6)
        model.sample_for(6.0, scope)
        if scope != LITTLE:
            rates.append(model.known_rate(disks))
    assert rates == [1.0] * 6


def test_what_was_kept_for_rates_does_not_grow_with_what_is_asked() -> None:
    """However different the samples are."""
    history = History()
    for time in range(100):
        scope = frozenset({Need(groups=frozenset({f"group {time}"}))})
        history.add(host(10 * time), scope)
    assert len(history.before(host(10_000))) == 8
