"""Domain samples → the lines of an exposition, in the text format or OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from libvirt_exporter.catalogue.metric import Metric
from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.render import labels
from libvirt_exporter.render.plan import DomainPlan, Shapes
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity, as_domain
from libvirt_exporter.render.tally import Tally


class DomainText(NamedTuple):
    """The rendered domains of one sample, for either format: only headers differ."""

    families: tuple[tuple[Metric, str], ...]
    """Rows with series, and their lines, each after its line break."""
    tally: Tally

    def parts(self, *, openmetrics: bool) -> Iterator[str]:
        """The exposition of the domains piece by piece, without OpenMetrics' final `# EOF`."""
        for row, lines in self.families:
            yield header(row, openmetrics=openmetrics)
            yield lines
            yield "\n"


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
        self._plans: dict[str, DomainPlan] = {}
        self._listed: list[DomainPlan] | None = None
        """None: none of the texts is known to be right."""
        self._shown: list[DomainPlan] = []
        """Those of the domains that have series, as their identity is not another one's."""
        self._tally = Tally(selection)
        self._texts = [""] * len(selection.families)
        self._stale: set[int] = set()
        """Families whose text is not yet that of the plans."""

    @property
    def knows_domains(self) -> bool:
        """Whether there are plans, so that a rendering costs only what has changed."""
        return bool(self._plans)

    def render(
        self, domains: Iterable[DomainSample], host_stats: Stats | None = None
    ) -> DomainText:
        """The lines of all domains and of the host; families are in the catalogue's order."""
        self._take(chain([as_domain(host_stats)] if host_stats else [], domains))
        pieces: dict[int, list[str]] = {family: [] for family in self._stale}
        for plan in self._shown:
            for part in plan.parts.values():
                for family, span in part.shape.spans.items():
                    if family in pieces:
                        pieces[family] += part.pieces[span]
        for family in self._stale:
            self._texts[family] = "".join(pieces[family])
        self._stale = set()
        return DomainText(
            tuple(
                (self._selection.families[family], self._texts[family])
                for family in self._tally.kept(self._series_limit)
            ),
            self._tally,
        )

    def _take(self, domains: Iterable[DomainSample]) -> None:
        """Bring the plans and the tally up to date."""
        kept, before = self._plans, self._listed
        # If this fails, no plan is left that has taken over a sample in part.
        self._plans, self._listed = {}, None
        plans: dict[str, DomainPlan] = {}
        listed: list[DomainPlan] = []
        reshaped = False
        for domain in domains:
            # Of two domains of one UUID, the second has a plan for this once.
            plan = kept.get(domain.uuid) if domain.uuid not in plans else None
            if plan is None or not plan.is_of(domain):
                plan = DomainPlan(domain, self._shapes)
            reshaped |= plan.take(domain, self._stale)
            plans.setdefault(domain.uuid, plan)
            listed.append(plan)
        self._plans, self._listed = plans, listed
        if listed != before:
            self._stale.update(range(len(self._texts)))
        elif not reshaped:
            return
        self._tally = Tally(self._selection)
        self._shown = [
            plan
            for plan in listed
            if self._tally.add(plan.identity, plan.counts, plan.duplicates, plan.unmapped)
        ]


def header(row: Metric, *, openmetrics: bool) -> str:
    """HELP and TYPE (and, in OpenMetrics, UNIT) of a family, up to the last line's break."""
    if not openmetrics:
        text = labels.escape_help(row.help)
        return f"# HELP {row.name} {text}\n# TYPE {row.name} {row.type}"
    unit = f"\n# UNIT {row.family} {row.unit}" if row.unit else ""
    return f"# HELP {row.family} {labels.escape(row.help)}\n# TYPE {row.family} {row.type}{unit}"
