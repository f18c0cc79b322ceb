"""Domain samples → the lines of an exposition, in the text format or OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from libvirt_exporter.catalogue.metric import Metric
from libvirt_exporter.model import DomainSample, Stats
from libvirt_exporter.render import labels
from libvirt_exporter.render.plan import DomainPlan, Identity, as_domain
from libvirt_exporter.render.selection import Selection
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
    """Renders samples under one selection and keeps the plans of the domains it saw last.

    Not thread-safe: one rendering at a time.
    """

    def __init__(
        self, selection: Selection, identity: Identity | None = None, *, series_limit: int = 0
    ) -> None:
        """`series_limit` is the most series of domains to show, 0 for no limit."""
        self._selection = selection
        self._identity = identity or Identity()
        self._series_limit = series_limit
        self._plans: dict[str, DomainPlan] = {}

    def render(
        self, domains: Iterable[DomainSample], host_stats: Stats | None = None
    ) -> DomainText:
        """The lines of all domains and of the host; families are in the catalogue's order."""
        plans: dict[str, DomainPlan] = {}
        lines: list[list[str]] = [[] for _ in self._selection.families]
        tally = Tally(self._selection)
        host = [as_domain(host_stats)] if host_stats else []
        for domain in chain(host, domains):
            plan = plans[domain.uuid] = self._plan(domain)
            if tally.add(plan.identity, plan.counts.items(), plan.duplicates, plan.unmapped):
                plan.add_to(lines, domain.stats)
        self._plans = plans
        return DomainText(
            tuple(
                (self._selection.families[family], "".join(lines[family]))
                for family in tally.kept(self._series_limit)
            ),
            tally,
        )

    def _plan(self, domain: DomainSample) -> DomainPlan:
        plan = self._plans.get(domain.uuid)
        if plan is None or not plan.fits(domain):
            plan = DomainPlan(domain, self._selection, self._identity)
        return plan


def header(row: Metric, *, openmetrics: bool) -> str:
    """HELP and TYPE (and, in OpenMetrics, UNIT) of a family, up to the last line's break."""
    if not openmetrics:
        text = labels.escape_help(row.help)
        return f"# HELP {row.name} {text}\n# TYPE {row.name} {row.type}"
    unit = f"\n# UNIT {row.family} {row.unit}" if row.unit else ""
    return f"# HELP {row.family} {labels.escape(row.help)}\n# TYPE {row.family} {row.type}{unit}"
