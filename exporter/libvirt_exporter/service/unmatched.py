"""Choices of a configuration that match nothing on a host, which is seldom intended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from libvirt_exporter.config import Config
from libvirt_exporter.model import HostSample
from libvirt_exporter.patterns.domains import DomainFilter

MOST: Final = 1000
"""Patterns of a list that are tried one by one; longer lists are made by programs."""


class Unmatched(NamedTuple):
    """A choice without effect: what it is, and what to do about it."""

    what: str
    remedy: str
    alone: bool
    """Whether something is missing because of it; a pattern among others may be for other hosts."""


def is_complete(sample: HostSample) -> bool:
    """Return whether the sample has all that choices depend on: the XML of its domains."""
    return sample.up and all(
        domain.info or domain.uuid in sample.unparsable or domain.asked == ()
        for domain in sample.domains
    )


def unmatched(
    config: Config, sample: HostSample, pause: Callable[[], None] = lambda: None
) -> Iterator[Unmatched]:
    """Yield the patterns and custom labels that match none of the sample's domains.

    `sample` holds those too that the configuration leaves out. Without domains nothing can match,
    and nothing is yielded. `pause` is called between looks at all domains.
    """
    if not sample.domains:
        return
    count = len(sample.domains)
    vms = "the only VM" if count == 1 else f"any of the {count} VMs"
    include = config.domains.include
    silent = [*_silent(include, config, sample, pause)]
    if include and len(silent) == len(include):
        yield Unmatched(
            f"domains.include does not match {vms}: nothing is shown",
            "a pattern must match the whole name, as `virsh list --all --name` prints it",
            alone=True,
        )
    else:
        yield from (_pattern("include", pattern, vms) for pattern in silent)
    for pattern in _silent(config.domains.exclude, config, sample, pause):
        yield _pattern("exclude", pattern, vms)
    known = [domain for domain in sample.domains if domain.info]
    for label in config.labels.custom:
        pause()
        if known and not any(
            dict(domain.info.custom_labels).get(label.name) for domain in known if domain.info
        ):
            yield Unmatched(
                f"the custom label {label.name} has no value for {vms}",
                f"compare {label.xpath or label.metadata} with `virsh dumpxml {known[0].uuid}`",
                alone=True,
            )


def _pattern(option: str, pattern: str, vms: str) -> Unmatched:
    return Unmatched(
        f"the pattern {pattern!r} of domains.{option} does not match {vms}",
        "correct or remove it, unless it is for other hosts; a pattern must match the whole name",
        alone=False,
    )


def _silent(
    patterns: Sequence[str], config: Config, sample: HostSample, pause: Callable[[], None]
) -> Iterator[str]:
    """The patterns that certainly match no domain; states are left out, for they change."""
    labels = [label.name for label in config.labels.custom]
    for pattern in patterns[:MOST]:
        choice = DomainFilter([pattern], labels=labels)
        pause()
        if not pattern.startswith("state:") and all(
            choice.matches(domain.name, domain.uuid, domain.state, domain.info) is False
            for domain in sample.domains
        ):
            yield pattern
