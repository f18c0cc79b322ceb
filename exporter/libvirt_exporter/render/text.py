"""Domain samples → the lines of an exposition, in the text format or OpenMetrics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from libvirt_exporter.catalogue.metric import Histogram, Metric, Scale, Stat
from libvirt_exporter.model import DomainSample, Stats, StatValue
from libvirt_exporter.render import labels
from libvirt_exporter.render.plan import DomainPlan, Part, Shapes, Slots, Span, getter
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity, as_domain
from libvirt_exporter.render.tally import Tally


class DomainText(NamedTuple):
    """The rendered domains of one sample, for either format: only headers differ."""

    families: tuple[tuple[Metric, bytes], ...]
    """Rows with series, and their lines, each after its line break."""
    tally: Tally

    def parts(self, *, openmetrics: bool) -> Iterator[bytes]:
        """The exposition of the domains piece by piece, without OpenMetrics' final `# EOF`."""
        for row, lines in self.families:
            yield header(row, openmetrics=openmetrics).encode()
            yield lines
            yield b"\n"


_Lines = tuple[str, Part, Span]
"""Those of one family and one domain: identity, and where the rest is."""


class _Family:
    """The lines of one family in pieces, four each: name, identity, own labels, value."""

    def __init__(self, row: Metric) -> None:
        self.row = row
        self.text = b""
        """The lines, each after its line break; bodies that are being sent share it."""
        self.series = 0
        self._numerator, self._denominator = (
            row.scale if isinstance(row, Stat) else Scale.ONE
        ).value
        self._head = f"\n{row.name}{'_bucket' if isinstance(row, Histogram) else ''}"

    def lay_out(self, lines: Iterable[_Lines]) -> None:
        """Take over which lines there are."""
        identities: list[str] = []
        tails: list[str] = []
        places: list[int] = []
        self._lengths: list[int] = []
        """How many values each line of a histogram sums up."""
        for identity, (shape, where), span in lines:
            identities += [identity] * len(span.lengths)
            tails += shape.tails[span.lines]
            places += map(where.__getitem__, shape.places[span.values])
            self._lengths += span.lengths
        self.series = len(tails)
        self._pieces = [self._head, "", "", ""] * self.series
        self._pieces[1::4], self._pieces[2::4] = identities, tails
        self._blank = [""] * self.series
        self._get, self._shown = getter(tuple(places)), None if places else ()
        self.text = b"" if places else "".join(self._pieces).encode()

    def show(self, values: Sequence[StatValue]) -> None:
        told = self._get(values)
        if told != self._shown:
            self._pieces[3::4] = map(repr, self._in_base_units(told))
            self.text = "".join(self._pieces).encode()
            self._pieces[3::4] = self._blank
            self._shown = told

    def _in_base_units(self, told: tuple[Any, ...]) -> Iterable[float]:
        if isinstance(self.row, Histogram):
            counts = iter(told)
            return [sum(islice(counts, length)) for length in self._lengths]
        if self._denominator != 1:
            return [value / self._denominator for value in told]
        # Of use for bools too, which are numbers that do not look like it.
        return [value * self._numerator for value in told]


class TextRenderer:
    """Renders samples under one selection, anew what has changed since the sample before.

    It keeps a plan for each domain that it saw last, and the text of each family. Not thread-safe:
    one rendering at a time.
    """

    def __init__(
        self, selection: Selection, identity: Identity | None = None, *, series_limit: int = 0
    ) -> None:
        """`series_limit` is the most series of domains to show, 0 for no limit."""
        self._selection = selection
        self._shapes = Shapes(selection, identity or Identity())
        self._series_limit = series_limit
        self._families = [*map(_Family, selection.families)]
        self._slots = Slots()
        self._plans: dict[Hashable, DomainPlan] = {}
        """By UUID; of two domains of one UUID, the second has a key of its own."""
        self._stale: set[int] = set()
        """Families whose lines are not yet those of the plans."""
        self._shown: list[DomainPlan] = []
        """Those of the domains that have lines, as their identity is not another one's."""
        self._tally = Tally(selection)

    @property
    def knows_domains(self) -> bool:
        """Whether there are plans, so that a rendering costs only what has changed."""
        return bool(self._plans)

    def render(
        self,
        domains: Iterable[DomainSample],
        host_stats: Stats | None = None,
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> DomainText:
        """The lines of all domains and of the host; families are in the catalogue's order.

        `pause` is called after each domain and each family, and may let others go first.
        """
        host = [as_domain(host_stats)] if host_stats else []
        if self._take(chain(host, domains), pause) or self._stale:
            self._lay_out(pause)
        kept = [self._families[index] for index in self._tally.kept(self._series_limit)]
        for family in kept:
            family.show(self._slots.values)
            pause()
        return DomainText(tuple((family.row, family.text) for family in kept), self._tally)

    def _take(self, domains: Iterable[DomainSample], pause: Callable[[], None]) -> bool:
        """Bring the plans up to date; whether there are other series than before."""
        # If this fails, no plan is left that has taken over a sample in part.
        before, self._plans = self._plans, {}
        if not before:
            self._slots = Slots()
        plans: dict[Hashable, DomainPlan] = {}
        reshaped = False
        for domain in domains:
            key: Hashable = domain.uuid
            if key in plans:
                key = domain.uuid, len(plans)
            plan = plans[key] = before.get(key) or DomainPlan(self._shapes)
            reshaped |= plan.take(domain, self._slots, self._stale)
            pause()
        for key in before.keys() - plans.keys():
            before[key].leave(self._slots)
        self._plans = plans
        return reshaped or not before or [*before] != [*plans]

    def _lay_out(self, pause: Callable[[], None]) -> None:
        """Bring the tally up to date, and the lines of the families that have others."""
        self._tally = Tally(self._selection)
        shown = [
            plan
            for plan in self._plans.values()
            if self._tally.add(plan.identity, plan.series, plan.duplicates, plan.unmapped)
        ]
        if shown != self._shown:
            self._stale.update(range(len(self._families)))
        lines: dict[int, list[_Lines]] = {family: [] for family in self._stale}
        for plan in shown:
            for part in plan.parts.values():
                spans = part.shape.spans
                for family in lines.keys() & spans.keys():
                    lines[family].append((plan.text, part, spans[family]))
        for family, found in lines.items():
            self._families[family].lay_out(found)
            pause()
        self._shown, self._stale = shown, set()
        self._tally.counts = [family.series for family in self._families]


def header(row: Metric, *, openmetrics: bool) -> str:
    """HELP and TYPE (and, in OpenMetrics, UNIT) of a family, up to the last line's break."""
    if not openmetrics:
        text = labels.escape_help(row.help)
        return f"# HELP {row.name} {text}\n# TYPE {row.name} {row.type}"
    unit = f"\n# UNIT {row.family} {row.unit}" if row.unit else ""
    return f"# HELP {row.family} {labels.escape(row.help)}\n# TYPE {row.family} {row.type}{unit}"
