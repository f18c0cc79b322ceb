"""What a configuration shows of a host: which groups, domains and labels, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from libvirt_exporter.catalogue import ALIASES, GROUPS, canonical
from libvirt_exporter.config import Config, metrics_of
from libvirt_exporter.contract import Exposition, RequestError, ScrapeRequest, normalised_uuid
from libvirt_exporter.hypervisor.sampling.request import PROCESSES
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.nearest import nearest
from libvirt_exporter.patterns.domains import DomainFilter
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.query.need import Need
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.selection import Selection, UnknownGroupError, excluded, groups_named
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer

_CHOICES: Final = 8
"""Choices of groups whose renderers are kept, beside that of all groups."""


class Choice(NamedTuple):
    """The groups that a scrape shows, and what renders them."""

    selection: Selection
    renderer: TextRenderer


class Shown(NamedTuple):
    """The domains of a sample that are shown, and how many could not be placed."""

    domains: list[DomainSample]
    hidden: int


def named(domains: Iterable[str]) -> frozenset[str]:
    """What a client may have meant by these names and UUIDs."""
    return frozenset(name for text in domains for name in (text, normalised_uuid(text)))


class Display:
    """What one configuration shows of one host, and how."""

    def __init__(self, config: Config, own: CollectorRegistry) -> None:
        """`own`: the exporter's own metrics, which every exposition shows."""
        self.config = config
        self._own = own
        self._groups = groups_named(config.groups.include, config.groups.exclude)
        self._labelled_by_xml = not {"domain", "uuid"}.issuperset(config.labels.identity)
        self._filter = DomainFilter(
            config.domains.include,
            config.domains.exclude,
            [label.name for label in config.labels.custom],
        )
        chooses = config.domains.include or config.domains.exclude
        self.only = self._filter if chooses else None
        """Decides which domains exist; None: all."""
        self._identity = Identity(config.labels.identity, config.limits.label_value_length)
        self._choices: dict[frozenset[str], Choice] = {}
        """The one that was asked for last comes last."""
        self.everything = self._choice(
            self._groups, fields_from=groups_named(["all"], config.groups.exclude)
        )
        selection = self.everything.selection
        self.need = Need(groups=selection.asks, lanes=selection.lanes | {PROCESSES})
        """What is asked for all that is configured, and for all fields of VMs."""
        self.terms = Terms(config.api, lambda sample: self.shown(sample).domains, self.need)

    def choice(self, request: ScrapeRequest) -> Choice:
        """The groups that a request asks for; RequestError when it asks for what is not."""
        if request.collect and request.exclude:
            raise RequestError(
                "collect[] and exclude[] cannot be combined",
                "use one of them",
            )
        if not (request.collect or request.exclude):
            return self.everything
        enabled = self.everything.selection.groups
        collect = self._expand("collect[]", request.collect, groups_named)
        exclude = self._expand("exclude[]", request.exclude, excluded)
        if disabled := {*canonical(request.collect)} - {"all", "default"} - enabled:
            raise RequestError(
                f"collect[]: not enabled: {', '.join(sorted(disabled))}",
                "add it to groups.include in the configuration",
            )
        chosen = (collect & enabled if collect else enabled) - exclude
        choice = self._choices.pop(chosen, None)
        if choice is None:
            if len(self._choices) >= _CHOICES:
                del self._choices[next(iter(self._choices))]
            choice = self._choice(self._groups & chosen, fields_from=chosen)
        self._choices[chosen] = choice
        return choice

    def _choice(self, groups: frozenset[str], *, fields_from: frozenset[str]) -> Choice:
        fields = self.config.fields
        selection = Selection(
            groups,
            metrics_of(fields.include),
            metrics_of(fields.exclude),
            named_from=fields_from,
        )
        return Choice(selection, self._renderer(selection))

    def _renderer(self, selection: Selection) -> TextRenderer:
        return TextRenderer(selection, self._identity, series_limit=self.config.limits.series)

    def _expand(
        self,
        parameter: str,
        names: Iterable[str],
        expanded: Callable[[Iterable[str]], frozenset[str]],
    ) -> frozenset[str]:
        try:
            return expanded(names)
        except UnknownGroupError as error:
            known = [group.name for group in GROUPS]
            hint = (
                f"{nearest(str(error), (*known, *ALIASES))} groups are: {', '.join(known)}".lstrip()
            )
            raise RequestError(f"{parameter}: unknown group {error}", hint) from None

    def timeout(self, request: ScrapeRequest) -> float:
        """Seconds for one sample: the scraper's own time less the way back, else configured."""
        if request.timeout is None:
            return self.config.libvirt.timeout
        return max(request.timeout - self.config.scrape.timeout_offset, request.timeout / 2)

    def expose(
        self,
        sample: HostSample,
        choice: Choice,
        request: ScrapeRequest,
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> Exposition:
        """The body of a scrape that gave this sample; one call at a time for a choice.

        `pause` is called after each step of the rendering, and may let others go first.
        """
        shown = self.shown(sample, request.domains)
        domains = [*shown.domains, *self._crashed(sample, request.domains)]
        # A choice's renderer forgets the domains it is not shown, so a few get one of their own.
        renderer = self._renderer(choice.selection) if request.domains else choice.renderer
        return expose(
            sample,
            renderer.render(domains, sample.stats, pause=pause),
            self._own,
            series_limit=self.config.limits.series,
            hidden=shown.hidden,
            as_openmetrics=request.openmetrics,
            compress=request.gzip,
        )

    def shown(self, sample: HostSample, wanted: Sequence[str] = ()) -> Shown:
        """The sample's domains that the configuration and `domain[]` let through.

        What cannot be decided without a domain's XML is decided against it: nothing may come out
        that is excluded, and no series may change its identity with the next scrape.
        """
        names = named(wanted)
        domains, hidden = [], 0
        for domain in sample.domains:
            if names and not (domain.name in names or domain.uuid in names):
                continue
            matches = self._filter.matches(domain.name, domain.uuid, domain.state, domain.info)
            waits = domain.info is None and domain.uuid not in sample.unparsable
            # It was decided against it when it was sampled, by other XML or none.
            unasked = domain.asked == ()
            if matches is None or (matches and (unasked or (self._labelled_by_xml and waits))):
                hidden += 1
            elif matches:
                domains.append(domain)
        return Shown(domains, hidden)

    def _crashed(self, sample: HostSample, wanted: Sequence[str]) -> list[DomainSample]:
        """The last of those domains that crashed and are not listed any more, for alerts.

        A domain that is not defined permanently is gone at the moment of its crash.
        """
        listed = {domain.name for domain in sample.domains}
        told_by_name = "uuid" not in self._identity.labels
        crashed = [domain for domain in sample.vanished if "event.last.crash" in domain.stats]
        if told_by_name:
            # One that was created anew and crashed again has the same name: the latest stays.
            latest = {domain.name: domain for domain in crashed if domain.name not in listed}
            crashed = [*latest.values()]
        gone = (
            DomainSample(
                uuid=domain.uuid,
                name=domain.name,
                active=False,
                stats=domain.stats,
                timestamp=domain.timestamp,
            )
            for domain in crashed
        )
        return self.shown(replace(sample, domains=tuple(gone)), wanted).domains
