"""What changed since a stamp, without remembering any client.

A stamp is `<epoch>-<generation>-<filter>`: this process, the number of the sample that the answer
was made from, and a digest of the VMs and fields that it covers. Of each VM and field is kept what
it was when somebody last asked, and the generation in which it was seen to be different. Whoever
holds the stamp of a generation has seen the values of that generation of just these fields, so
what differs from them is found, and dated, when the same filter is asked for again: a field that
nobody asks for costs nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from operator import itemgetter
from typing import Any, Final

from msgspec import Raw, Struct
from msgspec.structs import replace

from libvirt_exporter.model import Applications, DomainSample, HostSample, Stats, StatValue
from libvirt_exporter.query.fields.field import ABSENT, Change, VmField, VmView, encoded
from libvirt_exporter.query.fields.rates import far_enough

MAX_TOMBSTONES: Final = 1000
"""Vanished VMs that are remembered; where there are more, the oldest stamps are too old."""
_MAX_EVALUATED: Final = 256
"""Filters whose last evaluation is remembered; any other is evaluated as a whole."""
_STAMP: Final = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})-([0-9a-f]{16})")
_PRESENT: Final = b""
"""In place of any value that is derived from the time."""
_AGES: Final = 1e9
"""Seconds after which no value depends on the time any more."""
_NOTED: Final[tuple[Change, ...]] = ("event", "agent", "time")
"""Fields that depend on few statistics, so that it pays to note which."""
_FUTURE: Final = 10**15
"""A generation in which nothing has changed yet."""

Earlier = tuple[DomainSample, ...]
"""A domain in samples from some seconds before, the youngest first."""
Row = dict[str, Any]
"""`vmId` and fields of a VM, ready to be encoded as JSON."""


class Filter:
    """Which fields of which VMs a client wants to see."""

    def __init__(
        self,
        fields: Iterable[VmField],
        vm_ids: Collection[str] = (),
        exclude: Collection[str] = (),
    ) -> None:
        """`vm_ids`: UUIDs as libvirt writes them; none: all VMs.

        `exclude`: what is not said of a VM that vanished either.
        """
        self.vm_ids = frozenset(vm_ids)
        self.exclude = frozenset(exclude)
        self.fields = tuple(field for field in fields if field.name != "vmId")
        self.timed = self._of("time")
        self.lasting = self._of("static", "event", "agent", "sampled")
        self.noted = self._of(*_NOTED)
        self.sampled = self._of("sampled")
        self.by_clock = tuple(field for field in self.fields if field.by_clock)
        content = [sorted(field.name for field in self.fields), sorted(self.vm_ids)]
        self.digest = hashlib.blake2b(encoded(content), digest_size=8).hexdigest()

    def _of(self, *kinds: Change) -> tuple[VmField, ...]:
        return tuple(field for field in self.fields if field.change in kinds)


class Changed(Struct, frozen=True, kw_only=True):
    """What a client has to learn that holds a stamp: everything, when the stamp is not good."""

    rows: list[Row]
    """VMs with what changed of them; None for a field that is not to be had any more."""
    stamp: str
    """For the next time."""
    full: bool
    """Whether this is everything, and replaces all that the client knew."""
    removed: list[str]
    """UUIDs of VMs that are gone, or not shown any more."""

    @property
    def nothing(self) -> bool:
        """Whether the client knows it all."""
        return not (self.full or self.rows or self.removed)


class Changes:
    """The VMs of one host, and when what of them changed."""

    def __init__(
        self,
        tombstones: float,
        pause: Callable[[], None] = lambda: None,
        applications: Callable[[str], Applications | None] = lambda _uuid: None,
    ) -> None:
        """`tombstones`: seconds for which vanished VMs are remembered.

        `pause` is called after each VM, and may let others go first. `applications`: as in VmView.
        """
        self._pause = pause
        self._applications = applications
        self.tombstones = tombstones
        self._epoch = secrets.token_hex(6)
        self._generation = 0
        self._horizon = 0
        """Generation since which no VM has vanished that is forgotten."""
        self._host = HostSample(timestamp=0.0, duration=0.0, up=False)
        self._now = 0.0
        self._vms: dict[str, _Vm] = {}
        self._gone: dict[str, _Vm] = {}
        """In the order of their vanishing."""
        self._evaluated: dict[str, int] = {}
        """Digest of a filter → generation for which it was last evaluated; the last one last."""

    def commit(
        self,
        host: HostSample,
        shown: Sequence[DomainSample],
        earlier: Sequence[HostSample],
        now: float,
    ) -> None:
        """Take over a sample of a host that answered; samples come in the order of time.

        `shown`: those of its domains that exist for clients. `earlier`: samples from some seconds
        before, for rates, the youngest first. `now`: Unix time. The sample may have been taken for
        some groups and VMs only: a filter that needs others is not to be asked for before the
        next one. So nothing is ever said to be unavailable that was not asked for.
        """
        then: dict[str, Earlier] = {}
        for sample in earlier:
            for domain in sample.domains:
                then[domain.uuid] = (*then.get(domain.uuid, ()), domain)
        self._generation += 1
        self._host, self._now = host, now
        before, self._vms = self._vms, {}
        for domain in shown:
            uuid = domain.uuid
            vm = before.pop(uuid, None)
            if vm is not None:
                vm.take(domain, then.get(uuid, ()), self._generation)
            else:
                # What clients may have known of it before it vanished is what it is compared with.
                vm = self._gone.pop(uuid, None) or _Vm()
                vm.appear(domain, then.get(uuid, ()), self._generation)
            self._vms[uuid] = vm
            self._pause()
        if before:
            self._bury(before)
        if self._gone:
            self._amend()
            self._forget()

    def since(self, stamp: str, chosen: Filter) -> Changed:
        """What there is to learn for who holds a stamp, which may be any text."""
        self._evaluate(chosen)
        seen = self._seen(stamp, chosen)
        rows = []
        for vm in self._chosen(chosen):
            if seen is None or vm.changed > seen:
                view = VmView(self._host, vm.domain, applications=self._applications)
                if row := vm.row(chosen, seen, view):
                    rows.append(row)
        removed = []
        if seen is not None:
            for uuid, vm in self._gone.items():
                if vm.gone > seen and (not chosen.vm_ids or uuid in chosen.vm_ids):
                    removed.append(uuid)
                    if vm.obituary is not None:
                        rows.append(_without(vm.obituary, chosen.exclude))
        rows.sort(key=itemgetter("vmId"))
        return Changed(
            rows=rows,
            stamp=f"{self._epoch}-{self._generation}-{chosen.digest}",
            full=seen is None,
            removed=removed,
        )

    @property
    def uuids(self) -> Set[str]:
        """Those of all VMs."""
        return self._vms.keys()

    def views(self, chosen: Filter, asks: Collection[str]) -> dict[str, VmView]:
        """The VMs of a filter as they are now, by UUID; `asks`: groups that rates take."""
        return {
            vm.domain.uuid: VmView(self._host, vm.domain, vm.before(asks), self._now)
            for vm in self._chosen(chosen)
        }

    def absent(self, chosen: Filter) -> dict[str, list[tuple[VmField, VmView]]]:
        """The fields that the VMs of a filter do not have now, and what they are computed from."""
        return {
            vm.domain.uuid: [
                (field, VmView(self._host, vm.domain, vm.before(field.asks), self._now))
                for field in chosen.fields
                if vm.cells[field.name].encoded is None
            ]
            for vm in self._chosen(chosen)
        }

    def _chosen(self, chosen: Filter) -> Iterator[_Vm]:
        every = self._vms
        for uuid in sorted(chosen.vm_ids & every.keys()) if chosen.vm_ids else every:
            yield every[uuid]
            self._pause()

    def _seen(self, stamp: str, chosen: Filter) -> int | None:
        """The generation that the holder of a stamp has seen; None when it is not good for that."""
        match = _STAMP.fullmatch(stamp)
        if match is None or match[1] != self._epoch or match[3] != chosen.digest:
            return None
        generation = int(match[2])
        return generation if self._horizon <= generation <= self._generation else None

    def _evaluate(self, chosen: Filter) -> None:
        """Bring the cells of all fields of all VMs of the filter up to date."""
        before = self._evaluated.pop(chosen.digest, -1)
        self._evaluated[chosen.digest] = self._generation
        if len(self._evaluated) > _MAX_EVALUATED:
            del self._evaluated[next(iter(self._evaluated))]
        if before == self._generation:
            return
        for vm in self._chosen(chosen):
            if fields := vm.in_doubt(chosen, before):
                vm.evaluate(fields, self._host, self._now, self._generation)

    def _bury(self, vanished: Mapping[str, _Vm]) -> None:
        hidden = {domain.uuid for domain in self._host.domains}
        exits = {domain.uuid: domain.stats for domain in self._host.vanished}
        for uuid, vm in vanished.items():
            vm.gone, vm.gone_at = self._generation, self._now
            # What clients knew of it is all that is needed any more.
            del vm.domain, vm.earlier
            # Of one that is only hidden from now on, nobody may say that it is down.
            vm.obituary = None if uuid in hidden else _obituary(uuid, exits.get(uuid, {}))
            self._gone[uuid] = vm

    def _amend(self) -> None:
        """Tell again of those whose end became known only after they were found to be gone."""
        for end in self._host.vanished:
            vm = self._gone.get(end.uuid)
            if vm is not None and vm.obituary is not None:
                obituary = _obituary(end.uuid, end.stats)
                if obituary != vm.obituary:
                    vm.obituary, vm.gone = obituary, self._generation

    def _forget(self) -> None:
        while self._gone:
            uuid, vm = next(iter(self._gone.items()))
            expired = vm.gone_at + self.tombstones < self._now
            if not expired and len(self._gone) <= MAX_TOMBSTONES:
                return
            self._horizon = max(self._horizon, vm.gone)
            del self._gone[uuid]


class _Cell(Struct):
    """One field of one VM."""

    encoded: bytes | None = None
    """The value's JSON, None when there is none."""
    changed: int = 0
    """Generation in which that was first seen; to be without one at first is no news."""
    evaluated: int = 0
    """Generation for which that was last looked at."""


class _Vm:
    """One VM, now or until it vanished; what is not said otherwise is a generation."""

    def __init__(self) -> None:
        self.cells: dict[str, _Cell] = {}
        self.gone = 0
        self.gone_at = 0.0
        """Unix time."""
        self.obituary: Row | None = None

    def appear(self, domain: DomainSample, earlier: Earlier, generation: int) -> None:
        """Begin anew with the first sample of it."""
        self.domain, self.earlier = domain, earlier
        self.appeared = self.changed = generation
        """The latter: when any cell last did, as far as is known."""
        self.info_changed = self.noted_changed = self.sampled_changed = generation
        self.steady_since = domain.timestamp
        """Unix time of the first sample with the statistics of now, of a VM that ran or not."""
        self.rates = self._rates_now()
        self.reads: tuple[str, ...] | None = ()
        """Keys of the statistics that noted fields were made from; None: perhaps all."""
        self.read: list[StatValue | None] = []
        """The values there."""
        self.ticking: set[str] = set()
        """Fields whose values will become others with the time alone."""

    def take(self, domain: DomainSample, earlier: Earlier, generation: int) -> None:
        """Go on to a new sample, and note what in it is different."""
        before, self.domain, self.earlier = self.domain, domain, earlier
        if (
            domain.info is not before.info
            or domain.name != before.name
            or domain.active != before.active
        ):
            self.info_changed = generation
        if domain.stats != before.stats or domain.active != before.active:
            self.sampled_changed = generation
            self.steady_since = domain.timestamp
            read = None if self.reads is None else [*map(domain.stats.get, self.reads)]
            if read is None or read != self.read:
                self.noted_changed = generation
                self.read = read or []
        rates = self._rates_now()
        if rates[0] or rates != self.rates:
            self.rates, self.sampled_changed = rates, generation

    def _rates_now(self) -> tuple[bool, tuple[object, ...]]:
        """Whether there may be rates other than 0; and of which groups there are any."""
        usable = [earlier for earlier in self.earlier if far_enough(earlier, self.domain)]
        moving = any(earlier.timestamp < self.steady_since for earlier in usable)
        return moving, tuple(earlier.asked for earlier in usable)

    def before(self, asks: Collection[str]) -> DomainSample | None:
        """The youngest of the earlier samples in which these groups were asked for, as in this."""
        asked = self.domain.asked
        needed = {*asks} if asked is None else {*asks}.intersection(asked)
        for earlier in self.earlier:
            if earlier.asked is None or needed.issubset(earlier.asked):
                return earlier
        return None

    def in_doubt(self, chosen: Filter, since: int) -> Sequence[VmField]:
        """The fields that may have other values than in the generation `since`."""
        if self.info_changed > since:
            return chosen.fields
        doubtful = chosen.sampled if self.sampled_changed > since else ()
        if self.noted_changed > since:
            return (*doubtful, *chosen.noted)
        if self.ticking:
            return (*doubtful, *(field for field in chosen.by_clock if field.name in self.ticking))
        return doubtful

    def evaluate(
        self, fields: Iterable[VmField], host: HostSample, now: float, generation: int
    ) -> None:
        """Note which of the fields have other values than before."""
        youngest = self.earlier[0] if self.earlier else None
        plain = VmView(host, self.domain, youngest, now)
        alike = youngest is None or youngest.asked == self.domain.asked
        notes = _Notes(self.domain.stats)
        noted: VmView | None = None
        for field in fields:
            cell = self.cells.get(field.name)
            if cell is None:
                cell = self.cells[field.name] = _Cell()
            elif cell.evaluated == generation:
                continue
            cell.evaluated = generation
            if field.change not in _NOTED:
                view = plain if alike else replace(plain, earlier=self.before(field.asks))
                value = field.value(view)
            else:
                noted = noted or replace(plain, domain=replace(self.domain, stats=notes))
                value = (field.sign or field.value)(noted)
            if field.by_clock:
                self._note_ticking(field, plain, value)
            if value is ABSENT:
                found = None
            else:
                found = encoded(value) if field.change != "time" else _PRESENT
            if cell.encoded != found:
                cell.encoded = found
                cell.changed = self.changed = generation
        if noted is not None:
            self._add(notes)

    def _note_ticking(self, field: VmField, view: VmView, value: object) -> None:
        if field.value(replace(view, now=view.now + _AGES)) == value:
            self.ticking.discard(field.name)
        else:
            self.ticking.add(field.name)

    def _add(self, notes: _Notes) -> None:
        if self.reads is None or notes.all:
            self.reads = None
        elif not notes.keys_read.issubset(self.reads):
            self.reads = (*notes.keys_read.union(self.reads),)
            self.read = [*map(self.domain.stats.get, self.reads)]

    def row(self, chosen: Filter, seen: int | None, view: VmView) -> Row | None:
        """What is new since a generation, None: since ever; None when nothing is."""
        cells, since = self.cells, _FUTURE if seen is None else seen
        everything = seen is None or self.appeared > seen
        row: Row = {"vmId": self.domain.uuid}
        for field in chosen.lasting:
            cell = cells[field.name]
            if cell.encoded is None:
                if cell.changed > since:
                    row[field.name] = None
            elif everything or cell.changed > since:
                value = Raw(cell.encoded) if field.sign is None else field.value(view)
                if value is not ABSENT:
                    row[field.name] = value
        timed = [(field, cells[field.name]) for field in chosen.timed]
        if not (everything or len(row) > 1 or any(cell.changed > since for _, cell in timed)):
            return None
        for field, cell in timed:
            if cell.encoded is not None:
                row[field.name] = field.value(view)
            elif cell.changed > since:
                row[field.name] = None
        return row


class _Notes(Mapping[str, StatValue]):
    """Statistics that note which of them are read."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self.keys_read: set[str] = set()
        self.all = False

    def __getitem__(self, key: str) -> StatValue:
        self.keys_read.add(key)
        return self._stats[key]

    def __iter__(self) -> Iterator[str]:
        self.all = True
        return iter(self._stats)

    def __len__(self) -> int:
        self.all = True
        return len(self._stats)


def _without(row: Row, names: Collection[str]) -> Row:
    return {name: value for name, value in row.items() if name == "vmId" or name not in names}


_LAST_WORDS: Final = {
    "exitCode": "exit.code",
    "exitReason": "exit.reason",
    "exitMessage": "exit.message",
}


def _obituary(uuid: str, stats: Stats) -> Row:
    row: Row = {"vmId": uuid, "status": "Down"}
    for name, key in _LAST_WORDS.items():
        if key in stats:
            row[name] = stats[key]
    return row
