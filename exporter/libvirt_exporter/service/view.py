"""A configuration's choice: which groups, domains and labels are shown, and how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.config import Config
from libvirt_exporter.contract import (
    RequestError,
    ScrapeRequest,
    normalised_uuid,
)
from libvirt_exporter.hypervisor.host import HostSettings
from libvirt_exporter.model import DomainSample, HostSample, Stats
from libvirt_exporter.nearest import nearest
from libvirt_exporter.patterns.domains import DomainFilter
from libvirt_exporter.patterns.labels import compile_label
from libvirt_exporter.query.answers import Terms
from libvirt_exporter.render.selection import Selection, UnknownGroupError, groups_named
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import DomainText, TextRenderer

_VIEWS = 8


class View(NamedTuple):
    """One way of looking at the host: which groups, and how they are rendered."""

    selection: Selection
    renderer: TextRenderer


class Shown(NamedTuple):
    """The domains of a sample that are shown, and how many could not be placed."""

    domains: list[DomainSample]
    hidden: int


class Active:
    """A configuration in force, with what was built from it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._groups = groups_named(config.groups.include, config.groups.exclude)
        self._groups_for_fields = groups_named(["all"], config.groups.exclude)
        self._labelled_by_xml = not {"domain", "uuid"}.issuperset(config.labels.identity)
        self.filter = DomainFilter(
            config.domains.include,
            config.domains.exclude,
            [label.name for label in config.labels.custom],
        )
        self.identity = Identity(config.labels.identity, config.limits.label_value_length)
        self._views: dict[frozenset[str], View] = {}
        self.everything = self._view(self._groups, fields_from=self._groups_for_fields)
        self.terms = Terms(config.api, lambda sample: self.shown(sample).domains)

    def host_settings(self) -> HostSettings:
        """What the host needs of the configuration."""
        libvirt, scrape = self.config.libvirt, self.config.scrape
        return HostSettings(
            uri=libvirt.uri,
            name=libvirt.name,
            parallel_calls=libvirt.parallel_calls,
            stuck_calls=libvirt.stuck_calls,
            info_refresh=scrape.info_refresh,
            state_directory=self.config.events.state_directory,
            all_counters=self.config.events.all_counters,
            labels=tuple(
                compile_label(label.name, label.xpath, label.namespaces)
                for label in self.config.labels.custom
            ),
        )

    def view(self, request: ScrapeRequest) -> View:
        """The selection that a request asks for; RequestError when it asks for what is not."""
        if request.collect and request.exclude:
            raise RequestError(
                "collect[] and exclude[] together",
                "use one of them: name what you want, or what not",
            )
        if not (request.collect or request.exclude):
            return self.everything
        enabled = self.everything.selection.groups
        collect = self._expand("collect[]", request.collect)
        exclude = self._expand("exclude[]", request.exclude)
        if disabled := {*request.collect} - {"all", "default"} - enabled:
            raise RequestError(
                f"collect[]: not enabled: {', '.join(sorted(disabled))}",
                "add it to groups.include of the configuration, beside `default` or what is there",
            )
        chosen = (collect & enabled if collect else enabled) - exclude
        if chosen not in self._views:
            if len(self._views) >= _VIEWS:
                del self._views[next(iter(self._views))]
            self._views[chosen] = self._view(self._groups & chosen, fields_from=chosen)
        return self._views[chosen]

    def _view(self, groups: frozenset[str], *, fields_from: frozenset[str]) -> View:
        fields = self.config.fields
        selection = Selection(groups, fields.include, fields.exclude, named_from=fields_from)
        return View(selection, self._renderer(selection))

    def _renderer(self, selection: Selection) -> TextRenderer:
        return TextRenderer(selection, self.identity, series_limit=self.config.limits.series)

    def rendered(
        self, view: View, domains: list[DomainSample], host_stats: Stats, *, all_of_them: bool
    ) -> DomainText:
        """The text of domains, which may be all that are shown or a few that were asked for."""
        # A view's renderer forgets the domains it is not shown, so a few get one of their own.
        renderer = view.renderer if all_of_them else self._renderer(view.selection)
        return renderer.render(domains, host_stats)

    def _expand(self, parameter: str, names: Iterable[str]) -> frozenset[str]:
        try:
            return groups_named(names)
        except UnknownGroupError as error:
            known = [group.name for group in GROUPS]
            hint = f"{nearest(str(error), known)} groups are: {', '.join(known)}".lstrip()
            raise RequestError(f"{parameter}: unknown group {error}", hint) from None

    def timeout(self, request: ScrapeRequest) -> float:
        """Seconds for one sample: the scraper's own time less the way back, else configured."""
        if request.timeout is None:
            return self.config.libvirt.timeout
        return max(request.timeout - self.config.scrape.timeout_offset, request.timeout / 2)

    def shown(self, sample: HostSample, wanted: Sequence[str] = ()) -> Shown:
        """The sample's domains that the configuration and `domain[]` let through.

        What cannot be decided without a domain's XML is decided against it: nothing may come out
        that is excluded, and no series may change its identity with the next scrape.
        """
        names = {*wanted, *map(normalised_uuid, wanted)}
        domains, hidden = [], 0
        for domain in sample.domains:
            if names and not (domain.name in names or domain.uuid in names):
                continue
            matches = self.filter.matches(domain.name, domain.uuid, domain.state, domain.info)
            waits = domain.info is None and domain.uuid not in sample.unparsable
            if matches is None or (matches and self._labelled_by_xml and waits):
                hidden += 1
            elif matches:
                domains.append(domain)
        return Shown(domains, hidden)

    def crashed(self, sample: HostSample, wanted: Sequence[str] = ()) -> list[DomainSample]:
        """The last of those domains that crashed and are not listed any more, for alerts.

        A domain that is not defined permanently is gone at the moment of its crash.
        """
        listed = {domain.name for domain in sample.domains}
        told_by_name = "uuid" not in self.identity.labels
        gone = (
            DomainSample(
                uuid=domain.uuid,
                name=domain.name,
                active=False,
                stats=domain.stats,
                timestamp=domain.timestamp,
            )
            for domain in sample.vanished
            if "event.last.crash" in domain.stats and not (told_by_name and domain.name in listed)
        )
        return self.shown(replace(sample, domains=tuple(gone)), wanted).domains
